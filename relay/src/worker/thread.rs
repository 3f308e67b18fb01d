//! The slow path's threads: each its own loop and sockets, run to completion, no queue between receiving and sending.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::bounded;
use flow::{Reason, SlotIndex};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::engine::Loop;
use crate::host::{Wake, permit};
use crate::table::clock_ns;
use crate::worker::carry::Carrier;
use crate::worker::departure::Departure;
use crate::worker::epoll::Epoll;
use crate::worker::handler::{Arrival, Handler};
use crate::worker::outbox::Outbox;
use crate::worker::players::Players;
use crate::worker::ring::{BUFFERS, Ring};
use crate::worker::socket;
use crate::worker::sockets::Sockets;

/// How long a worker that has nothing to do sleeps before it looks whether it shall stop.
const IDLE: Duration = Duration::from_millis(100);

/// How workers go about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// By what they wait, receive and send.
    pub(crate) kind: Loop,
    /// Whether each stays on a core of its own.
    pub(crate) is_pinned: bool,
    /// How long one looks for the next packet before it sleeps.
    pub(crate) busy_poll: Duration,
}

/// A running worker.
pub(crate) struct Worker {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    /// The socket that datagrams are steered to, where they are.
    receiver: Option<Arc<OwnedFd>>,
    /// Losses of the receiver's buffer that were counted.
    drops: u32,
}

impl Worker {
    /// Starts a worker; returns when its loop stands.
    ///
    /// # Errors
    /// When the kernel gives no socket, ring or thread; in a sentence.
    pub(crate) fn start(
        number: usize,
        carrier: Carrier,
        players: Players,
        (sockets, wake): (Sockets, Arc<Wake>),
        manner: Manner,
    ) -> Result<Self, String> {
        let receiver = match &sockets {
            Sockets::Steered(receiver, _) => Some(Arc::clone(receiver)),
            Sockets::Bound(_) => None,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = bounded(1);
        let stopped = Arc::clone(&stop);
        // The ring belongs to the thread that makes it, so its errors have to come back from there.
        let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            let made = make(number, sockets, wake, manner);
            match made {
                Ok(turner) => {
                    let told = ready.send(Ok(()));
                    if told.is_ok() {
                        run(turner, Work { carrier, players, clock_ns: 0 }, manner.busy_poll, &stopped);
                    }
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        });
        let thread = thread.map_err(|error| format!("no thread: {error}"))?;
        let made = is_ready.recv().map_err(|error| error.to_string())?;
        made?;
        Ok(Self { thread: Some(thread), stop, receiver, drops: 0 })
    }

    /// Whether the thread has ended although nobody asked it to.
    pub(crate) fn is_dead(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Datagrams that the receive buffer had no room for, since the last call.
    pub(crate) fn new_drops(&mut self) -> io::Result<u32> {
        let Some(receiver) = &self.receiver else { return Ok(0) };
        let drops = socket::drops(receiver)?;
        Ok(drops.wrapping_sub(std::mem::replace(&mut self.drops, drops)))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a worker had panicked");
        }
    }
}

/// Makes a worker's loop, in its thread.
fn make(number: usize, sockets: Sockets, wake: Arc<Wake>, manner: Manner) -> Result<Turner, String> {
    if manner.is_pinned {
        pin(number).map_err(|error| format!("it cannot be kept on a core (pin-workers): {error}"))?;
    }
    match manner.kind {
        Loop::Ring => {
            let ring = Ring::new(sockets, wake, BUFFERS).map_err(|error| permit::explain_ring(&error))?;
            if !manner.busy_poll.is_zero() {
                ring.poll_card(manner.busy_poll);
            }
            Ok(Turner::Ring(Box::new(ring)))
        }
        Loop::Epoll => Epoll::new(sockets, wake).map(Turner::Epoll).map_err(|error| format!("no epoll: {error}")),
    }
}

/// Keeps this thread on one of the cores that the process may use. Where workers are more than cores, they share.
fn pin(number: usize) -> io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).cycle();
    let mut own = CpuSet::new();
    own.set(cores.nth(number % CpuSet::MAX_CPU).unwrap_or(0));
    Ok(sched_setaffinity(None, &own)?)
}

/// The loop of one worker.
enum Turner {
    Ring(Box<Ring>),
    Epoll(Epoll),
}

impl Turner {
    fn turn(&mut self, timeout: Duration, work: &mut Work) -> io::Result<()> {
        match self {
            Self::Ring(ring) => ring.turn(timeout, work),
            Self::Epoll(epoll) => epoll.turn(timeout, work),
        }
    }
}

fn run(mut turner: Turner, mut work: Work, busy_poll: Duration, stop: &AtomicBool) {
    let mut awake_until = None;
    while !stop.load(Ordering::Relaxed) {
        let is_awake = awake_until.is_some_and(|until| Instant::now() < until);
        let idle = work.players.wait().unwrap_or(IDLE).min(IDLE);
        if let Err(error) = turner.turn(if is_awake { Duration::ZERO } else { idle }, &mut work) {
            // A loop that fails once is tried again; without a pause one that always fails would take the core.
            tracing::error!(%error, "a worker's loop failed; trying again");
            std::thread::sleep(IDLE);
        }
        if !busy_poll.is_zero() && work.clock_ns != 0 {
            awake_until = Some(Instant::now() + busy_poll);
        }
        work.clock_ns = 0;
    }
}

/// One worker's packet work.
struct Work {
    carrier: Carrier,
    players: Players,
    /// The time of this turn, read when its first packet asks; 0 before. Packets of one turn have waited for one another anyway.
    clock_ns: u64,
}

impl Handler for Work {
    fn arrived(&mut self, arrival: &mut Arrival<'_>, outbox: &mut Outbox) -> Option<Departure> {
        if self.clock_ns == 0 {
            self.clock_ns = clock_ns();
        }
        self.carrier.carry(arrival, self.clock_ns, outbox)
    }

    fn turned(&mut self, outbox: &mut Outbox) {
        self.players.turn(&mut self.carrier, outbox);
        self.carrier.tell();
    }

    fn overflowed(&mut self, count: u32) {
        if count > 0 {
            self.carrier.reasons.add(Reason::ReceiveOverflow, u64::from(count));
        }
    }

    fn oversized(&mut self) {
        self.carrier.reasons.count(Reason::Truncated);
    }

    fn refused(&mut self, slot: Option<SlotIndex>, error: &io::Error) {
        tracing::trace!(%error, ?slot, "a packet could not be sent");
        self.carrier.refused(slot);
    }
}
