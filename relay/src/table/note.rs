//! What is noted of each source for the process that comes after this one: what it was never told, but has learned and counted.
//!
//! In memory that outlives the process. A note has two copies: the next one is written into the copy that does not hold, and then it does. So
//! whenever a process is killed, one of them is whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use border::SourceSpec;
use flow::SlotIndex;
use flow::counters::{Carried, Order};
use flow::local::SLOTS_PER_LOCAL;
use rustix::fs::{FallocateFlags, fallocate};

use crate::host::Mapped;
use crate::table::clock::Clock;
use crate::table::peer::Peer;
use crate::table::source::Source;
use crate::table::tally::Tally;

/// Words of a note that tell from where on a source is counted: all that there is to know before anybody is heard. They lie beside the number of
/// the turn, so that a call that nobody has spoken in costs a line of the processor's memory for each slot.
const BEGINNING: usize = 7;
/// Words that tell what came of it.
const REST: usize = 1 + Tally::WORDS - Tally::BEGINNING + Peer::WORDS + SEALED;
/// Words that tell how far protected packets are.
const SEALED: usize = 2;
/// Words of a note.
const WORDS: usize = BEGINNING + REST;

/// The place of one slot's note: the number of its last turn, and two copies, their beginnings first. Which of them holds tells the second bit of the
/// number, and whether there is more to it than the beginning the lowest one; when all of it is zero, as in zeroed memory, none holds.
type Cell = [AtomicU64; 64];
const _: () = assert!(2 * WORDS < 64);

/// Turns are told apart by the bits above the lowest one.
const TURN: u64 = 2;

/// The beginning and the rest of the copy that a turn writes.
fn copy(cell: &Cell, turn: u64) -> [&[AtomicU64]; 2] {
    let which = usize::from(turn & TURN != 0);
    let (beginning, rest) = (1 + which * BEGINNING, 1 + 2 * BEGINNING + which * REST);
    [(beginning, BEGINNING), (rest, REST)].map(|(first, len)| cell.get(first..first + len).unwrap_or_default())
}

fn write(cell: &Cell, words: impl Iterator<Item = u64>, has_rest: bool) {
    let [turn, ..] = cell;
    // Never zero, and with room for the lowest bit.
    let next = (turn.load(Ordering::Relaxed) & !1).wrapping_add(TURN).max(TURN);
    let [beginning, rest] = copy(cell, next);
    let rest = if has_rest { rest } else { &[] };
    beginning.iter().chain(rest).zip(words).for_each(|(place, word)| place.store(word, Ordering::Relaxed));
    turn.store(next | u64::from(has_rest), Ordering::Release);
}

fn read(cell: &Cell) -> Option<([u64; WORDS], bool)> {
    let [turn, ..] = cell;
    let turn = Some(turn.load(Ordering::Acquire)).filter(|turn| *turn != 0)?;
    let has_rest = turn & 1 != 0;
    let [beginning, rest] = copy(cell, turn);
    let rest = if has_rest { rest } else { &[] };
    let mut words = [0; WORDS];
    words.iter_mut().zip(beginning.iter().chain(rest)).for_each(|(word, place)| *word = place.load(Ordering::Relaxed));
    Some((words, has_rest))
}

/// What was noted of a source.
pub(super) struct Note {
    pub(super) errors: u64,
    pub(super) ssrc: Option<u32>,
    pub(super) any_ssrc: bool,
    pub(super) tally: Tally,
    pub(super) peer: Noted,
    /// How far protected packets are, from the party and to it: zero for none.
    pub(super) sealed: [u64; SEALED],
}

/// What is known of a source's peer.
pub(super) enum Noted {
    /// Nothing was learned.
    Nothing,
    /// As an earlier process has written it down.
    Words([u64; Peer::WORDS]),
    /// Nothing was written down, and the slot's rule accepts packets from there.
    Rule(SocketAddr),
}

/// The notes of all slots, and what the workers count.
pub(crate) struct Notes {
    /// None where nobody comes after this process.
    cells: Option<Mapped<Cell>>,
    carried: Mapped<Carried>,
    /// Not noted: the next process begins each order anew.
    orders: Mapped<Order>,
    /// What was noted of the fast path's counters is of the maps that this process has.
    is_of_maps: bool,
}

/// The first line of the file; the number is that of its format.
const TITLE: &str = "intertrunk notes 5";
/// Bytes before the notes.
const HEADING: usize = 4096;
/// Where it stands of which maps the fast path's counters are that were noted last.
const MAPS: u64 = 1024;

impl Notes {
    /// Notes that nobody will read.
    pub(crate) fn none(slots: usize) -> io::Result<Self> {
        let (carried, orders) = (Mapped::anonymous(slots)?, Mapped::anonymous(slots)?);
        Ok(Self { cells: None, carried, orders, is_of_maps: false })
    }

    /// The notes in a file: those that an earlier process has left, where they are of the same shape and since the host was booted, or else none
    /// yet. `maps`: what tells those of the fast path from others. `ports`: of each local address, the first and the last.
    ///
    /// # Errors
    /// When there is no such file, or no room for it.
    pub(crate) fn open(path: &Path, slots: usize, [shape, maps]: [&str; 2], ports: &[(u16, u16)]) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let opened = Self::open_file(&mut file, slots, [shape, maps], ports);
        if opened.is_err() {
            // What there was room for is room that the journal needs.
            let _given_back = file.set_len(0);
        }
        opened
    }

    fn open_file(file: &mut File, slots: usize, [shape, maps]: [&str; 2], ports: &[(u16, u16)]) -> io::Result<Self> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let (cell, counter) = (size_of::<Cell>(), size_of::<Carried>());
        let heading = format!("{TITLE}\n{}\n{shape}\n{cell} {counter}\n", boot.trim());
        let mut found = vec![0; heading.len()];
        let is_new = file.metadata()?.len() == 0;
        if file.read_exact(&mut found).is_err() || found != heading.as_bytes() {
            if !is_new {
                tracing::warn!(
                    "what another build, for other addresses, or before the host was booted has noted cannot be gone on with: totals begin at \
                     zero, and parties that are not where they said are learned anew"
                );
            }
            file.set_len(0)?;
        }
        let after = (HEADING + slots * cell).next_multiple_of(HEADING);
        file.set_len((after + slots * counter) as u64)?;
        // Where there is no room, a write to the memory would end the process.
        let mut ranges = Vec::new();
        for (local, (first, last)) in ports.iter().enumerate() {
            for odd in 0..2 {
                let place = |port: u16| SlotIndex::new(local as u32, port & !1 | odd).0 as usize;
                ranges.push((place(*first), place(*last) - place(*first) + 1));
            }
        }
        for (first, count) in &ranges {
            for (start, size) in [(HEADING, cell), (after, counter)] {
                fallocate(&*file, FallocateFlags::empty(), (start + first * size) as u64, (count * size) as u64)?;
            }
        }
        debug_assert!(ports.len() * SLOTS_PER_LOCAL as usize <= slots);
        let maps = format!("{maps}\n");
        let mut noted = vec![0; maps.len()];
        file.read_exact_at(&mut noted, MAPS)?;
        file.write_all_at(maps.as_bytes(), MAPS)?;
        file.write_all_at(heading.as_bytes(), 0)?;
        let is_of_maps = noted == maps.as_bytes();
        let (cells, carried) = (map(file, HEADING, slots)?, map(file, after, slots)?);
        for (first, count) in ranges {
            Mapped::<Cell>::populate(&cells, first, count);
            Mapped::<Carried>::populate(&carried, first, count);
        }
        Ok(Self { cells: Some(cells), carried, orders: Mapped::anonymous(slots)?, is_of_maps })
    }

    /// The counters of a slot's worker.
    pub(crate) fn carried(&self, index: SlotIndex) -> Option<&Carried> {
        self.carried.get(index.0 as usize)
    }

    /// Whose order a slot's worker has.
    pub(crate) fn order(&self, index: SlotIndex) -> Option<&Order> {
        self.orders.get(index.0 as usize)
    }

    /// Whether what was noted of the fast path's counters is of the maps that this process has. A version with other maps may have been here in between,
    /// and have noted how far its own were.
    pub(super) const fn are_of_maps(&self) -> bool {
        self.is_of_maps
    }

    fn cell(&self, index: SlotIndex) -> Option<&Cell> {
        self.cells.as_ref()?.get(index.0 as usize)
    }

    /// Notes what is known of a source now.
    pub(super) fn write(&self, index: SlotIndex, source: &Source, clock: Clock) {
        let Some(cell) = self.cell(index) else { return };
        let flags = u64::from(source.ssrc.is_some()) | u64::from(source.any_ssrc) << 1;
        let ssrc = u64::from(source.ssrc.unwrap_or(0)) << 32 | flags;
        let beginning = [key(&source.spec), source.errors].into_iter().chain(source.tally.beginning());
        let sealed = source.seal.as_ref().map_or([0; SEALED], |seal| seal.progress(index.is_odd()));
        if ssrc == 0 && source.tally.is_new() && source.peer.is_new() && sealed == [0; SEALED] {
            return write(cell, beginning, false);
        }
        let rest = std::iter::once(ssrc).chain(source.tally.rest(clock)).chain(source.peer.words(clock)).chain(sealed);
        write(cell, beginning.chain(rest), true);
    }

    /// Nothing is known of a slot any more.
    pub(super) fn clear(&self, index: SlotIndex) {
        if let Some([turn, ..]) = self.cell(index) {
            turn.store(0, Ordering::Release);
        }
    }

    /// What an earlier process has noted of a source.
    pub(super) fn read(&self, index: SlotIndex, spec: &SourceSpec, clock: Clock) -> Option<Note> {
        let (words, has_rest) = read(self.cell(index)?)?;
        let ([of, errors], words) = words.split_first_chunk()?;
        let (beginning, words) = words.split_first_chunk()?;
        let ([ssrc], words) = words.split_first_chunk()?;
        let (rest, words) = words.split_first_chunk()?;
        let (peer, words) = words.split_first_chunk()?;
        let sealed = *words.first_chunk()?;
        (*of == key(spec)).then(|| Note {
            errors: *errors,
            ssrc: (ssrc & 1 != 0).then_some((ssrc >> 32) as u32),
            any_ssrc: ssrc & 2 != 0,
            tally: Tally::from_words(beginning, rest, clock),
            peer: if has_rest { Noted::Words(*peer) } else { Noted::Nothing },
            sealed,
        })
    }
}

/// What tells the source of a slot from others that it has had: the number of its call, and whether the port is shared. Never zero.
const fn key(spec: &SourceSpec) -> u64 {
    spec.call.wrapping_add(1) << 1 | spec.mux as u64
}

fn map<T: crate::host::Shareable>(file: &File, offset: usize, len: usize) -> io::Result<Mapped<T>> {
    Mapped::of_file(file, offset as u64, len)
}

#[cfg(test)]
mod tests;
