//! Whether a verdict is right, found out apart from the code that made it: with every checksum from scratch, and byte by byte. For tests and
//! fuzzers.

use std::format;
use std::net::{IpAddr, SocketAddr};
use std::string::String;

use crate::headers::Be16;
use crate::vectors::Vectors;
use crate::{Bearing, Hop, Rule, Verdict};

/// Tells what is wrong with what became of a frame.
///
/// # Errors
/// What is wrong.
pub fn judge(vectors: &Vectors, before: &[u8], after: &[u8], verdict: Verdict) -> Result<(), String> {
    match verdict {
        Verdict::Pass(reason) | Verdict::Drop(reason) => {
            ensure(before == after, || format!("{} and yet written to", reason.name()))
        }
        Verdict::Transmit | Verdict::Redirect => forwarded(vectors, before, after, verdict),
    }
}

fn forwarded(vectors: &Vectors, before: &[u8], after: &[u8], verdict: Verdict) -> Result<(), String> {
    let old = Frame::parse(before).ok_or("forwarded what is no UDP over IP")?;
    let new = Frame::parse(after).ok_or("what left is no UDP over IP")?;
    ensure(before.len() == after.len(), || "the length has changed".into())?;
    ensure(old.payload == new.payload, || "the payload has changed".into())?;
    ensure(old.payload.len() >= 8 && old.payload.first().is_some_and(|first| first >> 6 == 2), || "no RTP".into())?;

    let (rule, bearing, hop) = rule(vectors, &old).ok_or("no slot, or no next hop, for what was forwarded")?;
    ensure(old.from.port() == rule.peer_port.get(), || "not from the peer's port".into())?;
    let [from, to] = rule.ports.map(Be16::get);
    let path = (SocketAddr::new(bearing.from, from), SocketAddr::new(bearing.to, to));
    ensure((new.from, new.to) == path, || format!("went {:?}, not {path:?}", (new.from, new.to)))?;
    let is_out = (hop.reflects && hop.device == crate::memory::INGRESS) == (verdict == Verdict::Transmit);
    ensure(is_out, || "by the wrong device".into())?;
    let macs: [u8; 12] = zerocopy::transmute!([hop.to.0, hop.from.0]);
    ensure(after.get(..12) == Some(&macs[..]), || "wrong MACs".into())?;
    ensure(new.ttl == 64, || format!("a time to live of {}", new.ttl))?;
    ensure(new.tos == bearing.tos.unwrap_or(old.tos), || format!("a type of service of {}", new.tos))?;
    ensure(new.rest == old.rest, || "something else in the headers has changed".into())?;

    // A checksum that was wrong stays wrong, by as much: the relay must not vouch for what it did not check.
    ensure(new.header_sum == old.header_sum, || "the header's checksum".into())?;
    match (old.udp_checksum, new.udp_checksum) {
        (0, 0) => Ok(()),
        (0, _) | (_, 0) => Err("a UDP checksum came or went".into()),
        _ => ensure(new.udp_sum == old.udp_sum, || "the UDP checksum".into()),
    }
}

/// The slot's rule for a frame, and the way that it leaves by.
fn rule<'a>(vectors: &'a Vectors, frame: &Frame<'_>) -> Option<(&'a Rule, &'a Bearing, &'a Hop)> {
    let port = vectors.locals().find(frame.to.ip())?.slot(Be16::new(frame.to.port()))?;
    let is_rtcp = matches!(frame.payload, [_, 192..=223, ..]);
    // RTCP may come by the port of its RTP.
    let slots = if is_rtcp { [port.sibling(), port] } else { [port, port] };
    let found = slots.iter().find_map(|index| {
        let (_, rule) = vectors.rules.iter().find(|(slot, _)| slot == index)?;
        (!is_rtcp || index.is_odd()).then_some(rule)
    })?;
    let (_, bearing) = vectors.bearings.iter().find(|(id, _)| *id == found.hop)?;
    let (_, hop) = vectors.hops.iter().find(|(id, _)| *id == found.hop)?;
    Some((found, bearing, hop))
}

fn ensure(holds: bool, fault: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(fault()) }
}

/// A UDP datagram, taken apart.
struct Frame<'a> {
    from: SocketAddr,
    to: SocketAddr,
    tos: u8,
    ttl: u8,
    /// EtherType, and of the IP header what a relay leaves alone.
    rest: [u8; 8],
    /// The sum over the IPv4 header with its checksum; 0 for IPv6.
    header_sum: u16,
    udp_checksum: u16,
    /// The sum over pseudo header and datagram with its checksum.
    udp_sum: u16,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    fn parse(frame: &'a [u8]) -> Option<Self> {
        match frame.get(12..14)? {
            [0x08, 0x00] => Self::ipv4(frame),
            [0x86, 0xdd] => Self::ipv6(frame),
            _ => None,
        }
    }

    fn ipv4(frame: &'a [u8]) -> Option<Self> {
        let header = frame.get(14..34)?;
        let [first, tos, len_1, len_2, id_1, id_2, flags, _, ttl, protocol, ..] = header else { return None };
        let total = usize::from(word(header, 2)?);
        let is_plain = *first == 0x45 && *protocol == 17 && word(header, 6)? & 0x3fff == 0;
        is_plain.then_some(())?;
        let addr = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(header.get(at..at + 4)?).ok()?));
        let rest = [0x08, *first, *len_1, *len_2, *id_1, *id_2, *flags, *protocol];
        let sum = fold(header);
        Self::udp(frame.get(34..14 + total)?, [addr(12)?, addr(16)?], [*tos, *ttl], rest, sum)
    }

    fn ipv6(frame: &'a [u8]) -> Option<Self> {
        let header = frame.get(14..54)?;
        let first = word(header, 0)?;
        let is_plain = first >> 12 == 6 && header.get(6) == Some(&17);
        is_plain.then_some(())?;
        let addr = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(header.get(at..at + 16)?).ok()?));
        let [_, flow, label_1, label_2, len_1, len_2, protocol, ttl] = *header.get(..8)? else { return None };
        let rest = [0x86, 0xdd, flow & 0x0f, label_1, label_2, len_1, len_2, protocol];
        let len = usize::from(word(header, 4)?);
        Self::udp(frame.get(54..54 + len)?, [addr(8)?, addr(24)?], [(first >> 4) as u8, ttl], rest, 0)
    }

    fn udp(
        datagram: &'a [u8],
        [from, to]: [IpAddr; 2],
        [tos, ttl]: [u8; 2],
        rest: [u8; 8],
        header_sum: u16,
    ) -> Option<Self> {
        let is_whole = usize::from(word(datagram, 4)?) == datagram.len();
        is_whole.then_some(())?;
        let mut pseudo = std::vec::Vec::new();
        for addr in [from, to] {
            match addr {
                IpAddr::V4(addr) => pseudo.extend(addr.octets()),
                IpAddr::V6(addr) => pseudo.extend(addr.octets()),
            }
        }
        pseudo.extend([0, 17]);
        pseudo.extend((datagram.len() as u16).to_be_bytes());
        pseudo.extend(datagram);
        Some(Self {
            from: SocketAddr::new(from, word(datagram, 0)?),
            to: SocketAddr::new(to, word(datagram, 2)?),
            tos,
            ttl,
            rest,
            header_sum,
            udp_checksum: word(datagram, 6)?,
            udp_sum: fold(&pseudo),
            payload: datagram.get(8..)?,
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// The ones' complement sum (RFC 1071); both of its zeros are one.
fn fold(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0)));
    (words.sum::<u64>() % 0xffff) as u16
}
