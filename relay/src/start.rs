//! How the relay comes up: devices, programs, sockets, table, workers, in the order in which each needs the one before.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use border::{FlowOp, Traffic};
use flow::local::SLOTS_PER_LOCAL;
use flow::{Epoch, Locals, Reason};

use crate::config::{RelayConfig, StartError};
use crate::engine::{Engine, Intake, Loop, Output};
use crate::hops::{HOPS, NextHops, Watcher};
use crate::host::{Device, Mapped, Wake, devices, ethtool, fitness, permit, reserve};
use crate::kernel::{
    Attachments, Facts, Guard, Kernel, KernelError, Pins, PinsError, Program, QueueOptions, Queues, Shape, Sizes,
    XdpMode,
};
use crate::relay::Relay;
use crate::supervise::Restarts;
use crate::table::{Announcer, Events, FlowTable, Left, Notes, Ours, Reader, ReadingThread, TableShape, Trust};
use crate::worker::{Carrier, Manner, Players, Reasons, Sockets, Work, Worker, intake, probe_ring};
use crate::xsk;

/// For so long it is waited at a start for the next hops of calls that go on.
const RESOLVE: Duration = Duration::from_millis(500);

impl Relay {
    /// Starts the relay: tables, programs, workers, next hops. `notify` is called, by any thread and not for long, when there are events
    /// to be taken. `wanted`: the sources of calls of an earlier process, with which this one goes on.
    ///
    /// # Errors
    /// When something that was asked for cannot be had.
    pub fn start(
        config: &RelayConfig,
        notify: impl Fn() + Send + Sync + 'static,
        wanted: &[FlowOp],
    ) -> Result<Self, StartError> {
        let pins = config.keep.as_ref().map(|keep| keep.pins.as_path());
        let had_pins = pins.is_some_and(Path::exists);
        Self::start_on(config, notify, wanted).inspect_err(|_| {
            // What an earlier process has left goes on; what this one has begun does not.
            if let Some(pins) = pins.filter(|pins| !had_pins && pins.exists()) {
                let _gone = std::fs::remove_dir_all(pins);
            }
        })
    }

    fn start_on(
        config: &RelayConfig,
        notify: impl Fn() + Send + Sync + 'static,
        wanted: &[FlowOp],
    ) -> Result<Self, StartError> {
        xsk::may_transmit(config.output == Output::Xsk, config.intake == Intake::Xsk)?;
        let addrs = config.interfaces.addrs();
        let seated = seats(config)?;
        let devices: Vec<Device> = distinct(&seated);
        for conflict in reserve::conflicts(&config.ranges()) {
            tracing::warn!("{conflict}");
        }
        let workers = config.workers.clamp(1, usize::from(u16::MAX));
        let locals = Arc::new(Locals::with_ports(config.ranges().into_iter(), workers as u16)?);
        let sizes = Sizes { slots: addrs.len() * SLOTS_PER_LOCAL as usize, hops: HOPS, workers };
        // Senders on this machine leave checksums unfinished only to devices that are no hardware; one that is to come may be such.
        let is_virtual = |device: &Device| ethtool::driver(&device.name).as_deref() == Some(fitness::VETH);
        let has_unfinished = seated.iter().any(|device| device.as_ref().is_none_or(is_virtual));
        let owns_ports = reserve::is_reserved(&config.ranges());
        // A port is steered when its worker has a socket; until then nobody has been told of any.
        let pins = config.keep.as_ref().map(|keep| pins(&keep.pins, Shape::of(&locals, sizes))).transpose()?.flatten();
        let memory = Shape::of_memory(&addrs);
        let maps = Shape::of(&locals, sizes);
        let facts = Facts { has_unfinished, owns_ports };
        let (mut kernel, is_steered) = intake::load(config, &locals, sizes, facts, pins.clone())?;
        let has_rules = kernel.as_ref().is_some_and(Kernel::has_rules);
        if has_rules {
            tracing::info!(calls = wanted.len(), "the kernel goes on with what an earlier process has left");
        }
        let kind = choose_loop(config.engine)?;
        let (mut engine, why) = match &mut kernel {
            Some(kernel) => attach(kernel, config, &devices)?,
            None => (Engine::Uring, "without BPF".to_owned()),
        };
        if kind == Loop::Epoll && engine != Engine::Xdp {
            engine = Engine::Epoll;
        }
        let wakes: Result<Vec<_>, _> = (0..workers).map(|_| Wake::new().map(Arc::new)).collect();
        let wakes = wakes.map_err(|error| StartError::Worker(0, error.to_string()))?;
        let reader = xsk::Reader { locals: Arc::clone(&locals) };
        let (lines, inlets) = xsk::Lines::new(&wakes, &reader);
        let (sockets, bound) = intake::sockets(config, is_steered, &addrs, &wakes, inlets)?;
        let has_fast_path = engine == Engine::Xdp;
        let has_resolver = has_fast_path || (config.output.is_device() && bound.is_none());
        let advertised = config.advertised();
        let trust = Trust::new(config.trust.clone(), advertised.iter().map(|(advertised, _)| *advertised));
        trust.set_host(devices::host_addresses().map_err(StartError::Netlink)?);
        let (reader, listener) = config.measure_rtcp.then(|| Reader::new(sizes.slots)).unzip();
        let events = Arc::new(Events::new(notify));
        let (announcer, orders) = Announcer::new(&wakes);
        let table_shape = TableShape {
            without_fast_path: without_fast_path(engine),
            ours: Ours::new(locals, advertised, addrs.len()),
            trust: Arc::new(trust),
            output: config.output,
            reader,
            bound: bound.clone(),
            announcer,
            events: Arc::clone(&events),
            notes: notes(config, sizes.slots, [&memory, &maps])?,
            epoch: kernel.as_ref().map_or(Ok(Epoch::FIRST), Kernel::epoch)?,
        };
        let table = Arc::new(table(kernel.as_ref(), sizes.slots, has_resolver, table_shape)?);
        let has_orphans = |pins: &Pins| pins.has_orphans() || config.keep.as_ref().is_some_and(|keep| keep.has_orphans);
        let left = match &pins {
            _ if !has_rules => Left::Nothing,
            Some(pins) if has_fast_path && has_orphans(pins) => Left::Orphans,
            Some(_) | None => Left::Rules,
        };
        table.adopt(wanted, left, Instant::now());
        let orphans = table.orphans(Instant::now());
        if let Some(pins) = &pins {
            pins.set_orphans(!orphans.is_empty());
        }
        if !orphans.is_empty() {
            tracing::warn!(
                pairs = orphans.len(),
                "the kernel carries media of calls that are on no record: it goes on until nobody sends any more"
            );
        }
        let restarts = Restarts::default();
        let listener = listener.map(|listener| ReadingThread::start(listener, Arc::clone(&table), restarts.clone()));
        let listener = listener.transpose().map_err(StartError::Netlink)?;
        let reasons: Vec<Arc<Reasons>> = sockets.iter().map(|_| Arc::default()).collect();
        let manner = Manner { kind, is_pinned: config.pin_workers, busy_poll: config.busy_poll };
        let (count, mut workers) = (workers, Vec::new());
        let posts = sockets.into_iter().zip(&reasons).zip(wakes.into_iter().zip(orders));
        for (number, ((sockets, reasons), (wake, orders))) in posts.enumerate() {
            // Each begins at a place of its own.
            let first_id = (number * (usize::from(u16::MAX) / count)) as u16;
            let carrier = Carrier::new(Arc::clone(&table), Arc::clone(reasons), bound.is_some(), first_id);
            if let (Sockets::Steered(receiver, ..), Some(kernel)) = (&sockets, &mut kernel) {
                kernel.set_worker(number, &**receiver)?;
            }
            let players = Players::new(orders, Arc::clone(&events), Instant::now());
            let work = Work::new(carrier, players);
            let worker = Worker::start(number, work, (sockets, wake), manner, restarts.clone());
            workers.push(worker.map_err(|error| StartError::Worker(number, error))?);
        }
        let is_attached = has_fast_path || config.intake == Intake::Xsk;
        let id = kernel.as_mut().filter(|_| is_attached).map(Kernel::xdp_id).transpose()?;
        let kernel = kernel.map(|kernel| Arc::new(Mutex::new(kernel)));
        let program = kernel.as_ref().zip(id).map(|(kernel, id)| Program {
            kernel: Arc::clone(kernel),
            id,
            mode: config.xdp_mode,
            is_wanted: config.engine == Engine::Xdp,
            forwards: has_fast_path,
        });
        let steering = kernel.clone().filter(|_| is_steered && bound.is_none());
        let has_queues = is_attached && steering.is_some() && config.intake != Intake::Steered;
        let options = QueueOptions {
            is_wanted: config.intake == Intake::Xsk,
            mode: config.xdp_mode,
            sends: config.output == Output::Xsk,
        };
        let queues = kernel.clone().filter(|_| has_queues);
        let queues = queues.map(|kernel| Queues::new(kernel, lines, reasons.clone(), options));
        let queues = queues.map(|queues| first_queues(queues, &devices)).transpose()?;
        let attachments = Attachments::new(addrs, &seated, program, steering, queues, Arc::clone(&table));
        let attachments = attachments.map_err(StartError::Netlink)?;
        let watcher = if has_resolver {
            let watcher = Watcher::start(Arc::clone(&table), attachments.ports().clone(), restarts.clone());
            Some(watcher.map_err(StartError::Netlink)?)
        } else {
            None
        };
        match (&kernel, &pins) {
            (Some(kernel), _) => {
                let mut kernel = kernel.lock().unwrap_or_else(PoisonError::into_inner);
                if is_attached {
                    succeed(&mut kernel, config, &devices, &table);
                }
                kernel.forget_others();
            }
            (None, Some(pins)) => pins.remove(),
            (None, None) => {}
        }
        let guard = Some(Guard::start(attachments, restarts.clone()).map_err(StartError::Netlink)?);
        let counted = Mutex::new([0; Reason::COUNT]);
        Ok(Self {
            is_pinned: kernel.is_some() && pins.is_some(),
            guard,
            kernel,
            counted,
            workers,
            bound,
            watcher,
            listener,
            table,
            reasons,
            restarts,
            events,
            engine,
            why,
            traffic: Traffic::default(),
            measured: Instant::now(),
            part: 0,
            seconds: 0,
            orphans,
            notes: config.keep.as_ref().map(|keep| keep.notes.clone()),
        })
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
    let hops = NextHops::new(cells, has_resolver)?;
    hops.adopt();
    Ok(FlowTable::new(slots, timings, hops, shape))
}

/// Where that is which outlives the process, as far as the host permits.
fn pins(folder: &Path, shape: Shape) -> Result<Option<Pins>, StartError> {
    match Pins::open(folder, shape) {
        Ok(pins) => Ok(Some(pins)),
        Err(error @ PinsError::Taken(_)) => Err(StartError::Taken(error.to_string())),
        Err(PinsError::Folder(error)) => {
            tracing::warn!(
                "what is in the kernel ends with this process, and the media of its calls until there is another: {error}"
            );
            Ok(None)
        }
    }
}

/// Where what is learned and counted is noted, as far as the host permits.
fn notes(config: &RelayConfig, slots: usize, [shape, maps]: [&Shape; 2]) -> Result<Notes, StartError> {
    let ports: Vec<_> = config.ranges().into_iter().map(|(_, first, last)| (first, last)).collect();
    if let Some(keep) = &config.keep {
        match Notes::open(&keep.notes, slots, [shape.name(), maps.name()], &ports) {
            Ok(notes) => return Ok(notes),
            Err(error) => tracing::warn!(
                path = %keep.notes.display(),
                %error,
                "what is learned and counted ends with this process: the next one counts from zero, and learns anew"
            ),
        }
    }
    Notes::none(slots).map_err(|error| KernelError::Memory(error).into())
}

/// The device of each local address, in the order of their numbers; `None` where this host has none.
fn seats(config: &RelayConfig) -> Result<Vec<Option<Device>>, StartError> {
    let found = devices::addresses().map_err(StartError::Netlink)?;
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
    let Err(error) = probe_ring() else { return Ok(Loop::Ring) };
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
    let is_intake_only = matches!(config.engine, Engine::Uring | Engine::Epoll);
    if is_intake_only && config.intake != Intake::Xsk {
        return Ok((config.engine, "as configured".to_owned()));
    }
    // The program relies on loads that stay in order, as x86 keeps them; elsewhere it would need barriers that BPF has only since 6.14.
    if cfg!(not(target_arch = "x86_64")) {
        return match config.engine {
            Engine::Auto if config.intake != Intake::Xsk => Ok((Engine::Uring, StartError::Architecture.to_string())),
            Engine::Auto | Engine::Xdp | Engine::Uring | Engine::Epoll => Err(StartError::Architecture),
        };
    }
    let attached = match devices.iter().find(|device| device.is_loopback) {
        Some(device) => Err(StartError::Loopback(device.name.clone())),
        None => is_of_use(config, devices).and_then(|()| {
            // The others have their turn when the table knows as much as theirs.
            let first: Vec<_> = devices.iter().filter(|device| !kernel.is_preceded(device, config.xdp_mode)).collect();
            kernel.load_xdp()?;
            first.into_iter().try_for_each(|device| Ok(kernel.attach_xdp(device, config.xdp_mode)?))
        }),
    };
    match (attached, config.engine) {
        (Ok(()), engine) if is_intake_only => Ok((engine, "as configured".to_owned())),
        (Ok(()), _) => {
            let names: Vec<_> = devices.iter().map(|device| device.name.as_str()).collect();
            let names = if names.is_empty() { "no device yet".to_owned() } else { names.join(", ") };
            Ok((Engine::Xdp, format!("attached to {names} in {:?} mode", config.xdp_mode)))
        }
        (Err(error), Engine::Auto) if config.intake != Intake::Xsk => {
            // What was attached before the failure must not forward while the daemon says that there is no fast path.
            kernel.detach_xdp()?;
            Ok((Engine::Uring, error.to_string()))
        }
        (Err(error), _) => Err(error),
    }
}

/// Takes up the queues of the devices that there are. Where it was asked for by name, one at least has to be had; else each second may bring one.
fn first_queues(mut queues: Queues, devices: &[Device]) -> Result<Queues, StartError> {
    let start = Instant::now();
    loop {
        let failed: Vec<_> =
            devices.iter().filter_map(|device| Some((device, queues.take_up(device).err()?))).collect();
        match failed.first() {
            Some((device, why)) if queues.is_wanted() && queues.is_empty() => {
                // A process that has just ended may still have them.
                if start.elapsed() > RESOLVE {
                    return Err(StartError::Queues { device: device.name.clone(), why: why.clone() });
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            Some(_) | None => return Ok(queues),
        }
    }
}

/// Takes the place of an earlier process' program with other maps, when this one's know as much: between two frames, and none is lost.
fn succeed(kernel: &mut Kernel, config: &RelayConfig, devices: &[Device], table: &FlowTable) {
    let preceded: Vec<_> = devices.iter().filter(|device| kernel.is_preceded(device, config.xdp_mode)).collect();
    if preceded.is_empty() {
        return;
    }
    let start = Instant::now();
    // What is not resolved by then would take the slow path for a moment.
    while !table.hops().are_resolved() && start.elapsed() < RESOLVE {
        std::thread::sleep(Duration::from_millis(1));
    }
    for device in preceded {
        match kernel.attach_xdp(device, config.xdp_mode) {
            Ok(()) => tracing::info!(device = device.name, "this program has taken the place of the one before"),
            // Whoever guards the devices sees that the program there is not this one's.
            Err(error) => tracing::warn!("{error}. This is tried once a second"),
        }
    }
}

/// An error when there is no device that would carry what XDP sends: then there is no use for it, unless it only hands over.
fn is_of_use(config: &RelayConfig, devices: &[Device]) -> Result<(), StartError> {
    let sends = matches!(config.engine, Engine::Auto | Engine::Xdp);
    if !sends || config.xdp_mode == XdpMode::Generic {
        // In generic mode the stack sends, whatever the driver can.
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
