//! AES in counter mode (RFC 3711 4.1.1): a key stream that is added to a packet, in place.

use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use aes::{Aes128Enc, Aes192Enc, Aes256Enc, Block};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Blocks that are encrypted at a time: those of 20 ms of G.711. The processor has as many under way at once.
const AT_ONCE: usize = 10;

/// Bytes of a block.
const BLOCK: usize = 16;

/// A key for AES.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) enum AesKey {
    Of128([u8; 16]),
    Of192([u8; 24]),
    Of256([u8; 32]),
}

impl AesKey {
    /// The first bytes of these, as many as a key of a length has: all of them are there.
    pub(super) fn of(len: usize, bytes: &[u8]) -> Option<Self> {
        match len {
            16 => bytes.first_chunk().copied().map(Self::Of128),
            24 => bytes.first_chunk().copied().map(Self::Of192),
            _ => bytes.first_chunk().copied().map(Self::Of256),
        }
    }

    /// A key of the same length.
    pub(super) fn like(&self, fill: impl FnOnce(&mut [u8])) -> Self {
        let mut key = self.clone();
        fill(match &mut key {
            Self::Of128(bytes) => bytes,
            Self::Of192(bytes) => bytes,
            Self::Of256(bytes) => bytes,
        });
        key
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Of128(bytes) => bytes,
            Self::Of192(bytes) => bytes,
            Self::Of256(bytes) => bytes,
        }
    }
}

/// An encryption key, as the cipher wants it.
pub(super) enum Counter {
    Aes128(Aes128Enc),
    Aes192(Aes192Enc),
    Aes256(Aes256Enc),
}

impl Counter {
    /// A key of any of its lengths.
    pub(super) fn new(key: &AesKey) -> Self {
        match key {
            AesKey::Of128(key) => Self::Aes128(Aes128Enc::new(key.into())),
            AesKey::Of192(key) => Self::Aes192(Aes192Enc::new(key.into())),
            AesKey::Of256(key) => Self::Aes256(Aes256Enc::new(key.into())),
        }
    }

    /// Adds the key stream that begins with this counter block, whose last two bytes count.
    pub(super) fn apply(&self, start: [u8; BLOCK], bytes: &mut [u8]) {
        let mut counter = u128::from_be_bytes(start);
        for piece in bytes.chunks_mut(AT_ONCE * BLOCK) {
            let mut stream = [Block::default(); AT_ONCE];
            let count = piece.len().div_ceil(BLOCK);
            let blocks = stream.get_mut(..count).unwrap_or_default();
            for block in &mut *blocks {
                *block = counter.to_be_bytes().into();
                // There is room for the blocks of any packet below the counter's sixteen bits.
                counter = counter.wrapping_add(1);
            }
            match self {
                Self::Aes128(key) => key.encrypt_blocks(blocks),
                Self::Aes192(key) => key.encrypt_blocks(blocks),
                Self::Aes256(key) => key.encrypt_blocks(blocks),
            }
            add(piece, blocks);
        }
    }
}

/// Adds a key stream to a packet, block by block: octet by octet costs more than the encryption.
fn add(piece: &mut [u8], stream: &[Block]) {
    let (whole, rest) = piece.as_chunks_mut::<BLOCK>();
    let last = stream.get(whole.len());
    for (bytes, key) in whole.iter_mut().zip(stream) {
        *bytes = (u128::from_ne_bytes(*bytes) ^ u128::from_ne_bytes((*key).into())).to_ne_bytes();
    }
    rest.iter_mut().zip(last.into_iter().flat_map(|block| block.iter())).for_each(|(byte, key)| *byte ^= key);
}
