//! What is done to a packet's bytes: encryption and authentication, each suite in its own order.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, Zeroizing};

use super::counter::{AesKey, Counter};
use super::hmac::{HASH, Hmac};
use super::suite::Authentication;

/// Bytes of a nonce.
const NONCE: usize = 12;

/// Which packet it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) ssrc: u32,
    /// Of an RTP packet 48 bits, of an RTCP packet 31.
    pub(super) index: u64,
}

/// What is authenticated with a packet, and not encrypted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Beside {
    /// How often the sequence number of RTP has wrapped.
    Turns,
    /// The last word of an RTCP packet.
    Word([u8; 4]),
}

/// A tag; only the first bytes are sent.
pub(super) type Tag = [u8; HASH];

/// The session keys of RTP or RTCP.
#[expect(
    clippy::large_enum_variant,
    reason = "beside the packet's bytes it is what a packet needs, and in a box it would be a second miss"
)]
pub(super) enum Cipher {
    /// Counter mode with HMAC-SHA1.
    Sha1 { key: Counter, salt: Zeroizing<[u8; 14]>, code: Hmac, tag_len: usize },
    /// AES-GCM.
    Gcm { key: Gcm, salt: Zeroizing<[u8; NONCE]> },
}

/// A key of AES-GCM: in a box, for it is twice as large.
pub(super) enum Gcm {
    Aes128(Box<Aes128Gcm>),
    Aes256(Box<Aes256Gcm>),
}

impl Cipher {
    /// Session keys: `code` is for HMAC-SHA1 alone. AES-GCM takes the first bytes of a salt.
    pub(super) fn new(authentication: Authentication, key: &AesKey, code: &[u8], salt: &[u8; 14]) -> Self {
        match authentication {
            Authentication::Sha1(tag_len) => {
                Self::Sha1 { key: Counter::new(key), salt: Zeroizing::new(*salt), code: Hmac::new(code), tag_len }
            }
            Authentication::Gcm => {
                let [salt @ .., _, _] = *salt;
                let key = match key {
                    AesKey::Of128(key) => Gcm::Aes128(Box::new(Aes128Gcm::new(key.into()))),
                    AesKey::Of256(key) => Gcm::Aes256(Box::new(Aes256Gcm::new(key.into()))),
                    // No suite has it.
                    AesKey::Of192(key) => {
                        let mut long = Zeroizing::new([0; 32]);
                        long.iter_mut().zip(key).for_each(|(place, byte)| *place = *byte);
                        Gcm::Aes256(Box::new(Aes256Gcm::new((&*long).into())))
                    }
                };
                Self::Gcm { key, salt: Zeroizing::new(salt) }
            }
        }
    }

    /// Bytes of a tag.
    pub(super) const fn tag_len(&self) -> usize {
        match self {
            Self::Sha1 { tag_len, .. } => *tag_len,
            Self::Gcm { .. } => 16,
        }
    }

    /// Whether the tag is part of what is encrypted: then nothing is between.
    pub(super) const fn is_gcm(&self) -> bool {
        matches!(self, Self::Gcm { .. })
    }

    /// Has the processor fetch what a packet needs, all at once: with many thousand keys none is in a cache, and one miss after the other costs more than
    /// the work.
    #[inline]
    pub(super) fn fetch(&self) {
        match self {
            Self::Sha1 { code, .. } => code.fetch(),
            Self::Gcm { .. } => {}
        }
    }

    /// Encrypts all but the first `clear` bytes, and returns the tag of all.
    pub(super) fn seal(&self, bytes: &mut [u8], clear: usize, place: Place, beside: Beside) -> Tag {
        match self {
            Self::Sha1 { key, salt, code, .. } => {
                key.apply(counter(salt, place), bytes.get_mut(clear..).unwrap_or_default());
                code.code(bytes, &behind(place, beside))
            }
            Self::Gcm { key, salt } => {
                let (header, body) = bytes.split_at_mut(clear.min(bytes.len()));
                let associated = Associated::new(header, beside);
                let sealed = match key {
                    Gcm::Aes128(key) => {
                        key.encrypt_inout_detached(&nonce(salt, place).into(), associated.bytes(), InOutBuf::from(body))
                    }
                    Gcm::Aes256(key) => {
                        key.encrypt_inout_detached(&nonce(salt, place).into(), associated.bytes(), InOutBuf::from(body))
                    }
                };
                let mut tag = [0; HASH];
                // It fails for what is longer than any datagram.
                if let Ok(sealed) = sealed {
                    tag.iter_mut().zip(sealed).for_each(|(place, byte)| *place = byte);
                }
                tag
            }
        }
    }

    /// Whether the tag is that of these bytes; if so, and if they are, all but the first `clear` of them are decrypted.
    pub(super) fn open(&self, bytes: &mut [u8], clear: usize, place: Place, beside: Beside, tag: &[u8]) -> bool {
        match self {
            Self::Sha1 { key, salt, code, tag_len } => {
                let mut right = code.code(bytes, &behind(place, beside));
                let is_right = bool::from(right.get(..*tag_len).unwrap_or_default().ct_eq(tag));
                right.zeroize();
                if is_right {
                    key.apply(counter(salt, place), bytes.get_mut(clear..).unwrap_or_default());
                }
                is_right
            }
            Self::Gcm { key, salt } => {
                let (header, body) = bytes.split_at_mut(clear.min(bytes.len()));
                let associated = Associated::new(header, beside);
                let Ok(tag) = <[u8; 16]>::try_from(tag) else { return false };
                // It looks at the tag first.
                match key {
                    Gcm::Aes128(key) => key.decrypt_inout_detached(
                        &nonce(salt, place).into(),
                        associated.bytes(),
                        InOutBuf::from(body),
                        &tag.into(),
                    ),
                    Gcm::Aes256(key) => key.decrypt_inout_detached(
                        &nonce(salt, place).into(),
                        associated.bytes(),
                        InOutBuf::from(body),
                        &tag.into(),
                    ),
                }
                .is_ok()
            }
        }
    }
}

/// The first counter block of a packet (RFC 3711 4.1.1).
fn counter(salt: &[u8; 14], place: Place) -> [u8; 16] {
    let mut block = [0; 16];
    let (head, tail) = block.split_at_mut(4);
    tail.iter_mut().zip(place.ssrc.to_be_bytes()).for_each(|(byte, part)| *byte = part);
    let [_, _, index @ ..] = place.index.to_be_bytes();
    tail.iter_mut().skip(4).zip(index).for_each(|(byte, part)| *byte = part);
    head.iter_mut().chain(tail).zip(salt).for_each(|(byte, salt)| *byte ^= salt);
    block
}

/// The nonce of a packet (RFC 7714 8.1, 9.1).
fn nonce(salt: &[u8; NONCE], place: Place) -> [u8; NONCE] {
    let ([a, b, c, d], [_, _, index @ ..]) = (place.ssrc.to_be_bytes(), place.index.to_be_bytes());
    let [e, f, g, h, i, j] = index;
    let mut nonce = [0, 0, a, b, c, d, e, f, g, h, i, j];
    nonce.iter_mut().zip(salt).for_each(|(byte, salt)| *byte ^= salt);
    nonce
}

/// What the code is of, behind the packet.
const fn behind(place: Place, beside: Beside) -> [u8; 4] {
    match beside {
        Beside::Turns => ((place.index >> 16) as u32).to_be_bytes(),
        Beside::Word(word) => word,
    }
}

/// What AES-GCM authenticates beside what it encrypts: the header, and of RTCP the last word.
enum Associated<'a> {
    Header(&'a [u8]),
    WithWord([u8; 12]),
    /// An RTCP packet that is not encrypted.
    Long(Vec<u8>),
}

impl<'a> Associated<'a> {
    fn new(header: &'a [u8], beside: Beside) -> Self {
        let Beside::Word(word) = beside else { return Self::Header(header) };
        match <[u8; 8]>::try_from(header) {
            Ok([a, b, c, d, e, f, g, h]) => {
                let [i, j, k, l] = word;
                Self::WithWord([a, b, c, d, e, f, g, h, i, j, k, l])
            }
            Err(_) => Self::Long([header, &word].concat()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Header(bytes) => bytes,
            Self::WithWord(bytes) => bytes,
            Self::Long(bytes) => bytes,
        }
    }
}
