//! The streams of the flow table, and how they refer to one another.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use border::LONG_REST;
use flow::slot::Path as Addresses;
use flow::{Epoch, Knockers, Reason, SlotIndex};

use crate::learning::Standing;
use crate::stream::Stream;
use crate::suspects::Suspects;

/// Nobody's address.
const UNSPECIFIED: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// How many slots are looked at together, under one lock: some tens of microseconds, when all of them have streams.
pub(crate) const CHUNK: usize = 128;

/// A stream that a slot has had.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Former {
    /// Of which call.
    pub(crate) call: u64,
    /// Where its party was heard last.
    pub(crate) host: Option<IpAddr>,
    pub(crate) ended: Instant,
}

/// The streams by slot. Most slots have none, and those that have one stand together: chunks without any need no look.
pub(crate) struct Streams {
    places: Vec<Option<Box<Stream>>>,
    /// How many streams each chunk has.
    counts: Vec<u16>,
    /// Of each slot that has none, the stream that it had last.
    formers: HashMap<SlotIndex, Former>,
    /// Those whose party was signalled elsewhere a moment ago, and when each is to be looked at next.
    moving: HashSet<SlotIndex>,
    turns: BTreeSet<(Instant, SlotIndex)>,
}

impl Streams {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            places: (0..slots).map(|_| None).collect(),
            counts: vec![0; slots.div_ceil(CHUNK)],
            formers: HashMap::new(),
            moving: HashSet::new(),
            turns: BTreeSet::new(),
        }
    }

    /// A stream's party was signalled elsewhere, and it is to be looked at then whether it is still heard from where it was.
    pub(crate) fn wait_for(&mut self, index: SlotIndex, turn: Instant) {
        if self.moving.insert(index) {
            self.turns.insert((turn, index));
        }
    }

    /// The streams that are to be looked at for that now, each once, and no more than a chunk.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<SlotIndex> {
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

    /// Puts a stream into a slot that has none.
    pub(crate) fn insert(&mut self, index: SlotIndex, stream: Stream) {
        let Some(place) = self.places.get_mut(index.0 as usize) else { return };
        if place.replace(Box::new(stream)).is_none()
            && let Some(count) = self.counts.get_mut(index.0 as usize / CHUNK)
        {
            *count += 1;
        }
    }

    /// Takes a slot's stream out.
    pub(crate) fn remove(&mut self, index: SlotIndex) -> Option<Stream> {
        let stream = self.places.get_mut(index.0 as usize)?.take()?;
        if let Some(count) = self.counts.get_mut(index.0 as usize / CHUNK) {
            *count -= 1;
        }
        Some(*stream)
    }

    /// Remembers the stream that a slot has had.
    pub(crate) fn remember(&mut self, index: SlotIndex, former: Former) {
        self.formers.insert(index, former);
    }

    /// Who was heard at a slot before a stream of this call gets it, when these have knocked. What the call itself has heard there is no suspect: a
    /// media may be dropped and taken up again.
    pub(crate) fn suspects(
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

    /// The streams of a chunk, with their slots.
    pub(crate) fn chunk_mut(&mut self, chunk: usize) -> impl Iterator<Item = (SlotIndex, &mut Stream)> {
        let is_empty = self.counts.get(chunk).is_none_or(|count| *count == 0);
        let start = chunk * CHUNK;
        let end = if is_empty { start } else { self.places.len().min(start + CHUNK) };
        let places = self.places.get_mut(start..end).unwrap_or_default();
        let slots = (start as u32..).map(SlotIndex);
        slots.zip(places).filter_map(|(index, place)| Some((index, place.as_deref_mut()?)))
    }
}

/// The slot of the RTP stream that an RTCP stream belongs to.
pub(crate) fn rtp_slot(index: SlotIndex) -> Option<SlotIndex> {
    index.is_odd().then(|| index.sibling())
}

/// The stream of a slot.
pub(crate) fn stream(streams: &Streams, index: SlotIndex) -> Option<&Stream> {
    streams.places.get(index.0 as usize)?.as_deref()
}

/// The stream of a slot.
pub(crate) fn stream_mut(streams: &mut Streams, index: SlotIndex) -> Option<&mut Stream> {
    streams.places.get_mut(index.0 as usize)?.as_deref_mut()
}

/// The slot whose stream learns the peer of this one: of RTCP that shares the port of its RTP, that.
pub(crate) fn taught(streams: &Streams, index: SlotIndex) -> Option<SlotIndex> {
    Some(if stream(streams, index)?.spec.mux { index.sibling() } else { index })
}

/// What is known of a stream's peer.
pub(crate) fn standing(streams: &Streams, index: SlotIndex) -> Option<Standing> {
    Some(stream(streams, taught(streams, index)?)?.peer.standing())
}

/// Where packets for a stream's party go.
pub(crate) fn remote(streams: &Streams, index: SlotIndex) -> Option<SocketAddr> {
    standing(streams, index)?.remote
}

/// The addresses of a packet on its way through a slot. The peer is a guess as long as it is not confirmed. It is who is heard, which is not always
/// where packets for the party go: what the signalled address itself sends must be looked at as long as somebody else is the peer.
pub(crate) fn addresses(streams: &Streams, index: SlotIndex) -> Result<Addresses, Reason> {
    let stream_here = stream(streams, index).ok_or(Reason::NoCall)?;
    if stream_here.spec.blocked {
        return Err(Reason::Blocked);
    }
    let other_index = stream_here.spec.other.ok_or(Reason::NoDestination)?;
    let other = stream(streams, other_index).ok_or(Reason::NoDestination)?;
    let nowhere = if other.is_untrusted { Reason::Untrusted } else { Reason::NoDestination };
    let to = remote(streams, other_index).ok_or(nowhere)?;
    let peer = standing(streams, index).and_then(|standing| standing.confirmed.or(standing.remote));
    Ok(Addresses {
        // Where nothing was signalled, nobody is the peer yet.
        peer: peer.unwrap_or(UNSPECIFIED),
        local: stream_here.spec.local,
        from: other.spec.local,
        to,
    })
}

/// Whether the party that a slot's packets go to has said where it is, now or before it was put on hold.
pub(crate) fn is_described(streams: &Streams, index: SlotIndex) -> bool {
    let other = stream(streams, index).and_then(|stream| taught(streams, stream.spec.other?));
    other.and_then(|other| stream(streams, other)).is_some_and(|other| other.peer.has_said())
}
