//! The flow table: the slots, the streams behind them, and the learning of peers.
//!
//! Slots are read by the XDP program and by the workers without a lock. They are programmed under one lock, which is taken when a call is
//! set up, changed or ended and for packets that may teach something new; not to forward a packet.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use flow::counters::CountersCell;
use flow::rtp::{self, RtpFields, Sequence};
use flow::slot::Path as Addresses;
use flow::{Endpoint4, HopId, Reason, Rule, Slot, SlotIndex};

use crate::memory::Mapped;
use crate::meter::{Meter, Path, StreamTotals};
use crate::next_hops::{NO_PORT, NextHops};
use crate::op::{Component, FlowOp, StreamSpec};
use crate::resolver::Way;
use crate::stream::{Admission, Stream, admit};
use crate::tally::Tally;

/// After so many changes of its synchronisation source between two sweeps a stream is no longer held to one: it mixes several, and each
/// change would cost a packet the fast path.
const SSRC_CHANGES: u8 = 3;

/// How many slots a sweep looks at before it lets others have the lock.
const SWEEP: usize = 1024;

/// What the table has to know of the relay around it.
#[derive(Clone, Debug)]
pub(crate) struct TableShape {
    /// Whether the XDP program runs: without it, no stream is on the fast path.
    pub(crate) has_fast_path: bool,
    /// Pairs of ports of one local address ([`flow::local::pairs`]).
    pub(crate) pairs: u32,
    /// The device of each local address.
    pub(crate) devices: Vec<u32>,
}

/// The flow table.
pub(crate) struct FlowTable {
    slots: Mapped<Slot>,
    /// What the workers carried, by slot; each slot has one worker, its only writer.
    carried: Mapped<CountersCell>,
    hops: NextHops,
    shape: TableShape,
    streams: Mutex<Vec<Option<Box<Stream>>>>,
}

impl FlowTable {
    /// An empty table on this memory.
    pub(crate) fn new(slots: Mapped<Slot>, carried: Mapped<CountersCell>, hops: NextHops, shape: TableShape) -> Self {
        let streams = Mutex::new(slots.iter().map(|_| None).collect());
        Self { slots, carried, hops, shape, streams }
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
            self.program(&mut streams, index);
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
                    stream.moved_from = stream.learned.take().map(|learned| (learned, now));
                }
                if stream.spec.clock_khz != spec.clock_khz {
                    slot.counters.set_clock(spec.clock_khz);
                    carried.set_clock(spec.clock_khz);
                }
                stream.spec = spec.clone();
            }
            None => {
                // Nobody counts here: the slot is inactive until it is programmed.
                slot.counters.restart(Sequence::default(), spec.clock_khz);
                carried.restart(Sequence::default(), spec.clock_khz);
                *place = Some(Box::new(Stream {
                    spec: spec.clone(),
                    learned: None,
                    moved_from: None,
                    ssrc: None,
                    ssrc_changes: 0,
                    any_ssrc: false,
                    way: None,
                    tally: Tally::new(slot.counters.read(), carried.read()),
                    errors: 0,
                }));
            }
        }
    }

    fn remove(&self, streams: &mut Streams, index: SlotIndex) {
        let Some(place) = streams.get_mut(index.0 as usize) else { return };
        let Some(stream) = place.take() else { return };
        if let Some((way, id)) = stream.way {
            self.hops.release(way, id);
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
        // Without a fast path nobody would resolve a next hop, or use one.
        let way = addresses
            .as_ref()
            .ok()
            .filter(|_| self.shape.has_fast_path)
            .map(|addresses| Way { from: Ipv4Addr::from(addresses.from.addr), to: Ipv4Addr::from(addresses.to.addr) });
        if stream.way.map(|(way, _)| way) != way {
            let acquired = way.map(|way| (way, self.hops.acquire(way)));
            if let Some((old, id)) = std::mem::replace(&mut stream.way, acquired) {
                self.hops.release(old, id);
            }
        }
        let rule = match addresses {
            Ok(addresses) if stream.confirmed().is_some() => {
                let mut rule = Rule::new(&addresses);
                rule.flags = stream.flags();
                rule.tos = stream.spec.tos.unwrap_or(0);
                rule.hop = stream.way.map_or(HopId::NONE, |(_, id)| id);
                rule.ssrc = stream.ssrc.unwrap_or(0);
                rule
            }
            Ok(_) | Err(_) => Rule::WAITING,
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
        let rtp_peer = self.rtp_slot(index).and_then(|index| stream(&streams, index)).and_then(Stream::remote);
        let stream = stream_mut(&mut streams, index).ok_or(Reason::NoCall)?;
        let is_rtp = stream.spec.component == Component::Rtp;
        match admit(stream, source, payload, rtp_peer, now)? {
            Admission::Peer => {}
            Admission::Learn => stream.learned = Some(source),
            Admission::Moving => return self.send_only(&mut streams, index),
        }
        let addresses = addresses(&streams, index);
        let stream = stream_mut(&mut streams, index).ok_or(Reason::NoCall)?;
        if let Err(reason) = addresses {
            stream.errors += 1;
            return Err(reason);
        }
        if let Some(fields) = rtp::parse(payload).filter(|_| is_rtp) {
            self.follow_ssrc(stream, index, &fields, now);
        }
        self.program(&mut streams, index);
        self.program_other(&mut streams, index);
        self.send_only(&mut streams, index)
    }

    /// The rule by which a packet of a slot is sent on, whether or not the slot is active.
    fn send_only(&self, streams: &mut Streams, index: SlotIndex) -> Result<Rule, Reason> {
        let mut rule = Rule::new(&addresses(streams, index)?);
        let stream = stream_mut(streams, index).ok_or(Reason::NoCall)?;
        rule.flags = stream.flags();
        rule.tos = stream.spec.tos.unwrap_or(0);
        Ok(rule)
    }

    /// Begins to account a synchronisation source that was not seen before.
    fn follow_ssrc(&self, stream: &mut Stream, index: SlotIndex, fields: &RtpFields, now: Instant) {
        if stream.ssrc == Some(fields.ssrc) || stream.any_ssrc {
            return;
        }
        let (Some(slot), Some(carried)) = (self.slot(index), self.carried(index)) else { return };
        // A packet that passed the slot's door a moment ago may still be counted; the tally allows for it.
        slot.program(Rule::WAITING);
        stream.tally.fold(slot.counters.read(), carried.read(), now);
        let before = Sequence(fields.sequence.0.wrapping_sub(1));
        slot.counters.restart(fields.sequence, stream.spec.clock_khz);
        carried.restart(before, stream.spec.clock_khz);
        stream.tally.restart(fields.sequence);
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
        for start in (0..self.slots.len()).step_by(SWEEP) {
            // The lock is given back in between: packets that teach, and commands, wait for no more than one chunk.
            let mut streams = self.lock();
            let chunk = streams.iter_mut().zip(self.slots.iter()).zip(self.carried.iter()).skip(start).take(SWEEP);
            for ((place, slot), carried) in chunk {
                if let Some(stream) = place {
                    stream.tally.fold(slot.counters.read(), carried.read(), now);
                    stream.ssrc_changes = 0;
                }
            }
        }
    }

    /// The slot of the RTP stream that an RTCP stream belongs to.
    fn rtp_slot(&self, index: SlotIndex) -> Option<SlotIndex> {
        let is_odd = index.0 % (2 * self.shape.pairs) >= self.shape.pairs;
        if is_odd { Some(SlotIndex(index.0 - self.shape.pairs)) } else { None }
    }

    /// The device that a slot's packets come in by.
    fn device(&self, index: SlotIndex) -> Option<u32> {
        self.shape.devices.get((index.0 / (2 * self.shape.pairs)) as usize).copied()
    }

    fn path(&self, index: SlotIndex, stream: &Stream, addresses: Result<Addresses, Reason>) -> Path {
        match (addresses, stream.way) {
            (Err(reason), _) => Path::Slow(reason),
            (Ok(_), _) if !self.shape.has_fast_path => Path::Slow(Reason::EngineUring),
            (Ok(_), _) if stream.confirmed().is_none() => Path::Slow(Reason::NotLearned),
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
            path: self.path(index, stream, addresses),
        })
    }
}

#[cfg(test)]
mod tests;
