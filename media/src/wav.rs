//! Reading WAV files: what a telephone can play of them.

use crate::g711::{Law, RATE};

/// Why a file is not played.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WavError {
    /// Something else.
    #[error("it is no WAV file")]
    NotWav,
    /// Its format is said nowhere, or not whole.
    #[error("it is a damaged WAV file")]
    Damaged,
    /// A format that is not read.
    #[error(
        "it has samples of format {format} with {bits} bits: want PCM with 16 bits, A-law or mu-law; `sox IN -b 16 -r 8000 -c 1 OUT.wav` makes it so"
    )]
    Format {
        /// Its number (RFC 2361).
        format: u16,
        /// Bits of a sample.
        bits: u16,
    },
    /// Another rate.
    #[error("it has {0} samples a second: want 8000; `sox IN -b 16 -r 8000 -c 1 OUT.wav` makes it so")]
    Rate(u32),
    /// None at all, or more than music in a lift has.
    #[error("it has {0} channels: want 1 or 2")]
    Channels(u16),
    /// It has no samples.
    #[error("it is empty")]
    Empty,
}

/// Formats (RFC 2361 A).
const PCM: u16 = 1;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
/// The format stands further behind.
const EXTENSIBLE: u16 = 0xfffe;

/// How the samples of a file are written.
struct Format {
    kind: u16,
    channels: u16,
    rate: u32,
    bits: u16,
}

/// The samples of a file, its channels put together.
///
/// # Errors
/// When it cannot be played.
pub(crate) fn samples(file: &[u8]) -> Result<Vec<i16>, WavError> {
    let (b"RIFF", Some(b"WAVE")) = (file.get(..4).unwrap_or_default(), file.get(8..12)) else {
        return Err(WavError::NotWav);
    };
    let (mut format, mut rest) = (None, file.get(12..).unwrap_or_default());
    while let Some((name, data, after)) = chunk(rest) {
        match name {
            b"fmt " => format = Some(read_format(data).ok_or(WavError::Damaged)?),
            b"data" => return decode(&format.ok_or(WavError::Damaged)?, data),
            _ => {}
        }
        rest = after;
    }
    Err(WavError::Damaged)
}

/// The first chunk and what follows it. What is cut off ends where the file does: who streams a file writes no length.
fn chunk(bytes: &[u8]) -> Option<(&[u8; 4], &[u8], &[u8])> {
    let (name, rest) = bytes.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    let len = u32::from_le_bytes(*len) as usize;
    let (data, after) = rest.split_at(len.min(rest.len()));
    // Chunks begin at even places.
    Some((name, data, after.get(len % 2..).unwrap_or_default()))
}

fn read_format(data: &[u8]) -> Option<Format> {
    let short = |at: usize| Some(u16::from_le_bytes(*data.get(at..)?.first_chunk()?));
    let rate = u32::from_le_bytes(*data.get(4..)?.first_chunk()?);
    let kind = match short(0)? {
        EXTENSIBLE => short(24)?,
        kind => kind,
    };
    Some(Format { kind, channels: short(2)?, rate, bits: short(14)? })
}

fn decode(format: &Format, data: &[u8]) -> Result<Vec<i16>, WavError> {
    let Format { kind, channels, rate, bits } = *format;
    if !matches!((kind, bits), (PCM, 16) | (A_LAW | MU_LAW, 8)) {
        return Err(WavError::Format { format: kind, bits });
    }
    if rate != RATE {
        return Err(WavError::Rate(rate));
    }
    let samples: Vec<i16> = match kind {
        PCM => data.as_chunks().0.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect(),
        A_LAW => data.iter().map(|octet| Law::A.decode(*octet)).collect(),
        _ => data.iter().map(|octet| Law::Mu.decode(*octet)).collect(),
    };
    let samples = match channels {
        1 => samples,
        2 => samples.as_chunks().0.iter().map(|[left, right]| i16::midpoint(*left, *right)).collect(),
        channels => return Err(WavError::Channels(channels)),
    };
    if samples.is_empty() { Err(WavError::Empty) } else { Ok(samples) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(format: &[u8], data: &[u8]) -> Vec<u8> {
        let chunk = |name: &[u8], data: &[u8]| [name, &(data.len() as u32).to_le_bytes(), data].concat();
        let chunks = [chunk(b"fmt ", format), chunk(b"LIST", b"odd\0"), chunk(b"data", data)].concat();
        [&b"RIFF\0\0\0\0WAVE"[..], &chunks].concat()
    }

    fn format(kind: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
        let mut format = [kind.to_le_bytes(), channels.to_le_bytes()].concat();
        format.extend(rate.to_le_bytes());
        format.extend([0; 6]);
        format.extend(bits.to_le_bytes());
        format
    }

    #[test]
    fn every_format_of_telephones_is_read() {
        let pcm = [1, 0, 0xff, 0xff, 0x7c, 0x7d];
        assert_eq!(samples(&file(&format(1, 1, 8000, 16), &pcm)).unwrap(), [1, -1, 32124]);
        assert_eq!(samples(&file(&format(7, 1, 8000, 8), &[0xff, 0x80])).unwrap(), [0, 32124]);
        assert_eq!(samples(&file(&format(6, 1, 8000, 8), &[0xd5, 0xaa])).unwrap(), [8, 32256]);
        let mut extensible = format(0xfffe, 1, 8000, 16);
        extensible.extend([22, 0, 16, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(samples(&file(&extensible, &pcm)).unwrap().len(), 3);
    }

    #[test]
    fn two_channels_are_put_together() {
        let pcm: Vec<u8> = [100_i16, 300, i16::MAX, i16::MAX].iter().flat_map(|sample| sample.to_le_bytes()).collect();
        assert_eq!(samples(&file(&format(1, 2, 8000, 16), &pcm)).unwrap(), [200, i16::MAX]);
    }

    #[test]
    fn a_file_that_ends_early_is_read_as_far_as_it_goes() {
        let whole = file(&format(1, 1, 8000, 16), &[1, 0, 2, 0, 3, 0]);
        assert_eq!(samples(&whole[..whole.len() - 3]).unwrap(), [1]);
    }

    #[test]
    fn what_cannot_be_played_is_refused_with_the_reason() {
        let pcm = [0; 8];
        for (kind, channels, rate, bits, error) in [
            (1, 1, 44100, 16, WavError::Rate(44100)),
            (1, 1, 8000, 24, WavError::Format { format: 1, bits: 24 }),
            (3, 1, 8000, 32, WavError::Format { format: 3, bits: 32 }),
            (1, 0, 8000, 16, WavError::Channels(0)),
            (1, 6, 8000, 16, WavError::Channels(6)),
        ] {
            assert_eq!(samples(&file(&format(kind, channels, rate, bits), &pcm)), Err(error));
        }
        assert_eq!(samples(&file(&format(1, 1, 8000, 16), &[])), Err(WavError::Empty));
    }

    #[test]
    fn no_bytes_whatever_do_harm() {
        let whole = file(&format(1, 2, 8000, 16), &[7; 32]);
        for end in 0..whole.len() {
            // Whatever comes of it.
            let _any = samples(&whole[..end]);
            let mut broken = whole.clone();
            broken[end] ^= 0xff;
            let _any = samples(&broken);
        }
        assert_eq!(samples(b""), Err(WavError::NotWav));
        assert_eq!(samples(b"RIFF\0\0\0\0WAVEdata\0\0\0\0"), Err(WavError::Damaged));
    }
}
