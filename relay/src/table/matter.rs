//! What a packet is to its source.

use border::{Component, Content};
use flow::rtp;

/// What a packet is to its source. Only media teaches a peer that another one has been heard as; a sign of life is enough where nobody else was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Matter {
    /// What the source is for.
    Media,
    /// What a party sends to keep its NAT open while it listens (RFC 6263).
    SignOfLife,
    /// Neither.
    Noise,
}

/// The longest packet that says nothing but that somebody is there and is neither STUN nor RTP.
const SHORT: usize = rtp::HEADER_LEN;

impl Matter {
    /// What a payload is to a source of this content.
    pub(crate) fn of(content: Content, component: Component, payload: &[u8]) -> Self {
        let is_rtp = match component {
            Component::Rtp => rtp::is_media(payload) && payload.len() >= rtp::HEADER_LEN,
            Component::Rtcp => rtp::is_rtcp(payload),
        };
        match content {
            Content::Datagrams => Self::Media,
            Content::Rtp | Content::SecuredRtp if is_rtp => Self::Media,
            Content::SecuredRtp if is_dtls(payload) => Self::Media,
            Content::Rtp | Content::SecuredRtp if is_sign_of_life(payload) => Self::SignOfLife,
            Content::Rtp | Content::SecuredRtp => Self::Noise,
        }
    }
}

/// A record of DTLS by its first bytes (RFC 7983 7): the type, and a version of 1.x, which is written as its complement.
fn is_dtls(payload: &[u8]) -> bool {
    matches!(payload, [20..=63, 0xfe, ..]) && payload.len() > SHORT
}

/// The ways of RFC 6263 4 that are not RTP: nothing, STUN, RTP of version 0; and the line breaks that others send.
fn is_sign_of_life(payload: &[u8]) -> bool {
    let is_stun = matches!(payload, [0..=3, _, _, _, 0x21, 0x12, 0xa4, 0x42, ..]);
    let is_version_0 = matches!(payload, [0..=63, ..]) && payload.len() == rtp::HEADER_LEN;
    payload.len() < SHORT || is_stun || is_version_0
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUN: [u8; 20] = [0, 0x11, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    fn of(content: Content, component: Component, payload: &[u8]) -> Matter {
        Matter::of(content, component, payload)
    }

    fn rtp() -> Vec<u8> {
        [&[0x80, 8][..], &[0; 170]].concat()
    }

    #[test]
    fn media_is_what_the_stream_is_for() {
        let rtcp = [0x80, 200, 0, 1, 1, 2, 3, 4];
        for content in [Content::Rtp, Content::SecuredRtp] {
            assert_eq!(of(content, Component::Rtp, &rtp()), Matter::Media);
            assert_eq!(of(content, Component::Rtcp, &rtcp), Matter::Media);
            assert_ne!(of(content, Component::Rtcp, &rtp()), Matter::Media);
        }
    }

    #[test]
    fn what_keeps_a_nat_open_is_a_sign_of_life() {
        let version_0 = [0; rtp::HEADER_LEN];
        for payload in [&b""[..], b"\0", b"\r\n\r\n", &STUN, &version_0] {
            for component in [Component::Rtp, Component::Rtcp] {
                assert_eq!(of(Content::Rtp, component, payload), Matter::SignOfLife, "{payload:?}");
                assert_eq!(of(Content::Datagrams, component, payload), Matter::Media, "{payload:?}");
            }
        }
    }

    #[test]
    fn a_handshake_is_media_of_a_secured_stream_only() {
        let hello = [&[22, 0xfe, 0xff][..], &[0; 60]].concat();
        for component in [Component::Rtp, Component::Rtcp] {
            assert_eq!(of(Content::SecuredRtp, component, &hello), Matter::Media);
            assert_eq!(of(Content::Rtp, component, &hello), Matter::Noise);
        }
    }

    #[test]
    fn everything_else_is_noise() {
        for payload in [&b"OPTIONS sip:relay SIP/2.0\r\n"[..], &[0xff; 40], &[0; 40]] {
            for content in [Content::Rtp, Content::SecuredRtp] {
                assert_eq!(of(content, Component::Rtp, payload), Matter::Noise, "{payload:?}");
            }
        }
    }
}
