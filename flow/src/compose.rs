//! The slow path's rewriting: new headers in front of a payload that arrived without them.
//!
//! The result differs from the fast path's in what a packet loses when the stack delivers it: its identification, its don't-fragment flag,
//! its flow label, its type of service where none is configured, and the absence of a UDP checksum.

use core::net::{IpAddr, SocketAddr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::checksum::Sum;
use crate::headers::{Addr4, Addr6, Be16, IPV4_LEN, Ipv4, Ipv6, PROTOCOL_UDP, UDP_LEN, Udp, VERSION_IHL};
use crate::hop::Bearing;

/// The headers of an outgoing datagram over IPv4.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Outgoing4 {
    /// The IP header. Identification and checksum are zero until [`Outgoing::complete`]; a raw socket's kernel fills them in itself.
    pub ip: Ipv4,
    /// The UDP header, complete.
    pub udp: Udp,
}

/// The headers of an outgoing datagram over IPv6, complete.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Outgoing6 {
    /// The IP header.
    pub ip: Ipv6,
    /// The UDP header.
    pub udp: Udp,
}

/// The headers of an outgoing datagram.
#[derive(Clone, Copy, Debug)]
pub enum Outgoing {
    /// Over IPv4.
    V4(Outgoing4),
    /// Over IPv6.
    V6(Outgoing6),
}

/// The longest payload that fits a datagram, of either family.
pub const PAYLOAD_MAX: usize = u16::MAX as usize - size_of::<Outgoing4>();

impl Outgoing {
    /// The headers for a payload that bears this, from and to these ports, and may pass so many routers; `None` when the payload is longer than [`PAYLOAD_MAX`], or the
    /// bearing's addresses are of two families.
    pub fn new(bearing: &Bearing, ports: [Be16; 2], ttl: u8, payload: &[u8]) -> Option<Self> {
        let length = u16::try_from(payload.len()).ok()?.checked_add(UDP_LEN)?;
        let total = length.checked_add(IPV4_LEN)?;
        let length = Be16::new(length);
        let tos = bearing.tos.unwrap_or(0);
        let udp = Udp { ports, length, checksum: 0 };
        let udp = |from: &[u8], to: &[u8]| Udp {
            checksum: Sum::default()
                .bytes(from)
                .bytes(to)
                .word(Be16::new(u16::from(PROTOCOL_UDP)).raw())
                .word(length.raw())
                .bytes(udp.as_bytes())
                .bytes(payload)
                .finish_udp(),
            ..udp
        };
        match (bearing.from, bearing.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let (from, to) = (Addr4::from(from), Addr4::from(to));
                let ip = Ipv4 {
                    version_ihl: VERSION_IHL,
                    tos,
                    length: Be16::new(total),
                    id: Be16::new(0),
                    fragment: Be16::new(0),
                    ttl,
                    protocol: PROTOCOL_UDP,
                    checksum: 0,
                    from: from.halves(),
                    to: to.halves(),
                };
                Some(Self::V4(Outgoing4 { ip, udp: udp(from.as_bytes(), to.as_bytes()) }))
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let (from, to) = (Addr6::from(from), Addr6::from(to));
                let ip = Ipv6 {
                    version_class: Be16::new(6 << 12 | u16::from(tos) << 4),
                    label: 0,
                    length,
                    next: PROTOCOL_UDP,
                    ttl,
                    from: from.words(),
                    to: to.words(),
                };
                Some(Self::V6(Outgoing6 { ip, udp: udp(from.as_bytes(), to.as_bytes()) }))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }

    /// Numbers the packet and computes what is left open, for a link that nothing else stands before. The number lets a router take the packet
    /// apart and its receiver put it together (RFC 6864), so packets that are under way together between two hosts should not share one.
    pub fn complete(&mut self, id: u16) {
        if let Self::V4(Outgoing4 { ip, .. }) = self {
            ip.id = Be16::new(id);
            ip.checksum = 0;
            ip.checksum = Sum::default().bytes(ip.as_bytes()).finish();
        }
    }

    /// The headers as they go onto the wire.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::V4(headers) => headers.as_bytes(),
            Self::V6(headers) => headers.as_bytes(),
        }
    }

    /// Where the datagram goes.
    pub fn to(&self) -> SocketAddr {
        match self {
            Self::V4(Outgoing4 { ip, udp }) => {
                SocketAddr::new(IpAddr::V4(Addr4::from_halves(ip.to).into()), udp.ports[1].get())
            }
            Self::V6(Outgoing6 { ip, udp }) => {
                let to = Addr6::from_raw(zerocopy::transmute!(ip.to));
                SocketAddr::new(IpAddr::V6(to.into()), udp.ports[1].get())
            }
        }
    }
}

const _: () = assert!(size_of::<Outgoing4>() == 28 && size_of::<Outgoing6>() == 48);

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;
    use crate::headers::TTL;

    fn bearing(tos: Option<u8>) -> Bearing {
        Bearing { from: "198.51.100.1".parse().unwrap(), to: "198.51.100.10".parse().unwrap(), tos }
    }

    const PORTS: [Be16; 2] = [Be16::new(30002), Be16::new(6000)];

    fn v4(tos: Option<u8>, payload: &[u8]) -> Outgoing4 {
        let Some(Outgoing::V4(headers)) = Outgoing::new(&bearing(tos), PORTS, TTL, payload) else { panic!() };
        headers
    }

    #[test]
    fn the_headers_carry_the_addresses_and_lengths() {
        let headers = v4(None, &[0x80; 172]);
        assert_eq!((headers.ip.length.get(), headers.udp.length.get()), (200, 180));
        assert_eq!(headers.udp.ports, PORTS);
        assert_eq!(Outgoing::V4(headers).to(), "198.51.100.10:6000".parse().unwrap());
    }

    #[test]
    fn an_ipv6_datagram_has_a_checksum_over_its_own_pseudo_header() {
        let bearing =
            Bearing { from: "2001:db8::1".parse().unwrap(), to: "2001:db8::2".parse().unwrap(), tos: Some(184) };
        let Some(Outgoing::V6(headers)) = Outgoing::new(&bearing, PORTS, TTL, b"payload") else { panic!() };
        assert_eq!((headers.ip.length.get(), headers.ip.version_class.get()), (15, 0x6b80));
        let sum = Sum::default().bytes(&headers.as_bytes()[8..40]).word(17u16.to_be()).word(15u16.to_be());
        assert_eq!(sum.bytes(headers.udp.as_bytes()).bytes(b"payload").finish(), 0, "a right checksum sums to zero");
        assert_eq!(Outgoing::V6(headers).to(), "[2001:db8::2]:6000".parse().unwrap());
    }

    #[test]
    fn a_complete_header_has_a_number_and_sums_to_zero() {
        let mut headers = Outgoing::new(&bearing(None), PORTS, TTL, &[0x80; 172]).unwrap();
        headers.complete(7);
        let Outgoing::V4(Outgoing4 { ip, .. }) = headers else { panic!() };
        assert_eq!((ip.id.get(), Sum::default().bytes(ip.as_bytes()).finish()), (7, 0));
    }

    #[test]
    fn a_payload_that_no_datagram_can_hold_is_refused() {
        assert!(Outgoing::new(&bearing(None), PORTS, TTL, &vec![0; PAYLOAD_MAX]).is_some());
        assert!(Outgoing::new(&bearing(None), PORTS, TTL, &vec![0; PAYLOAD_MAX + 1]).is_none());
    }

    #[test]
    fn type_of_service_is_written_only_where_configured() {
        assert_eq!((v4(None, &[]).ip.tos, v4(Some(184), &[]).ip.tos), (0, 184));
    }
}
