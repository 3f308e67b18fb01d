//! The flow table: the slots, the sources behind them, and what control wants of both.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use border::{Event, FlowOp, Intake, Signalled, SourceSpec};
use flow::counters::{Carried, Counters, Order, Timing};
use flow::rtp::Sequence;
use flow::{Epoch, Reason, Rule, Slot, SlotIndex};

use crate::engine::Output;
use crate::hops::NextHops;
use crate::host::Mapped;
use crate::table::announcer::Announcer;
use crate::table::clock::Clock;
use crate::table::events::Events;
use crate::table::fan::{Fan, Fans};
use crate::table::note::Notes;
use crate::table::orphans::Orphans;
use crate::table::ours::Ours;
use crate::table::peer::Peer;
use crate::table::reader::{Ear, Reader};
use crate::table::source::Source;
use crate::table::sources::{Former, Sources};
use crate::table::taken::Taken;
use crate::table::tally::Tally;
use crate::table::taps::{TapReader, Taps};
use crate::table::traffic::Sums;
use crate::table::trust::Trust;
use crate::worker::BoundPorts;

/// What the table has to know of the relay around it.
pub(crate) struct TableShape {
    /// Why no source is on the fast path; `None` when the XDP program runs.
    pub(crate) without_fast_path: Option<Reason>,
    /// The local addresses, and where they are.
    pub(crate) ours: Ours,
    /// Where parties may be.
    pub(crate) trust: Arc<Trust>,
    /// Where the workers' packets go: to the device, or to the stack.
    pub(crate) output: Output,
    /// Who reads RTCP for what it says about the quality of calls, where it is read: then it is the workers' to carry.
    pub(crate) reader: Option<Reader>,
    /// The sockets of the media ports, where the ports are not steered.
    pub(crate) bound: Option<Arc<BoundPorts>>,
    /// Who plays what parties are to hear.
    pub(crate) announcer: Announcer,
    /// What is told of sources.
    pub(crate) events: Arc<Events>,
    /// What is noted of sources for whoever comes next, and what the workers carried; each slot has one worker, its only writer.
    pub(crate) notes: Notes,
    /// The time, as slots remember it.
    pub(crate) epoch: Epoch,
}

/// The flow table.
pub(crate) struct FlowTable {
    pub(super) slots: Mapped<Slot>,
    /// What the XDP program counts of the slots' packets now and then.
    timings: Mapped<Timing>,
    pub(super) hops: NextHops,
    pub(super) fans: Fans,
    pub(super) shape: TableShape,
    pub(super) taps: Taps,
    pub(super) taken: Taken,
    pub(super) sums: Sums,
    /// The time, as slots remember it.
    epoch: AtomicU32,
    /// Times as the workers have them, and whoever comes next.
    pub(super) clock: Clock,
    sources: Mutex<Sources>,
    orphans: Mutex<Orphans>,
}

impl FlowTable {
    /// A table on this memory, that knows no sources yet.
    pub(crate) fn new(slots: Mapped<Slot>, timings: Mapped<Timing>, hops: NextHops, shape: TableShape) -> Self {
        let sources = Mutex::new(Sources::new(slots.len()));
        let taken = Taken::new(slots.len());
        Self {
            slots,
            timings,
            hops,
            fans: Fans::default(),
            taps: Taps::default(),
            taken,
            sums: Sums::default(),
            epoch: AtomicU32::new(shape.epoch.word()),
            clock: Clock::now(),
            shape,
            sources,
            orphans: Mutex::default(),
        }
    }

    /// The next hops of the table's slots.
    pub(crate) const fn hops(&self) -> &NextHops {
        &self.hops
    }

    /// The relay's own addresses.
    pub(crate) const fn ours(&self) -> &Ours {
        &self.shape.ours
    }

    /// Where parties may be.
    pub(crate) fn trust(&self) -> &Trust {
        &self.shape.trust
    }

    /// Who reads RTCP.
    pub(crate) const fn reader(&self) -> Option<&Reader> {
        self.shape.reader.as_ref()
    }

    /// The time, as slots remember it.
    fn epoch(&self) -> Epoch {
        Epoch::from_word(self.epoch.load(Ordering::Relaxed))
    }

    /// A new epoch begins; the programs have to be told, too.
    pub(crate) fn next_epoch(&self) -> Epoch {
        let next = self.epoch().next();
        self.epoch.store(next.word(), Ordering::Relaxed);
        next
    }

    /// A slot, for whoever forwards.
    pub(crate) fn slot(&self, index: SlotIndex) -> Option<&Slot> {
        self.slots.get(index.0 as usize)
    }

    /// What the fast path notes of a slot's times.
    pub(crate) fn timing(&self, index: SlotIndex) -> Option<&Timing> {
        self.timings.get(index.0 as usize)
    }

    /// What a slot's worker has carried.
    pub(crate) fn carried(&self, index: SlotIndex) -> Option<&Carried> {
        self.shape.notes.carried(index)
    }

    /// Whose order that is, of a stream that is not held to one synchronisation source.
    pub(crate) fn order(&self, index: SlotIndex) -> Option<&Order> {
        self.shape.notes.order(index)
    }

    /// A packet of a slot's source has come to a worker.
    pub(crate) fn take(&self, index: SlotIndex, intake: Intake) {
        self.taken.note(index, intake);
    }

    /// The sinks of a slot whose rule has several, for whoever forwards.
    pub(crate) fn fan(&self, index: SlotIndex) -> Option<Arc<Fan>> {
        self.fans.get(index)
    }

    /// The taps at sources.
    pub(crate) const fn taps(&self) -> &Taps {
        &self.taps
    }

    /// Copies of what comes for a call, which has sources in these slots, and leaves for it; `None` where somebody has them already.
    pub(crate) fn tap(&self, call: u64, slots: &[SlotIndex], is_plain: bool, now: Instant) -> Option<TapReader> {
        let reader = self.taps.open(call, is_plain)?;
        let mut sources = self.lock();
        slots.iter().for_each(|index| self.program(&mut sources, *index, now));
        Some(reader)
    }

    /// No copies any more.
    pub(crate) fn untap(&self, call: u64, now: Instant) {
        let slots = self.taps.close(call);
        let mut sources = self.lock();
        for index in slots {
            self.taps.follow(index, None);
            self.program(&mut sources, index, now);
        }
    }

    /// Makes the table as control wants it.
    pub(crate) fn apply(&self, ops: &[FlowOp], now: Instant) {
        // Sockets are opened before anybody waits for the lock, and closed after.
        self.open_ports(ops);
        let mut sources = self.lock();
        // Sources refer to one another, so rules are made when all are in place.
        let mut concerned = Vec::with_capacity(2 * ops.len());
        for op in ops {
            let (FlowOp::Install(index, _) | FlowOp::Remove(index)) = op;
            concerned.push(*index);
            match op {
                FlowOp::Install(index, spec) => self.install(&mut sources, *index, spec, now),
                FlowOp::Remove(index) => self.remove(&mut sources, *index, now),
            }
            concerned.extend(sources.feeders(*index));
        }
        concerned.sort_unstable();
        concerned.dedup();
        for index in concerned {
            self.program(&mut sources, index, now);
        }
        let is_gone = |index: &SlotIndex| sources.get(*index).is_none();
        let removed = ops.iter().filter_map(|op| match op {
            FlowOp::Install(..) => None,
            FlowOp::Remove(index) => Some(*index),
        });
        let closed: Vec<SlotIndex> = removed.filter(is_gone).collect();
        drop(sources);
        if let Some(bound) = &self.shape.bound {
            closed.into_iter().for_each(|index| bound.close(index));
        }
    }

    /// Opens the sockets of what is to be installed, where each port has its own.
    pub(super) fn open_ports(&self, ops: &[FlowOp]) {
        let Some(bound) = &self.shape.bound else { return };
        let installed = ops.iter().filter_map(|op| match op {
            FlowOp::Install(index, spec) => Some((*index, spec.tos)),
            FlowOp::Remove(_) => None,
        });
        installed.for_each(|(index, tos)| bound.open(index, tos));
    }

    /// What is known of the party, and whether its address is none where a party may be. Then it is nowhere.
    pub(super) fn judged(&self, spec: &SourceSpec) -> (Signalled, bool) {
        let judge = |at: std::net::SocketAddr| self.shape.trust.judge(spec.local.ip(), at.ip()).is_err();
        let is_untrusted = spec.party.at.is_some_and(judge);
        (Signalled { at: spec.party.at.filter(|_| !is_untrusted), ..spec.party }, is_untrusted)
    }

    pub(super) fn install(&self, sources: &mut Sources, index: SlotIndex, spec: &SourceSpec, now: Instant) {
        let Some(cells) = self.cells(index) else { return };
        let (party, is_untrusted) = self.judged(spec);
        if let Some(source) = sources.get_mut(index) {
            self.fold(source, &cells, now);
            source.peer.signal(party, now);
            source.is_untrusted = is_untrusted;
            if source.spec.clock_khz != spec.clock_khz {
                cells.timing.set_clock(spec.clock_khz);
                cells.carried.set_clock(spec.clock_khz);
            }
            // Another one's word about its media is not this one's.
            source.is_doubted &= source.spec.partner() == spec.partner();
            let turn = source.peer.next_turn();
            let before = self.reconnect(source, index, spec);
            source.follow_security();
            sources.feed(index, &before.sinks, &spec.sinks);
            if let Some(turn) = turn {
                sources.wait_for(index, turn);
            }
        } else {
            let knocks = (cells.slot.knockers(), self.epoch());
            let suspects = sources.suspects(index, spec.call, knocks, now);
            // Nobody counts here: the slot is inactive until it is programmed.
            cells.slot.program(Rule::INACTIVE);
            cells.slot.restart(cells.timing, Sequence::default(), spec.clock_khz);
            cells.carried.restart(Sequence::default(), spec.clock_khz);
            cells.order.forget();
            let tally = Tally::new(cells.fast(), cells.carried.read());
            let peer = Peer::new(spec.component, party, suspects);
            let source = Source::new(spec, peer, is_untrusted, tally, cells.carried.heard());
            sources.insert(index, source);
            sources.feed(index, &[], &spec.sinks);
        }
        if let Some(source) = sources.get_mut(index) {
            self.listen(source, index);
        }
    }

    /// Gives a source another specification, which is returned: what is kept of its sinks goes with their parties.
    fn reconnect(&self, source: &mut Source, index: SlotIndex, spec: &SourceSpec) -> SourceSpec {
        let is_same = source.spec.sinks.iter().map(|sink| sink.party).eq(spec.sinks.iter().map(|sink| sink.party));
        if !is_same && let Some(slot) = self.slot(index) {
            // First of all: a number may be another route's as soon as it is released, and the slot must not send there.
            slot.program(Rule::waiting(slot.state().flags(), slot.ssrc()));
            if std::mem::take(&mut source.is_fanned) {
                self.fans.set(index, None);
            }
            let parties = source.spec.sinks.iter().map(|sink| sink.party);
            let mut kept: Vec<_> = parties.zip(source.sinks.drain(..)).collect();
            source.sinks.extend(spec.sinks.iter().map(|sink| {
                let place = kept.iter().position(|(party, _)| *party == sink.party);
                place.map(|place| kept.swap_remove(place).1).unwrap_or_default()
            }));
            for (bearing, id) in kept.into_iter().filter_map(|(_, sink)| sink.route) {
                self.hops.release(bearing, id);
            }
        }
        std::mem::replace(&mut source.spec, spec.clone())
    }

    fn remove(&self, sources: &mut Sources, index: SlotIndex, now: Instant) {
        let Some(mut source) = sources.remove(index) else { return };
        sources.feed(index, &source.spec.sinks, &[]);
        if let Some(cells) = self.cells(index) {
            // First of all: a number may be another route's as soon as it is released, and the slot must not send there.
            cells.slot.program(Rule::INACTIVE);
            if source.is_fanned {
                self.fans.set(index, None);
            }
            self.fold(&mut source, &cells, Instant::now());
        }
        self.taps.follow(index, None);
        self.taken.forget(index);
        self.shape.notes.clear(index);
        if let (Some(_), Some(reader)) = (&source.ear, self.reader()) {
            reader.close(index);
        }
        self.hush(&source, index);
        let (call, host) = (source.spec.call, source.peer.last_host());
        sources.remember(index, Former { call, host, ended: now });
        for (bearing, id) in source.held() {
            self.hops.release(bearing, id);
        }
    }

    /// Has RTCP read, where it can be.
    pub(super) fn listen(&self, source: &mut Source, index: SlotIndex) {
        let Some(reader) = self.reader() else { return };
        if !source.is_readable() {
            if source.ear.take().is_some() {
                reader.close(index);
            }
            return;
        }
        let partner = source.spec.partner();
        if source.ear.as_ref().is_none_or(|known| (known.partner, known.local) != (partner, source.spec.local)) {
            let since = source.ear.as_ref().map_or_else(Instant::now, |known| known.since);
            let ear = Arc::new(Ear::new((source.spec.call, source.spec.local), partner, since));
            reader.open(index, Arc::clone(&ear));
            // What was reported to another partner before is still the party's report.
            if let Some(before) = source.ear.replace(Arc::clone(&ear)) {
                ear.inherit(&before);
            }
        }
    }

    /// Whether a worker has to look at each packet of a source.
    pub(super) fn reads(&self, source: &Source) -> bool {
        self.shape.reader.is_some() && source.is_readable()
    }

    /// Counts a packet of a source that could not be sent on.
    pub(crate) fn fail(&self, index: SlotIndex) {
        if let Some(source) = self.lock().get_mut(index) {
            source.errors += 1;
            self.sums.fail(1);
        }
    }

    /// The party of an RTCP source hears nothing of what the fast path sends it, or hears it again.
    pub(super) fn doubt(&self, rtcp: SlotIndex, is_doubted: bool, now: Instant) {
        let mut sources = self.lock();
        // It is the other party's media that this one hears or not.
        let Some(sender) = sources.get(rtcp.sibling()).and_then(|rtp| rtp.spec.partner()) else { return };
        let Some(source) = sources.get_mut(sender).filter(|source| source.is_doubted != is_doubted) else { return };
        source.is_doubted = is_doubted;
        self.shape.events.tell(Event::Doubted { call: source.spec.call, slot: sender, is_doubted });
        self.program(&mut sources, sender, now);
    }

    /// Tells control of something.
    pub(super) fn tell(&self, event: Event) {
        self.shape.events.tell(event);
    }

    /// What all sources together have carried.
    pub(crate) const fn sums(&self) -> &Sums {
        &self.sums
    }

    /// Takes what was counted of a source since the last time. What came while it was blocked went nowhere.
    pub(super) fn fold(&self, source: &mut Source, cells: &Cells<'_>, now: Instant) {
        let is_noted = source.tally.is_up_to_date(cells.slot.volume(), cells.carried.volume());
        if source.is_blocked() {
            let blocked = source.tally.skip(cells.fast(), cells.carried.read(), now);
            // What somebody sends who only receives is nobody's loss: a recorder's own reports.
            if !source.spec.sinks.is_empty() {
                source.errors += u64::from(blocked);
                self.sums.fail(blocked);
            }
        } else {
            self.sums.add(source.tally.fold(cells.fast(), cells.carried.read(), now));
        }
        if let Some(reader) = self.reader() {
            reader.lose(cells.index, source.tally.lost());
        }
        // Notes lie far apart in memory, and most of what a command looks at has not changed.
        if !is_noted {
            self.shape.notes.write(cells.index, source, self.clock);
        }
    }

    /// Everything that is kept of a slot outside the lock.
    pub(super) fn cells(&self, index: SlotIndex) -> Option<Cells<'_>> {
        let timing = self.timing(index)?;
        let (carried, order) = (self.carried(index)?, self.order(index)?);
        Some(Cells { index, slot: self.slot(index)?, timing, carried, order })
    }

    pub(super) fn lock_orphans(&self) -> MutexGuard<'_, Orphans> {
        // Each is whole, or gone.
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Sources> {
        // Every source is whole between any two statements that could panic; the rest of the calls must go on.
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything that is kept of a slot outside the lock.
pub(super) struct Cells<'a> {
    index: SlotIndex,
    pub(super) slot: &'a Slot,
    pub(super) timing: &'a Timing,
    pub(super) carried: &'a Carried,
    pub(super) order: &'a Order,
}

impl Cells<'_> {
    /// What the fast path has counted.
    pub(super) fn fast(&self) -> Counters {
        self.slot.counters(self.timing)
    }
}

#[cfg(test)]
mod tests;
