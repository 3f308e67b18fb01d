//! What of an RTP header matters to a relay (RFC 3550 5.1, RFC 7983 7, RFC 5761 4).

use crate::headers::{RTCP_LEN, RTP_LEN, Rtp};

/// An RTP sequence number. "After" is meant in the sense of RFC 1982: at most half the number space ahead.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sequence(pub u16);

impl Sequence {
    /// Whether this number comes after the other.
    #[inline(always)]
    pub const fn is_after(self, other: Self) -> bool {
        self.distance(other) > 0
    }

    /// How many numbers this one is ahead of the other; negative when it is behind.
    #[inline(always)]
    pub const fn distance(self, other: Self) -> i16 {
        self.0.wrapping_sub(other.0) as i16
    }
}

/// The fields that are accounted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtpFields {
    /// Sequence number.
    pub sequence: Sequence,
    /// Timestamp in units of the payload's clock.
    pub timestamp: u32,
    /// Synchronisation source, bytes in network order.
    pub ssrc: u32,
}

impl Rtp {
    /// What the packet is.
    #[inline(always)]
    pub fn kind(&self) -> Kind {
        classify(self.first, self.second)
    }

    /// The fields that are accounted.
    #[inline(always)]
    pub fn fields(&self) -> RtpFields {
        let [high, low] = self.timestamp;
        RtpFields {
            sequence: Sequence(self.sequence.get()),
            timestamp: u32::from(high.get()) << 16 | u32::from(low.get()),
            ssrc: self.ssrc(),
        }
    }

    /// The synchronisation source, bytes in network order.
    #[inline(always)]
    pub fn ssrc(&self) -> u32 {
        zerocopy::transmute!(self.ssrc)
    }
}

/// What a datagram on a media port is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// RTP.
    Rtp,
    /// RTCP.
    Rtcp,
    /// STUN, DTLS, T.38, keep-alives, noise.
    Other,
}

/// Tells RTP from RTCP and from everything else by the first two bytes.
#[inline(always)]
pub const fn classify(first: u8, second: u8) -> Kind {
    // Version 2. 192 to 223 are RTCP packet types and no payload types may be used that look like them with the marker set.
    match (first & 0xc0 == 0x80, second & 0xe0 == 0xc0) {
        (true, false) => Kind::Rtp,
        (true, true) => Kind::Rtcp,
        (false, _) => Kind::Other,
    }
}

/// Bytes of an RTP header without its options.
pub const HEADER_LEN: usize = RTP_LEN as usize;

/// Whether a datagram's payload is RTP or RTCP, as far as its header tells.
pub fn is_media(payload: &[u8]) -> bool {
    match payload {
        [first, second, ..] => match classify(*first, *second) {
            Kind::Rtp => payload.len() >= HEADER_LEN,
            Kind::Rtcp => payload.len() >= RTCP_LEN as usize,
            Kind::Other => false,
        },
        _ => false,
    }
}

/// Whether a datagram's payload is RTCP, as far as its header tells.
pub fn is_rtcp(payload: &[u8]) -> bool {
    is_media(payload) && matches!(payload, [first, second, ..] if classify(*first, *second) == Kind::Rtcp)
}

/// The RTP header fields of a datagram's payload, if it is RTP.
pub fn parse(payload: &[u8]) -> Option<RtpFields> {
    let header: &[u8; RTP_LEN as usize] = payload.first_chunk()?;
    let &[first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = header;
    match classify(first, second) {
        Kind::Rtp => Some(RtpFields {
            sequence: Sequence(u16::from_be_bytes([s0, s1])),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_ne_bytes([c0, c1, c2, c3]),
        }),
        Kind::Rtcp | Kind::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_wrap() {
        assert!(Sequence(0).is_after(Sequence(65535)));
        assert!(!Sequence(65535).is_after(Sequence(0)));
        assert!(!Sequence(5).is_after(Sequence(5)));
        assert_eq!(Sequence(2).distance(Sequence(65534)), 4);
    }

    #[test]
    fn first_bytes_are_told_apart_as_rfc_7983_says() {
        assert_eq!(classify(0x80, 0x08), Kind::Rtp);
        assert_eq!(classify(0x80, 0x88), Kind::Rtp, "marker and payload type 8");
        assert_eq!(classify(0x81, 200), Kind::Rtcp);
        assert_eq!(classify(0x80, 223), Kind::Rtcp);
        assert_eq!(classify(0x80, 224), Kind::Rtp, "marker and payload type 96");
        for other in [0, 3, 16, 20, 63, 64, 79, 127, 192, 255] {
            assert_eq!(classify(other, 0), Kind::Other);
        }
    }

    #[test]
    fn both_views_of_a_header_agree() {
        let bytes = [0x80, 8, 0x12, 0x34, 1, 2, 3, 4, 0xa, 0xb, 0xc, 0xd];
        let view: Rtp = zerocopy::transmute!(bytes);
        assert_eq!(parse(&bytes), Some(view.fields()));
        assert_eq!(view.fields().timestamp, 0x0102_0304);
        assert_eq!(parse(&bytes[..11]), None);
    }
}
