//! The flow table: the slots, the streams behind them, and the learning of peers.
//!
//! Slots are read by the XDP program and by the workers without a lock. They are programmed under one lock, which is taken when a call is
//! set up, changed or ended and for packets that may teach something new; not to forward a packet.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use flow::counters::{Carried, Counters, Timing};
use flow::rtp::{self, RtpFields, Sequence};
use flow::slot::{Flags, Path as Addresses};
use flow::{Be16, Bearing, Hop, HopId, Reason, Rule, Slot, SlotIndex};

use crate::bound::BoundPorts;
use crate::engine::Output;
use crate::learning::{Admission, Peer, Standing};
use crate::memory::Mapped;
use crate::meter::{Path, StreamTotals};
use crate::next_hops::{NO_PORT, NextHops};
use crate::op::{Component, FlowOp, StreamSpec};
use crate::stream::Stream;
use crate::streams::{CHUNK, Streams, addresses, remote, rtp_slot, standing, stream, stream_mut, taught};
use crate::tally::Tally;
use crate::traffic::Sums;

/// After so many changes of its synchronisation source between two sweeps a stream is no longer held to one: it mixes several, and each
/// change would cost a packet the fast path.
const SSRC_CHANGES: u8 = 3;

/// What the table has to know of the relay around it.
pub(crate) struct TableShape {
    /// Why no stream is on the fast path; `None` when the XDP program runs.
    pub(crate) without_fast_path: Option<Reason>,
    /// The device of each local address.
    pub(crate) devices: Vec<u32>,
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
    /// A bit for each local address whose device has lost the XDP program.
    detached: AtomicU32,
    sums: Sums,
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
        Ok(Self { slots, timings, carried, hops, shape, detached: AtomicU32::new(0), sums: Sums::default(), streams })
    }

    /// The next hops of the table's slots.
    pub(crate) const fn hops(&self) -> &NextHops {
        &self.hops
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
        let mut streams = self.lock();
        // Streams refer to one another, before and after, so rules are made when all are in place.
        let mut concerned = Vec::with_capacity(2 * ops.len());
        for op in ops {
            let (FlowOp::Install(index, _) | FlowOp::Remove(index)) = op;
            concerned.push(*index);
            concerned.extend(stream(&streams, *index).and_then(|stream| stream.spec.other));
            match op {
                FlowOp::Install(index, spec) => self.install(&mut streams, *index, spec, now),
                FlowOp::Remove(index) => self.remove(&mut streams, *index),
            }
            concerned.extend(stream(&streams, *index).and_then(|stream| stream.spec.other));
        }
        concerned.sort_unstable();
        concerned.dedup();
        for index in concerned {
            self.program(&mut streams, index, now);
        }
    }

    fn install(&self, streams: &mut Streams, index: SlotIndex, spec: &StreamSpec, now: Instant) {
        let Some(cells) = self.cells(index) else { return };
        if let Some(bound) = &self.shape.bound {
            bound.open(index, spec.tos);
        }
        match stream_mut(streams, index) {
            Some(stream) => {
                self.sums.add(stream.tally.fold(cells.fast(), cells.carried.read(), now));
                stream.peer.signal(spec.learning, spec.successor, spec.peer, now);
                if stream.spec.clock_khz != spec.clock_khz {
                    cells.timing.set_clock(spec.clock_khz);
                    cells.carried.set_clock(spec.clock_khz);
                }
                stream.spec = spec.clone();
            }
            None => {
                // Nobody counts here: the slot is inactive until it is programmed.
                cells.slot.restart(cells.timing, Sequence::default(), spec.clock_khz);
                cells.carried.restart(Sequence::default(), spec.clock_khz);
                streams.insert(
                    index,
                    Stream {
                        spec: spec.clone(),
                        peer: Peer::new(spec.component, spec.learning, spec.successor, spec.peer),
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

    fn remove(&self, streams: &mut Streams, index: SlotIndex) {
        let Some(mut stream) = streams.remove(index) else { return };
        if let Some(cells) = self.cells(index) {
            self.sums.add(stream.tally.fold(cells.fast(), cells.carried.read(), Instant::now()));
        }
        if let Some(bound) = &self.shape.bound {
            bound.close(index);
        }
        for (bearing, id) in stream.way.into_iter().chain(stream.towards) {
            self.hops.release(bearing, id);
        }
    }

    /// Has a place hold the number of the way that is needed now, and no other.
    fn follow_way(&self, held: &mut Option<(Bearing, HopId)>, needed: Option<Bearing>) {
        if held.map(|(bearing, _)| bearing) == needed {
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
        let addresses = addresses(streams, index);
        if addresses.is_ok()
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
        let has_moved = stream.way.map(|(way, _)| way) != way || stream.towards.map(|(way, _)| way) != towards;
        let flags = stream.flags(&standing);
        let waiting = Rule::waiting(flags, slot.ssrc());
        if has_moved {
            slot.program(waiting);
            self.follow_way(&mut stream.way, way);
            self.follow_way(&mut stream.towards, towards);
        }
        let rule = match addresses {
            Ok(addresses) if standing.confirmed.is_some() && !self.reads(stream) => {
                self.rule(stream, flags, slot, &addresses)
            }
            Ok(_) | Err(_) => None,
        };
        slot.program(rule.unwrap_or(waiting));
    }

    /// Whether a worker has to look at each packet of a stream.
    fn reads(&self, stream: &Stream) -> bool {
        self.shape.reads_rtcp && stream.spec.component == Component::Rtcp
    }

    /// Reads what a party reports by RTCP.
    fn read_report(&self, streams: &mut Streams, index: SlotIndex, payload: &[u8], now: Instant) {
        let clock_khz = stream(streams, index.sibling()).map_or(0, |rtp| rtp.spec.clock_khz);
        let Some(mut reports) = stream_mut(streams, index)
            .filter(|stream| self.reads(stream))
            .map(|stream| stream.reports.take().unwrap_or_default())
        else {
            return;
        };
        let other = stream(streams, index).and_then(|here| stream(streams, here.spec.other?));
        reports.read(other.and_then(|other| other.reports.as_deref()), clock_khz, payload, now);
        if let Some(stream) = stream_mut(streams, index) {
            stream.reports = Some(reports);
        }
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

    /// Takes a packet that its slot did not forward: learns from it what there is to learn.
    ///
    /// # Errors
    /// The reason why the packet cannot be sent on.
    pub(crate) fn learn(
        &self,
        index: SlotIndex,
        source: SocketAddr,
        payload: &[u8],
        now: Instant,
    ) -> Result<Departing, Reason> {
        let mut streams = self.lock();
        let pupil = taught(&streams, index).ok_or(Reason::NoCall)?;
        let rtp_host = rtp_slot(pupil).and_then(|rtp| remote(&streams, rtp)).map(|remote| remote.ip());
        let has_way = addresses(&streams, index).is_ok();
        let is_media = stream(&streams, pupil).ok_or(Reason::NoCall)?.is_media(payload);
        let peer = &mut stream_mut(&mut streams, pupil).ok_or(Reason::NoCall)?.peer;
        let before = peer.standing();
        let admission = peer.admit(source, is_media, rtp_host, now);
        let after = peer.standing();
        let is_peer = admission == Ok(Admission::Peer);
        if is_peer
            && has_way
            && let Some(fields) = rtp::parse(payload)
            && let Some(stream) = stream_mut(&mut streams, index)
            && stream.spec.component == Component::Rtp
        {
            self.follow_ssrc(stream, index, &fields, now);
        }
        if is_peer || after != before {
            self.program(&mut streams, pupil, now);
            if pupil != index {
                self.program(&mut streams, index, now);
            }
        }
        if after != before {
            self.follow_rtp(&mut streams, pupil, now);
        }
        if after.remote != before.remote {
            self.program_other(&mut streams, pupil, now);
        }
        admission?;
        self.read_report(&mut streams, index, payload, now);
        let rule = self.send_only(&mut streams, index);
        if let (Err(_), Some(stream)) = (&rule, stream_mut(&mut streams, index)) {
            stream.errors += 1;
            self.sums.fail();
        }
        rule
    }

    /// What is known of a party's RTP has changed. RTCP that shares its port follows it; other RTCP is accepted only from the host that the
    /// RTP comes from, and that may be another one now.
    fn follow_rtp(&self, streams: &mut Streams, rtp: SlotIndex, now: Instant) {
        let index = rtp.sibling();
        if rtp.is_odd() {
            return;
        }
        let (Some(remote), Some(stream)) = (remote(streams, rtp), stream_mut(streams, index)) else { return };
        let before = stream.peer.standing();
        stream.peer.follow_rtp(remote.ip());
        if stream.spec.mux || stream.peer.standing() != before {
            self.program(streams, index, now);
            self.program_other(streams, index, now);
        }
    }

    /// How a packet of a slot is sent on, whether or not the slot is active.
    fn send_only(&self, streams: &mut Streams, index: SlotIndex) -> Result<Departing, Reason> {
        let addresses = addresses(streams, index)?;
        let stream = stream_mut(streams, index).ok_or(Reason::NoCall)?;
        Ok(Departing {
            bearing: Bearing { from: addresses.from.ip(), to: addresses.to.ip(), tos: stream.spec.tos },
            ports: [addresses.from, addresses.to].map(|endpoint| Be16::new(endpoint.port())),
            source: stream.held_to(),
            hop: None,
        })
    }

    /// How a packet leaves by a rule that forwards. The answer holds if the rule still stands afterwards: a number is its way's for so long.
    pub(crate) fn departing(&self, rule: &Rule) -> Option<Departing> {
        let bearing = self.hops.cell(rule.hop)?.bearing();
        let source = if rule.flags.has(Flags::ANY_SSRC) { None } else { Some(rule.ssrc) };
        let hop = match self.shape.output {
            Output::Device => self.hops.hop(rule.hop),
            Output::Stack => None,
        };
        Some(Departing { bearing, ports: rule.ports, source, hop })
    }

    /// Begins to account a synchronisation source that was not seen before.
    fn follow_ssrc(&self, stream: &mut Stream, index: SlotIndex, fields: &RtpFields, now: Instant) {
        if stream.ssrc == Some(fields.ssrc) || stream.any_ssrc {
            return;
        }
        let Some(cells) = self.cells(index) else { return };
        // A packet that passed the slot's door a moment ago may still be counted; the tally allows for it.
        cells.slot.program(Rule::waiting(Flags::CALL, 0));
        self.sums.add(stream.tally.fold(cells.fast(), cells.carried.read(), now));
        let before = Sequence(fields.sequence.0.wrapping_sub(1));
        cells.slot.restart(cells.timing, fields.sequence, stream.spec.clock_khz);
        cells.carried.restart(before, stream.spec.clock_khz);
        stream.tally.restart(fields.sequence);
        stream.ssrc_changes = stream.ssrc_changes.saturating_add(1);
        stream.any_ssrc = stream.ssrc_changes > SSRC_CHANGES;
        stream.ssrc = Some(fields.ssrc);
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
                    if stream.peer.standing() != before {
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

    /// What all streams together have carried.
    pub(crate) const fn sums(&self) -> &Sums {
        &self.sums
    }

    /// Says which devices have lost the XDP program.
    pub(crate) fn set_detached(&self, devices: impl Iterator<Item = u32>) {
        let detached: Vec<u32> = devices.collect();
        let bits = self.shape.devices.iter().enumerate().filter(|(_, device)| detached.contains(device));
        self.detached.store(bits.fold(0, |bits, (local, _)| bits | 1 << local), Ordering::Relaxed);
    }

    /// The device that a slot's packets come in by.
    fn device(&self, index: SlotIndex) -> Option<u32> {
        self.shape.devices.get(index.local() as usize).copied()
    }

    /// Everything that is kept of a slot outside the lock.
    fn cells(&self, index: SlotIndex) -> Option<Cells<'_>> {
        let timing = self.timings.get(index.0 as usize)?;
        Some(Cells { slot: self.slot(index)?, timing, carried: self.carried(index)? })
    }

    /// The path of a stream. On the slow one it needs the sockets of its own port and of the one that it leaves by.
    fn path(
        &self,
        index: SlotIndex,
        stream: &Stream,
        standing: &Standing,
        addresses: Result<Addresses, Reason>,
    ) -> Path {
        let is_deaf =
            |bound: &BoundPorts| !bound.has(index) || stream.spec.other.is_some_and(|other| !bound.has(other));
        match self.path_by_rule(index, stream, standing, addresses) {
            Path::Slow(_) if self.shape.bound.as_deref().is_some_and(is_deaf) => Path::Slow(Reason::NoSocket),
            path @ (Path::Slow(_) | Path::Fast) => path,
        }
    }

    fn path_by_rule(
        &self,
        index: SlotIndex,
        stream: &Stream,
        standing: &Standing,
        addresses: Result<Addresses, Reason>,
    ) -> Path {
        match (addresses, stream.way) {
            (Err(reason), _) => Path::Slow(reason),
            (Ok(_), _) if let Some(reason) = self.shape.without_fast_path => Path::Slow(reason),
            (Ok(_), _) if self.detached.load(Ordering::Relaxed) >> index.local() & 1 != 0 => {
                Path::Slow(Reason::XdpDetached)
            }
            (Ok(_), _) if standing.confirmed.is_none() => Path::Slow(Reason::NotLearned),
            (Ok(_), _) if self.reads(stream) => Path::Slow(Reason::Rtcp),
            (Ok(addresses), _) if addresses.peer.is_ipv6() != addresses.to.is_ipv6() => Path::Slow(Reason::Family),
            (Ok(_), way) => match way.and_then(|(_, hop)| self.hops.hop(hop)) {
                None => Path::Slow(Reason::NextHop),
                Some(hop) if hop.port == NO_PORT && Some(hop.device) != self.device(index) => {
                    Path::Slow(Reason::Redirect)
                }
                Some(_) => Path::Fast,
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        // Every stream is whole between any two statements that could panic; the rest of the calls must go on.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

/// How a packet leaves, and how it is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Departing {
    pub(crate) bearing: Bearing,
    /// Source and destination port.
    pub(crate) ports: [Be16; 2],
    /// The synchronisation source that the stream is held to; bytes in network order.
    pub(crate) source: Option<u32>,
    /// The next hop, where packets go to the device and it is resolved.
    pub(crate) hop: Option<Hop>,
}

impl FlowTable {
    /// The totals of the stream in a slot, if there is one.
    pub(crate) fn totals(&self, index: SlotIndex) -> Option<StreamTotals> {
        let mut streams = self.lock();
        let cells = self.cells(index)?;
        let addresses = addresses(&streams, index);
        let standing = standing(&streams, index)?;
        let stream = stream_mut(&mut streams, index)?;
        // Up to the moment, not to the last sweep: the last packets of a call are in its bill.
        self.sums.add(stream.tally.fold(cells.fast(), cells.carried.read(), Instant::now()));
        Some(StreamTotals {
            fast_packets: stream.tally.fast_packets(),
            slow_packets: stream.tally.slow_packets(),
            bytes: stream.tally.bytes(),
            errors: stream.errors,
            lost: stream.tally.lost(),
            late: stream.tally.late(),
            ssrc_changes: stream.tally.changes(),
            jitter_ms: stream.tally.jitter_ms(stream.spec.clock_khz),
            ssrc: stream.ssrc.or_else(|| Some(cells.slot.ssrc()).filter(|ssrc| *ssrc != 0)).map(u32::from_be),
            peer: standing.remote,
            confirmed: standing.confirmed.is_some(),
            last_packet: stream.tally.last_packet(),
            quality: stream.reports.as_ref().map(|reports| reports.qualities.clone()).unwrap_or_default(),
            path: self.path(index, stream, &standing, addresses),
        })
    }
}

#[cfg(test)]
mod tests;
