//! The flow table: the slots, the streams behind them, and the learning of peers.
//!
//! Slots are read by the XDP program and by the workers without a lock. They are programmed under one lock, which is taken when a call is
//! set up, changed or ended and when a packet teaches something new; never to forward a packet.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use flow::counters::CountersCell;
use flow::rtp::{self, RtpFields, Sequence};
use flow::slot::{Flags, Path as Addresses};
use flow::{Endpoint4, HopId, Reason, Rule, Slot, SlotIndex};

use crate::memory::Mapped;
use crate::meter::{Meter, Path, StreamTotals};
use crate::next_hops::NextHops;
use crate::op::{Component, FlowOp, Learning, StreamSpec};
use crate::tally::Tally;

/// After so many changes of its synchronisation source between two sweeps a stream is no longer held to one: it mixes several, and each
/// change would cost a packet the fast path.
const SSRC_CHANGES: u8 = 3;

/// The flow table.
pub(crate) struct FlowTable {
    slots: Mapped<Slot>,
    /// What the workers carried, by slot; each slot has one worker, its only writer.
    carried: Mapped<CountersCell>,
    hops: NextHops,
    /// Whether the XDP program runs: without it, no stream is on the fast path.
    has_fast_path: bool,
    streams: Mutex<Vec<Option<Box<Stream>>>>,
}

/// A stream and what packets taught about it.
struct Stream {
    spec: StreamSpec,
    learned: Option<Endpoint4>,
    ssrc: Option<u32>,
    ssrc_changes: u8,
    any_ssrc: bool,
    /// Where the slot's packets go now, as acquired from the next hops.
    dest: Option<(Ipv4Addr, HopId)>,
    tally: Tally,
    errors: u64,
}

impl Stream {
    /// Where packets for the stream's party go: to where it was heard from, or else to where it said it would be.
    fn remote(&self) -> Option<Endpoint4> {
        self.learned.or_else(|| self.spec.peer.map(Endpoint4::from))
    }

    /// Where packets are accepted from, once that is certain.
    fn confirmed(&self) -> Option<Endpoint4> {
        match self.spec.learning {
            Learning::Off => self.spec.peer.map(Endpoint4::from),
            Learning::Immediate => self.learned,
        }
    }

    fn flags(&self) -> Flags {
        let mut flags = Flags::ACTIVE;
        if self.spec.component == Component::Rtp {
            flags = flags.with(Flags::RTP);
        }
        if self.any_ssrc || self.ssrc.is_none() {
            flags = flags.with(Flags::ANY_SSRC);
        }
        if self.spec.tos.is_some() {
            flags = flags.with(Flags::SET_TOS);
        }
        flags
    }
}

impl FlowTable {
    /// An empty table on this memory.
    pub(crate) fn new(slots: Mapped<Slot>, carried: Mapped<CountersCell>, hops: NextHops, has_fast_path: bool) -> Self {
        let streams = Mutex::new(slots.iter().map(|_| None).collect());
        Self { slots, carried, hops, has_fast_path, streams }
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
    pub(crate) fn carried(&self, index: SlotIndex) -> Option<&CountersCell> {
        self.carried.get(index.0 as usize)
    }

    /// Makes the table as control wants it.
    pub(crate) fn apply(&self, ops: &[FlowOp], now: Instant) {
        let mut streams = self.lock();
        for op in ops {
            match op {
                FlowOp::Install(index, spec) => self.install(&mut streams, *index, spec, now),
                FlowOp::Remove(index) => self.remove(&mut streams, *index),
            }
        }
        // Streams refer to one another, so rules are made when all are in place.
        for op in ops {
            let (FlowOp::Install(index, _) | FlowOp::Remove(index)) = op;
            self.program(&mut streams, *index);
            self.program_other(&mut streams, *index);
        }
    }

    fn install(&self, streams: &mut Streams, index: SlotIndex, spec: &StreamSpec, now: Instant) {
        let (Some(slot), Some(carried)) = (self.slot(index), self.carried(index)) else { return };
        let Some(place) = streams.get_mut(index.0 as usize) else { return };
        match place {
            Some(stream) => {
                stream.tally.fold(slot.counters.read(), carried.read(), now);
                // A party that was signalled elsewhere has to be heard from again; one that only says the same again has not moved.
                if stream.spec.peer != spec.peer || stream.spec.learning != spec.learning {
                    stream.learned = None;
                }
                stream.spec = spec.clone();
            }
            None => {
                *place = Some(Box::new(Stream {
                    spec: spec.clone(),
                    learned: None,
                    ssrc: None,
                    ssrc_changes: 0,
                    any_ssrc: false,
                    dest: None,
                    tally: Tally::new(slot.counters.read(), carried.read()),
                    errors: 0,
                }));
            }
        }
    }

    fn remove(&self, streams: &mut Streams, index: SlotIndex) {
        let Some(place) = streams.get_mut(index.0 as usize) else { return };
        let Some(stream) = place.take() else { return };
        if let Some((dest, _)) = stream.dest {
            self.hops.release(dest);
        }
    }

    /// Programs a slot with what its stream and the other leg's amount to now.
    fn program(&self, streams: &mut Streams, index: SlotIndex) {
        let Some(slot) = self.slot(index) else { return };
        let addresses = addresses(streams, index);
        let Some(stream) = stream_mut(streams, index) else {
            slot.program(Rule::INACTIVE);
            return;
        };
        let dest = addresses.as_ref().ok().map(|addresses| Ipv4Addr::from(addresses.to.addr));
        if stream.dest.map(|(dest, _)| dest) != dest {
            let acquired = dest.map(|dest| (dest, self.hops.acquire(dest)));
            if let Some((old, _)) = std::mem::replace(&mut stream.dest, acquired) {
                self.hops.release(old);
            }
        }
        let rule = match addresses {
            Ok(addresses) if stream.confirmed().is_some() => {
                let mut rule = Rule::new(&addresses);
                rule.flags = stream.flags();
                rule.tos = stream.spec.tos.unwrap_or(0);
                rule.hop = stream.dest.map_or(HopId::NONE, |(_, id)| id);
                rule.ssrc = stream.ssrc.unwrap_or(0);
                rule
            }
            Ok(_) | Err(_) => Rule::INACTIVE,
        };
        slot.program(rule);
    }

    /// Programs the slot whose packets go to this stream's party.
    fn program_other(&self, streams: &mut Streams, index: SlotIndex) {
        let other = stream(streams, index).and_then(|stream| stream.spec.other);
        if let Some(other) = other.filter(|other| *other != index) {
            self.program(streams, other);
        }
    }

    /// Takes a packet that its slot did not forward: learns from it what there is to learn.
    ///
    /// # Errors
    /// The reason why the packet cannot be sent on.
    pub(crate) fn learn(
        &self,
        index: SlotIndex,
        source: Endpoint4,
        payload: &[u8],
        now: Instant,
    ) -> Result<Rule, Reason> {
        let mut streams = self.lock();
        let stream = stream_mut(&mut streams, index).ok_or(Reason::NoCall)?;
        let is_rtp = stream.spec.component == Component::Rtp;
        match stream.confirmed() {
            Some(peer) if peer == source => {}
            Some(_) => return Err(Reason::Stranger),
            None if stream.spec.learning == Learning::Off => return Err(Reason::NotLearned),
            None if is_media(payload, is_rtp) || stream.spec.peer.map(Endpoint4::from) == Some(source) => {
                stream.learned = Some(source);
            }
            None => return Err(Reason::NotMedia),
        }
        if let Some(fields) = rtp::parse(payload).filter(|_| is_rtp) {
            self.follow_ssrc(stream, index, &fields, now);
        }
        self.program(&mut streams, index);
        self.program_other(&mut streams, index);
        let addresses = addresses(&streams, index);
        let stream = stream_mut(&mut streams, index).ok_or(Reason::NoCall)?;
        match addresses {
            Ok(addresses) => {
                let mut rule = Rule::new(&addresses);
                rule.flags = stream.flags();
                rule.tos = stream.spec.tos.unwrap_or(0);
                Ok(rule)
            }
            Err(reason) => {
                stream.errors += 1;
                Err(reason)
            }
        }
    }

    /// Begins to account a synchronisation source that was not seen before.
    fn follow_ssrc(&self, stream: &mut Stream, index: SlotIndex, fields: &RtpFields, now: Instant) {
        if stream.ssrc == Some(fields.ssrc) || stream.any_ssrc {
            return;
        }
        let (Some(slot), Some(carried)) = (self.slot(index), self.carried(index)) else { return };
        // Nobody counts in an inactive slot.
        slot.program(Rule::INACTIVE);
        stream.tally.fold(slot.counters.read(), carried.read(), now);
        let before = Sequence(fields.sequence.0.wrapping_sub(1));
        slot.counters.restart(fields.sequence, stream.spec.clock_khz);
        carried.restart(before, stream.spec.clock_khz);
        stream.tally.restart(fields.sequence, slot.counters.read(), carried.read());
        stream.ssrc_changes = stream.ssrc_changes.saturating_add(1);
        stream.any_ssrc = stream.ssrc_changes > SSRC_CHANGES;
        stream.ssrc = Some(fields.ssrc);
    }

    /// Counts a packet of a stream that could not be sent on.
    pub(crate) fn fail(&self, index: SlotIndex) {
        if let Some(stream) = stream_mut(&mut self.lock(), index) {
            stream.errors += 1;
        }
    }

    /// Folds the counters of all streams. Called once a second, well before any counter can wrap.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut streams = self.lock();
        for ((place, slot), carried) in streams.iter_mut().zip(self.slots.iter()).zip(self.carried.iter()) {
            if let Some(stream) = place {
                stream.tally.fold(slot.counters.read(), carried.read(), now);
                stream.ssrc_changes = 0;
            }
        }
    }

    fn path(&self, stream: &Stream, addresses: Result<Addresses, Reason>) -> Path {
        match (addresses, stream.dest) {
            (Err(reason), _) => Path::Slow(reason),
            (Ok(_), _) if !self.has_fast_path => Path::Slow(Reason::EngineUring),
            (Ok(_), _) if stream.confirmed().is_none() => Path::Slow(Reason::NotLearned),
            (Ok(_), Some((_, hop))) if self.hops.is_resolved(hop) => Path::Fast,
            (Ok(_), _) => Path::Slow(Reason::NextHop),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        // Every stream is whole between any two statements that could panic; the rest of the calls must go on.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Streams = Vec<Option<Box<Stream>>>;

fn stream(streams: &Streams, index: SlotIndex) -> Option<&Stream> {
    streams.get(index.0 as usize)?.as_deref()
}

fn stream_mut(streams: &mut Streams, index: SlotIndex) -> Option<&mut Stream> {
    streams.get_mut(index.0 as usize)?.as_deref_mut()
}

/// The addresses of a packet on its way through a slot. The peer is a guess as long as it is not confirmed.
fn addresses(streams: &Streams, index: SlotIndex) -> Result<Addresses, Reason> {
    let stream_here = stream(streams, index).ok_or(Reason::NoCall)?;
    let other = stream_here.spec.other.and_then(|other| stream(streams, other)).ok_or(Reason::NoDestination)?;
    let to = other.remote().ok_or(Reason::NoDestination)?;
    Ok(Addresses {
        peer: stream_here.remote().unwrap_or_default(),
        local: stream_here.spec.local.into(),
        from: other.spec.local.into(),
        to,
    })
}

/// Whether a payload is what a stream is for: only such packets may teach its peer, so that a stray datagram does not take a call over.
fn is_media(payload: &[u8], is_rtp: bool) -> bool {
    match payload {
        [first, second, ..] if is_rtp => rtp::classify(*first, *second) != rtp::Kind::Other && payload.len() >= 12,
        [first, second, ..] => rtp::classify(*first, *second) == rtp::Kind::Rtcp && payload.len() >= 8,
        _ => false,
    }
}

impl Meter for FlowTable {
    fn totals(&self, index: SlotIndex) -> Option<StreamTotals> {
        let mut streams = self.lock();
        let (slot, carried) = (self.slot(index)?, self.carried(index)?);
        let addresses = addresses(&streams, index);
        let stream = stream_mut(&mut streams, index)?;
        // Up to the moment, not to the last sweep: the last packets of a call are in its bill.
        stream.tally.fold(slot.counters.read(), carried.read(), Instant::now());
        Some(StreamTotals {
            fast_packets: stream.tally.fast_packets(),
            slow_packets: stream.tally.slow_packets(),
            bytes: stream.tally.bytes(),
            errors: stream.errors,
            lost: stream.tally.lost(),
            late: stream.tally.late(),
            jitter_ms: stream.tally.jitter_ms(stream.spec.clock_khz),
            ssrc: stream.ssrc.map(u32::from_be),
            peer: stream.remote().map(SocketAddrV4::from),
            confirmed: stream.confirmed().is_some(),
            last_packet: stream.tally.last_packet(),
            path: self.path(stream, addresses),
        })
    }
}

#[cfg(test)]
mod tests;
