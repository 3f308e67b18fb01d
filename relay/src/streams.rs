//! The streams of the flow table, and how they refer to one another.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use flow::slot::Path as Addresses;
use flow::{Reason, SlotIndex};

use crate::learning::Standing;
use crate::stream::Stream;

/// Nobody's address.
const UNSPECIFIED: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// How many slots are looked at together, under one lock: some tens of microseconds, when all of them have streams.
pub(crate) const CHUNK: usize = 128;

/// The streams by slot. Most slots have none, and those that have one stand together: chunks without any need no look.
pub(crate) struct Streams {
    places: Vec<Option<Box<Stream>>>,
    /// How many streams each chunk has.
    counts: Vec<u16>,
    /// The party's host of the stream that a slot had last.
    formers: HashMap<SlotIndex, IpAddr>,
}

impl Streams {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            places: (0..slots).map(|_| None).collect(),
            counts: vec![0; slots.div_ceil(CHUNK)],
            formers: HashMap::new(),
        }
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

    /// Remembers, or forgets, whom the stream heard that a slot has had.
    pub(crate) fn remember_former(&mut self, index: SlotIndex, host: Option<IpAddr>) {
        match host {
            Some(host) => drop(self.formers.insert(index, host)),
            None => drop(self.formers.remove(&index)),
        }
    }

    /// Whom the last stream of a slot heard. A new one has to know it only once.
    pub(crate) fn forget_former(&mut self, index: SlotIndex) -> Option<IpAddr> {
        self.formers.remove(&index)
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

/// The addresses of a packet on its way through a slot. The peer is a guess as long as it is not confirmed.
pub(crate) fn addresses(streams: &Streams, index: SlotIndex) -> Result<Addresses, Reason> {
    let stream_here = stream(streams, index).ok_or(Reason::NoCall)?;
    if stream_here.spec.blocked {
        return Err(Reason::Blocked);
    }
    let other_index = stream_here.spec.other.ok_or(Reason::NoDestination)?;
    let other = stream(streams, other_index).ok_or(Reason::NoDestination)?;
    let nowhere = if other.is_untrusted { Reason::Untrusted } else { Reason::NoDestination };
    let to = remote(streams, other_index).ok_or(nowhere)?;
    Ok(Addresses {
        // Where nothing was signalled, nobody is the peer yet.
        peer: remote(streams, index).unwrap_or(UNSPECIFIED),
        local: stream_here.spec.local,
        from: other.spec.local,
        to,
    })
}
