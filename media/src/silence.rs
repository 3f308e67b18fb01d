//! Silence in the place of what is said.

use flow::rtp;

use crate::packet::Packet;
use crate::processor::{Fate, Processor};

/// Bytes of an RTP header without its options, and of each of its sources (RFC 3550 5.1).
const HEADER_LEN: usize = rtp::HEADER_LEN;
const SOURCE_LEN: usize = 4;

/// Puts silence in the place of what is said, where the codec has a pattern for it: G.711 and G.722 by their fixed payload types
/// (RFC 3551 6). Other RTP - another codec, video, digits (RFC 4733) - ends: whoever asks for silence must not be heard after all. It is for
/// RTP alone: reports are not silenced, and have no work done on them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Silence;

impl Silence {
    /// The byte that a codec says nothing with, by its payload type.
    const fn pattern(payload_type: u8) -> Option<u8> {
        match payload_type {
            // PCMU: minus zero. PCMA: the smallest positive value, with its even bits inverted (ITU-T G.711). G.722: no change in either band.
            0 => Some(0xff),
            8 => Some(0xd5),
            9 => Some(0xfa),
            _ => None,
        }
    }
}

impl Processor for Silence {
    fn process(&mut self, packet: &mut Packet<'_>, _: u64) -> Fate {
        let payload = packet.payload_mut();
        let [first, second, ..] = *payload else { return Fate::Ends };
        match rtp::classify(first, second) {
            // Among RTP, what looks like RTCP is RTP with the marker and a payload type from 64 to 95 (RFC 5761 4).
            rtp::Kind::Rtcp | rtp::Kind::Other => return Fate::Ends,
            rtp::Kind::Rtp => {}
        }
        let (Some(pattern), Some(start)) = (Self::pattern(second & 0x7f), media_start(payload)) else {
            return Fate::Ends;
        };
        let Some(media) = payload.get_mut(start..) else { return Fate::Ends };
        if first & 0x20 == 0 {
            media.fill(pattern);
            return Fate::Goes;
        }
        // Padding says in its last byte how long it is, and counts that byte. Whoever says that it is none, or more than there is, pads nothing.
        let Some((len, padded)) = media.split_last_mut() else { return Fate::Ends };
        if !(1..=padded.len() + 1).contains(&usize::from(*len)) {
            return Fate::Ends;
        }
        // Who does not look at that plays it: so it is silence, too.
        padded.fill(pattern);
        Fate::Goes
    }
}

/// Where the media begins: behind the header, the contributing sources, and the extension.
fn media_start(payload: &[u8]) -> Option<usize> {
    let first = *payload.first()?;
    let start = HEADER_LEN + usize::from(first & 0x0f) * SOURCE_LEN;
    if first & 0x10 == 0 {
        return (start <= payload.len()).then_some(start);
    }
    let [_, _, high, low] = *payload.get(start..)?.first_chunk()?;
    let end = start + 4 + usize::from(u16::from_be_bytes([high, low])) * 4;
    (end <= payload.len()).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silenced(mut payload: Vec<u8>) -> Option<Vec<u8>> {
        let len = payload.len();
        let mut packet = Packet::new(&mut payload, 0, len).unwrap();
        match Silence.process(&mut packet, 0) {
            Fate::Goes => Some(payload),
            Fate::Ends => None,
        }
    }

    fn rtp(first: u8, second: u8, after: &[u8]) -> Vec<u8> {
        [&[first, second, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3][..], after].concat()
    }

    #[test]
    fn what_is_said_is_silence_of_its_codec_and_the_header_stays() {
        for (second, pattern) in [(0, 0xff), (8, 0xd5), (0x88, 0xd5), (9, 0xfa)] {
            assert_eq!(silenced(rtp(0x80, second, &[1; 160])), Some(rtp(0x80, second, &[pattern; 160])));
        }
    }

    #[test]
    fn sources_extensions_and_padding_are_no_media() {
        let sources_and_extension = [0, 0, 0, 9, 0xbe, 0xde, 0, 1, 5, 6, 7, 8];
        let before = rtp(0xb1, 8, &[&sources_and_extension[..], &[1, 2, 3, 4], &[0, 0, 3]].concat());
        let after = rtp(0xb1, 8, &[&sources_and_extension[..], &[0xd5; 6], &[3]].concat());
        assert_eq!(silenced(before), Some(after));
    }

    #[test]
    fn speech_is_not_passed_as_padding() {
        assert_eq!(silenced(rtp(0xa0, 8, &[1, 2, 3, 4])), Some(rtp(0xa0, 8, &[0xd5, 0xd5, 0xd5, 4])), "all of it");
        for len in [0, 5, 255] {
            assert_eq!(silenced(rtp(0xa0, 8, &[1, 2, 3, len])), None, "{len}");
        }
        assert_eq!(silenced(rtp(0xa0, 8, &[])), None);
    }

    #[test]
    fn what_cannot_be_silenced_goes_nowhere() {
        for second in [3, 18, 96, 101, 111, 0xe5] {
            assert_eq!(silenced(rtp(0x80, second, &[1; 20])), None);
        }
        assert_eq!(silenced(vec![0, 1, 0, 0]), None, "STUN");
        for broken in [rtp(0x8f, 8, &[1; 20]), rtp(0x90, 8, &[0, 0, 0xff, 0xff]), vec![0x80, 8, 0], vec![0x80]] {
            assert_eq!(silenced(broken.clone()), None, "{broken:02x?}");
        }
    }

    #[test]
    fn speech_is_not_passed_as_reports() {
        for second in [192, 199, 200, 208, 223] {
            assert_eq!(silenced(rtp(0x80, second, &[1; 160])), None, "{second}");
        }
    }

    #[test]
    fn any_bytes_do_no_harm() {
        let mut state = 1u32;
        for len in 0..200 {
            let payload: Vec<u8> = (0..len)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            for first in 0..=255 {
                let mut payload = payload.clone();
                payload.iter_mut().take(1).for_each(|byte| *byte = first);
                payload.iter_mut().skip(1).take(1).for_each(|byte| *byte = 8);
                let len = payload.len();
                assert!(silenced(payload).is_none_or(|left| left.len() == len));
            }
        }
    }
}
