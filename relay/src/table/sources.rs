//! The sources of the flow table, and who feeds whom.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Instant;

use border::{LONG_REST, Sink};
use flow::{Epoch, Knockers, Reason, SlotIndex};

use crate::table::peer::Standing;
use crate::table::source::Source;
use crate::table::suspects::Suspects;

/// How many slots are looked at together, under one lock: some tens of microseconds, when all of them have sources.
pub(super) const CHUNK: usize = 128;

/// A source that a slot has had.
#[derive(Clone, Copy, Debug)]
pub(super) struct Former {
    /// Of which call.
    pub(super) call: u64,
    /// Where its party was heard last.
    pub(super) host: Option<IpAddr>,
    pub(super) ended: Instant,
}

/// The sources by slot. Most slots have none, and those that have one stand together: chunks without any need no look.
pub(super) struct Sources {
    places: Vec<Option<Box<Source>>>,
    /// How many sources each chunk has.
    counts: Vec<u16>,
    /// Of each slot that has none, the source that it had last.
    formers: HashMap<SlotIndex, Former>,
    /// Those whose party was signalled elsewhere a moment ago, and when each is to be looked at next.
    moving: HashSet<SlotIndex>,
    turns: BTreeSet<(Instant, SlotIndex)>,
    /// Each sink whose party is not there: the slot of the party that is to be fed, and that of the source. Of the others, the party's source knows.
    unplaced: BTreeSet<(SlotIndex, SlotIndex)>,
}

impl Sources {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            places: (0..slots).map(|_| None).collect(),
            counts: vec![0; slots.div_ceil(CHUNK)],
            formers: HashMap::new(),
            moving: HashSet::new(),
            turns: BTreeSet::new(),
            unplaced: BTreeSet::new(),
        }
    }

    /// A source's party was signalled elsewhere, and it is to be looked at then whether it is still heard from where it was.
    pub(super) fn wait_for(&mut self, index: SlotIndex, turn: Instant) {
        if self.moving.insert(index) {
            self.turns.insert((turn, index));
        }
    }

    /// The sources that are to be looked at for that now, each once, and no more than a chunk.
    pub(super) fn due(&mut self, now: Instant) -> Vec<SlotIndex> {
        let mut due = Vec::new();
        while due.len() < CHUNK
            && let Some((turn, index)) = self.turns.first().copied()
            && turn <= now
        {
            self.turns.pop_first();
            self.moving.remove(&index);
            due.push(index);
        }
        due
    }

    /// Puts a source into a slot that has none.
    pub(super) fn insert(&mut self, index: SlotIndex, mut source: Source) {
        source.feeders = self.unplaced.range(every(index)).map(|(_, feeder)| *feeder).collect();
        for feeder in &source.feeders {
            self.unplaced.remove(&(index, *feeder));
        }
        let Some(place) = self.places.get_mut(index.0 as usize) else { return };
        if place.replace(Box::new(source)).is_none()
            && let Some(count) = self.counts.get_mut(index.0 as usize / CHUNK)
        {
            *count += 1;
        }
    }

    /// Takes a slot's source out.
    pub(super) fn remove(&mut self, index: SlotIndex) -> Option<Source> {
        let source = self.places.get_mut(index.0 as usize)?.take()?;
        if let Some(count) = self.counts.get_mut(index.0 as usize / CHUNK) {
            *count -= 1;
        }
        self.unplaced.extend(source.feeders.iter().map(|feeder| (index, *feeder)));
        Some(*source)
    }

    /// Remembers the source that a slot has had.
    pub(super) fn remember(&mut self, index: SlotIndex, former: Former) {
        self.formers.insert(index, former);
    }

    /// Who was heard at a slot before a source of this call gets it, when these have knocked. What the call itself has heard there is no suspect: a
    /// media may be dropped and taken up again.
    pub(super) fn suspects(
        &mut self,
        index: SlotIndex,
        call: u64,
        knocks: (Knockers, Epoch),
        now: Instant,
    ) -> Suspects {
        let (knockers, epoch) = knocks;
        match self.formers.remove(&index) {
            Some(former) if former.call == call => Suspects::default(),
            former => {
                // Who has never ceased to send is the same phone still.
                let is_fresh = |former: &Former| {
                    let is_knocking = former.host.is_some_and(|host| knockers.may_be(host, epoch));
                    is_knocking || now.saturating_duration_since(former.ended) < LONG_REST
                };
                Suspects::new(former.filter(is_fresh).and_then(|former| former.host), knockers, epoch)
            }
        }
    }

    /// The sources of a chunk, with their slots.
    pub(super) fn chunk_mut(&mut self, chunk: usize) -> impl Iterator<Item = (SlotIndex, &mut Source)> {
        let is_empty = self.counts.get(chunk).is_none_or(|count| *count == 0);
        let start = chunk * CHUNK;
        let end = if is_empty { start } else { self.places.len().min(start + CHUNK) };
        let places = self.places.get_mut(start..end).unwrap_or_default();
        let slots = (start as u32..).map(SlotIndex);
        slots.zip(places).filter_map(|(index, place)| Some((index, place.as_deref_mut()?)))
    }

    /// The source of a slot.
    pub(super) fn get(&self, index: SlotIndex) -> Option<&Source> {
        self.places.get(index.0 as usize)?.as_deref()
    }

    /// The source of a slot.
    pub(super) fn get_mut(&mut self, index: SlotIndex) -> Option<&mut Source> {
        self.places.get_mut(index.0 as usize)?.as_deref_mut()
    }

    /// A source feeds these parties, and no others.
    pub(super) fn feed(&mut self, index: SlotIndex, before: &[Sink], now: &[Sink]) {
        for party in before.iter().map(|sink| sink.party) {
            match self.get_mut(party) {
                Some(source) => source.feeders.retain(|feeder| *feeder != index),
                None => drop(self.unplaced.remove(&(party, index))),
            }
        }
        for party in now.iter().map(|sink| sink.party) {
            match self.get_mut(party) {
                Some(source) if source.feeders.contains(&index) => {}
                Some(source) => source.feeders.push(index),
                None => drop(self.unplaced.insert((party, index))),
            }
        }
    }

    /// The slots of the sources that feed a party.
    pub(super) fn feeders(&self, party: SlotIndex) -> Vec<SlotIndex> {
        match self.get(party) {
            Some(source) => source.feeders.to_vec(),
            None => self.unplaced.range(every(party)).map(|(_, feeder)| *feeder).collect(),
        }
    }

    /// The slot whose source learns the peer of this one: of RTCP that shares the port of its RTP, that.
    pub(super) fn taught(&self, index: SlotIndex) -> Option<SlotIndex> {
        Some(if self.get(index)?.spec.mux { index.sibling() } else { index })
    }

    /// What is known of a source's peer.
    pub(super) fn standing(&self, index: SlotIndex) -> Option<Standing> {
        Some(self.get(self.taught(index)?)?.peer.standing())
    }

    /// Where packets for a source's party go.
    pub(super) fn remote(&self, index: SlotIndex) -> Option<SocketAddr> {
        self.standing(index)?.remote
    }

    /// From where to where packets for a source's party go.
    ///
    /// # Errors
    /// Why they go nowhere.
    pub(super) fn destination(&self, party: SlotIndex) -> Result<Destination, Reason> {
        let source = self.get(party).ok_or(Reason::NoDestination)?;
        let nowhere = if source.is_untrusted { Reason::Untrusted } else { Reason::NoDestination };
        Ok(Destination { from: source.spec.local, to: self.remote(party).ok_or(nowhere)? })
    }

    /// Whether a party that a slot's packets go to has said where it is, now or before it was put on hold.
    pub(super) fn is_described(&self, index: SlotIndex) -> bool {
        let has_said = |sink: &Sink| {
            let party = self.taught(sink.party).and_then(|party| self.get(party));
            party.is_some_and(|party| party.peer.has_said())
        };
        self.get(index).is_some_and(|source| source.spec.sinks.iter().any(has_said))
    }
}

/// All feeders of a party that is not there.
const fn every(party: SlotIndex) -> RangeInclusive<(SlotIndex, SlotIndex)> {
    (party, SlotIndex(0))..=(party, SlotIndex(u32::MAX))
}

/// From where to where packets go: a local address with its port, and a party.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Destination {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
}

/// The slot of the RTP that RTCP belongs to.
pub(super) fn rtp_slot(index: SlotIndex) -> Option<SlotIndex> {
    index.is_odd().then(|| index.sibling())
}
