//! The relay's own addresses, and the way from an address and a port to a slot.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::headers::{Addr4, Be16};
use crate::word::Word;

/// The index of a slot in the flow table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SlotIndex(pub u32);

/// How many pairs of an even and the next odd port a range touches. Each local address has twice as many slots: first those of all even
/// ports, then those of all odd ones. RTP and RTCP ports alternate, but RTP has all the traffic; side by side its slots fill cache lines and
/// pages that RTCP's would only thin out.
pub const fn pairs(first: u16, last: u16) -> u32 {
    (last as u32 >> 1) - (first as u32 >> 1) + 1
}

/// One local media address and where its slots begin.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Local {
    /// The address that packets arrive at.
    pub addr: Addr4,
    /// Index of the first slot.
    pub base: u32,
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Ports {
    count: u16,
    workers: u16,
    first: u16,
    last: u16,
}

/// The local addresses and the port range of the relay: configuration that the loader writes into the XDP program.
#[repr(C)]
pub struct Locals {
    ports: Word,
    locals: [Word; Self::MAX],
}

/// A list of local addresses that cannot be represented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LocalsError {
    /// More than [`Locals::MAX`] addresses.
    TooMany,
    /// The first port is above the last.
    NoPorts,
}

impl Locals {
    /// How many local addresses there can be.
    pub const MAX: usize = 16;

    /// No address at all: every packet is somebody else's. The ports are not zero so that the compiler places this in initialised data,
    /// where a loader can write the real values.
    pub const fn none() -> Self {
        Self { ports: Word::new(1 << 32), locals: [const { Word::new(0) }; Self::MAX] }
    }

    /// The addresses in the given order, each with a slot for every port from `first` to `last`; the slow path's packets are spread over so
    /// many workers.
    ///
    /// # Errors
    /// When there are too many addresses or no ports.
    pub fn new(addrs: &[Addr4], first: u16, last: u16, workers: u16) -> Result<Self, LocalsError> {
        if addrs.len() > Self::MAX {
            return Err(LocalsError::TooMany);
        }
        if first > last {
            return Err(LocalsError::NoPorts);
        }
        let locals = Self::none();
        let slots = 2 * pairs(first, last);
        for (position, (word, addr)) in locals.locals.iter().zip(addrs).enumerate() {
            word.store(zerocopy::transmute!(Local { addr: *addr, base: position as u32 * slots }));
        }
        locals.ports.store(zerocopy::transmute!(Ports { count: addrs.len() as u16, workers, first, last }));
        Ok(locals)
    }

    /// The words as the XDP program's memory holds them.
    pub fn words(&self) -> [u64; Self::MAX + 1] {
        let mut words = [self.ports.load(); Self::MAX + 1];
        for (to, from) in words.iter_mut().skip(1).zip(&self.locals) {
            *to = from.load();
        }
        words
    }

    /// Whether the address is one of the relay's, and which.
    #[inline(always)]
    pub fn find(&self, addr: Addr4) -> Option<LocalPorts> {
        let ports: Ports = zerocopy::transmute!(self.ports.load());
        for (position, word) in self.locals.iter().enumerate() {
            if position >= usize::from(ports.count) {
                break;
            }
            let local: Local = zerocopy::transmute!(word.load());
            if local.addr == addr {
                return Some(LocalPorts {
                    base: local.base,
                    workers: ports.workers,
                    first: ports.first,
                    last: ports.last,
                });
            }
        }
        None
    }
}

/// The media ports of one local address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalPorts {
    base: u32,
    workers: u16,
    first: u16,
    last: u16,
}

impl LocalPorts {
    /// The slot of a port, if it is a media port.
    #[inline(always)]
    pub fn slot(self, port: Be16) -> Option<SlotIndex> {
        let port = port.get();
        if port < self.first || port > self.last {
            return None;
        }
        let pair = u32::from((port >> 1) - (self.first >> 1));
        let odd = if port & 1 == 0 { 0 } else { pairs(self.first, self.last) };
        Some(SlotIndex(self.base + pair + odd))
    }

    /// The worker that carries a port on the slow path: RTP and RTCP of a media, a pair of ports, have the same one.
    #[inline(always)]
    pub fn worker(self, port: Be16) -> u32 {
        u32::from((port.get() >> 1).checked_rem(self.workers).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;
    use std::vec::Vec;

    use super::*;

    fn addr(last: u8) -> Addr4 {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    #[test]
    fn every_port_of_every_address_has_its_own_slot() {
        let locals = Locals::new(&[addr(1), addr(2), addr(3)], 30000, 30099, 1).unwrap();
        let mut seen = std::collections::HashSet::new();
        for last in 1..=3 {
            for port in 30000..=30099 {
                assert!(seen.insert(locals.find(addr(last)).unwrap().slot(Be16::new(port)).unwrap()));
            }
        }
        let ports = locals.find(addr(1)).unwrap();
        let slot = |port| ports.slot(Be16::new(port)).unwrap().0;
        assert_eq!([30000, 30002, 30004, 30001, 30003].map(slot), [0, 1, 2, 50, 51], "even ports are neighbours");
        assert_eq!(seen.len(), 300);
        assert_eq!(seen.iter().max(), Some(&SlotIndex(299)));
    }

    #[test]
    fn a_foreign_address_has_no_slot() {
        let locals = Locals::new(&[addr(1)], 30000, 30099, 1).unwrap();
        assert_eq!(locals.find(addr(2)), None);
        assert_eq!(Locals::none().find(Addr4::default()), None);
    }

    #[test]
    fn a_port_outside_the_range_has_no_slot() {
        let locals = Locals::new(&[addr(1)], 30000, 30099, 1).unwrap();
        let ports = locals.find(addr(1)).unwrap();
        assert_eq!(ports.slot(Be16::new(29999)), None);
        assert_eq!(ports.slot(Be16::new(30100)), None);
        assert_eq!(ports.slot(Be16::new(0x3075)), None, "the port's bytes swapped");
    }

    #[test]
    fn a_pair_of_ports_has_one_worker_and_pairs_are_spread() {
        let ports = Locals::new(&[addr(1)], 30000, 30099, 2).unwrap().find(addr(1)).unwrap();
        let worker = |port| ports.worker(Be16::new(port));
        assert_eq!([30000, 30001, 30002, 30003].map(worker), [0, 0, 1, 1]);
    }

    #[test]
    fn sixteen_addresses_fit_and_seventeen_do_not() {
        let addrs: Vec<_> = (0..17).map(addr).collect();
        assert!(Locals::new(&addrs[..16], 1, 65535, 1).unwrap().find(addr(15)).is_some());
        assert!(matches!(Locals::new(&addrs, 1, 65535, 1), Err(LocalsError::TooMany)));
    }
}
