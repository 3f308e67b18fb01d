//! The reader of classic pcap files.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::{CaptureTime, Error, LONGEST_RECORD, LinkType, MAGIC_MICROSECONDS, MAGIC_NANOSECONDS, Record};

/// Byte order of the machine that wrote the file: the format has no fixed one.
#[derive(Debug, Clone, Copy)]
enum ByteOrder {
    Big,
    Little,
}

impl ByteOrder {
    const fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Big => u32::from_be_bytes(bytes),
            Self::Little => u32::from_le_bytes(bytes),
        }
    }
}

/// Iterator over the records of a classic pcap file, reading as it goes: memory does not grow with the file.
///
/// A last record that is cut (the capturing program was killed) ends the iteration without an error. After an error
/// the iteration is over, for nothing tells where the next record begins.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    order: ByteOrder,
    nanos_per_tick: u64,
    link_type: LinkType,
    over: bool,
}

impl Reader<BufReader<File>> {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// When the file cannot be opened, or its header is not that of a classic pcap file of a known link type.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::new(BufReader::with_capacity(1 << 18, File::open(path)?))
    }
}

impl<R: Read> Reader<R> {
    /// Reads the file header from `input`, which should be buffered.
    ///
    /// # Errors
    /// When `input` fails, or what it gives is not the header of a classic pcap file of a known link type.
    pub fn new(mut input: R) -> Result<Self, Error> {
        let Some(magic) = field(&mut input)? else { return Err(Error::TooShort) };
        let (order, nanos_per_tick) = match (u32::from_be_bytes(magic), u32::from_le_bytes(magic)) {
            (MAGIC_MICROSECONDS, _) => (ByteOrder::Big, 1_000),
            (_, MAGIC_MICROSECONDS) => (ByteOrder::Little, 1_000),
            (MAGIC_NANOSECONDS, _) => (ByteOrder::Big, 1),
            (_, MAGIC_NANOSECONDS) => (ByteOrder::Little, 1),
            (other, _) => return Err(Error::Magic(other)),
        };
        // Version, time zone, accuracy and snap length say nothing that the records do not say themselves.
        let Some(_) = field::<16>(&mut input)? else { return Err(Error::TooShort) };
        let Some(link) = field(&mut input)? else { return Err(Error::TooShort) };
        let link_type = LinkType::from_field(order.u32(link))?;
        Ok(Self { input, order, nanos_per_tick, link_type, over: false })
    }

    /// What every record begins with.
    pub const fn link_type(&self) -> LinkType {
        self.link_type
    }

    fn record(&mut self) -> Result<Option<Record>, Error> {
        let Some([s0, s1, s2, s3, t0, t1, t2, t3, c0, c1, c2, c3, o0, o1, o2, o3]) = field(&mut self.input)? else {
            return Ok(None);
        };
        let seconds = u64::from(self.order.u32([s0, s1, s2, s3]));
        let ticks = u64::from(self.order.u32([t0, t1, t2, t3]));
        let captured = self.order.u32([c0, c1, c2, c3]);
        let original_length = self.order.u32([o0, o1, o2, o3]);
        if captured > LONGEST_RECORD {
            return Err(Error::RecordTooLong(u64::from(captured)));
        }
        let mut bytes = vec![0; usize::try_from(captured).map_err(|_| Error::RecordTooLong(u64::from(captured)))?];
        if !filled(&mut self.input, &mut bytes)? {
            return Ok(None);
        }
        // 2^32 seconds and 2^32 microseconds together stay below 2^63 nanoseconds.
        let time = CaptureTime::from_nanos(seconds * 1_000_000_000 + ticks * self.nanos_per_tick);
        Ok(Some(Record { time, original_length, bytes }))
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = self.record().transpose();
        self.over = !matches!(next, Some(Ok(_)));
        next
    }
}

/// The next `N` bytes, or `None` when the input ends before.
fn field<const N: usize>(input: &mut impl Read) -> Result<Option<[u8; N]>, io::Error> {
    let mut bytes = [0; N];
    Ok(filled(input, &mut bytes)?.then_some(bytes))
}

/// Fills `bytes`; `false` when the input ends before.
fn filled(input: &mut impl Read, bytes: &mut [u8]) -> Result<bool, io::Error> {
    match input.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one record of the bytes `abc` at 5 s and 7 ticks, of 9 original bytes.
    fn file(order: fn(u32) -> [u8; 4], magic: u32, link: u32) -> Vec<u8> {
        let fields = [magic, 0x0004_0002, 0, 0, 65_535, link, 5, 7, 3, 9];
        let mut bytes: Vec<u8> = fields.into_iter().flat_map(order).collect();
        bytes.extend(b"abc");
        bytes
    }

    fn only_record(bytes: &[u8]) -> Record {
        let mut reader = Reader::new(bytes).unwrap();
        let record = reader.next().unwrap().unwrap();
        assert!(reader.next().is_none());
        record
    }

    #[test]
    fn both_byte_orders_and_both_resolutions_are_read() {
        for order in [u32::to_be_bytes, u32::to_le_bytes] {
            let micros = only_record(&file(order, MAGIC_MICROSECONDS, 1));
            assert_eq!(micros.time, CaptureTime::from_nanos(5_000_007_000));
            assert_eq!((micros.original_length, micros.bytes.as_slice()), (9, b"abc".as_slice()));
            let nanos = only_record(&file(order, MAGIC_NANOSECONDS, 1));
            assert_eq!(nanos.time, CaptureTime::from_nanos(5_000_000_007));
        }
    }

    #[test]
    fn the_four_link_types_are_known_and_no_other() {
        let link = |number| {
            Reader::new(file(u32::to_le_bytes, MAGIC_MICROSECONDS, number).as_slice()).map(|file| file.link_type())
        };
        assert_eq!(link(1).unwrap(), LinkType::Ethernet);
        assert_eq!(link(101).unwrap(), LinkType::Raw);
        assert_eq!(link(113).unwrap(), LinkType::LinuxSll);
        assert_eq!(link(276).unwrap(), LinkType::LinuxSll2);
        assert!(matches!(link(147), Err(Error::LinkType(147))));
    }

    #[test]
    fn a_cut_last_record_ends_the_file_without_an_error() {
        let whole = file(u32::to_le_bytes, MAGIC_MICROSECONDS, 1);
        let second = &whole[24..];
        for kept in 1..second.len() {
            let bytes = [&whole, &second[..kept]].concat();
            let records: Result<Vec<_>, _> = Reader::new(bytes.as_slice()).unwrap().collect();
            assert_eq!(records.unwrap().len(), 1, "with {kept} bytes of the second record");
        }
    }

    #[test]
    fn a_garbage_header_is_an_error() {
        let whole = file(u32::to_le_bytes, MAGIC_MICROSECONDS, 1);
        assert!(matches!(Reader::new([0u8; 40].as_slice()), Err(Error::Magic(0))));
        for length in 0..24 {
            assert!(matches!(Reader::new(&whole[..length]), Err(Error::TooShort)), "{length} bytes");
        }
    }

    #[test]
    fn a_record_of_an_impossible_length_is_an_error_and_the_last_item() {
        let mut bytes = file(u32::to_le_bytes, MAGIC_MICROSECONDS, 1);
        bytes[32..36].copy_from_slice(&(LONGEST_RECORD + 1).to_le_bytes());
        // Zeros look like empty records to a reader that goes on.
        bytes.extend([0; 64]);
        let mut reader = Reader::new(bytes.as_slice()).unwrap();
        assert!(matches!(reader.next(), Some(Err(Error::RecordTooLong(262_145)))));
        assert!(reader.next().is_none());
    }
}
