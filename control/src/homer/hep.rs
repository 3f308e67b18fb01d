//! A packet of HEP version 3 (the Homer Encapsulation Protocol): a header, and chunks with a vendor, a type and a length each, all big-endian.

use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

/// What is in a packet, by Homer's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Protocol(pub u8);

impl Protocol {
    /// RTCP, as JSON.
    pub(super) const RTCP: Self = Self(5);
    /// How a stream has fared, as JSON.
    pub(super) const QUALITY: Self = Self(34);
}

/// IP protocol numbers.
pub(super) const UDP: u8 = 17;
pub(super) const TCP: u8 = 6;

const MAGIC: &[u8; 4] = b"HEP3";
/// The vendor of the chunks that everybody knows.
const GENERIC: u16 = 0;
const CHUNK_HEADER: usize = 6;

/// A packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub protocol: Protocol,
    /// UDP or TCP.
    pub carried_by: u8,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub at: SystemTime,
    /// Which capturing system this is.
    pub capture_id: u32,
    /// What belongs together: the Call-ID.
    pub correlation: &'a [u8],
    pub payload: &'a [u8],
}

impl Packet<'_> {
    /// As it is sent; `None` when it is longer than a packet can be.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(128 + self.correlation.len() + self.payload.len());
        bytes.extend(MAGIC);
        bytes.extend([0; 2]);
        let (from, to) = (canonical(self.from), canonical(self.to));
        let since = self.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        // Where the ends are of two families, the other one's address is told in IPv6's form.
        match (from.ip(), to.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                chunk(&mut bytes, 1, &[libc::AF_INET as u8])?;
                chunk(&mut bytes, 2, &[self.carried_by])?;
                chunk(&mut bytes, 3, &source.octets())?;
                chunk(&mut bytes, 4, &destination.octets())?;
            }
            (source, destination) => {
                chunk(&mut bytes, 1, &[libc::AF_INET6 as u8])?;
                chunk(&mut bytes, 2, &[self.carried_by])?;
                chunk(&mut bytes, 5, &six(source))?;
                chunk(&mut bytes, 6, &six(destination))?;
            }
        }
        chunk(&mut bytes, 7, &from.port().to_be_bytes())?;
        chunk(&mut bytes, 8, &to.port().to_be_bytes())?;
        // Seconds that fit in 32 bits do so until 2106.
        chunk(&mut bytes, 9, &(since.as_secs() as u32).to_be_bytes())?;
        chunk(&mut bytes, 10, &since.subsec_micros().to_be_bytes())?;
        chunk(&mut bytes, 11, &[self.protocol.0])?;
        chunk(&mut bytes, 12, &self.capture_id.to_be_bytes())?;
        chunk(&mut bytes, 17, self.correlation)?;
        chunk(&mut bytes, 15, self.payload)?;
        let len = u16::try_from(bytes.len()).ok()?;
        bytes.get_mut(4..6)?.copy_from_slice(&len.to_be_bytes());
        Some(bytes)
    }
}

fn chunk(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) -> Option<()> {
    let len = u16::try_from(CHUNK_HEADER + value.len()).ok()?;
    for word in [GENERIC, kind, len] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend(value);
    Some(())
}

fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

fn six(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped().octets(),
        IpAddr::V6(addr) => addr.octets(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn packet<'a>(from: &str, to: &str, payload: &'a [u8]) -> Packet<'a> {
        Packet {
            protocol: Protocol::RTCP,
            carried_by: UDP,
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            at: UNIX_EPOCH + Duration::new(0x6000_0001, 7_000),
            capture_id: 2001,
            correlation: b"a@b",
            payload,
        }
    }

    #[test]
    fn a_packet_is_as_the_protocol_says_to_the_byte() {
        let bytes = packet("192.0.2.10:4001", "192.0.2.1:30001", b"{}").encode().unwrap();
        let expected = [
            &b"HEP3\x00\x6e"[..],
            b"\0\0\0\x01\0\x07\x02",
            b"\0\0\0\x02\0\x07\x11",
            b"\0\0\0\x03\0\x0a\xc0\0\x02\x0a",
            b"\0\0\0\x04\0\x0a\xc0\0\x02\x01",
            b"\0\0\0\x07\0\x08\x0f\xa1",
            b"\0\0\0\x08\0\x08\x75\x31",
            b"\0\0\0\x09\0\x0a\x60\0\0\x01",
            b"\0\0\0\x0a\0\x0a\0\0\0\x07",
            b"\0\0\0\x0b\0\x07\x05",
            b"\0\0\0\x0c\0\x0a\0\0\x07\xd1",
            b"\0\0\0\x11\0\x09a@b",
            b"\0\0\0\x0f\0\x08{}",
        ]
        .concat();
        assert_eq!((bytes.len(), &bytes[..]), (0x6e, &expected[..]));
    }

    #[test]
    fn ends_of_ipv6_are_told_in_full_and_an_ipv4_end_among_them_in_its_mapped_form() {
        for (from, expected) in [("[2001:db8::1]:1", "2001:db8::1"), ("192.0.2.1:1", "::ffff:192.0.2.1")] {
            let bytes = packet(from, "[2001:db8::2]:2", b"").encode().unwrap();
            let expected: std::net::Ipv6Addr = expected.parse().unwrap();
            let header = b"\0\0\0\x05\0\x16";
            let at = bytes.windows(header.len()).position(|window| window == header).unwrap() + header.len();
            assert_eq!((&bytes[at..at + 16], bytes[12]), (&expected.octets()[..], 10));
        }
        // What a wildcard socket tells of an IPv4 peer.
        let bytes = packet("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2", b"").encode().unwrap();
        assert_eq!(bytes[12], 2);
    }

    #[test]
    fn what_is_too_long_for_a_packet_is_none() {
        assert!(packet("192.0.2.1:1", "192.0.2.2:2", &[b' '; 65_000]).encode().is_some());
        for len in [65_500, 65_530, 70_000] {
            assert_eq!(packet("192.0.2.1:1", "192.0.2.2:2", &vec![b' '; len]).encode(), None, "{len}");
        }
    }
}
