//! What the relay is started with, and why it could not start.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use border::{Interface, Interfaces};
use flow::Locals;
use flow::local::LocalsError;

use crate::engine::{Engine, Intake, Output};
use crate::kernel::{KernelError, XdpMode};
use crate::table::TrustConfig;
use crate::xsk::NoTransmit;

/// What the relay is started with.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// The local media addresses.
    pub interfaces: Interfaces,
    /// The first media port.
    pub port_min: u16,
    /// The last media port.
    pub port_max: u16,
    /// Which paths.
    pub engine: Engine,
    /// How XDP is attached.
    pub xdp_mode: XdpMode,
    /// How datagrams come to those who carry the slow path.
    pub intake: Intake,
    /// Where those who carry the slow path hand their packets.
    pub output: Output,
    /// How many threads carry the slow path.
    pub workers: usize,
    /// Whether each of them stays on a core of its own.
    pub pin_workers: bool,
    /// How long each of them, after a packet, looks for the next one before it sleeps; zero to sleep at once.
    pub busy_poll: Duration,
    /// Whether the workers carry RTCP, so that calls' quality is known; otherwise it takes the fast path too.
    pub measure_rtcp: bool,
    /// Where parties may be.
    pub trust: TrustConfig,
    /// What outlives the process, for the one that comes after it; `None`: nothing does.
    pub keep: Option<Keep>,
}

/// Where that is kept which the next process goes on with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keep {
    /// A folder of this instance alone in a BPF file system, which is made: maps and links.
    pub pins: PathBuf,
    /// A file of this instance alone: what was learned and counted.
    pub notes: PathBuf,
    /// Not all calls of the process before are on record: what XDP carries of others goes on.
    pub has_orphans: bool,
}

impl RelayConfig {
    /// Each local address with its first and last port.
    pub fn ranges(&self) -> Vec<(IpAddr, u16, u16)> {
        let range = |addr| {
            let own = self.interfaces.iter().find(|interface| interface.addr == addr).and_then(|one| one.ports);
            own.unwrap_or((self.port_min, self.port_max))
        };
        self.interfaces.addrs().into_iter().map(|addr| (addr, range(addr).0, range(addr).1)).collect()
    }

    /// The addresses that parties are told instead of local ones, each with that.
    pub(crate) fn advertised(&self) -> Vec<(IpAddr, IpAddr)> {
        let other = |one: &Interface| (one.advertised != one.addr).then_some((one.advertised, one.addr));
        self.interfaces.iter().filter_map(other).collect()
    }
}

/// Why the relay could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The addresses or ports cannot be represented.
    #[error("the local addresses cannot be used: more than {max}, or a port range that ends before it begins", max = Locals::MAX)]
    Locals,
    /// XDP was asked for by name and an address is on a device without a link.
    #[error("a media address is on the loopback device {0}, which has no XDP: choose engine = \"uring\"")]
    Loopback(String),
    /// No device would carry what XDP sends.
    #[error("{device}: {why}")]
    Unfit {
        /// The device.
        device: String,
        /// What is wrong with it.
        why: String,
    },
    /// The XDP program is not right for this processor.
    #[error("the fast path is for x86-64 only so far: choose engine = \"uring\"")]
    Architecture,
    /// AF_XDP was asked for by name.
    #[error("no packets of {device} can come by AF_XDP: {why}, or choose intake = \"auto\"")]
    Queues {
        /// The device.
        device: String,
        /// What is in the way.
        why: String,
    },
    /// AF_XDP was asked for by name, to send by.
    #[error("{0}, or choose output = \"device\"")]
    Transmit(#[from] NoTransmit),
    /// Another daemon has what is in the kernel.
    #[error("{0}")]
    Taken(String),
    /// BPF.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// io_uring or a socket.
    #[error("worker {0} cannot start: {1}")]
    Worker(usize, String),
    /// The routing tables.
    #[error("the kernel's routing tables cannot be read: {0}")]
    Netlink(#[source] io::Error),
}

impl From<LocalsError> for StartError {
    fn from(_: LocalsError) -> Self {
        Self::Locals
    }
}
