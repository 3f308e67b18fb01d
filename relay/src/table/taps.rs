//! Taps: copies of what comes for a call and leaves for it, for whoever looks into one.
//!
//! What XDP forwards nobody else sees, so a call that is tapped is carried by the workers. Others pay a look at one word. Whoever takes the copies too slowly
//! loses some, which are counted, and never a packet of the call.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use bytes::Bytes;
use crossbeam::channel::{Receiver, Sender, bounded};
use flow::compose::Outgoing;
use flow::headers::TTL;
use flow::{Be16, Bearing, SlotIndex};

/// Copies that may wait: twenty seconds of a call with RTP both ways, in and out.
const WAITING: usize = 4096;

/// A packet that was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tapped {
    /// When.
    pub at: SystemTime,
    /// Who has sent it: the party, or the relay.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// The UDP payload.
    pub payload: Bytes,
}

impl Tapped {
    /// An IP packet with the payload, as it was but for what lies in headers; `None` where it is longer than any.
    pub fn packet(&self) -> Option<Vec<u8>> {
        let bearing = Bearing { from: self.from.ip(), to: self.to.ip(), tos: None };
        let ports = [self.from.port(), self.to.port()].map(Be16::new);
        let mut headers = Outgoing::new(&bearing, ports, TTL, &self.payload)?;
        headers.complete(0);
        Some([headers.as_bytes(), &self.payload].concat())
    }
}

/// Where the copies of a call come to.
#[derive(Debug)]
pub struct TapReader {
    receiver: Receiver<Tapped>,
    tap: Arc<Tap>,
}

impl TapReader {
    /// The next copy that is there.
    pub fn next(&self) -> Option<Tapped> {
        self.receiver.try_recv().ok()
    }

    /// How many were lost.
    pub fn lost(&self) -> u64 {
        self.tap.lost.load(Ordering::Relaxed)
    }
}

/// Takes copies of one call.
#[derive(Debug)]
pub(crate) struct Tap {
    sender: Sender<Tapped>,
    lost: AtomicU64,
    /// As what it is behind SRTP, and not as it is on the wire.
    is_plain: bool,
}

impl Tap {
    /// Takes what is on the wire, where that is wanted.
    pub(crate) fn wire(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        if !self.is_plain {
            self.put(from, to, payload);
        }
    }

    /// Takes what is behind SRTP, where that is wanted.
    pub(crate) fn plain(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        if self.is_plain {
            self.put(from, to, payload);
        }
    }

    fn put(&self, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        let tapped = Tapped { at: SystemTime::now(), from, to, payload: Bytes::copy_from_slice(payload) };
        if self.sender.try_send(tapped).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// All taps.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    is_any: AtomicBool,
    places: RwLock<Places>,
}

#[derive(Debug, Default)]
struct Places {
    calls: HashMap<u64, Arc<Tap>>,
    slots: HashMap<SlotIndex, Arc<Tap>>,
}

impl Taps {
    /// The tap at a source.
    pub(crate) fn of(&self, index: SlotIndex) -> Option<Arc<Tap>> {
        if !self.is_any() {
            return None;
        }
        self.places.read().unwrap_or_else(PoisonError::into_inner).slots.get(&index).map(Arc::clone)
    }

    /// Whether a call has one.
    pub(super) fn has(&self, call: u64) -> bool {
        self.is_any() && self.places.read().unwrap_or_else(PoisonError::into_inner).calls.contains_key(&call)
    }

    /// A source is of this call, or of none.
    pub(super) fn follow(&self, index: SlotIndex, call: Option<u64>) {
        if !self.is_any() {
            return;
        }
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        match call.and_then(|call| places.calls.get(&call).map(Arc::clone)) {
            Some(tap) => drop(places.slots.insert(index, tap)),
            None => drop(places.slots.remove(&index)),
        }
        self.is_any.store(!places.calls.is_empty() || !places.slots.is_empty(), Ordering::Relaxed);
    }

    /// A call has one from now on; `None` where it has one already.
    pub(super) fn open(&self, call: u64, is_plain: bool) -> Option<TapReader> {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        if places.calls.contains_key(&call) {
            return None;
        }
        let (sender, receiver) = bounded(WAITING);
        let tap = Arc::new(Tap { sender, lost: AtomicU64::new(0), is_plain });
        places.calls.insert(call, Arc::clone(&tap));
        self.is_any.store(true, Ordering::Relaxed);
        Some(TapReader { receiver, tap })
    }

    /// A call has none any more: the slots that have to be told.
    pub(super) fn close(&self, call: u64) -> Vec<SlotIndex> {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        let Some(tap) = places.calls.remove(&call) else { return Vec::new() };
        let tapped = places.slots.iter().filter(|(_, other)| Arc::ptr_eq(other, &tap));
        let slots = tapped.map(|(index, _)| *index).collect();
        self.is_any.store(!places.calls.is_empty() || !places.slots.is_empty(), Ordering::Relaxed);
        slots
    }

    fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_seen_is_read_in_order_and_what_finds_no_place_is_counted() {
        let (taps, slot) = (Taps::default(), SlotIndex(4));
        assert!(taps.of(slot).is_none() && !taps.has(7));
        let reader = taps.open(7, false).unwrap();
        assert!(taps.open(7, true).is_none(), "it has one");
        taps.follow(slot, Some(7));
        taps.follow(SlotIndex(6), Some(8));
        assert!(taps.of(SlotIndex(6)).is_none());
        let (party, relay) = (addr("192.0.2.10:4000"), addr("192.0.2.1:30000"));
        let tap = taps.of(slot).unwrap();
        for number in 0..WAITING as u32 + 3 {
            tap.wire(party, relay, &number.to_be_bytes());
            tap.plain(party, relay, b"not this");
        }
        for number in 0..WAITING as u32 {
            assert_eq!(reader.next().map(|tapped| tapped.payload), Some(Bytes::copy_from_slice(&number.to_be_bytes())));
        }
        assert_eq!((reader.next(), reader.lost()), (None, 3));
        assert_eq!(taps.close(7), [slot]);
        taps.follow(slot, Some(7));
        assert!(taps.of(slot).is_none() && !taps.is_any());
    }

    #[test]
    fn a_copy_becomes_a_packet_of_either_family() {
        for (from, to, version, len) in
            [("192.0.2.10:4000", "192.0.2.1:30000", 4, 28), ("[2001:db8::10]:4000", "[2001:db8::1]:30000", 6, 48)]
        {
            let payload = Bytes::from_static(b"payload");
            let tapped = Tapped { at: SystemTime::UNIX_EPOCH, from: addr(from), to: addr(to), payload };
            let packet = tapped.packet().unwrap();
            assert_eq!((packet[0] >> 4, packet.len(), &packet[len..]), (version, len + 7, &b"payload"[..]));
        }
    }
}
