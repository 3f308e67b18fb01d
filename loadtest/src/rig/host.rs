//! A host: a network namespace with devices.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::process::{POLL, run};

/// How long an address may be taken by what is about to let go of it.
const TAKEN: Duration = Duration::from_secs(2);

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
        if std::path::Path::new("/proc/sys/net/ipv6").exists() {
            host.run("sysctl", ["-qw", "net.ipv6.conf.all.disable_ipv6=1"])?;
        }
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

    /// A socket on this host.
    ///
    /// # Errors
    /// When the address is not the host's, or stays taken.
    pub fn udp(&self, addr: SocketAddr) -> anyhow::Result<UdpSocket> {
        in_namespace(self, || bind(addr))
    }

    /// The same that takes connections.
    ///
    /// # Errors
    /// When the address is not the host's, or stays taken.
    pub fn tcp(&self, addr: SocketAddr) -> anyhow::Result<TcpListener> {
        in_namespace(self, || once_free(addr, TcpListener::bind))
    }

    /// Has the host forget the neighbours of a device. Those that somebody has the kernel look for at once are there again at once, which `ip` takes
    /// for a failure.
    ///
    /// # Errors
    /// When it cannot be tried.
    pub fn forget_neighbours(&self, device: &str) -> anyhow::Result<()> {
        let output = self.command("ip").args(["neigh", "flush", "dev", device]).output()?;
        if !output.stderr.is_empty() {
            bail!("ip neigh flush: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// The number of a device.
    ///
    /// # Errors
    /// When the host has no such device.
    pub fn device_index(&self, device: &str) -> anyhow::Result<u32> {
        let link = self.run("ip", ["-o", "link", "show", "dev", device])?;
        Ok(link.split(':').next().context("ip says nothing")?.parse()?)
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

    /// Gives a device an address, in a network of 24 bits or, for IPv6, of 64.
    ///
    /// # Errors
    /// When it cannot have it.
    pub fn add_addr(&self, device: &str, addr: IpAddr) -> anyhow::Result<()> {
        if addr.is_ipv4() {
            self.run("ip", ["addr", "add", &format!("{addr}/24"), "dev", device])?;
            return Ok(());
        }
        for scope in ["all", device] {
            self.run("sysctl", ["-qw", &format!("net.ipv6.conf.{scope}.disable_ipv6=0")])?;
        }
        // Nobody else has the address, so there is nothing to wait for.
        self.run("ip", ["addr", "add", &format!("{addr}/64"), "dev", device, "nodad"])?;
        Ok(())
    }

    fn configure(&self, port: Port<'_>) -> anyhow::Result<()> {
        self.add_addr(port.device, port.addr)?;
        self.run("ip", ["link", "set", port.device, "up"])?;
        // Without checksums of their own the sender's packets would leave with unfinished ones.
        self.run("ethtool", ["-K", port.device, "tx", "off"])?;
        Ok(())
    }
}

/// One end of a cable.
#[derive(Clone, Copy, Debug)]
pub struct Port<'a> {
    /// The device's name.
    pub device: &'a str,
    /// Its address, in a network of 24 bits, or of 64 in IPv6.
    pub addr: IpAddr,
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

/// A socket in the thread's namespace.
///
/// Where another thread is starting a program, that has a copy of every socket until it is one of its own: an address that was just given back
/// may be taken for a moment.
///
/// # Errors
/// When the address is not the host's, or stays taken.
pub fn bind(addr: SocketAddr) -> anyhow::Result<UdpSocket> {
    once_free(addr, UdpSocket::bind)
}

fn once_free<T>(addr: SocketAddr, bind: impl Fn(SocketAddr) -> io::Result<T>) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        match bind(addr) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && start.elapsed() < TAKEN => {
                eprintln!("{addr} is taken, and tried again");
                std::thread::sleep(POLL);
            }
            bound => return bound.with_context(|| format!("no socket at {addr}")),
        }
    }
}

/// Does something on a thread of its own that has entered the host's namespace: sockets made there stay there.
///
/// # Errors
/// When the namespace cannot be entered, or what is done fails.
pub fn in_namespace<T: Send>(host: &Host, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    let namespace = File::open(host.path())?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            work()
        });
        match thread.join() {
            Ok(done) => done,
            Err(_) => bail!("the work in the namespace panicked"),
        }
    })
}
