//! The relay's own addresses as others see them: which slot a packet arrives at that is sent there, and which device each address is on.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flow::{Be16, Locals, SlotIndex};

/// Whether the XDP program may be relied on at the device of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Fitness {
    /// The program is attached, and what it sends arrives.
    #[default]
    Fit,
    /// It is not attached: somebody has detached it, or the address is not on this host (yet).
    Detached,
    /// What it sends by the device does not arrive.
    Loses,
}

/// The device of a local address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seat {
    /// Its index; `None` when this host does not have the address (yet).
    pub(crate) device: Option<u32>,
    pub(crate) fitness: Fitness,
}

/// The relay's own addresses.
pub(crate) struct Ours {
    locals: Arc<Locals>,
    /// Addresses that parties are told instead of the local ones beside them.
    advertised: Vec<(IpAddr, IpAddr)>,
    /// The seats of the local addresses: device in the lower half (0: none), fitness above.
    seats: Vec<AtomicU64>,
}

impl Ours {
    /// The local addresses with what is advertised for them; there are so many, and nobody has said yet where they are.
    pub(crate) fn new(locals: Arc<Locals>, advertised: Vec<(IpAddr, IpAddr)>, count: usize) -> Self {
        Self { locals, advertised, seats: (0..count).map(|_| AtomicU64::new(0)).collect() }
    }

    /// The local addresses.
    pub(crate) fn locals(&self) -> &Locals {
        &self.locals
    }

    /// Whether an address is one of ours, also by its name beyond a NAT.
    pub(crate) fn has(&self, addr: IpAddr) -> bool {
        self.locals.find(addr).is_some() || self.advertised.iter().any(|(advertised, _)| *advertised == addr)
    }

    /// The slot where what is sent to an endpoint arrives, if it is one of our media ports.
    pub(crate) fn slot(&self, at: SocketAddr) -> Option<SlotIndex> {
        let of = |addr| self.locals.find(addr)?.slot(Be16::new(at.port()));
        let behind = self.advertised.iter().filter(|(advertised, _)| *advertised == at.ip());
        of(at.ip()).or_else(|| behind.into_iter().find_map(|(_, addr)| of(*addr)))
    }

    /// Says where a local address is now.
    pub(crate) fn set_seat(&self, local: usize, seat: Seat) {
        if let Some(place) = self.seats.get(local) {
            place.store(u64::from(seat.device.unwrap_or(0)) | (seat.fitness as u64) << 32, Ordering::Relaxed);
        }
    }

    /// The device that a slot's packets come in by.
    pub(crate) fn device(&self, index: SlotIndex) -> Option<u32> {
        Some(self.seat(index)? as u32).filter(|device| *device != 0)
    }

    /// What can be relied on at the device of a slot.
    pub(crate) fn fitness(&self, index: SlotIndex) -> Fitness {
        match self.seat(index).map(|seat| seat >> 32) {
            Some(0) => Fitness::Fit,
            Some(2) => Fitness::Loses,
            Some(_) | None => Fitness::Detached,
        }
    }

    fn seat(&self, index: SlotIndex) -> Option<u64> {
        Some(self.seats.get(index.local() as usize)?.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Ours {
        let (one, six): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let locals = Locals::new(&[one, six], 30000, 30009, 1).unwrap();
        let ours = Ours::new(Arc::new(locals), vec![("203.0.113.5".parse().unwrap(), one)], 2);
        ours.set_seat(0, Seat { device: Some(7), fitness: Fitness::Fit });
        ours
    }

    #[test]
    fn a_media_port_is_found_by_its_own_and_by_its_advertised_address() {
        let ours = ours();
        let slot = |text: &str| ours.slot(text.parse().unwrap());
        assert_eq!(slot("192.0.2.1:30002"), Some(SlotIndex::new(0, 30002)));
        assert_eq!(slot("203.0.113.5:30002"), Some(SlotIndex::new(0, 30002)));
        assert_eq!(slot("[2001:db8::1]:30002"), Some(SlotIndex::new(1, 30002)));
        for other in ["192.0.2.1:5060", "203.0.113.5:40000", "192.0.2.10:30002"] {
            assert_eq!(slot(other), None, "{other}");
        }
    }

    #[test]
    fn an_address_has_the_seat_that_was_said_last() {
        let ours = ours();
        let [here, there] = [0, 1].map(|local| SlotIndex::new(local, 30000));
        assert_eq!((ours.device(here), ours.device(there)), (Some(7), None));
        ours.set_seat(1, Seat { device: Some(9), fitness: Fitness::Loses });
        assert_eq!((ours.device(there), ours.fitness(there)), (Some(9), Fitness::Loses));
        assert_eq!(ours.fitness(here), Fitness::Fit);
    }
}
