//! Where the parts of RTP and RTCP packets are that are protected each in its own way (RFC 3550 5.1, 6.4.1; RFC 3711 3.1, 3.4).

/// Bytes of an RTCP packet that are not encrypted: the first header and its source.
pub(super) const RTCP_CLEAR: usize = 8;
/// Bytes of the word behind an RTCP packet: whether it is encrypted, and its index.
pub(super) const WORD: usize = 4;
/// The bit of the word that says that the packet is encrypted.
pub(super) const IS_ENCRYPTED: u32 = 1 << 31;

/// What an RTP packet says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RtpHead {
    /// Bytes of the header with its contributing sources and extension, which are not encrypted.
    pub(super) len: usize,
    pub(super) sequence: u16,
    pub(super) ssrc: u32,
}

impl RtpHead {
    /// Of a packet that begins with these bytes; `None` when it is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let [first, _, a, b, _, _, _, _, c, d, e, f] = *bytes.first_chunk()?;
        if first >> 6 != 2 {
            return None;
        }
        let mut len = 12 + 4 * usize::from(first & 0xf);
        if first & 0x10 != 0 {
            let [_, _, high, low] = *bytes.get(len..)?.first_chunk()?;
            len += 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
        }
        (len <= bytes.len()).then_some(Self {
            len,
            sequence: u16::from_be_bytes([a, b]),
            ssrc: u32::from_be_bytes([c, d, e, f]),
        })
    }
}

/// The source of an RTCP packet; `None` when it is none.
pub(super) fn rtcp_ssrc(bytes: &[u8]) -> Option<u32> {
    let [first, _, _, _, a, b, c, d] = *bytes.first_chunk()?;
    (first >> 6 == 2).then_some(u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_ends_behind_its_sources_and_its_extension() {
        let plain = [0x80, 8, 0x12, 0x34, 0, 0, 0, 1, 1, 2, 3, 4, 0xaa];
        let head = RtpHead { len: 12, sequence: 0x1234, ssrc: 0x0102_0304 };
        assert_eq!(RtpHead::read(&plain), Some(head));
        assert_eq!(RtpHead::read(&plain[..12]), Some(head));
        let mut full = plain[..12].to_vec();
        full[0] = 0x92;
        full.extend([0; 8]);
        full.extend([0xbe, 0xde, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(RtpHead::read(&full), Some(RtpHead { len: 32, ..head }));
        for len in 0..full.len() {
            assert_eq!(RtpHead::read(&full[..len]), None, "{len}");
        }
        assert_eq!(RtpHead::read(&[0x40; 40]), None);
    }
}
