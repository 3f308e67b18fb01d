//! The writer of classic pcap files.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::{CaptureTime, Error, LONGEST_RECORD, MAGIC_MICROSECONDS};

/// Writes a classic pcap file of Ethernet frames (link type 1), times in microseconds, little-endian whatever the
/// machine, so that the same frames always make the same file.
#[derive(Debug)]
pub struct Writer<W: Write> {
    output: W,
}

impl Writer<BufWriter<File>> {
    /// Creates (or empties) a file and writes the header.
    ///
    /// # Errors
    /// When the file cannot be created or written.
    pub fn create(path: &Path) -> Result<Self, Error> {
        Self::new(BufWriter::new(File::create(path)?))
    }
}

impl<W: Write> Writer<W> {
    /// Writes the file header to `output`, which should be buffered.
    ///
    /// # Errors
    /// When `output` fails.
    pub fn new(mut output: W) -> Result<Self, Error> {
        output.write_all(&MAGIC_MICROSECONDS.to_le_bytes())?;
        output.write_all(&2u16.to_le_bytes())?;
        output.write_all(&4u16.to_le_bytes())?;
        // Time zone and accuracy, which nobody uses; then the snap length and the link type.
        for field in [0, 0, LONGEST_RECORD, 1] {
            output.write_all(&field.to_le_bytes())?;
        }
        Ok(Self { output })
    }

    /// Writes one whole Ethernet frame. Nanoseconds below a microsecond are dropped: the format has no place for them.
    ///
    /// # Errors
    /// When the output fails, the frame is longer than 262144 bytes or the time is after the year 2106.
    pub fn write(&mut self, time: CaptureTime, frame: &[u8]) -> Result<(), Error> {
        let seconds = u32::try_from(time.nanos() / 1_000_000_000).map_err(|_| Error::TimeOutOfRange)?;
        let micros = u32::try_from(time.nanos() / 1_000 % 1_000_000).map_err(|_| Error::TimeOutOfRange)?;
        let length = u32::try_from(frame.len())
            .ok()
            .filter(|length| *length <= LONGEST_RECORD)
            .ok_or(Error::RecordTooLong(u64::try_from(frame.len()).unwrap_or(u64::MAX)))?;
        for field in [seconds, micros, length, length] {
            self.output.write_all(&field.to_le_bytes())?;
        }
        self.output.write_all(frame)?;
        Ok(())
    }

    /// Flushes and gives back the output. A writer that is only dropped may lose its last records silently.
    ///
    /// # Errors
    /// When the output fails.
    pub fn finish(mut self) -> Result<W, Error> {
        self.output.flush()?;
        Ok(self.output)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LinkType, Reader};
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = Writer::new(Vec::new()).unwrap();
        writer.write(CaptureTime::from_nanos(1_700_000_000_123_456_789), b"first").unwrap();
        writer.write(CaptureTime::from_nanos(1_700_000_001_000_000_000), b"").unwrap();
        let bytes = writer.finish().unwrap();
        let reader = Reader::new(bytes.as_slice()).unwrap();
        assert_eq!(reader.link_type(), LinkType::Ethernet);
        let records: Vec<_> = reader.map(Result::unwrap).collect();
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].time.nanos(), 1_700_000_000_123_456_000);
        assert_eq!((records[0].original_length, records[0].bytes.as_slice()), (5, b"first".as_slice()));
        assert_eq!((records[1].time.nanos(), records[1].bytes.len()), (1_700_000_001_000_000_000, 0));
    }

    #[test]
    fn a_time_or_a_frame_that_the_format_cannot_hold_is_refused() {
        let mut writer = Writer::new(Vec::new()).unwrap();
        assert!(matches!(writer.write(CaptureTime::from_nanos(u64::MAX), b"x"), Err(Error::TimeOutOfRange)));
        let long = vec![0; 262_145];
        assert!(matches!(writer.write(CaptureTime::default(), &long), Err(Error::RecordTooLong(262_145))));
        assert_eq!(writer.finish().unwrap().len(), 24, "nothing but the header was written");
    }
}
