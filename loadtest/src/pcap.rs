//! Classic pcap capture files (draft-ietf-opsawg-pcap): a streaming reader and a writer.

mod reader;
mod writer;

use std::io;

pub use reader::Reader;
pub use writer::Writer;

/// First field of a file whose times are in microseconds.
const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
/// First field of a file whose times are in nanoseconds.
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
/// No tool writes longer records (tcpdump's own maximum); a longer one means that the file is damaged.
const LONGEST_RECORD: u32 = 262_144;

/// Moment of a capture: nanoseconds since 1970-01-01 UTC, by the clock of the machine that captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CaptureTime(u64);

impl CaptureTime {
    /// From nanoseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From microseconds since 1970-01-01 UTC; saturates after the year 2554.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// Nanoseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Whole microseconds from `earlier` to this moment; 0 when `earlier` is in fact later.
    #[must_use]
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000
    }
}

/// What every record of a file begins with (the LINKTYPE registry of tcpdump.org).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkType {
    /// LINKTYPE_ETHERNET, 1 (libpcap's DLT_EN10MB): an Ethernet header without preamble.
    Ethernet,
    /// LINKTYPE_RAW, 101: an IPv4 or IPv6 header.
    Raw,
    /// LINKTYPE_LINUX_SLL, 113: the 16-byte header of Linux's `any` device.
    LinuxSll,
    /// LINKTYPE_LINUX_SLL2, 276: the 20-byte header of Linux's `any` device.
    LinuxSll2,
}

impl LinkType {
    /// Type from the file header's last field. The low 16 bits are the type, the rest tells about a frame check
    /// sequence, which the lengths in the IP header cut off anyway.
    const fn from_field(field: u32) -> Result<Self, Error> {
        match field & 0xffff {
            1 => Ok(Self::Ethernet),
            101 => Ok(Self::Raw),
            113 => Ok(Self::LinuxSll),
            276 => Ok(Self::LinuxSll2),
            other => Err(Error::LinkType(other)),
        }
    }
}

/// One captured frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it was captured.
    pub time: CaptureTime,
    /// Bytes that the frame had on the wire; more than `bytes.len()` when the capture's snap length cut it.
    pub original_length: u32,
    /// The captured bytes, beginning with the header of the file's [`LinkType`].
    pub bytes: Vec<u8>,
}

/// Why a pcap file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Shorter than the 24 bytes of a file header.
    #[error("shorter than a pcap file header")]
    TooShort,
    /// The first four bytes (given as a big-endian number) are not a pcap magic number.
    #[error("not a classic pcap file: it begins with {0:08x}")]
    Magic(u32),
    /// A link type that this reader does not know.
    #[error("unknown link type {0}")]
    LinkType(u32),
    /// A record claims this many bytes: the file is damaged (or the frame to write is too long).
    #[error("a record of {0} bytes")]
    RecordTooLong(u64),
    /// The time of a record to write is past the 32 bits of seconds that the format has (the year 2106).
    #[error("a time after the year 2106")]
    TimeOutOfRange,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_difference_is_in_whole_microseconds_and_never_negative() {
        let early = CaptureTime::from_micros(10);
        let late = CaptureTime::from_nanos(13_999);
        assert_eq!(late.micros_since(early), 3);
        assert_eq!(early.micros_since(late), 0);
    }
}
