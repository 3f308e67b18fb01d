//! Frames that are nearly right: made of the vectors' by small changes, the same ones for the same seed. For tests.

use std::vec;
use std::vec::Vec;

use crate::vectors::Vectors;

/// The shortest frame: an Ethernet header.
const MIN: usize = 14;
/// The longest frame.
const MAX: usize = 1514;
/// Values that programs trip over.
const WORDS: [u16; 12] = [0, 1, 7, 8, 0x4500, 0x6000, 0x8100, 0x0800, 0x86dd, 0x7fff, 0x8000, 0xffff];

/// An endless supply of frames.
pub struct Mutants {
    state: u64,
    frames: Vec<Vec<u8>>,
}

impl Mutants {
    /// Frames like those of the vectors. A seed of zero is taken for another one.
    pub fn new(vectors: &Vectors, seed: u64) -> Self {
        let frames = vectors.vectors.iter().map(|vector| vector.input.clone()).filter(|frame| frame.len() >= MIN);
        Self { state: seed.max(1), frames: frames.collect() }
    }

    /// The next frame: one of the vectors' with up to four changes, or one in sixteen of noise.
    pub fn frame(&mut self) -> Vec<u8> {
        if self.below(16) == 0 {
            let len = MIN + self.below(200);
            return self.noise(len);
        }
        let number = self.below(self.frames.len());
        let mut frame = self.frames.get(number).cloned().unwrap_or_else(|| vec![0; MIN]);
        for _ in 0..self.below(5) {
            self.change(&mut frame);
        }
        frame.resize(frame.len().clamp(MIN, MAX), 0);
        frame
    }

    fn change(&mut self, frame: &mut Vec<u8>) {
        // Most changes are worth something only in the headers.
        let at = self.below(frame.len().min(80));
        let word = usize::min(at & !1, frame.len().saturating_sub(2));
        match self.below(10) {
            0 => frame.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (self.next() % 8)),
            1 => frame.iter_mut().skip(at).take(1).for_each(|byte| *byte = self.next() as u8),
            2 => {
                let value = WORDS.get(self.below(WORDS.len())).copied().unwrap_or_default();
                put(frame, word, &value.to_be_bytes());
            }
            3 => frame.truncate(MIN + self.below(frame.len())),
            4 => {
                let more = self.below(64);
                let noise = self.noise(more);
                frame.extend(noise);
            }
            5 => {
                // The headers of another frame, or a part of them.
                let number = self.below(self.frames.len());
                let len = 1 + self.below(24);
                let part: Vec<u8> =
                    self.frames.iter().skip(number).take(1).flatten().copied().skip(at).take(len).collect();
                put(frame, at, &part);
            }
            6 => insert(frame, 12, &[0x81, 0x00, 0x00, self.next() as u8]),
            7 => {
                // Options behind the IPv4 header.
                insert(frame, 34, &[1; 4]);
                put(frame, 14, &[0x46]);
            }
            8 => {
                // A length that suits, whatever was done before.
                let len = (frame.len() as u16).wrapping_sub(14);
                put(frame, 16, &len.to_be_bytes());
                put(frame, 38, &len.wrapping_sub(20).to_be_bytes());
            }
            _ => {
                // RTP of another number, and now and then of another source.
                let payload = if frame.get(12) == Some(&0x86) { 62 } else { 42 };
                put(frame, payload + 2, &(self.next() as u16).to_be_bytes());
                if self.below(4) == 0 {
                    put(frame, payload + 8, &(self.next() as u32).to_be_bytes());
                }
            }
        }
    }

    fn noise(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Marsaglia's xorshift64, of which the upper half is used.
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state >> 16
    }
}

/// Writes over what is there, as far as the frame goes.
fn put(frame: &mut [u8], at: usize, bytes: &[u8]) {
    frame.iter_mut().skip(at).zip(bytes).for_each(|(byte, new)| *byte = *new);
}

fn insert(frame: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let at = at.min(frame.len());
    frame.splice(at..at, bytes.iter().copied());
}
