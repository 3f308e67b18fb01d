//! The relay as a whole: what `control` programs, reads and stops.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use border::{Counts, Event, FlowOp, Meter, PastStack, SourceTotals, Traffic, Turns, Untrusted};
use flow::{Reason, SlotIndex};

use crate::engine::Engine;
use crate::hops::Watcher;
use crate::kernel::{Guard, Kernel};
use crate::supervise::Restarts;
use crate::table::{Events, FlowTable, ReadingThread, Rtcp, TapReader};
use crate::worker::{BoundPorts, Reasons, Worker};

/// Seconds of an epoch.
const EPOCH: u64 = 16;

/// A thread of the relay has ended although nobody asked it to.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{0} has died; its last words are in the log")]
pub struct DeadThread(&'static str);

/// The running relay. Dropping it stops it; what it was to keep stays for the next process, unless it has [ended](Relay::end).
pub struct Relay {
    // Dropped in this order: no more packets from the programs, then nobody who would carry them, then their memory.
    /// Its thread is gone before the program is.
    pub(crate) guard: Option<Guard>,
    /// None where BPF is forbidden or not needed.
    pub(crate) kernel: Option<Arc<Mutex<Kernel>>>,
    /// What the program had counted when it was last asked.
    pub(crate) counted: Mutex<[u64; Reason::COUNT]>,
    pub(crate) workers: Vec<Worker>,
    /// The sockets of media ports, where they are not steered.
    pub(crate) bound: Option<Arc<BoundPorts>>,
    pub(crate) watcher: Option<Watcher>,
    /// Reads RTCP, where that is read.
    pub(crate) listener: Option<ReadingThread>,
    pub(crate) table: Arc<FlowTable>,
    pub(crate) reasons: Vec<Arc<Reasons>>,
    /// How often one of these threads was begun anew.
    pub(crate) restarts: Restarts,
    /// What is to be told.
    pub(crate) events: Arc<Events>,
    pub(crate) engine: Engine,
    pub(crate) why: String,
    /// As of the last sweep.
    pub(crate) traffic: Traffic,
    /// When that was.
    pub(crate) measured: Instant,
    /// The part of the slots that is swept next.
    pub(crate) part: usize,
    /// How many have passed.
    pub(crate) seconds: u64,
    /// Pairs of ports of calls that are on no record.
    pub(crate) orphans: Vec<SlotIndex>,
    /// Whether what is in the kernel is kept for the next process.
    pub(crate) is_pinned: bool,
    /// Where what is learned and counted is noted for the next process.
    pub(crate) notes: Option<PathBuf>,
}

impl Relay {
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

    /// Ends orphans that nobody speaks by any more.
    fn look_for_orphans(&mut self, now: Instant) {
        if self.orphans.is_empty() {
            return;
        }
        self.orphans = self.table.orphans(now);
        if self.orphans.is_empty() {
            tracing::info!("nobody speaks any more in calls that were on no record");
            // Where that has to wait, the next process looks for some, and finds none.
            if let Some(Ok(kernel)) = self.kernel.as_ref().map(|kernel| kernel.try_lock())
                && let Some(pins) = kernel.pins()
            {
                pins.set_orphans(false);
            }
        }
    }

    /// The pairs of ports, by the slot of the even one, by which the fast path carries calls that are on no record: nobody else may have them.
    pub fn orphans(&self) -> &[SlotIndex] {
        &self.orphans
    }

    /// Notes all that was counted, for the next process.
    pub fn note(&self, now: Instant) {
        self.table.sweep(now, 0, 1);
    }

    /// Leaves nothing behind: nobody comes next. What is attached goes with the process.
    pub fn end(&mut self) {
        // Whoever would attach the program again.
        self.guard = None;
        let pins = self.kernel.as_ref().and_then(|kernel| {
            let kernel = kernel.lock().unwrap_or_else(PoisonError::into_inner);
            kernel.pins().cloned()
        });
        if let Some(pins) = pins {
            pins.remove();
        }
        if let Some(Err(error)) = self.notes.take().map(std::fs::remove_file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "what was noted cannot be removed");
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

    /// Copies of what comes for the call of this number, whose sources are in these slots, and of what leaves for it: as it is on the wire, or as it is
    /// behind SRTP. Workers carry it meanwhile. `None` where somebody has them already.
    pub fn tap(&self, call: u64, slots: &[SlotIndex], is_plain: bool) -> Option<TapReader> {
        self.table.tap(call, slots, is_plain, Instant::now())
    }

    /// No copies any more.
    pub fn untap(&self, call: u64) {
        self.table.untap(call, Instant::now());
    }

    /// All RTCP that is read, with what is behind SRTCP, is given to this, too: from now on, by a thread that does nothing else, which must not wait. Where
    /// RTCP is not read there is none. `None` is one of a source that sends more than anybody needs to.
    pub fn export_rtcp(&self, export: impl Fn(Option<Rtcp>) + Send + Sync + 'static) {
        if let Some(reader) = self.table.reader() {
            reader.export(export);
        }
    }

    /// The next event, in the order in which they happened.
    pub fn next_event(&self) -> Option<Event> {
        self.events.take()
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
        self.look_for_orphans(now);
        for (worker, reasons) in self.workers.iter_mut().zip(&self.reasons) {
            match worker.new_drops() {
                Ok(drops) => reasons.add(Reason::ReceiveOverflow, u64::from(drops)),
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
        if self.listener.as_ref().is_some_and(ReadingThread::is_dead) {
            return Err(DeadThread("the reader of RTCP"));
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
        let steering = self.guard.as_ref().map_or_else(Turns::default, Guard::steering_turns);
        let mut workers = [0; Reason::COUNT];
        for reasons in &self.reasons {
            workers.iter_mut().zip(reasons.read()).for_each(|(sum, count)| *sum += count);
        }
        Counts {
            program: named(program),
            workers: named(workers),
            fast_path,
            fast_path_missing: self.guard.as_ref().map_or(0, Guard::missing),
            steering,
            past_stack: self.guard.as_ref().map_or_else(PastStack::default, Guard::past_stack),
            restarts: self.restarts.count(),
            orphans: self.orphans.len(),
            hops: self.table.hops().usage(),
            is_pinned: self.is_pinned,
            traffic: self.traffic,
        }
    }

    fn totals(&self, slot: SlotIndex) -> Option<SourceTotals> {
        self.table.totals(slot)
    }

    fn judge(&self, local: IpAddr, party: IpAddr) -> Result<(), Untrusted> {
        self.table.trust().judge(local, party)
    }
}
