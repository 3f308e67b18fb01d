//! What is on record: one entry for each change.

use serde::{Deserialize, Serialize};

/// One change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Entry<'a> {
    /// A call is like this from now on.
    Call {
        /// Its name.
        #[serde(with = "serde_bytes")]
        call_id: &'a [u8],
        /// As it wrote itself down.
        #[serde(with = "serde_bytes")]
        record: &'a [u8],
    },
    /// A call is over.
    Ended {
        /// Its name.
        #[serde(with = "serde_bytes")]
        call_id: &'a [u8],
    },
    /// A request has been answered, and is to be answered alike when it comes again.
    Reply {
        /// The request's cookie.
        #[serde(with = "serde_bytes")]
        cookie: &'a [u8],
        /// What tells the request from another one under the same cookie.
        fingerprint: u64,
        /// When, in nanoseconds since the host was booted.
        at: u64,
        /// The reply.
        #[serde(with = "serde_bytes")]
        reply: &'a [u8],
    },
}

/// No entry is so long: it is searched for by what may be one.
const MOST: u32 = 1 << 20;

/// Bytes before an entry: its length and its checksum.
const HEAD: usize = 8;

/// Adds an entry as it lies in a log.
pub(super) fn write(entry: &Entry<'_>, log: &mut Vec<u8>) {
    let start = log.len();
    log.extend([0; HEAD]);
    // Bytes and numbers can always be written.
    let Ok(written) = postcard::to_extend(entry, std::mem::take(log)) else { return };
    *log = written;
    let body = log.get(start + HEAD..).unwrap_or_default();
    let (len, sum) = (body.len() as u32, crc32fast::hash(body));
    let head = log.get_mut(start..start + HEAD).and_then(|head| head.split_first_chunk_mut::<4>());
    if let Some((place_of_len, place_of_sum)) = head {
        *place_of_len = len.to_le_bytes();
        place_of_sum.copy_from_slice(&sum.to_le_bytes());
    }
}

/// How the entries of a log end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// With the last of them.
    Whole,
    /// In the middle of one: whoever wrote it was ended then.
    Torn,
    /// Anyhow; something in it nobody has written, so many bytes before the end.
    Damaged(usize),
}

/// The entries of a log, in their order, each given to `take`; and how they end. One that is damaged is passed over where there is another behind it.
pub(super) fn read<'a>(mut log: &'a [u8], mut take: impl FnMut(Entry<'a>)) -> End {
    let mut damage = None;
    while !log.is_empty() {
        if let Some((Some(entry), rest)) = first(log) {
            take(entry);
            log = rest;
            continue;
        }
        let is_cut = first(log).is_none();
        let Some(next) = next(log) else {
            return match damage {
                None if is_cut => End::Torn,
                damage => End::Damaged(damage.unwrap_or(log.len())),
            };
        };
        damage = damage.or(Some(log.len()));
        log = next;
    }
    damage.map_or(End::Whole, End::Damaged)
}

/// The log from the next entry on that is whole, behind one that is not: whatever was written over its length, too.
fn next(log: &[u8]) -> Option<&[u8]> {
    let behind = (1..log.len()).filter_map(|start| log.get(start..));
    let mut plausible = behind.filter(|log| log.first_chunk().is_some_and(|len| u32::from_le_bytes(*len) < MOST));
    plausible.find(|log| matches!(first(log), Some((Some(_), _))))
}

/// The first entry of a log, unless it is damaged, and what is behind it; `None` where that is beyond the end.
fn first(log: &[u8]) -> Option<(Option<Entry<'_>>, &[u8])> {
    let (len, rest) = log.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let (body, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let is_whole = crc32fast::hash(body) == u32::from_le_bytes(*sum);
    Some((postcard::from_bytes(body).ok().filter(|_| is_whole), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRIES: [Entry<'_>; 3] = [
        Entry::Call { call_id: b"a", record: b"\x01\x00record" },
        Entry::Reply { cookie: b"1_2", fingerprint: u64::MAX, at: 7, reply: b"d6:result2:oke" },
        Entry::Ended { call_id: b"a" },
    ];

    fn log() -> Vec<u8> {
        let mut log = Vec::new();
        ENTRIES.iter().for_each(|entry| write(entry, &mut log));
        log
    }

    fn entries(log: &[u8]) -> (usize, End) {
        let mut count = 0;
        let end = read(log, |entry| {
            assert_eq!(entry, ENTRIES[count]);
            count += 1;
        });
        (count, end)
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(entries(&log()), (3, End::Whole));
    }

    #[test]
    fn of_a_log_that_ends_anywhere_all_whole_entries_are_read() {
        let log = log();
        let mut ends = vec![0];
        for count in 1..=ENTRIES.len() {
            let mut part = Vec::new();
            ENTRIES[..count].iter().for_each(|entry| write(entry, &mut part));
            ends.push(part.len());
        }
        for len in 0..log.len() {
            let whole = ends.iter().rposition(|end| *end <= len).unwrap();
            let end = if ends[whole] == len { End::Whole } else { End::Torn };
            assert_eq!(entries(&log[..len]), (whole, end), "{len}");
        }
    }

    #[test]
    fn no_entry_is_read_in_which_a_bit_has_changed() {
        let log = log();
        for bit in 0..log.len() * 8 {
            let mut log = log.clone();
            log[bit / 8] ^= 1 << (bit % 8);
            let mut taken = Vec::new();
            let end = read(&log, |entry| taken.push(entry));
            let known = taken.iter().all(|entry| ENTRIES.contains(entry));
            assert!(known && taken.len() < ENTRIES.len() && end != End::Whole, "{bit}");
        }
    }

    #[test]
    fn what_is_behind_a_damaged_entry_is_read() {
        for place in [0, 1, 3, HEAD - 1, HEAD + 3] {
            let mut log = log();
            log[place] ^= 0x40;
            let mut taken = Vec::new();
            let end = read(&log, |entry| taken.push(entry));
            assert_eq!((taken.as_slice(), end), (&ENTRIES[1..], End::Damaged(log.len())), "{place}");
        }
    }
}
