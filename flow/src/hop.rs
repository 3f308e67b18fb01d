//! Next hops: where a frame goes on its way to a destination.

use core::fmt;
use core::net::IpAddr;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::headers::{Addr4, Addr6, IPV4_LEN, IPV6_LEN, UDP_LEN};
use crate::word::{Word, fence_loads, fence_stores};

/// The index of a next hop in its table.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct HopId(pub u16);

impl HopId {
    /// The next hop that is never resolved: for slots whose destination has none yet.
    pub const NONE: Self = Self(0);
}

/// A MAC address.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Mac(pub [u16; 3]);

impl From<[u8; 6]> for Mac {
    fn from(bytes: [u8; 6]) -> Self {
        Self(zerocopy::transmute!(bytes))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g]: [u8; 6] = zerocopy::transmute!(self.0);
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A resolved next hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The neighbour's MAC.
    pub to: Mac,
    /// The egress device's MAC.
    pub from: Mac,
    /// The egress device's index (`ifindex`).
    pub device: u32,
    /// The egress device's index in the device map.
    pub port: u16,
    /// Whether frames that came by the device leave by it as they would from any program (`XDP_TX`), and not as redirected ones.
    pub reflects: bool,
    /// The longest IP packet that the way takes, in bytes.
    pub mtu: u16,
}

/// What the packets of a way bear: the same for all flows between two hosts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Bearing {
    /// Their source address, one of the relay's.
    pub from: IpAddr,
    /// Their destination address, of the same family.
    pub to: IpAddr,
    /// The type of service (IPv6: traffic class) to write; `None` leaves it as it came (slow path: 0).
    pub tos: Option<u8>,
}

/// How frames of a way differ: the type of service to write, and the family.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kind(u16);

impl Kind {
    const SET_TOS: u16 = 1 << 8;
    const IPV6: u16 = 1 << 9;

    #[inline(always)]
    pub(crate) const fn is_ipv6(self) -> bool {
        self.0 & Self::IPV6 != 0
    }

    #[inline(always)]
    pub(crate) const fn tos(self) -> Option<u8> {
        if self.0 & Self::SET_TOS != 0 { Some(self.0 as u8) } else { None }
    }
}

/// By which device frames leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Egress {
    /// The device's index (`ifindex`), if what came by it may leave by it without being redirected.
    pub reflector: u32,
    generation: u16,
}

/// Destination and source MAC as they lie in a frame.
#[derive(Clone, Copy)]
pub(crate) struct Macs {
    first: u64,
    rest: u32,
}

impl Macs {
    #[inline(always)]
    pub(crate) const fn words(self) -> [u16; 6] {
        let (first, rest) = (self.first, self.rest);
        [
            first as u16,
            (first >> 16) as u16,
            (first >> 32) as u16,
            (first >> 48) as u16,
            rest as u16,
            (rest >> 16) as u16,
        ]
    }
}

/// The entry of one next hop: everything that the flows on one way have in common, in one cache line.
///
/// The bearing is written before anyone refers to the entry. The rest is written again and again: the generation is zero meanwhile and
/// another afterwards, so a reader that finds it unchanged has read a whole. Generation zero is "not resolved", so an all-zero table is an
/// empty one.
#[repr(C, align(64))]
#[derive(Default)]
pub struct HopCell {
    macs: Word<u64>,
    macs_rest: Word<u32>,
    /// The device that frames leave by if they came by it; zero where they have to be redirected all the same.
    reflector: Word<u32>,
    generation: Word<u16>,
    port: Word<u16>,
    kind: Word<u16>,
    /// The last generation there was.
    last: Word<u16>,
    /// The longest UDP payload that leaves in one piece.
    payload_max: Word<u16>,
    mtu: Word<u16>,
    device: Word<u32>,
    /// Source, then destination address: four bytes each in the first word, or sixteen each.
    addresses: [Word<u64>; 4],
}

#[cfg(not(all(test, loom)))]
const _: () = assert!(size_of::<HopCell>() == 64);

impl HopCell {
    /// The next hop, if it is resolved.
    pub fn read(&self) -> Option<Hop> {
        let egress = self.egress()?;
        let [a, b, c, d, e, g] = self.macs().words();
        let (to, from, mtu) = (Mac([a, b, c]), Mac([d, e, g]), self.mtu.load());
        let (device, reflects) = (self.device.load(), egress.reflector != 0);
        let hop = Hop { to, from, device, port: self.port(), reflects, mtu };
        self.still(egress).then_some(hop)
    }

    /// By which device frames leave, if the next hop is resolved. Whoever reads more asks [`HopCell::still`] afterwards.
    #[inline(always)]
    pub(crate) fn egress(&self) -> Option<Egress> {
        let generation = self.generation.load();
        if generation == 0 {
            return None;
        }
        fence_loads();
        Some(Egress { reflector: self.reflector.load(), generation })
    }

    /// Whether all that was read since belongs to this egress.
    #[inline(always)]
    pub(crate) fn still(&self, egress: Egress) -> bool {
        fence_loads();
        self.generation.load() == egress.generation
    }

    /// The device's index in the device map.
    #[inline(always)]
    pub(crate) fn port(&self) -> u16 {
        self.port.load()
    }

    /// The longest UDP payload that the way takes in one piece.
    #[inline(always)]
    pub(crate) fn payload_max(&self) -> u16 {
        self.payload_max.load()
    }

    #[inline(always)]
    pub(crate) fn macs(&self) -> Macs {
        Macs { first: self.macs.load(), rest: self.macs_rest.load() }
    }

    #[inline(always)]
    pub(crate) fn kind(&self) -> Kind {
        Kind(self.kind.load())
    }

    /// Source and destination address, of an IPv4 way, as they lie in a header.
    #[inline(always)]
    pub(crate) fn addresses4(&self) -> u64 {
        self.addresses[0].load()
    }

    /// The same of an IPv6 way.
    #[inline(always)]
    pub(crate) fn addresses6(&self) -> [u64; 4] {
        let [a, b, c, d] = &self.addresses;
        [a.load(), b.load(), c.load(), d.load()]
    }

    /// The destination address of an IPv6 way.
    #[inline(always)]
    pub(crate) fn to6(&self) -> Addr6 {
        Addr6::from_raw([self.addresses[2].load(), self.addresses[3].load()])
    }

    /// What the packets bear. Only a reader whose slot still refers to this entry afterwards has read a whole.
    pub fn bearing(&self) -> Bearing {
        let kind = self.kind();
        let [a, b, c, d] = self.addresses6();
        if kind.is_ipv6() {
            let addr = |raw| IpAddr::V6(Addr6::from_raw(raw).into());
            return Bearing { from: addr([a, b]), to: addr([c, d]), tos: kind.tos() };
        }
        let [from, to]: [Addr4; 2] = zerocopy::transmute!(a);
        Bearing { from: IpAddr::V4(from.into()), to: IpAddr::V4(to.into()), tos: kind.tos() }
    }

    /// Says what the packets bear. Only while no slot refers to the entry.
    pub fn bear(&self, bearing: &Bearing) {
        let mut kind = bearing.tos.map_or(0, |tos| Kind::SET_TOS | u16::from(tos));
        let addresses: [u64; 4] = match (bearing.from, bearing.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => [zerocopy::transmute!([Addr4::from(from), Addr4::from(to)]), 0, 0, 0],
            (from, to) => {
                kind |= Kind::IPV6;
                let six = |addr| match addr {
                    IpAddr::V4(addr) => Addr6::from(addr.to_ipv6_mapped()),
                    IpAddr::V6(addr) => Addr6::from(addr),
                };
                zerocopy::transmute!([six(from), six(to)])
            }
        };
        for (word, value) in self.addresses.iter().zip(addresses) {
            word.store(value);
        }
        self.kind.store(kind);
        fence_stores();
    }

    /// Writes the next hop, or that there is none. Only one thread writes a cell.
    pub fn write(&self, hop: Option<Hop>) {
        self.generation.store(0);
        fence_stores();
        let Some(hop) = hop else { return };
        let ([a, b, c], [d, e, g]) = (hop.to.0, hop.from.0);
        self.macs.store(zerocopy::transmute!([a, b, c, d]));
        self.macs_rest.store(zerocopy::transmute!([e, g]));
        self.device.store(hop.device);
        self.reflector.store(if hop.reflects { hop.device } else { 0 });
        self.port.store(hop.port);
        self.mtu.store(hop.mtu);
        let headers = if self.kind().is_ipv6() { IPV6_LEN } else { IPV4_LEN } + UDP_LEN;
        self.payload_max.store(hop.mtu.saturating_sub(headers));
        let generation = match self.last.load().wrapping_add(1) {
            0 => 1,
            next => next,
        };
        self.last.store(generation);
        fence_stores();
        self.generation.store(generation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(last: u8) -> Hop {
        Hop {
            to: [2, 0, 0, 0, 0, last].into(),
            from: [2, 0, 0, 0, 1, last].into(),
            device: 7,
            port: 3,
            reflects: last.is_multiple_of(2),
            mtu: 1500,
        }
    }

    #[test]
    fn an_all_zero_cell_is_not_resolved() {
        assert_eq!(HopCell::default().read(), None);
    }

    #[test]
    fn a_hop_is_read_as_it_was_written() {
        let cell = HopCell::default();
        cell.write(Some(hop(1)));
        assert_eq!(cell.read(), Some(hop(1)));
        cell.write(Some(hop(2)));
        assert_eq!(cell.read(), Some(hop(2)));
        cell.write(None);
        assert_eq!(cell.read(), None);
    }

    #[test]
    fn what_packets_bear_is_read_as_it_was_written_in_either_family() {
        let cell = HopCell::default();
        for (from, to) in [("192.0.2.1", "198.51.100.1"), ("2001:db8::1", "2001:db8:1::2")] {
            for tos in [None, Some(0), Some(184)] {
                let bearing = Bearing { from: from.parse().unwrap(), to: to.parse().unwrap(), tos };
                cell.bear(&bearing);
                assert_eq!(cell.bearing(), bearing);
            }
        }
        assert_eq!(cell.read(), None, "known, but not resolved");
    }

    #[test]
    fn a_hop_that_was_written_meanwhile_is_not_the_same_hop() {
        let cell = HopCell::default();
        cell.write(Some(hop(1)));
        let egress = cell.egress().unwrap();
        assert!(cell.still(egress));
        cell.write(None);
        assert!(!cell.still(egress));
        cell.write(Some(hop(1)));
        assert!(!cell.still(egress));
    }

    #[test]
    fn the_longest_payload_leaves_room_for_the_headers_of_its_family() {
        for (from, to, payload_max) in [("192.0.2.1", "198.51.100.1", 1472), ("2001:db8::1", "2001:db8:1::2", 1452)] {
            let cell = HopCell::default();
            cell.bear(&Bearing { from: from.parse().unwrap(), to: to.parse().unwrap(), tos: None });
            cell.write(Some(hop(1)));
            assert_eq!(cell.payload_max(), payload_max);
        }
    }

    #[test]
    fn the_generation_skips_the_value_that_means_unresolved() {
        let cell = HopCell::default();
        for _ in 0..=u32::from(u16::MAX) {
            cell.write(Some(hop(1)));
            assert_eq!(cell.read(), Some(hop(1)));
        }
    }
}
