//! A frame that a worker gets past the stack, checked as the stack would have: headers, lengths and checksums.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::checksum::Sum;
use crate::datagram::Datagram as _;
use crate::headers::{Addr4, Addr6, Be16, ETHERTYPE_IPV6, Envelope4, Envelope6, Ethernet, PROTOCOL_UDP, Udp};
use crate::local::Locals;
use crate::reason::Reason;

/// A datagram in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Incoming {
    /// Who sent it.
    pub sender: SocketAddr,
    /// The media port that it is for.
    pub local: SocketAddr,
    /// How many routers it may still pass.
    pub ttl: u8,
    /// Where in the frame the payload begins and ends.
    pub payload: (usize, usize),
}

impl Incoming {
    /// The datagram in a frame for one of these addresses. A checksum that its sender, on this machine or its host, has left to a device is as good as a
    /// right one: nobody tells which are such, and of damaged ones one in 65,536 looks so.
    ///
    /// # Errors
    /// Why it is lost.
    pub fn read(frame: &[u8], locals: &Locals) -> Result<Self, Reason> {
        let (ethernet, _) = Ethernet::ref_from_prefix(frame).map_err(|_| Reason::Truncated)?;
        // What is for everybody on a link is no media, whatever its IP header says.
        if ethernet.macs.as_bytes().first().is_some_and(|first| first & 1 == 1) {
            return Err(Reason::NotMedia);
        }
        let is_ipv6 = ethernet.kind == ETHERTYPE_IPV6;
        let incoming = if is_ipv6 { read6(frame, locals) } else { read4(frame, locals) }?;
        // From outside nobody sends by an address of ours: the stack takes such for martians.
        if locals.find(incoming.sender.ip()).is_some() {
            return Err(Reason::Untrusted);
        }
        Ok(incoming)
    }
}

fn read4(frame: &[u8], locals: &Locals) -> Result<Incoming, Reason> {
    let (envelope, _) = Envelope4::ref_from_prefix(frame).map_err(|_| Reason::Truncated)?;
    envelope.local(locals)?;
    let len = envelope.payload(frame.len())? as usize;
    let ip = &envelope.ip;
    if Sum::default().bytes(ip.as_bytes()).finish() != 0 {
        return Err(Reason::Checksum);
    }
    let addresses = [ip.from, ip.to];
    // Over IPv4 a sender may leave the checksum out (RFC 768).
    let is_whole = envelope.udp.checksum == 0
        || is_whole(addresses.as_bytes(), &envelope.udp, frame, Envelope4::UDP_START)
        || envelope.seems_unfinished();
    let [from, to] = addresses.map(|addr| IpAddr::V4(Ipv4Addr::from(Addr4::from_halves(addr))));
    incoming([from, to], &envelope.udp, ip.ttl, Envelope4::UDP_START, len).filter(|_| is_whole).ok_or(Reason::Checksum)
}

fn read6(frame: &[u8], locals: &Locals) -> Result<Incoming, Reason> {
    let (envelope, _) = Envelope6::ref_from_prefix(frame).map_err(|_| Reason::Truncated)?;
    envelope.local(locals)?;
    let len = envelope.payload(frame.len())? as usize;
    let addresses = [envelope.ip.from, envelope.ip.to];
    let is_whole =
        is_whole(addresses.as_bytes(), &envelope.udp, frame, Envelope6::UDP_START) || envelope.seems_unfinished();
    let [from, to] = addresses.map(|addr| IpAddr::V6(Ipv6Addr::from(Addr6::from_raw(zerocopy::transmute!(addr)))));
    let ttl = envelope.ip.ttl;
    incoming([from, to], &envelope.udp, ttl, Envelope6::UDP_START, len).filter(|_| is_whole).ok_or(Reason::Checksum)
}

/// Whether the checksum of a datagram is right, whose UDP header begins at `start` of a frame.
fn is_whole(addresses: &[u8], udp: &Udp, frame: &[u8], start: usize) -> bool {
    let whole = frame.get(start..start + usize::from(udp.length.get()));
    whole.is_some_and(|whole| {
        let pseudo =
            Sum::default().bytes(addresses).word(Be16::new(u16::from(PROTOCOL_UDP)).raw()).word(udp.length.raw());
        pseudo.bytes(whole).finish() == 0
    })
}

fn incoming([from, to]: [IpAddr; 2], udp: &Udp, ttl: u8, start: usize, len: usize) -> Option<Incoming> {
    let [sender, local] =
        [(from, udp.ports[0]), (to, udp.ports[1])].map(|(addr, port)| SocketAddr::new(addr, port.get()));
    let payload = start.checked_add(size_of::<Udp>())?;
    Some(Incoming { sender, local, ttl, payload: (payload, payload.checked_add(len)?) })
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::compose::Outgoing;
    use crate::hop::Bearing;

    fn read(frame: &[u8]) -> Result<Incoming, Reason> {
        let addrs = ["192.0.2.1", "2001:db8::1"].map(|addr| addr.parse().unwrap());
        Incoming::read(frame, &Locals::new(&addrs, 30000, 30999, 1).unwrap())
    }

    /// A frame for a media port, from a party of its family.
    fn frame(is_ipv6: bool, payload: &[u8]) -> Vec<u8> {
        let [from, to] = if is_ipv6 { ["2001:db8::9", "2001:db8::1"] } else { ["198.51.100.9", "192.0.2.1"] };
        let bearing = Bearing { from: from.parse().unwrap(), to: to.parse().unwrap(), tos: None };
        let mut headers = Outgoing::new(&bearing, [6000, 30000].map(Be16::new), 61, payload).unwrap();
        headers.complete(7);
        let kind: [u8; 2] = if is_ipv6 { [0x86, 0xdd] } else { [0x08, 0x00] };
        // As the kernel has it: at an even address, which a vector's beginning is.
        [&[2; 12][..], &kind, headers.as_bytes(), payload].concat()
    }

    fn udp_start(is_ipv6: bool) -> usize {
        if is_ipv6 { Envelope6::UDP_START } else { Envelope4::UDP_START }
    }

    #[test]
    fn a_whole_datagram_is_read_with_all_that_the_stack_would_tell() {
        for is_ipv6 in [false, true] {
            for payload in [&b""[..], b"odd", &[0x55; 172]] {
                let frame = frame(is_ipv6, payload);
                let datagram = read(&frame).unwrap();
                assert_eq!((datagram.sender.port(), datagram.local.port(), datagram.ttl), (6000, 30000, 61));
                assert_eq!(datagram.sender.is_ipv6(), is_ipv6);
                assert_eq!(frame.get(datagram.payload.0..datagram.payload.1), Some(payload));
                // The padding of a short frame is none of it.
                let padded = [&frame[..], &[0; 18]].concat();
                assert_eq!(read(&padded), Ok(datagram));
            }
        }
    }

    #[test]
    fn a_datagram_that_was_damaged_on_its_way_is_lost_wherever_that_was() {
        for is_ipv6 in [false, true] {
            let whole = frame(is_ipv6, b"some payload");
            for place in 14..whole.len() {
                let mut damaged = whole.clone();
                damaged[place] ^= 0x10;
                let read = read(&damaged);
                // IPv6 has no checksum over type of service, flow label and hop limit.
                let is_free = is_ipv6 && matches!(place, 15..=17 | 21);
                assert_eq!(read.is_ok(), is_free, "{is_ipv6} {place} {read:?}");
            }
        }
    }

    #[test]
    fn a_checksum_that_its_sender_left_to_the_device_is_as_good_as_a_right_one() {
        for is_ipv6 in [false, true] {
            let mut unfinished = frame(is_ipv6, b"some payload");
            let start = udp_start(is_ipv6);
            let addresses = if is_ipv6 { 22..54 } else { 26..34 };
            let sum = Sum::default()
                .bytes(&unfinished[addresses])
                .bytes(&[0, 17])
                .bytes(&unfinished[start + 4..start + 6])
                .finish();
            unfinished[start + 6..start + 8].copy_from_slice(&(!sum).to_ne_bytes());
            assert!(read(&unfinished).is_ok());
        }
    }

    #[test]
    fn over_ipv4_there_may_be_no_checksum_and_over_ipv6_there_has_to_be_one() {
        for is_ipv6 in [false, true] {
            let mut frame = frame(is_ipv6, b"some payload");
            frame[udp_start(is_ipv6) + 6..][..2].fill(0);
            let read = read(&frame);
            assert_eq!(read.is_ok(), !is_ipv6, "{read:?}");
        }
    }

    #[test]
    fn nobody_outside_sends_by_an_address_of_ours() {
        let bearing = Bearing { from: "192.0.2.1".parse().unwrap(), to: "192.0.2.1".parse().unwrap(), tos: None };
        let mut headers = Outgoing::new(&bearing, [30002, 30000].map(Be16::new), 64, b"x").unwrap();
        headers.complete(1);
        let frame = [&[2; 12][..], &[8, 0], headers.as_bytes(), b"x"].concat();
        assert_eq!(read(&frame), Err(Reason::Untrusted));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_without_harm_and_what_is_read_lies_within(
            bytes in proptest::collection::vec(any::<u8>(), 0..128),
            is_ipv6: bool,
            cut in 0usize..100,
        ) {
            for frame in [bytes.clone(), [&frame(is_ipv6, b"payload")[..cut.min(40)], &bytes].concat()] {
                if let Ok(datagram) = read(&frame) {
                    prop_assert!(datagram.payload.0 <= datagram.payload.1 && datagram.payload.1 <= frame.len());
                }
            }
        }
    }
}
