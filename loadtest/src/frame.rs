//! UDP datagrams (RFC 768) in IPv4 (RFC 791) or IPv6 (RFC 8200) in captured frames.

mod build;
mod checksum;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub use build::{BuildError, ethernet_udp};
use checksum::Sum;

use crate::pcap::LinkType;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_UDP: u8 = 17;

/// Where a datagram comes from and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Sender.
    pub src: SocketAddr,
    /// Receiver.
    pub dst: SocketAddr,
}

/// A whole UDP datagram and what the judge wants to know about its headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Sender.
    pub src: SocketAddr,
    /// Receiver.
    pub dst: SocketAddr,
    /// Time to live, or hop limit in IPv6.
    pub ttl: u8,
    /// Type of service byte (RFC 2474 and RFC 3168: DSCP and ECN), or traffic class in IPv6.
    pub tos: u8,
    /// UDP payload.
    pub payload: &'a [u8],
    /// The IPv4 header's checksum is right, recomputed over the whole header. Always true in IPv6, which has none.
    pub ip_checksum_ok: bool,
    /// The UDP checksum is right, recomputed over pseudo header, header and payload. Zero means "none" and is right in
    /// IPv4 (RFC 768) and wrong in IPv6 (RFC 8200 section 8.1).
    pub udp_checksum_ok: bool,
    /// The wrong UDP checksum is exactly the sum of the pseudo header: Linux leaves that for the network card to
    /// finish, so the frame was captured on the sending machine with transmit checksum offload switched on.
    pub udp_checksum_unfinished: bool,
}

impl Datagram<'_> {
    /// Sender and receiver.
    #[must_use]
    pub const fn flow(&self) -> Flow {
        Flow { src: self.src, dst: self.dst }
    }
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A whole UDP datagram.
    Udp(Datagram<'a>),
    /// A fragment of a UDP datagram, the first one too. Fragments are not put together.
    Fragment,
    /// A UDP datagram of which the capture has only the beginning (snap length).
    CutShort,
    /// Something else, or headers whose lengths contradict each other.
    Other,
}

impl<'a> Decoded<'a> {
    /// The datagram, when the frame is a whole one.
    #[must_use]
    pub const fn udp(self) -> Option<Datagram<'a>> {
        match self {
            Self::Udp(datagram) => Some(datagram),
            Self::Fragment | Self::CutShort | Self::Other => None,
        }
    }
}

/// Decodes one captured frame that begins with the header of `link_type`. 802.1Q and 802.1ad tags are skipped.
#[must_use]
pub fn decode(link_type: LinkType, frame: &[u8]) -> Decoded<'_> {
    network_packet(link_type, frame)
        .and_then(|(ethertype, packet)| match ethertype {
            ETHERTYPE_IPV4 => ipv4(packet),
            ETHERTYPE_IPV6 => ipv6(packet),
            _ => None,
        })
        .unwrap_or(Decoded::Other)
}

/// Ethertype and bytes of the packet within a frame.
fn network_packet(link_type: LinkType, frame: &[u8]) -> Option<(u16, &[u8])> {
    let (mut ethertype, mut packet) = match link_type {
        LinkType::Ethernet => {
            let (&[.., high, low], packet) = frame.split_first_chunk::<14>()?;
            (u16::from_be_bytes([high, low]), packet)
        }
        LinkType::LinuxSll => {
            let (&[.., high, low], packet) = frame.split_first_chunk::<16>()?;
            (u16::from_be_bytes([high, low]), packet)
        }
        LinkType::LinuxSll2 => {
            let (&[high, low, ..], packet) = frame.split_first_chunk::<20>()?;
            (u16::from_be_bytes([high, low]), packet)
        }
        LinkType::Raw => match frame.first()? >> 4 {
            4 => (ETHERTYPE_IPV4, frame),
            6 => (ETHERTYPE_IPV6, frame),
            _ => return None,
        },
    };
    while matches!(ethertype, 0x8100 | 0x88a8) {
        let (&[_, _, high, low], rest) = packet.split_first_chunk::<4>()?;
        (ethertype, packet) = (u16::from_be_bytes([high, low]), rest);
    }
    Some((ethertype, packet))
}

/// What the IP header says of the segment that follows it.
struct Envelope {
    src: IpAddr,
    dst: IpAddr,
    ttl: u8,
    tos: u8,
    ip_checksum_ok: bool,
}

/// `None` stands for [`Decoded::Other`] here and below.
fn ipv4(packet: &[u8]) -> Option<Decoded<'_>> {
    let (fixed, _) = packet.split_first_chunk::<20>()?;
    let [first, tos, l0, l1, _, _, f0, f1, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *fixed;
    let header_length = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header_length < 20 || protocol != PROTOCOL_UDP {
        return None;
    }
    // More-fragments flag and fragment offset.
    if u16::from_be_bytes([f0, f1]) & 0x3fff != 0 {
        return Some(Decoded::Fragment);
    }
    // The total length cuts off the padding of short Ethernet frames.
    let Some(whole) = packet.get(..usize::from(u16::from_be_bytes([l0, l1]))) else { return Some(Decoded::CutShort) };
    let (header, segment) = whole.split_at_checked(header_length)?;
    let envelope = Envelope {
        src: Ipv4Addr::new(s0, s1, s2, s3).into(),
        dst: Ipv4Addr::new(d0, d1, d2, d3).into(),
        ttl,
        tos,
        ip_checksum_ok: Sum::new().bytes(header).is_right(),
    };
    udp(&envelope, segment)
}

fn ipv6(packet: &[u8]) -> Option<Decoded<'_>> {
    let (fixed, rest) = packet.split_first_chunk::<40>()?;
    let (&[v0, v1, _, _, l0, l1, mut next, ttl], addresses) = fixed.split_first_chunk::<8>()?;
    let (src, addresses) = addresses.split_first_chunk::<16>()?;
    let dst = addresses.first_chunk::<16>()?;
    if v0 >> 4 != 6 {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let whole = rest.get(..length);
    let mut segment = whole.unwrap_or(rest);
    // Hop-by-hop options, destination options and an atomic fragment header (RFC 6946) change nothing for us.
    while let 0 | 44 | 60 = next {
        let (&[following, size, o0, o1], _) = segment.split_first_chunk::<4>()?;
        let size = if next == 44 {
            if u16::from_be_bytes([o0, o1]) & 0xfff9 != 0 {
                return (following == PROTOCOL_UDP).then_some(Decoded::Fragment);
            }
            8
        } else {
            usize::from(size) * 8 + 8
        };
        (next, segment) = (following, segment.get(size..)?);
    }
    if next != PROTOCOL_UDP {
        return None;
    }
    if whole.is_none() {
        return Some(Decoded::CutShort);
    }
    let envelope = Envelope {
        src: Ipv6Addr::from(*src).into(),
        dst: Ipv6Addr::from(*dst).into(),
        ttl,
        tos: v0 << 4 | v1 >> 4,
        ip_checksum_ok: true,
    };
    udp(&envelope, segment)
}

fn udp<'a>(envelope: &Envelope, segment: &'a [u8]) -> Option<Decoded<'a>> {
    let (&[s0, s1, d0, d1, l0, l1, c0, c1], _) = segment.split_first_chunk::<8>()?;
    let length = u16::from_be_bytes([l0, l1]);
    let segment = segment.get(..usize::from(length))?;
    let payload = segment.get(8..)?;
    let checksum = u16::from_be_bytes([c0, c1]);
    let pseudo = Sum::pseudo_header(envelope.src, envelope.dst, length);
    let udp_checksum_ok = match (checksum, envelope.src) {
        (0, IpAddr::V4(_)) => true,
        (0, IpAddr::V6(_)) => false,
        _ => pseudo.bytes(segment).is_right(),
    };
    Some(Decoded::Udp(Datagram {
        src: SocketAddr::new(envelope.src, u16::from_be_bytes([s0, s1])),
        dst: SocketAddr::new(envelope.dst, u16::from_be_bytes([d0, d1])),
        ttl: envelope.ttl,
        tos: envelope.tos,
        payload,
        ip_checksum_ok: envelope.ip_checksum_ok,
        udp_checksum_ok,
        udp_checksum_unfinished: !udp_checksum_ok && checksum == pseudo.folded(),
    }))
}

#[cfg(test)]
mod tests;
