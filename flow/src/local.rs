//! The relay's own addresses, and the way from an address and a port to a slot.

use core::net::IpAddr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::headers::{Addr4, Addr6, Be16};
use crate::word::Word;

/// The index of a slot in the flow table.
///
/// Each local address has a slot for every port there is, first those of the even ports, then those of the odd ones: RTP and RTCP ports
/// alternate, but RTP has all the traffic, and side by side its slots fill cache lines and pages that RTCP's would only thin out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SlotIndex(pub u32);

/// How many slots each local address has.
pub const SLOTS_PER_LOCAL: u32 = 1 << 16;

impl SlotIndex {
    /// The slot of a port of the local address with this number.
    #[inline(always)]
    pub const fn new(local: u32, port: u16) -> Self {
        Self((local << 16) | port.rotate_right(1) as u32)
    }

    /// The number of the local address.
    pub const fn local(self) -> u32 {
        self.0 >> 16
    }

    /// The local port.
    pub const fn port(self) -> u16 {
        (self.0 as u16).rotate_left(1)
    }

    /// The slot of the other port of the pair: RTCP's for RTP, RTP's for RTCP.
    #[inline(always)]
    #[must_use]
    pub const fn sibling(self) -> Self {
        Self(self.0 ^ (SLOTS_PER_LOCAL / 2))
    }

    /// Whether the slot is of an odd port.
    #[inline(always)]
    pub const fn is_odd(self) -> bool {
        self.0 & (SLOTS_PER_LOCAL / 2) != 0
    }
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Ports {
    first: u16,
    /// The last port less the first.
    span: u16,
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Local4 {
    addr: Addr4,
    ports: Ports,
}

/// The local addresses and their ports: configuration that the loader writes into the XDP program.
///
/// An address keeps its number in the order given, whichever family it is of; the other family's entry of that number is the unspecified
/// address, which no packet goes to.
#[repr(C)]
pub struct Locals {
    count: Word<u32>,
    workers: Word<u32>,
    v4: [Word<u64>; Self::MAX],
    v6: [[Word<u64>; 2]; Self::MAX],
    v6_ports: [Word<u32>; Self::MAX],
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

    /// The length of [`Locals::words`].
    pub const WORDS: usize = 1 + 3 * Self::MAX + Self::MAX / 2;

    /// No address at all: every packet is somebody else's. The workers are not zero so that the compiler places this in initialised data,
    /// where a loader can write the real values.
    pub const fn none() -> Self {
        Self {
            count: Word::new(0),
            workers: Word::new(1),
            v4: [const { Word::new(0) }; Self::MAX],
            v6: [const { [const { Word::new(0) }; 2] }; Self::MAX],
            v6_ports: [const { Word::new(0) }; Self::MAX],
        }
    }

    /// The addresses in the given order, each with the ports from `first` to `last`; the slow path's packets are spread over so many workers.
    ///
    /// # Errors
    /// When there are too many addresses or no ports.
    pub fn new(addrs: &[IpAddr], first: u16, last: u16, workers: u16) -> Result<Self, LocalsError> {
        if addrs.len() > Self::MAX {
            return Err(LocalsError::TooMany);
        }
        let span = last.checked_sub(first).ok_or(LocalsError::NoPorts)?;
        let ports = Ports { first, span };
        let locals = Self::none();
        for (((addr, v4), v6), v6_ports) in addrs.iter().zip(&locals.v4).zip(&locals.v6).zip(&locals.v6_ports) {
            match addr {
                IpAddr::V4(addr) => v4.store(zerocopy::transmute!(Local4 { addr: (*addr).into(), ports })),
                IpAddr::V6(addr) => {
                    let Addr6(halves) = (*addr).into();
                    for (word, half) in v6.iter().zip(halves) {
                        word.store(half);
                    }
                    v6_ports.store(zerocopy::transmute!(ports));
                }
            }
        }
        locals.count.store(addrs.len() as u32);
        locals.workers.store(u32::from(workers));
        Ok(locals)
    }

    /// The words as the XDP program's memory holds them.
    pub fn words(&self) -> [u64; Self::WORDS] {
        let mut words = [0; Self::WORDS];
        let head = [self.count.load(), self.workers.load()];
        let v6_ports = self.v6_ports.as_chunks::<2>().0.iter().map(|[one, two]| [one.load(), two.load()]);
        let all = core::iter::once(zerocopy::transmute!(head))
            .chain(self.v4.iter().map(Word::load))
            .chain(self.v6.as_flattened().iter().map(Word::load))
            .chain(v6_ports.map(|ports| zerocopy::transmute!(ports)));
        for (word, value) in words.iter_mut().zip(all) {
            *word = value;
        }
        words
    }

    /// Whether the address is one of the relay's, and which.
    #[inline(always)]
    pub fn find4(&self, addr: Addr4) -> Option<LocalPorts> {
        let count = self.count.load();
        for (word, number) in self.v4.iter().zip(0..) {
            if number >= count {
                break;
            }
            let local: Local4 = zerocopy::transmute!(word.load());
            if local.addr == addr {
                return Some(LocalPorts { number, ports: local.ports });
            }
        }
        None
    }

    /// The same for IPv6.
    #[inline(always)]
    pub fn find6(&self, addr: Addr6) -> Option<LocalPorts> {
        let count = self.count.load();
        for (([high, low], ports), number) in self.v6.iter().zip(&self.v6_ports).zip(0..) {
            if number >= count {
                break;
            }
            // The low half first: addresses of one host differ there.
            if low.load() == addr.0[1] && high.load() == addr.0[0] {
                return Some(LocalPorts { number, ports: zerocopy::transmute!(ports.load()) });
            }
        }
        None
    }

    /// The same for either.
    pub fn find(&self, addr: IpAddr) -> Option<LocalPorts> {
        match addr {
            IpAddr::V4(addr) => self.find4(addr.into()),
            IpAddr::V6(addr) => self.find6(addr.into()),
        }
    }

    /// The worker that carries a port on the slow path: RTP and RTCP of a media, a pair of ports, have the same one.
    #[inline(always)]
    pub fn worker(&self, port: Be16) -> u32 {
        u32::from(port.get() >> 1).checked_rem(self.workers.load()).unwrap_or(0)
    }
}

/// The media ports of one local address.
#[derive(Clone, Copy)]
pub struct LocalPorts {
    number: u32,
    ports: Ports,
}

impl LocalPorts {
    /// The slot of a port, if it is a media port.
    #[inline(always)]
    pub fn slot(self, port: Be16) -> Option<SlotIndex> {
        let port = port.get();
        if port.wrapping_sub(self.ports.first) > self.ports.span {
            return None;
        }
        Some(SlotIndex::new(self.number, port))
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn addr(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    const SIX: &str = "2001:db8::1";

    fn slot(locals: &Locals, addr: IpAddr, port: u16) -> Option<SlotIndex> {
        locals.find(addr)?.slot(Be16::new(port))
    }

    #[test]
    fn every_port_of_every_address_has_its_own_slot() {
        let locals = Locals::new(&[addr(1), SIX.parse().unwrap(), addr(3)], 30000, 30099, 1).unwrap();
        let mut seen = std::collections::HashSet::new();
        for (number, addr) in (0..).zip([addr(1), SIX.parse().unwrap(), addr(3)]) {
            for port in 30000..=30099 {
                let index = slot(&locals, addr, port).unwrap();
                assert!(seen.insert(index));
                assert_eq!((index.local(), index.port()), (number, port));
            }
        }
        let slots = [30000, 30002, 30004].map(|port| slot(&locals, addr(1), port).unwrap().0);
        assert_eq!(slots, [15000, 15001, 15002], "even ports are neighbours");
        assert!(seen.iter().all(|index| index.0 < 3 * SLOTS_PER_LOCAL));
    }

    #[test]
    fn a_pair_of_ports_are_siblings() {
        let (rtp, rtcp) = (SlotIndex::new(1, 30000), SlotIndex::new(1, 30001));
        assert_eq!((rtp.sibling(), rtcp.sibling()), (rtcp, rtp));
        assert!(!rtp.is_odd() && rtcp.is_odd());
    }

    #[test]
    fn a_foreign_address_has_no_slot() {
        let locals = Locals::new(&[addr(1), SIX.parse().unwrap()], 30000, 30099, 1).unwrap();
        assert!(locals.find(addr(2)).is_none());
        assert!(locals.find("2001:db8::2".parse().unwrap()).is_none());
        assert!(locals.find("2001:db9::1".parse().unwrap()).is_none());
        assert!(Locals::none().find4(Addr4::default()).is_none());
    }

    #[test]
    fn the_unspecified_address_has_no_slot_though_it_fills_the_gaps() {
        let locals = Locals::new(&[addr(1), SIX.parse().unwrap()], 1, 65535, 1).unwrap();
        assert_eq!(slot(&locals, "0.0.0.0".parse().unwrap(), 30000), None);
        assert_eq!(slot(&locals, "::".parse().unwrap(), 30000), None);
    }

    #[test]
    fn a_port_outside_the_range_has_no_slot() {
        let locals = Locals::new(&[addr(1)], 30000, 30099, 1).unwrap();
        for port in [29999, 30100, 0, 65535, 0x3075] {
            assert_eq!(slot(&locals, addr(1), port), None, "{port}");
        }
        assert!(matches!(Locals::new(&[addr(1)], 2, 1, 1), Err(LocalsError::NoPorts)));
    }

    #[test]
    fn a_pair_of_ports_has_one_worker_and_pairs_are_spread() {
        let locals = Locals::new(&[addr(1)], 30000, 30099, 2).unwrap();
        assert_eq!([30000, 30001, 30002, 30003].map(|port| locals.worker(Be16::new(port))), [0, 0, 1, 1]);
    }

    #[test]
    fn sixteen_addresses_fit_and_seventeen_do_not() {
        let addrs: Vec<_> = (0..17).map(addr).collect();
        assert!(Locals::new(&addrs[..16], 1, 65535, 1).unwrap().find(addr(15)).is_some());
        assert!(matches!(Locals::new(&addrs, 1, 65535, 1), Err(LocalsError::TooMany)));
    }
}
