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
use crate::supervise::Restarts;
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
    /// Starts a worker; returns when its loop stands. What panics in it is begun anew, with the same sockets.
    ///
    /// # Errors
    /// When the kernel gives no socket, ring or thread; in a sentence.
    pub(crate) fn start(
        number: usize,
        handler: impl Handler + Send + 'static,
        (sockets, wake): (Sockets, Arc<Wake>),
        manner: Manner,
        restarts: Restarts,
    ) -> Result<Self, String> {
        let receiver = match &sockets {
            Sockets::Steered(receiver, ..) => Some(Arc::clone(receiver)),
            Sockets::Bound(_) => None,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = bounded(1);
        let stopped = Arc::clone(&stop);
        // The ring belongs to the thread that makes it, so its errors have to come back from there.
        let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            match make(number, sockets, Arc::clone(&wake), manner) {
                Ok(turner) => {
                    let told = ready.send(Ok(()));
                    if told.is_ok() {
                        let handler = Careful { handler, restarts: restarts.clone() };
                        let mut post = Post { number, wake, manner, turner: Some(turner), is_manned: false, handler };
                        restarts.supervise("a worker's loop", || post.run(&stopped));
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
        Loop::Epoll => Epoll::new(sockets, wake)
            .map(|epoll| Turner::Epoll(Box::new(epoll)))
            .map_err(|error| format!("no epoll: {error}")),
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
    Epoll(Box<Epoll>),
}

impl Turner {
    fn turn(&mut self, timeout: Duration, handler: &mut impl Handler) -> io::Result<()> {
        match self {
            Self::Ring(ring) => ring.turn(timeout, handler),
            Self::Epoll(epoll) => epoll.turn(timeout, handler),
        }
    }

    /// Ends the loop; what has not been received yet waits in the sockets.
    fn into_sockets(self) -> Sockets {
        match self {
            Self::Ring(ring) => ring.into_sockets(),
            Self::Epoll(epoll) => epoll.into_sockets(),
        }
    }
}

/// A worker's loop, and what it takes to make it again.
struct Post<H> {
    number: usize,
    wake: Arc<Wake>,
    manner: Manner,
    /// None when it could not be made again.
    turner: Option<Turner>,
    /// Somebody works here, or has left in the middle of a turn.
    is_manned: bool,
    handler: H,
}

impl<H: Handler> Post<H> {
    /// Turns until it shall stop, or no loop can be had.
    fn run(&mut self, stop: &AtomicBool) {
        if std::mem::replace(&mut self.is_manned, true) {
            self.renew();
        }
        let busy_poll = self.manner.busy_poll;
        let mut awake_until = None;
        while !stop.load(Ordering::Relaxed) {
            let Some(turner) = &mut self.turner else { return };
            let is_awake = awake_until.is_some_and(|until| Instant::now() < until);
            let idle = self.handler.wait().unwrap_or(IDLE).min(IDLE);
            if let Err(error) = turner.turn(if is_awake { Duration::ZERO } else { idle }, &mut self.handler) {
                // A loop that fails once is tried again; without a pause one that always fails would take the core.
                tracing::error!(%error, "a worker's loop failed; trying again");
                std::thread::sleep(IDLE);
            }
            if self.handler.rest() && !busy_poll.is_zero() {
                awake_until = Some(Instant::now() + busy_poll);
            }
        }
    }

    /// Makes the loop again: of one that was left in the middle of a turn nobody knows where its buffers are.
    fn renew(&mut self) {
        let Some(sockets) = self.turner.take().map(Turner::into_sockets) else { return };
        match make(self.number, sockets, Arc::clone(&self.wake), self.manner) {
            Ok(turner) => self.turner = Some(turner),
            Err(error) => tracing::error!(error, "a worker cannot begin anew"),
        }
    }
}

/// Gives up what panics, and nothing else: another packet of the same turn is another call's.
struct Careful<H> {
    handler: H,
    restarts: Restarts,
}

impl<H: Handler> Handler for Careful<H> {
    fn arrived(&mut self, arrival: &mut Arrival<'_>, outbox: &mut Outbox) -> Option<Departure> {
        self.restarts.attempt("a packet", || self.handler.arrived(arrival, outbox)).flatten()
    }

    fn turned(&mut self, outbox: &mut Outbox) {
        self.restarts.attempt("what a worker sends of its own", || self.handler.turned(outbox));
    }

    fn overflowed(&mut self, count: u32) {
        self.handler.overflowed(count);
    }

    fn oversized(&mut self) {
        self.handler.oversized();
    }

    fn lost(&mut self, reason: Reason) {
        self.handler.lost(reason);
    }

    fn refused(&mut self, slot: Option<SlotIndex>, error: &io::Error) {
        self.handler.refused(slot, error);
    }

    fn wait(&self) -> Option<Duration> {
        self.handler.wait()
    }

    fn rest(&mut self) -> bool {
        self.handler.rest()
    }
}

/// One worker's packet work.
pub(crate) struct Work {
    carrier: Carrier,
    players: Players,
    /// The time of this turn, read when its first packet asks; 0 before. Packets of one turn have waited for one another anyway.
    clock_ns: u64,
}

impl Work {
    /// The work of a worker that carries and plays.
    pub(crate) const fn new(carrier: Carrier, players: Players) -> Self {
        Self { carrier, players, clock_ns: 0 }
    }
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

    fn lost(&mut self, reason: Reason) {
        self.carrier.reasons.count(reason);
    }

    fn refused(&mut self, slot: Option<SlotIndex>, error: &io::Error) {
        tracing::trace!(%error, ?slot, "a packet could not be sent");
        self.carrier.refused(slot);
    }

    fn wait(&self) -> Option<Duration> {
        self.players.wait()
    }

    fn rest(&mut self) -> bool {
        std::mem::take(&mut self.clock_ns) != 0
    }
}

#[cfg(test)]
mod tests;
