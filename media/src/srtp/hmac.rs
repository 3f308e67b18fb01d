//! HMAC-SHA1 (RFC 2104) by two kept states, forty bytes for a key: what a library keeps is several hundred, and is copied for each packet.

use std::hint::black_box;

use sha1::block_api::compress;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a block.
const BLOCK: usize = 64;
/// Bytes of a hash.
pub(super) const HASH: usize = 20;
/// The first state (FIPS 180-4 5.3.1).
const START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// A key, as the states that its two paddings leave.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Hmac {
    inner: [u32; 5],
    outer: [u32; 5],
}

impl Hmac {
    /// A key of no more than a block.
    pub(super) fn new(key: &[u8]) -> Self {
        let padded = |padding: u8| {
            let mut block = [padding; BLOCK];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = START;
            compress(&mut state, &[block]);
            block.zeroize();
            state
        };
        Self { inner: padded(0x36), outer: padded(0x5c) }
    }

    /// Has the processor fetch it.
    #[inline]
    pub(super) fn fetch(&self) {
        black_box(self.inner.first().copied().unwrap_or_default() ^ self.outer.last().copied().unwrap_or_default());
    }

    /// The code of a message with a few bytes behind it.
    pub(super) fn code(&self, message: &[u8], behind: &[u8]) -> [u8; HASH] {
        let mut state = self.inner;
        let (blocks, rest) = message.as_chunks::<BLOCK>();
        compress(&mut state, blocks);
        finish(&mut state, [rest, behind], BLOCK + message.len() + behind.len());
        let hash = bytes(state);
        let mut state = self.outer;
        finish(&mut state, [&hash, &[]], BLOCK + HASH);
        bytes(state)
    }
}

/// The last blocks: what is left, the one that ends it, and how long all of it was. It is less than a block and a few bytes.
fn finish(state: &mut [u32; 5], rest: [&[u8]; 2], len: usize) {
    let mut blocks = [[0; BLOCK]; 2];
    let (mut left, bytes) = (0, blocks.as_flattened_mut());
    for part in rest.into_iter().chain([&[0x80][..]]) {
        if let Some(place) = bytes.get_mut(left..left + part.len()) {
            place.copy_from_slice(part);
        }
        left += part.len();
    }
    let count = (left + size_of::<u64>()).div_ceil(BLOCK);
    let bits = (len as u64 * 8).to_be_bytes();
    if let Some(place) = bytes.get_mut(count * BLOCK - bits.len()..count * BLOCK) {
        place.copy_from_slice(&bits);
    }
    compress(state, blocks.get(..count).unwrap_or_default());
}

fn bytes(state: [u32; 5]) -> [u8; HASH] {
    let mut bytes = [0; HASH];
    bytes.as_chunks_mut::<4>().0.iter_mut().zip(state).for_each(|(place, word)| *place = word.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2202 3, cases 1 to 5; the keys of the others are longer than a block.
    #[test]
    fn codes_are_those_of_rfc_2202() {
        let fourth: Vec<u8> = (1..=25).collect();
        for (key, message, code) in [
            (&[0x0b; 20][..], &b"Hi There"[..], "b617318655057264e28bc0b6fb378c8ef146be00"),
            (b"Jefe", b"what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (&[0xaa; 20], &[0xdd; 50], "125d7342b9ac11cd91a39af48aa17b4f63f175d3"),
            (&fourth, &[0xcd; 50], "4c9007f4026250c6bc8414f9bf50c86c2d7235da"),
            (&[0x0c; 20], b"Test With Truncation", "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04"),
        ] {
            let hmac = Hmac::new(key);
            let hex: String = hmac.code(message, &[]).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, code);
            // Wherever it is cut in two.
            for behind in 0..message.len().min(5) {
                let (message, behind) = message.split_at(message.len() - behind);
                assert_eq!(hmac.code(message, behind), hmac.code(&[message, behind].concat(), &[]));
            }
        }
    }

    #[test]
    fn a_message_of_any_length_has_a_code_of_its_own() {
        let (hmac, message) = (Hmac::new(b"key"), [7; 300]);
        let codes: std::collections::HashSet<_> = (0..300).map(|len| hmac.code(&message[..len], b"roc.")).collect();
        assert_eq!(codes.len(), 300);
    }
}
