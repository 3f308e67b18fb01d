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

/// The local addresses and their ports: configuration that the loader writes into the XDP program.
///
/// An address is found in one step: its place is a product's uppermost bits, and the factor is chosen so that no two addresses of a family
/// share a place. A search through a list would cost every packet a branch that nobody can predict, since packets come for all addresses in
/// turn.
///
/// An address keeps its number in the order given, whichever family it is of.
#[repr(C)]
pub struct Locals {
    workers: Word<u32>,
    factor4: Word<u32>,
    factor6: Word<u64>,
    v4: [Place<1>; PLACES],
    v6: [Place<2>; PLACES],
}

/// Places for addresses of a family: so many more than addresses that a factor without collisions is soon found.
const PLACES: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 6;
/// How many factors are tried. With 16 addresses one of seven does.
const FACTORS: u64 = 1 << 16;

const _: () = assert!(PLACES >= 4 * Locals::MAX);

/// What stands at a place: an address of so many words, its ports, and its number; a vacant one is all zeros.
#[repr(C)]
struct Place<const WORDS: usize> {
    addr: [Word<u64>; WORDS],
    /// The number of the address plus one, or zero.
    taken: Word<u32>,
    ports: Word<u32>,
}

impl<const WORDS: usize> Place<WORDS> {
    const fn vacant() -> Self {
        Self { addr: [const { Word::new(0) }; WORDS], taken: Word::new(0), ports: Word::new(0) }
    }

    /// Puts an address here; false when another one is here already. Of one that is given twice the first number counts.
    fn put(&self, addr: [u64; WORDS], number: u32, ports: Ports) -> bool {
        if self.taken.load() != 0 {
            return self.addr.iter().zip(addr).all(|(word, value)| word.load() == value);
        }
        for (word, value) in self.addr.iter().zip(addr) {
            word.store(value);
        }
        self.taken.store(number + 1);
        self.ports.store(zerocopy::transmute!(ports));
        true
    }

    fn clear(&self) {
        for word in &self.addr {
            word.store(0);
        }
        self.taken.store(0);
        self.ports.store(0);
    }

    #[inline(always)]
    fn ports(&self) -> Option<LocalPorts> {
        let number = self.taken.load().checked_sub(1)?;
        Some(LocalPorts { number, ports: zerocopy::transmute!(self.ports.load()) })
    }
}

/// A list of local addresses that cannot be represented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LocalsError {
    /// More than [`Locals::MAX`] addresses.
    TooMany,
    /// The first port is above the last.
    NoPorts,
    /// No factor tells all addresses apart.
    NoFactor,
}

impl Locals {
    /// How many local addresses there can be.
    pub const MAX: usize = 16;

    /// The length of [`Locals::words`].
    pub const WORDS: usize = size_of::<Self>() / size_of::<u64>();

    /// No address at all: every packet is somebody else's. The workers are not zero so that the compiler places this in initialised data,
    /// where a loader can write the real values.
    pub const fn none() -> Self {
        Self {
            workers: Word::new(1),
            factor4: Word::new(1),
            factor6: Word::new(1),
            v4: [const { Place::vacant() }; PLACES],
            v6: [const { Place::vacant() }; PLACES],
        }
    }

    /// The addresses in the given order, each with the ports from `first` to `last`; the slow path's packets are spread over so many workers.
    ///
    /// # Errors
    /// When there are too many addresses or no ports.
    pub fn new(addrs: &[IpAddr], first: u16, last: u16, workers: u16) -> Result<Self, LocalsError> {
        Self::with_ports(addrs.iter().map(|addr| (*addr, first, last)), workers)
    }

    /// The addresses in the given order, each with its own first and last port.
    ///
    /// # Errors
    /// When there are too many addresses, or one has no ports.
    pub fn with_ports(
        addrs: impl Iterator<Item = (IpAddr, u16, u16)> + Clone,
        workers: u16,
    ) -> Result<Self, LocalsError> {
        if addrs.clone().count() > Self::MAX {
            return Err(LocalsError::TooMany);
        }
        if addrs.clone().any(|(_, first, last)| first > last) {
            return Err(LocalsError::NoPorts);
        }
        let addrs = addrs.map(|(addr, first, last)| (addr, Ports { first, span: last - first }));
        let locals = Self::none();
        locals.workers.store(u32::from(workers));
        // Odd factors, scattered by the golden ratio.
        let factors = || (1..=FACTORS).map(|step| step.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let found = factors().any(|factor| locals.place4(addrs.clone(), (factor >> 32) as u32 | 1))
            && factors().any(|factor| locals.place6(addrs.clone(), factor));
        if found { Ok(locals) } else { Err(LocalsError::NoFactor) }
    }

    /// Puts all IPv4 addresses at their places by a factor; whether each has one of its own.
    fn place4(&self, addrs: impl Iterator<Item = (IpAddr, Ports)>, factor: u32) -> bool {
        self.v4.iter().for_each(Place::clear);
        self.factor4.store(factor);
        addrs.zip(0..).all(|((addr, ports), number)| match addr {
            IpAddr::V4(addr) => {
                let addr = Addr4::from(addr);
                self.at4(addr).put([u64::from(addr.raw())], number, ports)
            }
            IpAddr::V6(_) => true,
        })
    }

    /// The same for IPv6.
    fn place6(&self, addrs: impl Iterator<Item = (IpAddr, Ports)>, factor: u64) -> bool {
        self.v6.iter().for_each(Place::clear);
        self.factor6.store(factor);
        addrs.zip(0..).all(|((addr, ports), number)| match addr {
            IpAddr::V6(addr) => {
                let addr = Addr6::from(addr);
                self.at6(addr).put(addr.0, number, ports)
            }
            IpAddr::V4(_) => true,
        })
    }

    #[inline(always)]
    fn at4(&self, addr: Addr4) -> &Place<1> {
        let product = addr.raw().wrapping_mul(self.factor4.load());
        &self.v4[(product >> (u32::BITS - PLACE_BITS)) as usize]
    }

    #[inline(always)]
    fn at6(&self, addr: Addr6) -> &Place<2> {
        let factor = self.factor6.load();
        let product = addr.0[1].wrapping_mul(factor).wrapping_add(addr.0[0]).wrapping_mul(factor);
        &self.v6[(product >> (u64::BITS - PLACE_BITS)) as usize]
    }

    /// The words as the XDP program's memory holds them.
    pub fn words(&self) -> [u64; Self::WORDS] {
        let pair = |one: &Word<u32>, two: &Word<u32>| zerocopy::transmute!([one.load(), two.load()]);
        let v4 = self.v4.iter().flat_map(|place| [place.addr[0].load(), pair(&place.taken, &place.ports)]);
        let v6 = self.v6.iter().flat_map(|place| {
            let [high, low] = &place.addr;
            [high.load(), low.load(), pair(&place.taken, &place.ports)]
        });
        let head = [pair(&self.workers, &self.factor4), self.factor6.load()];
        let mut words = [0; Self::WORDS];
        for (word, value) in words.iter_mut().zip(head.into_iter().chain(v4).chain(v6)) {
            *word = value;
        }
        words
    }

    /// Whether the address is one of the relay's, and which.
    #[inline(always)]
    pub fn find4(&self, addr: Addr4) -> Option<LocalPorts> {
        let place = self.at4(addr);
        if place.addr[0].load() != u64::from(addr.raw()) {
            return None;
        }
        place.ports()
    }

    /// The same for IPv6.
    #[inline(always)]
    pub fn find6(&self, addr: Addr6) -> Option<LocalPorts> {
        let place = self.at6(addr);
        if place.addr[1].load() != addr.0[1] || place.addr[0].load() != addr.0[0] {
            return None;
        }
        place.ports()
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
    /// The number of the address.
    pub const fn number(self) -> u32 {
        self.number
    }

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
    fn the_unspecified_address_has_no_slot_though_it_fills_the_vacant_places() {
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

    #[test]
    fn an_address_that_is_given_twice_keeps_its_first_number() {
        let locals = Locals::new(&[addr(9), addr(1), addr(1)], 30000, 30099, 1).unwrap();
        assert_eq!(slot(&locals, addr(1), 30000).map(SlotIndex::local), Some(1));
    }

    #[test]
    fn the_words_are_the_memory() {
        let addrs: Vec<IpAddr> =
            (0..8).map(addr).chain((0..8).map(|low| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, low, 1]))).collect();
        let locals = Locals::new(&addrs, 30000, 30099, 3).unwrap();
        let words = locals.words();
        assert_eq!(words[0], zerocopy::transmute!([3, locals.factor4.load()]));
        assert_eq!(words[1], locals.factor6.load());
        let taken = |words: &[u64]| words.iter().filter(|word| **word as u32 != 0).count();
        let (v4, v6) = words[2..].split_at(2 * PLACES);
        assert_eq!(taken(&v4.iter().skip(1).step_by(2).copied().collect::<Vec<_>>()), 8);
        assert_eq!(taken(&v6.iter().skip(2).step_by(3).copied().collect::<Vec<_>>()), 8);
    }

    proptest::proptest! {
        #[test]
        fn any_sixteen_addresses_of_either_family_are_told_apart(
            v4 in proptest::collection::hash_set(1u32.., 16), v6 in proptest::collection::hash_set(1u128.., 16), stride in 0..16u32,
        ) {
            let v4: Vec<IpAddr> = v4.into_iter().map(|bits| std::net::Ipv4Addr::from_bits(bits).into()).collect();
            let v6: Vec<IpAddr> = v6.into_iter().map(|bits| std::net::Ipv6Addr::from_bits(bits).into()).collect();
            // As hosts really have them: a few bits differ.
            let near: Vec<IpAddr> = (0..16).map(|bits| std::net::Ipv4Addr::from_bits(0x0a00_0001 + (bits << stride)).into()).collect();
            let near6: Vec<IpAddr> = (0..16u128).map(|bits| std::net::Ipv6Addr::from_bits((0x2001 << 112 | 1) + (bits << (7 * stride))).into()).collect();
            for addrs in [v4, v6, near, near6] {
                let locals = Locals::new(&addrs, 1, 65535, 1).unwrap();
                for (addr, number) in addrs.iter().zip(0..) {
                    proptest::prop_assert_eq!(locals.find(*addr).map(|ports| ports.number), Some(number));
                }
            }
        }
    }
}
