//! Views of the packet headers, and the types of their fields.
//!
//! All multi-byte fields hold the bytes as they are on the wire. The views are aligned to 2: an Ethernet header is 14 bytes, so nothing in
//! the IP header can be relied on to be aligned to 4, and a `packed` view would cost a byte-by-byte load of each field in the kernel.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A 16-bit number in network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Be16(u16);

impl Be16 {
    /// From a number in the host's order.
    #[inline(always)]
    pub const fn new(value: u16) -> Self {
        Self(value.to_be())
    }

    /// The number in the host's order.
    #[inline(always)]
    pub const fn get(self) -> u16 {
        u16::from_be(self.0)
    }

    /// From the bits as they lie in memory.
    #[inline(always)]
    pub const fn from_raw(raw: u16) -> Self {
        Self(raw)
    }

    /// The bits as they lie in memory, for checksum arithmetic.
    #[inline(always)]
    pub(crate) const fn raw(self) -> u16 {
        self.0
    }
}

impl fmt::Debug for Be16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// An IPv4 address, its four bytes in network order.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Addr4(u32);

impl Addr4 {
    /// The four bytes as they lie in memory.
    #[inline(always)]
    pub const fn raw(self) -> u32 {
        self.0
    }

    /// The two 16-bit halves as they lie in a header.
    #[inline(always)]
    pub(crate) fn halves(self) -> [u16; 2] {
        zerocopy::transmute!(self.0)
    }

    /// The address as a slot remembers who knocked.
    #[inline(always)]
    pub const fn fold(self) -> u32 {
        self.0
    }

    /// From the four bytes as they lie in memory.
    #[inline(always)]
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    #[inline(always)]
    pub(crate) fn from_halves(halves: [u16; 2]) -> Self {
        Self(zerocopy::transmute!(halves))
    }
}

impl From<Ipv4Addr> for Addr4 {
    fn from(addr: Ipv4Addr) -> Self {
        Self(u32::from_ne_bytes(addr.octets()))
    }
}

impl From<Addr4> for Ipv4Addr {
    fn from(addr: Addr4) -> Self {
        Self::from(addr.0.to_ne_bytes())
    }
}

impl fmt::Debug for Addr4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Ipv4Addr::from(*self), f)
    }
}

/// An IPv6 address, its bytes in network order, as two halves that lie in memory like the header's.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Addr6(pub(crate) [u64; 2]);

impl Addr6 {
    /// From the sixteen bytes as they lie in memory.
    #[inline(always)]
    pub const fn from_raw(raw: [u64; 2]) -> Self {
        Self(raw)
    }

    /// The address as a slot remembers who knocked: not all of it.
    #[inline(always)]
    pub const fn fold(self) -> u32 {
        let [high, low] = self.0;
        let both = high ^ low.rotate_left(13);
        (both >> 32) as u32 ^ both as u32
    }

    pub(crate) fn words(self) -> [u16; 8] {
        zerocopy::transmute!(self.0)
    }
}

impl From<Ipv6Addr> for Addr6 {
    fn from(addr: Ipv6Addr) -> Self {
        Self(zerocopy::transmute!(addr.octets()))
    }
}

impl From<Addr6> for Ipv6Addr {
    fn from(addr: Addr6) -> Self {
        let octets: [u8; 16] = zerocopy::transmute!(addr.0);
        Self::from(octets)
    }
}

impl fmt::Debug for Addr6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Ipv6Addr::from(*self), f)
    }
}

/// Ethernet II header.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ethernet {
    /// Destination MAC, then source MAC.
    pub macs: [u16; 6],
    /// EtherType.
    pub kind: Be16,
}

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: Be16 = Be16::new(0x0800);
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: Be16 = Be16::new(0x86dd);

/// IPv4 header without options (RFC 791).
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ipv4 {
    /// Version (4 bits) and header length in 32-bit words (4 bits).
    pub version_ihl: u8,
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// Length of header and payload in bytes.
    pub length: Be16,
    /// Identification.
    pub id: Be16,
    /// Flags and fragment offset.
    pub fragment: Be16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol number.
    pub protocol: u8,
    /// Header checksum.
    pub checksum: u16,
    /// Source address.
    pub from: [u16; 2],
    /// Destination address.
    pub to: [u16; 2],
}

/// IPv6 header (RFC 8200).
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ipv6 {
    /// Version (4 bits), traffic class (8 bits), and the first bits of the flow label.
    pub version_class: Be16,
    /// The rest of the flow label.
    pub label: u16,
    /// Length of what follows this header in bytes.
    pub length: Be16,
    /// Protocol number of what follows.
    pub next: u8,
    /// Hop limit.
    pub ttl: u8,
    /// Source address.
    pub from: [u16; 8],
    /// Destination address.
    pub to: [u16; 8],
}

/// The time to live of what leaves the relay: it is the source of the packets, not a router (RFC 1700). But what comes from an address of the
/// relay itself has been through it already, and goes on with less than it came with.
pub const TTL: u8 = 64;

/// Version 4, five words: a header without options.
pub const VERSION_IHL: u8 = 0x45;
/// Protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// More-fragments flag and fragment offset: any of these bits set means a fragment.
pub const FRAGMENT_BITS: u16 = 0x3fff;

/// UDP header (RFC 768).
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Udp {
    /// Source port, then destination port.
    pub ports: [Be16; 2],
    /// Length of header and payload in bytes.
    pub length: Be16,
    /// Checksum; zero means that none was computed.
    pub checksum: u16,
}

/// RTP header (RFC 3550 5.1). The first eight bytes are also those of an RTCP packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Rtp {
    /// Version, padding, extension and CSRC count.
    pub first: u8,
    /// Marker and payload type; in RTCP the packet type.
    pub second: u8,
    /// Sequence number.
    pub sequence: Be16,
    /// Timestamp in units of the payload's clock.
    pub timestamp: [Be16; 2],
    /// Synchronisation source, bytes in network order.
    pub ssrc: [u16; 2],
}

/// The headers of a UDP datagram over IPv4 in an untagged Ethernet frame, without IP options.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Envelope4 {
    /// Bytes 0 to 13.
    pub ethernet: Ethernet,
    /// Bytes 14 to 33.
    pub ip: Ipv4,
    /// Bytes 34 to 41.
    pub udp: Udp,
}

/// The headers of an RTP packet over IPv4: what the fast path reads and writes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Headers4 {
    /// Those of the datagram.
    pub envelope: Envelope4,
    /// Bytes 42 to 53.
    pub rtp: Rtp,
}

/// The headers of a UDP datagram over IPv6 in an untagged Ethernet frame, without IP options or extension headers.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Envelope6 {
    /// Bytes 0 to 13.
    pub ethernet: Ethernet,
    /// Bytes 14 to 53.
    pub ip: Ipv6,
    /// Bytes 54 to 61.
    pub udp: Udp,
}

/// The headers of an RTP packet over IPv6: what the fast path reads and writes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Headers6 {
    /// Those of the datagram.
    pub envelope: Envelope6,
    /// Bytes 62 to 73.
    pub rtp: Rtp,
}

/// Length of [`Ethernet`] in bytes.
pub const ETHERNET_LEN: usize = size_of::<Ethernet>();
/// Length of [`Ipv4`] in bytes.
pub const IPV4_LEN: u16 = 20;
/// Length of [`Ipv6`] in bytes.
pub const IPV6_LEN: u16 = 40;
/// Length of [`Udp`] in bytes.
pub const UDP_LEN: u16 = 8;
/// Length of a bare RTP header in bytes.
pub const RTP_LEN: u16 = 12;
/// Length of the shortest RTCP packet in bytes.
pub const RTCP_LEN: u16 = 8;

const _: () = {
    assert!(
        size_of::<Ethernet>() == 14 && size_of::<Udp>() == UDP_LEN as usize && size_of::<Rtp>() == RTP_LEN as usize
    );
    assert!(size_of::<Ipv4>() == IPV4_LEN as usize && size_of::<Ipv6>() == IPV6_LEN as usize);
    assert!(size_of::<Headers4>() == 54 && align_of::<Headers4>() == 2);
    assert!(size_of::<Headers6>() == 74 && align_of::<Headers6>() == 2);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_survives_the_way_to_the_wire_and_back() {
        let addr = Ipv4Addr::new(192, 0, 2, 1);
        assert_eq!(Addr4::from(addr).as_bytes(), [192, 0, 2, 1]);
        assert_eq!(Ipv4Addr::from(Addr4::from(addr)), addr);
        assert_eq!(Addr4::from_halves(Addr4::from(addr).halves()), addr.into());
        let addr: Ipv6Addr = "2001:db8::1".parse().unwrap();
        assert_eq!(Addr6::from(addr).as_bytes(), addr.octets());
        assert_eq!(Ipv6Addr::from(Addr6::from(addr)), addr);
        assert_eq!(Be16::new(30000).as_bytes(), [0x75, 0x30]);
    }
}
