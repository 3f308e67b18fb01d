//! A host: a network namespace with devices.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;

use super::process::run;

/// Makes the names of namespaces of one process differ.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A network namespace that goes with its owner.
#[derive(Debug)]
pub struct Host {
    name: String,
}

impl Host {
    /// A new host with nothing but loopback.
    ///
    /// # Errors
    /// When the process may not make namespaces.
    pub fn new(role: &str) -> anyhow::Result<Self> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("intertrunk-{}-{number}-{role}", std::process::id());
        run(ip(["netns", "add", &name])).context("cannot make a network namespace: this needs root")?;
        let host = Self { name };
        host.run("ip", ["link", "set", "lo", "up"])?;
        // Neighbour discovery of a family that is not used would only be noise in the captures.
        host.run("sysctl", ["-qw", "net.ipv6.conf.all.disable_ipv6=1"])?;
        Ok(host)
    }

    /// The file that stands for the namespace.
    pub fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    /// A program to run on this host.
    ///
    /// `nsenter` and not `ip netns exec`, which hides the host's BPF file system.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg(program);
        command
    }

    /// Runs a program on this host to its end.
    ///
    /// # Errors
    /// When it fails.
    pub fn run<'a>(&self, program: &str, args: impl IntoIterator<Item = &'a str>) -> anyhow::Result<String> {
        let mut command = self.command(program);
        command.args(args);
        run(command)
    }

    /// Lays a cable to another host.
    ///
    /// # Errors
    /// When a device cannot be made.
    pub fn connect(&self, here: Port<'_>, other: &Self, there: Port<'_>) -> anyhow::Result<()> {
        let cable = ["link", "add", here.device, "type", "veth", "peer", "name", there.device, "netns", &other.name];
        self.run("ip", cable)?;
        self.configure(here)?;
        other.configure(there)
    }

    fn configure(&self, port: Port<'_>) -> anyhow::Result<()> {
        let addr = format!("{}/24", port.addr);
        self.run("ip", ["addr", "add", &addr, "dev", port.device])?;
        self.run("ip", ["link", "set", port.device, "up"])?;
        // Without checksums of their own the sender's packets would leave with unfinished ones.
        self.run("ethtool", ["-K", port.device, "tx", "off"])?;
        Ok(())
    }
}

impl Host {
    /// Gives a device the XDP program that leaves every frame to the stack: what the other end of a veth sends by XDP arrives only where the
    /// receiving end has a program. (GRO would do for redirected frames, when it is switched on while the device is up, but not for those
    /// that XDP_TX sends back.)
    ///
    /// # Errors
    /// When the program was not built, or the kernel refuses it.
    pub fn accept_xdp_frames(&self, device: &str) -> anyhow::Result<()> {
        let here = std::env::current_exe()?;
        let object = here
            .ancestors()
            .map(|folder| folder.join("bpf/bpfel-unknown-none/bpf/intertrunk-pass"))
            .find(|path| path.is_file())
            .context("there is no intertrunk-pass in the target folder: cargo build --package relay")?;
        self.run("ip", ["link", "set", "dev", device, "xdp", "obj", &object.to_string_lossy(), "sec", "xdp"])?;
        Ok(())
    }
}

/// One end of a cable.
#[derive(Clone, Copy, Debug)]
pub struct Port<'a> {
    /// The device's name.
    pub device: &'a str,
    /// Its address, in a network of 24 bits.
    pub addr: Ipv4Addr,
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Err(error) = run(ip(["netns", "del", &self.name])) {
            eprintln!("{error}");
        }
    }
}

fn ip<'a>(args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new("ip");
    command.args(args);
    command
}
