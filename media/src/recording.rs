//! What was recorded: speech or music that is ready to be played.

use std::time::Duration;

use bytes::Bytes;

use crate::g711::{Law, RATE};
use crate::wav::{self, WavError};

/// Sound of one channel in G.711, by both laws: what plays it copies it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recording {
    mu: Bytes,
    a: Bytes,
}

impl Recording {
    /// The sound of samples of 16 bits, 8,000 a second.
    pub fn new(samples: &[i16]) -> Self {
        let octets = |law: Law| samples.iter().map(|sample| law.encode(*sample)).collect();
        Self { mu: octets(Law::Mu), a: octets(Law::A) }
    }

    /// The sound of a WAV file.
    ///
    /// # Errors
    /// When it is none, has no sound, or has it in a way that is not read here.
    pub fn read(file: &[u8]) -> Result<Self, WavError> {
        wav::samples(file).map(|samples| Self::new(&samples))
    }

    /// The octets of a law: there is at least one.
    pub fn octets(&self, law: Law) -> Bytes {
        match law {
            Law::Mu => self.mu.clone(),
            Law::A => self.a.clone(),
        }
    }

    /// How many octets.
    pub fn len(&self) -> usize {
        self.mu.len()
    }

    /// Whether there is nothing to be heard.
    pub fn is_empty(&self) -> bool {
        self.mu.is_empty()
    }

    /// How long it is.
    pub fn duration(&self) -> Duration {
        time_of(self.len() as u64)
    }
}

/// How long so many octets are heard.
pub const fn time_of(octets: u64) -> Duration {
    Duration::from_micros(octets.saturating_mul(1_000_000 / RATE as u64))
}

/// How many octets are heard in a time.
pub const fn octets_of(time: Duration) -> u64 {
    time.as_millis() as u64 * (RATE as u64 / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_ready_in_both_laws() {
        let recording = Recording::new(&[0, 0, -8, 32124]);
        assert_eq!(recording.octets(Law::Mu), &[0xff, 0xff, 0x7e, 0x80][..]);
        assert_eq!(recording.octets(Law::A)[..2], [0xd5, 0xd5]);
        assert_eq!((recording.len(), recording.duration()), (4, Duration::from_micros(500)));
        assert_eq!(octets_of(Duration::from_millis(20)), 160);
    }
}
