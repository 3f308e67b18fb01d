//! What this host can do for a relay, found out by trying: the facts that `intertrunk doctor` judges.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use flow::Locals;
use flow::local::SLOTS_PER_LOCAL;

use crate::config::RelayConfig;
use crate::engine::{Intake, Output};
use crate::hops::{Entry, Event, Neighbour};
use crate::host::Features;
use crate::host::{Device, devices};
use crate::host::{ethtool, permit, reserve};
use crate::kernel::{Facts, Kernel, QueueOptions, Sizes, obstacle, program_name};
use crate::worker::probe_ring;
use crate::xsk;

/// The facts about a host.
#[derive(Clone, Debug)]
pub struct Host {
    /// The kernel's release, such as `6.1.0-18-amd64`.
    pub kernel: String,
    /// Whether the processor is one that the fast path is for.
    pub is_x86_64: bool,
    /// The process' effective capabilities, a bit for each (linux/capability.h).
    pub capabilities: u64,
    /// The kernel's lockdown mode, where there is one.
    pub lockdown: Option<String>,
    /// Whether the BPF programs are accepted; with the cause and the remedy if not.
    pub bpf: Result<(), String>,
    /// The same for io_uring.
    pub io_uring: Result<(), String>,
    /// The same for the socket that the slow path sends by.
    pub raw_socket: Result<(), String>,
    /// The same for the sockets by which packets come past the stack.
    pub af_xdp: Result<(), String>,
    /// Whether frames may be sent by AF_XDP, where that is asked for.
    pub transmit: Result<(), String>,
    /// What is wrong with the media ports, each in a sentence with its remedy.
    pub ports: Vec<String>,
    /// Interfaces whose address this host does not have.
    pub missing: Vec<(String, IpAddr)>,
    /// The devices of the interfaces.
    pub nics: Vec<Nic>,
}

/// The facts about a device that has media addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Nic {
    /// Its name.
    pub name: String,
    /// The names of the interfaces on it.
    pub interfaces: Vec<String>,
    /// It has no link.
    pub is_loopback: bool,
    /// Its driver: `ixgbe`, `virtio_net`, `veth`.
    pub driver: Option<String>,
    /// The largest packet, in bytes.
    pub mtu: u32,
    /// Receive and transmit queues.
    pub queues: (u32, u32),
    /// What the driver can do with XDP; `None` on kernels that do not tell (before 6.3).
    pub xdp: Option<Features>,
    /// Why its packets come to the workers by the stack, whatever AF_XDP can.
    pub past_stack: Option<String>,
    /// The XDP program that is attached already: number and name.
    pub program: Option<(u32, String)>,
    /// Whether UDP ports count when packets are spread over the queues; `None` when the driver does not tell.
    pub hashes_ports: Option<bool>,
    /// Whether the card takes VLAN tags out of frames; `None` when it does not tell.
    pub strips_vlan: Option<bool>,
    /// Whether VLAN devices stand on it.
    pub has_vlans: bool,
    /// Its default gateways, and whether their MAC is known.
    pub gateways: Vec<(IpAddr, bool)>,
}

impl Host {
    /// Looks at this host, as a relay of this configuration would find it.
    ///
    /// # Errors
    /// When the kernel's tables cannot be read at all.
    pub fn probe(config: &RelayConfig) -> io::Result<Self> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let mut missing = Vec::new();
        let nics = nics(config, &mut missing)?;
        Ok(Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            is_x86_64: cfg!(target_arch = "x86_64"),
            capabilities: capabilities(&read("/proc/self/status")).unwrap_or(0),
            lockdown: lockdown(&read("/sys/kernel/security/lockdown")),
            bpf: bpf(config),
            io_uring: probe_ring().map_err(|error| permit::explain_ring(&error)),
            raw_socket: raw_socket().map_err(|error| permit::explain_raw(&error)),
            af_xdp: xsk::probe().map_err(|error| xsk::explain(&error)),
            transmit: transmit(config),
            ports: reserve::conflicts(&config.ranges()),
            missing,
            nics,
        })
    }
}

fn transmit(config: &RelayConfig) -> Result<(), String> {
    xsk::may_transmit(config.output == Output::Xsk, config.intake == Intake::Xsk).map_err(|error| error.to_string())
}

/// Loads what the relay loads, and lets it go again.
fn bpf(config: &RelayConfig) -> Result<(), String> {
    let locals = Locals::with_ports(config.ranges().into_iter(), 1).map_err(|_| "too many interfaces".to_owned())?;
    let sizes = Sizes { slots: SLOTS_PER_LOCAL as usize, hops: 2, workers: 1 };
    let mut kernel = Kernel::load(&locals, sizes, Facts { has_unfinished: false, owns_ports: false }, None)
        .map_err(|error| error.to_string())?;
    kernel.load_steer().map(drop).map_err(|error| error.to_string())?;
    kernel.load_xdp().map(drop).map_err(|error| error.to_string())
}

fn raw_socket() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketType, ipproto, socket};
    Ok(socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW)).map(drop)?)
}

fn nics(config: &RelayConfig, missing: &mut Vec<(String, IpAddr)>) -> io::Result<Vec<Nic>> {
    let (addresses, gateways) = (devices::addresses()?, crate::hops::gateways()?);
    let Event::Everything { neighbours, .. } = crate::hops::everything()? else {
        return Err(io::ErrorKind::Other.into());
    };
    let options = QueueOptions { is_wanted: config.intake == Intake::Xsk, mode: config.xdp_mode, sends: false };
    let mut nics: Vec<Nic> = Vec::new();
    for interface in config.interfaces.iter() {
        let Some(device) = addresses.get(&interface.addr) else {
            missing.push((interface.name.clone(), interface.addr));
            continue;
        };
        match nics.iter_mut().find(|nic| nic.name == device.name) {
            Some(nic) if nic.interfaces.contains(&interface.name) => {}
            Some(nic) => nic.interfaces.push(interface.name.clone()),
            None => {
                let mut nic = nic(device, &neighbours, &gateways);
                nic.past_stack = obstacle(device, config.workers, options);
                nic.interfaces.push(interface.name.clone());
                nics.push(nic);
            }
        }
    }
    Ok(nics)
}

fn nic(device: &Device, neighbours: &HashMap<Neighbour, Entry>, gateways: &[Neighbour]) -> Nic {
    let is_known =
        |gateway: &Neighbour| matches!(neighbours.get(gateway), Some(Entry::Resolved(_) | Entry::Permanent(_)));
    Nic {
        name: device.name.clone(),
        interfaces: Vec::new(),
        is_loopback: device.is_loopback,
        driver: ethtool::driver(&device.name),
        mtu: device.mtu,
        queues: device.queues,
        xdp: Features::of(device.index).unwrap_or(None),
        past_stack: None,
        program: device.program.map(|id| (id, program_name(id))),
        hashes_ports: ethtool::hashes_ports(&device.name),
        strips_vlan: ethtool::strips_vlan(&device.name),
        has_vlans: device.has_vlans,
        gateways: gateways
            .iter()
            .filter(|gateway| gateway.device == device.index)
            .map(|gateway| (gateway.addr, is_known(gateway)))
            .collect(),
    }
}

/// `CapEff` of `/proc/self/status`.
fn capabilities(status: &str) -> Option<u64> {
    let text = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(text.trim(), 16).ok()
}

/// The mode in brackets, unless that is none: `none [integrity] confidentiality`.
fn lockdown(text: &str) -> Option<String> {
    let mode = text.split('[').nth(1)?.split(']').next()?;
    (mode != "none").then(|| mode.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_capabilities_are_read() {
        assert_eq!(capabilities("CapPrm:\t0\nCapEff:\t000000c000003000\n"), Some(0xc0_0000_3000));
        assert_eq!(capabilities(""), None);
    }

    #[test]
    fn lockdown_is_the_mode_in_brackets() {
        assert_eq!(lockdown("none [integrity] confidentiality\n").as_deref(), Some("integrity"));
        assert_eq!(lockdown("[none] integrity confidentiality\n"), None);
        assert_eq!(lockdown(""), None);
    }

    #[test]
    fn the_loopback_device_is_found_with_what_it_is() {
        let addresses = devices::addresses().unwrap();
        let device = addresses.get(&"127.0.0.1".parse().unwrap()).unwrap();
        let nic = nic(device, &HashMap::new(), &[]);
        assert!(nic.is_loopback && nic.mtu > 1500 && nic.queues.0 >= 1, "{nic:?}");
        assert_eq!(nic.program, None);
    }
}
