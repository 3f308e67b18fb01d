//! Files of packets (draft-ietf-opsawg-pcapng): one section, one interface, IP packets with times in nanoseconds.

use std::io::{self, Write};

/// Packets begin with their IP header (`LINKTYPE_RAW`).
const RAW: u16 = 101;
/// The option that says in what times are counted, and its value: 10^-9 seconds.
const TSRESOL: (u16, u8) = (9, 9);

/// A file that is written.
pub(super) struct Pcapng<W> {
    out: W,
    is_empty: bool,
}

impl<W: Write> Pcapng<W> {
    /// Begins one.
    pub(super) fn begin(out: W) -> io::Result<Self> {
        let mut file = Self { out, is_empty: true };
        let mut section = Vec::new();
        section.extend(0x1a2b_3c4d_u32.to_le_bytes());
        section.extend([1, 0, 0, 0]);
        // How long the section is nobody knows yet.
        section.extend((-1_i64).to_le_bytes());
        file.block(0x0a0d_0d0a, &section)?;
        let mut interface = Vec::new();
        interface.extend(RAW.to_le_bytes());
        interface.extend([0; 6]);
        interface.extend(TSRESOL.0.to_le_bytes());
        interface.extend(1_u16.to_le_bytes());
        interface.extend([TSRESOL.1, 0, 0, 0]);
        interface.extend([0; 4]);
        file.block(1, &interface)?;
        Ok(file)
    }

    /// One more packet, which was seen so many seconds after 1970.
    pub(super) fn packet(&mut self, at: f64, packet: &[u8]) -> io::Result<()> {
        let nanos = (at.max(0.0) * 1e9) as u64;
        let len = packet.len() as u32;
        let mut body = Vec::with_capacity(packet.len() + 24);
        for word in [0, (nanos >> 32) as u32, nanos as u32, len, len] {
            body.extend(word.to_le_bytes());
        }
        body.extend(packet);
        self.is_empty = false;
        self.block(6, &body)
    }

    /// Hands on what was written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Whether there is no packet in it.
    pub(super) const fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// A block: its kind, its length before and after, and its body, filled up to whole words.
    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let filled = body.len().next_multiple_of(4);
        let len = (filled as u32 + 12).to_le_bytes();
        self.out.write_all(&kind.to_le_bytes())?;
        self.out.write_all(&len)?;
        self.out.write_all(body)?;
        self.out.write_all(&[0; 3][..filled - body.len()])?;
        self.out.write_all(&len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_of_whole_words_and_says_twice_how_long_it_is() {
        let mut file = Pcapng::begin(Vec::new()).unwrap();
        assert!(file.is_empty());
        for len in 1..6 {
            file.packet(1.5, &vec![7; len]).unwrap();
        }
        assert!(!file.is_empty());
        let (mut rest, mut kinds) = (&file.out[..], Vec::new());
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap());
        while !rest.is_empty() {
            let len = word(&rest[4..]) as usize;
            assert_eq!((len % 4, word(&rest[len - 4..]) as usize), (0, len));
            kinds.push(word(rest));
            rest = &rest[len..];
        }
        assert_eq!(kinds, [0x0a0d_0d0a, 1, 6, 6, 6, 6, 6]);
    }
}
