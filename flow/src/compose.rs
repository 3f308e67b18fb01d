//! The slow path's rewriting: new headers in front of a payload that arrived without them.
//!
//! The result differs from the fast path's in what a packet loses when the stack delivers it: its identification, its don't-fragment flag,
//! its type of service where none is configured, and the absence of a UDP checksum.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::checksum::Sum;
use crate::forward::TTL;
use crate::headers::{Be16, IPV4_LEN, Ipv4, PROTOCOL_UDP, UDP_LEN, Udp, VERSION_IHL};
use crate::slot::{Flags, Rule};

/// The headers of an outgoing datagram.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Outgoing {
    /// The IP header. Identification and checksum are zero: the kernel fills them in when it sends.
    pub ip: Ipv4,
    /// The UDP header, complete.
    pub udp: Udp,
}

/// Length of [`Outgoing`] in bytes.
pub const OUTGOING_LEN: usize = size_of::<Outgoing>();

/// The longest payload that fits a datagram.
pub const PAYLOAD_MAX: usize = u16::MAX as usize - OUTGOING_LEN;

impl Outgoing {
    /// The headers for a payload that goes where the rule says; `None` when the payload is longer than [`PAYLOAD_MAX`].
    pub fn new(rule: &Rule, payload: &[u8]) -> Option<Self> {
        let length = u16::try_from(payload.len()).ok()?.checked_add(UDP_LEN)?;
        let total = length.checked_add(IPV4_LEN)?;
        let ip = Ipv4 {
            version_ihl: VERSION_IHL,
            tos: if rule.flags.has(Flags::SET_TOS) { rule.tos } else { 0 },
            length: Be16::new(total),
            id: Be16::new(0),
            fragment: Be16::new(0),
            ttl: TTL,
            protocol: PROTOCOL_UDP,
            checksum: 0,
            from: rule.from_addr.halves(),
            to: rule.to_addr.halves(),
        };
        let mut udp = Udp { from: rule.from_port, to: rule.to_port, length: Be16::new(length), checksum: 0 };
        udp.checksum = Sum::default()
            .bytes(ip.from.as_bytes())
            .bytes(ip.to.as_bytes())
            .word(Be16::new(u16::from(PROTOCOL_UDP)).raw())
            .word(udp.length.raw())
            .bytes(udp.as_bytes())
            .bytes(payload)
            .finish_udp();
        Some(Self { ip, udp })
    }
}

const _: () = assert!(OUTGOING_LEN == 28);

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;
    use crate::slot::tests::path;

    #[test]
    fn the_headers_carry_the_addresses_of_the_rule() {
        let rule = Rule::new(&path());
        let out = Outgoing::new(&rule, &[0x80; 172]).unwrap();
        assert_eq!(out.ip.length.get(), 200);
        assert_eq!(out.udp.length.get(), 180);
        assert_eq!((out.udp.from, out.udp.to), (path().from.port, path().to.port));
        assert_eq!((out.ip.from, out.ip.to), (path().from.addr.halves(), path().to.addr.halves()));
    }

    #[test]
    fn a_payload_that_no_datagram_can_hold_is_refused() {
        let rule = Rule::new(&path());
        assert!(Outgoing::new(&rule, &vec![0; PAYLOAD_MAX]).is_some());
        assert!(Outgoing::new(&rule, &vec![0; PAYLOAD_MAX + 1]).is_none());
    }

    #[test]
    fn type_of_service_is_written_only_where_configured() {
        let rule = Rule { tos: 184, ..Rule::new(&path()) };
        assert_eq!(Outgoing::new(&rule, &[]).unwrap().ip.tos, 0);
        let rule = Rule { flags: Flags::SET_TOS, ..rule };
        assert_eq!(Outgoing::new(&rule, &[]).unwrap().ip.tos, 184);
    }
}
