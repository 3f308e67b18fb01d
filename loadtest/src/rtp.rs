//! A view of an RTP packet (RFC 3550 section 5.1) and the little that is needed of RTCP (section 6).

use std::fmt;

/// Synchronisation source: the 32-bit number of an RTP stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ssrc(pub u32);

impl fmt::Display for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SSRC {:#010x}", self.0)
    }
}

/// Sequence number: one more with every packet, modulo 2^16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u16);

/// Sampling instant of the first octet of the payload, in ticks of the payload's clock (8000 Hz in G.711), modulo 2^32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u32);

/// An RTP packet in a UDP payload. The fixed header is taken apart; the rest is only looked at when it is asked for, so
/// that encrypted packets (RFC 3711), whose padding cannot be read, are packets too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Version: 2, for nothing else parses.
    pub version: u8,
    /// Marker bit: for audio, the first packet of a talkspurt (RFC 3551 section 4.1).
    pub marker: bool,
    /// Payload type, 0 to 127 (RFC 3551 section 6: 0 is PCMU, 8 is PCMA).
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: Sequence,
    /// Timestamp.
    pub timestamp: Timestamp,
    /// Source of the stream.
    pub ssrc: Ssrc,
    first: u8,
    rest: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads the fixed header; `None` when the payload is shorter or of another version than 2.
    #[must_use]
    pub fn parse(udp_payload: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = udp_payload.split_first_chunk::<12>()?;
        let [first, second, q0, q1, t0, t1, t2, t3, s0, s1, s2, s3] = *fixed;
        let version = first >> 6;
        (version == 2).then_some(Self {
            version,
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: Sequence(u16::from_be_bytes([q0, q1])),
            timestamp: Timestamp(u32::from_be_bytes([t0, t1, t2, t3])),
            ssrc: Ssrc(u32::from_be_bytes([s0, s1, s2, s3])),
            first,
            rest,
        })
    }

    /// The payload without contributing sources, header extension and padding; `None` when their lengths do not fit
    /// into the packet.
    #[must_use]
    pub fn payload(&self) -> Option<&'a [u8]> {
        let sources = usize::from(self.first & 0x0f) * 4;
        let mut payload = self.rest.get(sources..)?;
        if self.first & 0x10 != 0 {
            let (&[_, _, high, low], rest) = payload.split_first_chunk::<4>()?;
            payload = rest.get(usize::from(u16::from_be_bytes([high, low])) * 4..)?;
        }
        if self.first & 0x20 != 0 {
            let padding = usize::from(*payload.last()?);
            // The count includes itself, so that 0 is a lie.
            let kept = payload.len().checked_sub(padding).filter(|_| padding > 0)?;
            payload = payload.get(..kept)?;
        }
        Some(payload)
    }
}

/// Header of 12 bytes of a packet without contributing sources, extension and padding, in network byte order.
#[must_use]
pub fn header(marker: bool, payload_type: u8, sequence: Sequence, timestamp: Timestamp, ssrc: Ssrc) -> [u8; 12] {
    let [q0, q1] = sequence.0.to_be_bytes();
    let [t0, t1, t2, t3] = timestamp.0.to_be_bytes();
    let [s0, s1, s2, s3] = ssrc.0.to_be_bytes();
    [0x80, u8::from(marker) << 7 | (payload_type & 0x7f), q0, q1, t0, t1, t2, t3, s0, s1, s2, s3]
}

/// First packet of an RTCP compound packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rtcp {
    /// Packet type, 192 to 223.
    pub packet_type: u8,
    /// Source of the sender.
    pub ssrc: Ssrc,
}

impl Rtcp {
    /// Reads the first 8 bytes; `None` when the payload is shorter, of another version than 2, or its second byte is
    /// not in the range by which RFC 5761 section 4 tells RTCP from RTP on one port.
    #[must_use]
    pub fn parse(udp_payload: &[u8]) -> Option<Self> {
        let (&[first, packet_type, _, _, s0, s1, s2, s3], _) = udp_payload.split_first_chunk::<8>()?;
        (first >> 6 == 2 && (192..=223).contains(&packet_type))
            .then_some(Self { packet_type, ssrc: Ssrc(u32::from_be_bytes([s0, s1, s2, s3])) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXED: [u8; 12] = [0x80, 0x88, 0xff, 0xfe, 0, 0, 1, 0xe0, 0xde, 0xe0, 0xee, 0x8f];

    #[test]
    fn the_fields_of_the_fixed_header_are_read_in_network_byte_order() {
        let bytes = [&FIXED[..], b"speech"].concat();
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.version, packet.marker, packet.payload_type), (2, true, 8));
        assert_eq!((packet.sequence, packet.timestamp), (Sequence(0xfffe), Timestamp(480)));
        assert_eq!((packet.ssrc, packet.payload()), (Ssrc(0xdee0_ee8f), Some(b"speech".as_slice())));
    }

    #[test]
    fn a_written_header_reads_back_as_it_was_given() {
        let bytes = header(true, 8, Sequence(0xfffe), Timestamp(480), Ssrc(0xdee0_ee8f));
        assert_eq!(bytes, FIXED);
        assert_eq!(header(false, 8, Sequence(0xfffe), Timestamp(480), Ssrc(0xdee0_ee8f))[1], 8);
    }

    #[test]
    fn sources_extension_and_padding_are_not_payload() {
        let mut bytes = FIXED.to_vec();
        bytes[0] = 0x80 | 0x20 | 0x10 | 1;
        bytes.extend([1, 1, 1, 1]);
        bytes.extend([0xbe, 0xde, 0, 1, 2, 2, 2, 2]);
        bytes.extend(b"hi");
        bytes.extend([0, 0, 3]);
        assert_eq!(Packet::parse(&bytes).unwrap().payload(), Some(b"hi".as_slice()));
        *bytes.last_mut().unwrap() = 6;
        assert_eq!(Packet::parse(&bytes).unwrap().payload(), None, "more padding than there are bytes");
        *bytes.last_mut().unwrap() = 0;
        assert_eq!(Packet::parse(&bytes).unwrap().payload(), None, "padding that does not count itself");
    }

    #[test]
    fn other_versions_and_short_payloads_are_not_rtp() {
        assert!(Packet::parse(&FIXED[..11]).is_none());
        let mut bytes = FIXED;
        bytes[0] = 0x40;
        assert!(Packet::parse(&bytes).is_none());
    }

    #[test]
    fn rtcp_is_told_from_rtp_by_its_packet_type() {
        let report = [0x80, 200, 0, 1, 0, 0, 0, 7];
        assert_eq!(Rtcp::parse(&report), Some(Rtcp { packet_type: 200, ssrc: Ssrc(7) }));
        assert_eq!(Rtcp::parse(&report[..7]), None);
        assert_eq!(Rtcp::parse(&FIXED), None);
        assert_eq!(Rtcp::parse(&[0x40, 200, 0, 1, 0, 0, 0, 7]), None);
    }
}
