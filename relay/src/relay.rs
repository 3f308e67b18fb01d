//! The relay as a whole: what `control` starts, programs, reads and stops.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use border::{Counts, FlowOp, Interface, Interfaces, Meter, StreamTotals, Traffic, Turns, Untrusted};
use flow::local::{LocalsError, SLOTS_PER_LOCAL};
use flow::{Locals, Reason, SlotIndex};

use crate::attachment::{Attachments, Guard, Program};
use crate::bound::BoundPorts;
use crate::carry::{Carrier, Reasons};
use crate::engine::{Engine, Intake, Loop, Output};
use crate::fitness::{self, VETH};
use crate::intake;
use crate::kernel::{Facts, Kernel, KernelError, Sizes, XdpMode};
use crate::memory::Mapped;
use crate::netlink::{self, Device};
use crate::next_hops::{HOPS, NextHops};
use crate::ours::Ours;
use crate::oversize::Oversize;
use crate::permit;
use crate::reserve;
use crate::socket::Sockets;
use crate::table::{FlowTable, TableShape};
use crate::trust::{Trust, TrustConfig};
use crate::watcher::Watcher;
use crate::worker::{Manner, Worker};
use crate::{ethtool, ring};

/// Seconds of an epoch.
const EPOCH: u64 = 16;

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
    fn advertised(&self) -> Vec<(IpAddr, IpAddr)> {
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

/// A thread of the relay has ended although nobody asked it to.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{0} has died; its last words are in the log")]
pub struct DeadThread(&'static str);

/// The running relay. Dropping it stops it and leaves nothing behind.
pub struct Relay {
    // Dropped in this order: no more packets from the programs, then nobody who would carry them, then their memory.
    /// Its thread is gone before the program is.
    guard: Option<Guard>,
    /// None where BPF is forbidden or not needed.
    kernel: Option<Arc<Mutex<Kernel>>>,
    /// What the program had counted when it was last asked.
    counted: Mutex<[u64; Reason::COUNT]>,
    workers: Vec<Worker>,
    /// The sockets of media ports, where they are not steered.
    bound: Option<Arc<BoundPorts>>,
    watcher: Option<Watcher>,
    table: Arc<FlowTable>,
    reasons: Arc<Reasons>,
    engine: Engine,
    why: String,
    /// As of the last sweep.
    traffic: Traffic,
    /// When that was.
    measured: Instant,
    /// The part of the slots that is swept next.
    part: usize,
    /// How many have passed.
    seconds: u64,
}

impl Relay {
    /// Starts the relay: tables, programs, workers, next hops.
    ///
    /// # Errors
    /// When something that was asked for cannot be had.
    pub fn start(config: &RelayConfig) -> Result<Self, StartError> {
        let addrs = config.interfaces.addrs();
        let seated = devices(config)?;
        let devices: Vec<Device> = distinct(&seated);
        for conflict in reserve::conflicts(&config.ranges()) {
            tracing::warn!("{conflict}");
        }
        let workers = config.workers.clamp(1, usize::from(u16::MAX));
        let locals = Arc::new(Locals::with_ports(config.ranges().into_iter(), workers as u16)?);
        let sizes = Sizes { slots: addrs.len() * SLOTS_PER_LOCAL as usize, hops: HOPS, workers };
        // Senders on this machine leave checksums unfinished only to devices that are no hardware; one that is to come may be such.
        let is_virtual = |device: &Device| ethtool::driver(&device.name).as_deref() == Some(VETH);
        let has_unfinished = seated.iter().any(|device| device.as_ref().is_none_or(is_virtual));
        let owns_ports = reserve::is_reserved(&config.ranges());
        // A port is steered when its worker has a socket; until then nobody has been told of any.
        let (mut kernel, is_steered) = intake::load(config, &locals, sizes, Facts { has_unfinished, owns_ports })?;
        let kind = choose_loop(config.engine)?;
        let (mut engine, why) = match &mut kernel {
            Some(kernel) => attach(kernel, config, &devices)?,
            None => (Engine::Uring, "without BPF".to_owned()),
        };
        if kind == Loop::Epoll && engine != Engine::Xdp {
            engine = Engine::Epoll;
        }
        let (sockets, bound) = intake::sockets(config, is_steered, &addrs, workers)?;
        let has_fast_path = engine == Engine::Xdp;
        let has_resolver = has_fast_path || (config.output == Output::Device && bound.is_none());
        let advertised = config.advertised();
        let trust = Trust::new(config.trust.clone(), advertised.iter().map(|(advertised, _)| *advertised));
        trust.set_host(netlink::host_addresses().map_err(StartError::Netlink)?);
        let shape = TableShape {
            without_fast_path: without_fast_path(engine),
            ours: Ours::new(locals, advertised, addrs.len()),
            trust: Arc::new(trust),
            output: config.output,
            reads_rtcp: config.measure_rtcp,
            bound: bound.clone(),
        };
        let table = Arc::new(table(kernel.as_ref(), sizes.slots, has_resolver, shape)?);
        let reasons = Arc::new(Reasons::default());
        let manner = Manner { kind, is_pinned: config.pin_workers, busy_poll: config.busy_poll };
        let (count, mut workers) = (workers, Vec::new());
        for (number, sockets) in sockets.into_iter().enumerate() {
            let carrier = Carrier {
                table: Arc::clone(&table),
                reasons: Arc::clone(&reasons),
                has_bound_ports: bound.is_some(),
                // Each begins at a place of its own.
                last_id: (number * (usize::from(u16::MAX) / count)) as u16,
                oversize: Oversize::default(),
            };
            if let (Sockets::Steered(receiver, _), Some(kernel)) = (&sockets, &mut kernel) {
                kernel.set_worker(number, &**receiver)?;
            }
            let worker = Worker::start(number, carrier, sockets, manner);
            workers.push(worker.map_err(|error| StartError::Worker(number, error))?);
        }
        let id = kernel.as_mut().filter(|_| has_fast_path).map(Kernel::xdp_id).transpose()?;
        let kernel = kernel.map(|kernel| Arc::new(Mutex::new(kernel)));
        let program = kernel.as_ref().zip(id).map(|(kernel, id)| Program {
            kernel: Arc::clone(kernel),
            id,
            mode: config.xdp_mode,
            is_wanted: config.engine == Engine::Xdp,
        });
        let attachments = Attachments::new(addrs, &seated, program, Arc::clone(&table));
        let attachments = attachments.map_err(StartError::Netlink)?;
        let watcher = if has_resolver {
            let watcher = Watcher::start(Arc::clone(&table), attachments.ports().clone());
            Some(watcher.map_err(StartError::Netlink)?)
        } else {
            None
        };
        let guard = Some(Guard::start(attachments).map_err(StartError::Netlink)?);
        let counted = Mutex::new([0; Reason::COUNT]);
        Ok(Self {
            guard,
            kernel,
            counted,
            workers,
            bound,
            watcher,
            table,
            reasons,
            engine,
            why,
            traffic: Traffic::default(),
            measured: Instant::now(),
            part: 0,
            seconds: 0,
        })
    }

    /// A second has passed. Who knocks at a port without a call is remembered for an epoch or two.
    fn pass_time(&mut self) {
        self.seconds += 1;
        if !self.seconds.is_multiple_of(EPOCH) {
            return;
        }
        let epoch = self.table.next_epoch();
        // While the program is being attached again the time stands still, and the next epoch is the longer.
        if let Some(Ok(mut kernel)) = self.kernel.as_ref().map(|kernel| kernel.try_lock())
            && let Err(error) = kernel.set_epoch(epoch)
        {
            tracing::debug!(%error, "the programs cannot be told the time");
        }
    }

    /// The engine that runs: never [`Engine::Auto`].
    pub const fn engine(&self) -> Engine {
        self.engine
    }

    /// Whether each media port has a socket of its own.
    pub const fn has_bound_ports(&self) -> bool {
        self.bound.is_some()
    }

    /// How many calls of one media there can be; `None` when nothing but the ports limits them.
    pub fn max_calls(&self) -> Option<usize> {
        self.bound.as_ref().map(|bound| bound.max_calls)
    }

    /// Why it is this engine, for the log.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Makes the flow table as control wants it.
    pub fn apply(&self, ops: &[FlowOp], now: Instant) {
        self.table.apply(ops, now);
    }

    /// What all streams together have carried, as of the last second.
    pub const fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Folds the counters of one of so many parts of the slots before they can wrap, each time of the next; all of them in about a second. With
    /// the last part it looks whether all threads live, and tells that a second is over.
    ///
    /// # Errors
    /// When a thread has died: its share of the media would be lost in silence, so the daemon had better end and be started again.
    pub fn sweep(&mut self, now: Instant, parts: usize) -> Result<bool, DeadThread> {
        self.table.sweep(now, self.part, parts);
        self.part += 1;
        if self.part < parts {
            return Ok(false);
        }
        self.part = 0;
        let ago = now.saturating_duration_since(std::mem::replace(&mut self.measured, now));
        self.traffic = self.table.sums().read(&self.traffic, ago);
        self.pass_time();
        for worker in &mut self.workers {
            match worker.new_drops() {
                Ok(drops) => self.reasons.add(Reason::ReceiveOverflow, u64::from(drops)),
                Err(error) => tracing::debug!(%error, "a worker's drops cannot be read"),
            }
        }
        if let Some(bound) = &self.bound {
            bound.retry();
        }
        if self.workers.iter().any(Worker::is_dead) {
            return Err(DeadThread("a worker"));
        }
        if self.guard.as_ref().is_some_and(Guard::is_dead) {
            return Err(DeadThread("the guard of the XDP program"));
        }
        if self.watcher.as_ref().is_some_and(Watcher::is_dead) {
            return Err(DeadThread("the next-hop watcher"));
        }
        Ok(true)
    }
}

impl Meter for Relay {
    fn counts(&self) -> Counts {
        let named = |counts: [u64; Reason::COUNT]| Reason::ALL.into_iter().zip(counts).collect();
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        // While the program is being attached again, which a driver may make last, the last counts have to do.
        if let Some(Ok(kernel)) = self.kernel.as_ref().map(|kernel| kernel.try_lock()) {
            match kernel.reasons() {
                Ok(now) => *counted = now,
                Err(error) => tracing::debug!(%error, "the program's counts cannot be read"),
            }
        }
        let program = *counted;
        drop(counted);
        let fast_path = self.guard.as_ref().map_or_else(Turns::default, Guard::turns);
        Counts { program: named(program), workers: named(self.reasons.read()), fast_path, traffic: self.traffic }
    }

    fn totals(&self, slot: SlotIndex) -> Option<StreamTotals> {
        self.table.totals(slot)
    }

    fn judge(&self, local: IpAddr, party: IpAddr) -> Result<(), Untrusted> {
        self.table.trust().judge(local, party)
    }
}

/// The flow table, in the programs' memory where there are programs.
fn table(
    kernel: Option<&Kernel>,
    slots: usize,
    has_resolver: bool,
    shape: TableShape,
) -> Result<FlowTable, KernelError> {
    let (cells, slots, timings) = match kernel {
        Some(kernel) => (kernel.map_hops()?, kernel.map_slots()?, kernel.map_timings()?),
        None => (Mapped::anonymous(HOPS)?, Mapped::anonymous(slots)?, Mapped::anonymous(slots)?),
    };
    Ok(FlowTable::new(slots, timings, NextHops::new(cells, has_resolver)?, shape)?)
}

/// The device of each local address, in the order of their numbers; `None` where this host has none.
fn devices(config: &RelayConfig) -> Result<Vec<Option<Device>>, StartError> {
    let found = netlink::addresses().map_err(StartError::Netlink)?;
    let device = |addr: IpAddr| {
        let device = found.get(&addr).cloned();
        if device.is_none() {
            tracing::warn!(
                %addr,
                "this host has no such address (`ip address` lists what it has): its calls are silent until it comes, as keepalived's do"
            );
        }
        device
    };
    Ok(config.interfaces.addrs().into_iter().map(device).collect())
}

fn distinct(devices: &[Option<Device>]) -> Vec<Device> {
    let mut distinct: Vec<Device> = Vec::new();
    for device in devices.iter().flatten() {
        if !distinct.iter().any(|other| other.index == device.index) {
            distinct.push(device.clone());
        }
    }
    distinct
}

/// How the workers go about it. A ring that was asked for by name and cannot be had is an error; else epoll takes over.
fn choose_loop(engine: Engine) -> Result<Loop, StartError> {
    if engine == Engine::Epoll {
        return Ok(Loop::Epoll);
    }
    let Err(error) = ring::probe() else { return Ok(Loop::Ring) };
    let why = permit::explain_ring(&error);
    if engine == Engine::Uring {
        return Err(StartError::Worker(0, why));
    }
    tracing::warn!("the slow path runs without io_uring, by epoll, which costs more for each packet: {why}");
    Ok(Loop::Epoll)
}

/// Why no stream is on the fast path, when none is.
const fn without_fast_path(engine: Engine) -> Option<Reason> {
    match engine {
        Engine::Auto | Engine::Xdp => None,
        Engine::Uring => Some(Reason::EngineUring),
        Engine::Epoll => Some(Reason::EngineEpoll),
    }
}

/// Attaches XDP where it is wanted; tells the engine that runs, and why.
fn attach(kernel: &mut Kernel, config: &RelayConfig, devices: &[Device]) -> Result<(Engine, String), StartError> {
    if matches!(config.engine, Engine::Uring | Engine::Epoll) {
        return Ok((config.engine, "as configured".to_owned()));
    }
    // The program relies on loads that stay in order, as x86 keeps them; elsewhere it would need barriers that BPF has only since 6.14.
    if cfg!(not(target_arch = "x86_64")) {
        return match config.engine {
            Engine::Auto => Ok((Engine::Uring, StartError::Architecture.to_string())),
            Engine::Xdp | Engine::Uring | Engine::Epoll => Err(StartError::Architecture),
        };
    }
    let attached = match devices.iter().find(|device| device.is_loopback) {
        Some(device) => Err(StartError::Loopback(device.name.clone())),
        None => all_unfit(config, devices)
            .and_then(|()| devices.iter().try_for_each(|device| Ok(kernel.attach_xdp(device, config.xdp_mode)?))),
    };
    match (attached, config.engine) {
        (Ok(()), _) => {
            let names: Vec<_> = devices.iter().map(|device| device.name.as_str()).collect();
            let names = if names.is_empty() { "no device yet".to_owned() } else { names.join(", ") };
            Ok((Engine::Xdp, format!("attached to {names} in {:?} mode", config.xdp_mode)))
        }
        (Err(error), Engine::Auto) => {
            // What was attached before the failure must not forward while the daemon says that there is no fast path.
            kernel.detach_xdp()?;
            Ok((Engine::Uring, error.to_string()))
        }
        (Err(error), Engine::Xdp | Engine::Uring | Engine::Epoll) => Err(error),
    }
}

/// An error when there is no device that would carry what XDP sends: then there is no use for it.
fn all_unfit(config: &RelayConfig, devices: &[Device]) -> Result<(), StartError> {
    if config.xdp_mode == XdpMode::Generic {
        // The stack sends, whatever the driver can.
        return Ok(());
    }
    let mut first = None;
    for device in devices {
        match fitness::of(device, config.engine == Engine::Xdp) {
            Err(unfit) if unfit.is_for_all() => {
                first.get_or_insert_with(|| StartError::Unfit { device: device.name.clone(), why: unfit.to_string() });
            }
            Ok(()) | Err(_) => return Ok(()),
        }
    }
    first.map_or(Ok(()), Err)
}
