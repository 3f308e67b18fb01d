//! A datagram that is longer than its way takes, in fragments (RFC 791 3.2, RFC 8200 4.5).
//!
//! The relay is the source of what it sends, not a router on the way of what it got: whether a party's packets may be taken apart on their way
//! to the relay says nothing about those that leave it.

use flow::Be16;
use flow::compose::Outgoing;
use flow::headers::{Ipv4, Ipv6};
use zerocopy::IntoBytes;

/// More fragments follow, in the fragment field of an IPv4 header.
const MORE_4: u16 = 0x2000;
/// The extension header of a fragment: its number and length.
const FRAGMENT: u8 = 44;
const FRAGMENT_LEN: usize = 8;

/// The IP packets that a datagram goes in, none longer than `mtu` bytes, under this number; none at all when the way takes not even eight bytes
/// of it at a time.
pub(crate) fn fragments(headers: &Outgoing, payload: &[u8], mtu: u16, id: u32) -> Vec<Vec<u8>> {
    let (overhead, udp) = match headers {
        Outgoing::V4(headers) => (size_of::<Ipv4>(), headers.udp),
        Outgoing::V6(headers) => (size_of::<Ipv6>() + FRAGMENT_LEN, headers.udp),
    };
    // All but the last carry a multiple of eight bytes.
    let room = usize::from(mtu).saturating_sub(overhead) & !7;
    if room == 0 {
        return Vec::new();
    }
    let datagram = [udp.as_bytes(), payload].concat();
    let count = datagram.len().div_ceil(room);
    let pieces = datagram.chunks(room).enumerate();
    pieces.map(|(number, piece)| fragment(headers, piece, (number * room / 8) as u16, number + 1 < count, id)).collect()
}

/// One of them; `offset` in units of eight bytes.
fn fragment(headers: &Outgoing, piece: &[u8], offset: u16, is_followed: bool, id: u32) -> Vec<u8> {
    match headers {
        Outgoing::V4(headers) => {
            let mut ip = headers.ip;
            ip.length = Be16::new((size_of::<Ipv4>() + piece.len()) as u16);
            ip.id = Be16::new(id as u16);
            ip.fragment = Be16::new(offset | if is_followed { MORE_4 } else { 0 });
            // The raw socket's kernel fills the checksum in.
            ip.checksum = 0;
            [ip.as_bytes(), piece].concat()
        }
        Outgoing::V6(headers) => {
            let mut ip = headers.ip;
            let next = std::mem::replace(&mut ip.next, FRAGMENT);
            ip.length = Be16::new((FRAGMENT_LEN + piece.len()) as u16);
            let mut fragment = vec![next, 0];
            fragment.extend((offset << 3 | u16::from(is_followed)).to_be_bytes());
            fragment.extend(id.to_be_bytes());
            [ip.as_bytes(), &fragment, piece].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use flow::Bearing;

    use super::*;

    fn headers(from: &str, to: &str, payload: &[u8]) -> Outgoing {
        let bearing = Bearing { from: from.parse().unwrap(), to: to.parse().unwrap(), tos: Some(184) };
        Outgoing::new(&bearing, [30000, 6000].map(Be16::new), 64, payload).unwrap()
    }

    const PAIRS: [(&str, &str, usize, usize); 2] =
        [("192.0.2.1", "198.51.100.1", 20, 20), ("2001:db8::1", "2001:db8:1::2", 40, 48)];

    proptest::proptest! {
        #[test]
        fn fragments_fit_and_put_together_are_the_datagram(len in 0..3000_usize, mtu in 1280..2000_u16) {
            let payload: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
            for (from, to, header, overhead) in PAIRS {
                let headers = headers(from, to, &payload);
                let packets = fragments(&headers, &payload, mtu, 0x1234_5678);
                let mut whole: Vec<u8> = Vec::new();
                for (number, packet) in packets.iter().enumerate() {
                    assert!(packet.len() <= usize::from(mtu));
                    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
                    let (length, offset, more) = match header {
                        20 => (usize::from(word(2)), word(6) & 0x1fff, word(6) & MORE_4 != 0),
                        _ => (usize::from(word(4)) + 40, word(42) >> 3, word(42) & 1 != 0),
                    };
                    assert_eq!(length, packet.len());
                    assert_eq!(usize::from(offset) * 8, whole.len());
                    assert_eq!(more, number + 1 < packets.len());
                    whole.extend(&packet[overhead..]);
                }
                assert_eq!(whole, [&headers.as_bytes()[header..], &payload].concat());
            }
        }
    }

    #[test]
    fn a_way_that_takes_nothing_gets_nothing() {
        for (from, to, ..) in PAIRS {
            assert!(fragments(&headers(from, to, &[0; 100]), &[0; 100], 27, 1).is_empty());
        }
    }
}
