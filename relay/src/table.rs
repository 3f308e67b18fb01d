//! The flow table: the slots, the streams behind them, and the learning of peers.
//!
//! Slots are read by the XDP program and by the workers without a lock. They are programmed under one lock, which is taken when a call is
//! set up, changed or ended and for packets that may teach something new; not to forward a packet.

mod account;
mod learn;

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use border::{Component, Content, FlowOp, Signalled, StreamSpec};
use flow::counters::{Carried, Counters, Timing};
use flow::rtp::Sequence;
use flow::slot::{Flags, Path as Addresses};
use flow::{Bearing, Epoch, HopId, Reason, Rule, Slot, SlotIndex};

use crate::bound::BoundPorts;
use crate::circuit;
use crate::engine::Output;
use crate::learning::Peer;
use crate::memory::Mapped;
use crate::next_hops::NextHops;
use crate::ours::Ours;
use crate::stream::Stream;
use crate::streams::{self, CHUNK, Former, Streams, is_described, standing, stream, stream_mut};
use crate::tally::Tally;
use crate::traffic::Sums;
use crate::trust::Trust;

pub(crate) use self::learn::Departing;

/// What the table has to know of the relay around it.
pub(crate) struct TableShape {
    /// Why no stream is on the fast path; `None` when the XDP program runs.
    pub(crate) without_fast_path: Option<Reason>,
    /// The local addresses, and where they are.
    pub(crate) ours: Ours,
    /// Where parties may be.
    pub(crate) trust: Arc<Trust>,
    /// Where the workers' packets go: to the device, or to the stack.
    pub(crate) output: Output,
    /// Whether RTCP is read for what it says about the quality of calls, which only the workers can.
    pub(crate) reads_rtcp: bool,
    /// The sockets of the media ports, where the ports are not steered.
    pub(crate) bound: Option<Arc<BoundPorts>>,
}

/// The flow table.
pub(crate) struct FlowTable {
    slots: Mapped<Slot>,
    /// What the XDP program counts of the slots' packets now and then.
    timings: Mapped<Timing>,
    /// What the workers carried, by slot; each slot has one worker, its only writer.
    carried: Mapped<Carried>,
    hops: NextHops,
    shape: TableShape,
    sums: Sums,
    /// The time, as slots remember it.
    epoch: AtomicU32,
    streams: Mutex<Streams>,
}

impl FlowTable {
    /// An empty table on this memory.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn new(
        slots: Mapped<Slot>,
        timings: Mapped<Timing>,
        hops: NextHops,
        shape: TableShape,
    ) -> io::Result<Self> {
        let carried = Mapped::anonymous(slots.len())?;
        let streams = Mutex::new(Streams::new(slots.len()));
        Ok(Self {
            slots,
            timings,
            carried,
            hops,
            shape,
            sums: Sums::default(),
            epoch: AtomicU32::new(Epoch::FIRST.word()),
            streams,
        })
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

    /// The counters of a slot's worker.
    pub(crate) fn carried(&self, index: SlotIndex) -> Option<&Carried> {
        self.carried.get(index.0 as usize)
    }

    /// Makes the table as control wants it.
    pub(crate) fn apply(&self, ops: &[FlowOp], now: Instant) {
        // Sockets are opened before anybody waits for the lock, and closed after.
        if let Some(bound) = &self.shape.bound {
            let installed = ops.iter().filter_map(|op| match op {
                FlowOp::Install(index, spec) => Some((*index, spec.tos)),
                FlowOp::Remove(_) => None,
            });
            installed.for_each(|(index, tos)| bound.open(index, tos));
        }
        let mut streams = self.lock();
        // Streams refer to one another, before and after, so rules are made when all are in place.
        let mut concerned = Vec::with_capacity(2 * ops.len());
        for op in ops {
            let (FlowOp::Install(index, _) | FlowOp::Remove(index)) = op;
            concerned.push(*index);
            concerned.extend(stream(&streams, *index).and_then(|stream| stream.spec.other));
            match op {
                FlowOp::Install(index, spec) => self.install(&mut streams, *index, spec, now),
                FlowOp::Remove(index) => self.remove(&mut streams, *index, now),
            }
            concerned.extend(stream(&streams, *index).and_then(|stream| stream.spec.other));
        }
        concerned.sort_unstable();
        concerned.dedup();
        for index in concerned {
            self.program(&mut streams, index, now);
        }
        let is_gone = |index: &SlotIndex| stream(&streams, *index).is_none();
        let removed = ops.iter().filter_map(|op| match op {
            FlowOp::Install(..) => None,
            FlowOp::Remove(index) => Some(*index),
        });
        let closed: Vec<SlotIndex> = removed.filter(is_gone).collect();
        drop(streams);
        if let Some(bound) = &self.shape.bound {
            closed.into_iter().for_each(|index| bound.close(index));
        }
    }

    /// What is known of the party, and whether its address is none where a party may be. Then it is nowhere.
    fn judged(&self, spec: &StreamSpec) -> (Signalled, bool) {
        let judge = |at: std::net::SocketAddr| self.shape.trust.judge(spec.local.ip(), at.ip()).is_err();
        let is_untrusted = spec.party.at.is_some_and(judge);
        (Signalled { at: spec.party.at.filter(|_| !is_untrusted), ..spec.party }, is_untrusted)
    }

    fn install(&self, streams: &mut Streams, index: SlotIndex, spec: &StreamSpec, now: Instant) {
        let Some(cells) = self.cells(index) else { return };
        let (party, is_untrusted) = self.judged(spec);
        match stream_mut(streams, index) {
            Some(stream) => {
                self.sums.add(stream.tally.fold(cells.fast(), cells.carried.read(), now));
                stream.peer.signal(party, now);
                stream.is_untrusted = is_untrusted;
                if stream.spec.clock_khz != spec.clock_khz {
                    cells.timing.set_clock(spec.clock_khz);
                    cells.carried.set_clock(spec.clock_khz);
                }
                // Another one's word about its media is not this one's.
                stream.is_doubted &= stream.spec.other == spec.other;
                stream.spec = spec.clone();
                if let Some(turn) = stream.peer.next_turn() {
                    streams.wait_for(index, turn);
                }
            }
            None => {
                let knocks = (cells.slot.knockers(), self.epoch());
                let suspects = streams.suspects(index, spec.call, knocks, now);
                // Nobody counts here: the slot is inactive until it is programmed.
                cells.slot.program(Rule::INACTIVE);
                cells.slot.restart(cells.timing, Sequence::default(), spec.clock_khz);
                cells.carried.restart(Sequence::default(), spec.clock_khz);
                streams.insert(
                    index,
                    Stream {
                        spec: spec.clone(),
                        peer: Peer::new(spec.component, party, suspects),
                        is_untrusted,
                        is_doubted: false,
                        ssrc: None,
                        ssrc_changes: 0,
                        any_ssrc: false,
                        towards: None,
                        way: None,
                        tally: Tally::new(cells.fast(), cells.carried.read()),
                        errors: 0,
                        reports: None,
                    },
                );
            }
        }
    }

    fn remove(&self, streams: &mut Streams, index: SlotIndex, now: Instant) {
        let Some(mut stream) = streams.remove(index) else { return };
        if let Some(cells) = self.cells(index) {
            // First of all: a number may be another way's as soon as it is released, and the slot must not send there.
            cells.slot.program(Rule::INACTIVE);
            self.sums.add(stream.tally.fold(cells.fast(), cells.carried.read(), Instant::now()));
        }
        let (call, host) = (stream.spec.call, stream.peer.last_host());
        streams.remember(index, Former { call, host, ended: now });
        for (bearing, id) in stream.way.into_iter().chain(stream.towards) {
            self.hops.release(bearing, id);
        }
    }

    /// Has a place hold the number of the way that is needed now, and no other.
    fn follow_way(&self, held: &mut Option<(Bearing, HopId)>, needed: Option<Bearing>) {
        let is_numbered = held.is_none_or(|(_, id)| id != HopId::NONE);
        if held.map(|(bearing, _)| bearing) == needed && is_numbered {
            return;
        }
        let acquired = needed.map(|bearing| (bearing, self.hops.acquire(bearing)));
        if let Some((old, id)) = std::mem::replace(held, acquired) {
            self.hops.release(old, id);
        }
    }

    /// Programs a slot with what its stream and the other leg's amount to now.
    fn program(&self, streams: &mut Streams, index: SlotIndex, now: Instant) {
        let Some(slot) = self.slot(index) else { return };
        let addresses = self.addresses(streams, index);
        if is_described(streams, index)
            && let Some(stream) = stream_mut(streams, index)
        {
            stream.peer.open(now);
        }
        let standing = standing(streams, index);
        let (Some(stream), Some(standing)) = (stream_mut(streams, index), standing) else {
            slot.program(Rule::INACTIVE);
            return;
        };
        let way = addresses.as_ref().ok().map(|addresses| Bearing {
            from: addresses.from.ip(),
            to: addresses.to.ip(),
            tos: stream.spec.tos,
        });
        // The way back is the other leg's slot's too, if the type of service is the same.
        let towards = addresses.as_ref().ok().filter(|addresses| addresses.peer.is_ipv6()).map(|addresses| Bearing {
            from: addresses.local.ip(),
            to: addresses.peer.ip(),
            tos: stream.spec.tos,
        });
        // The slot refers to the old numbers until it is programmed, and a number may be another way's as soon as it is released.
        let is_other = |held: Option<(Bearing, HopId)>, needed: Option<Bearing>| {
            held.map(|(way, _)| way) != needed || is_unnumbered(held)
        };
        let has_moved = is_other(stream.way, way) || is_other(stream.towards, towards);
        let mut flags = stream.flags(&standing);
        if addresses.as_ref().is_ok_and(|addresses| self.shape.ours.has(addresses.peer.ip())) {
            flags = flags.with(Flags::HAIRPIN);
        }
        // Of a slot that no call had it is not a source that is noted there.
        let is_noted = slot.state().flags().has(Flags::CALL);
        let waiting = Rule::waiting(flags, if is_noted { slot.ssrc() } else { 0 });
        if has_moved {
            slot.program(waiting);
            self.follow_way(&mut stream.way, way);
            self.follow_way(&mut stream.towards, towards);
        }
        let rule = match addresses {
            Ok(addresses) if standing.confirmed.is_some() && !self.reads(stream) && !stream.is_doubted => {
                self.rule(stream, flags, slot, &addresses)
            }
            Ok(_) | Err(_) => None,
        };
        slot.program(rule.unwrap_or(waiting));
    }

    /// Whether a worker has to look at each packet of a stream: of what is encrypted there is nothing to see.
    fn reads(&self, stream: &Stream) -> bool {
        self.shape.reads_rtcp && stream.spec.component == Component::Rtcp && stream.spec.content == Content::Rtp
    }

    /// The addresses of a packet on its way through a slot. The peer is a guess as long as it is not confirmed.
    fn addresses(&self, streams: &Streams, index: SlotIndex) -> Result<Addresses, Reason> {
        let addresses = streams::addresses(streams, index)?;
        let ours = &self.shape.ours;
        if ours.slot(addresses.to).is_some() && circuit::closes(streams, ours, index) {
            return Err(Reason::Ring);
        }
        Ok(addresses)
    }

    /// The rule of a stream whose peer is certain; `None` when the next-hop table has no room for it.
    fn rule(&self, stream: &Stream, flags: Flags, slot: &Slot, addresses: &Addresses) -> Option<Rule> {
        let (_, hop) = stream.way.filter(|(_, id)| *id != HopId::NONE)?;
        let towards = match stream.towards {
            None => HopId::NONE,
            Some((_, HopId::NONE)) => return None,
            Some((_, id)) => id,
        };
        // Of a stream that is not held to a source, the XDP program notes the last one.
        let ssrc = if flags.has(Flags::ANY_SSRC) { slot.ssrc() } else { stream.ssrc.unwrap_or(0) };
        let mut rule = Rule::new(addresses, towards);
        (rule.flags, rule.hop, rule.ssrc) = (flags, hop, ssrc);
        Some(rule)
    }

    /// Programs the slot whose packets go to this stream's party.
    fn program_other(&self, streams: &mut Streams, index: SlotIndex, now: Instant) {
        let other = stream(streams, index).and_then(|stream| stream.spec.other);
        if let Some(other) = other.filter(|other| *other != index) {
            self.program(streams, other, now);
        }
    }

    /// Counts a packet of a stream that could not be sent on.
    pub(crate) fn fail(&self, index: SlotIndex) {
        if let Some(stream) = stream_mut(&mut self.lock(), index) {
            stream.errors += 1;
            self.sums.fail();
        }
    }

    /// Folds the counters of all streams of one of so many parts of the slots, and ends the learning of those whose time is over. Every slot has
    /// its turn once a second, well before any counter can wrap.
    pub(crate) fn sweep(&self, now: Instant, part: usize, parts: usize) {
        self.turn(now);
        let chunks = self.slots.len().div_ceil(CHUNK);
        let of = |part: usize| chunks * part / parts;
        for chunk in of(part)..of(part + 1) {
            // The lock is given back in between: packets that teach wait for no more than one chunk.
            let mut streams = self.lock();
            let mut changed = Vec::new();
            for (index, stream) in streams.chunk_mut(chunk) {
                if let Some(cells) = self.cells(index) {
                    if !stream.tally.is_up_to_date(cells.slot.volume(), cells.carried.volume()) {
                        self.sums.add(stream.tally.fold(cells.fast(), cells.carried.read(), now));
                    }
                    stream.ssrc_changes = 0;
                    let before = stream.peer.standing();
                    stream.peer.advance(now);
                    // A number that there was none of may have become free.
                    let wants_number = is_unnumbered(stream.way) || is_unnumbered(stream.towards);
                    if stream.peer.standing() != before || wants_number {
                        changed.push(index);
                    }
                }
            }
            for index in changed {
                self.program(&mut streams, index, now);
                self.follow_rtp(&mut streams, index, now);
            }
        }
    }

    /// Ends the waiting for parties that were signalled elsewhere and are not heard any more from where they were.
    fn turn(&self, now: Instant) {
        let mut streams = self.lock();
        for index in streams.due(now) {
            let Some(stream) = stream_mut(&mut streams, index) else { continue };
            stream.peer.advance(now);
            if let Some(turn) = stream.peer.next_turn() {
                streams.wait_for(index, turn);
                continue;
            }
            for index in [index, index.sibling()] {
                self.program(&mut streams, index, now);
                self.program_other(&mut streams, index, now);
            }
            self.follow_rtp(&mut streams, index, now);
        }
    }

    /// What all streams together have carried.
    pub(crate) const fn sums(&self) -> &Sums {
        &self.sums
    }

    /// Everything that is kept of a slot outside the lock.
    fn cells(&self, index: SlotIndex) -> Option<Cells<'_>> {
        let timing = self.timings.get(index.0 as usize)?;
        Some(Cells { slot: self.slot(index)?, timing, carried: self.carried(index)? })
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        // Every stream is whole between any two statements that could panic; the rest of the calls must go on.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a way got no number, because there was none.
fn is_unnumbered(held: Option<(Bearing, HopId)>) -> bool {
    held.is_some_and(|(_, id)| id == HopId::NONE)
}

/// Everything that is kept of a slot outside the lock.
struct Cells<'a> {
    slot: &'a Slot,
    timing: &'a Timing,
    carried: &'a Carried,
}

impl Cells<'_> {
    /// What the fast path has counted.
    fn fast(&self) -> Counters {
        self.slot.counters(self.timing)
    }
}

#[cfg(test)]
mod tests;
