//! What was counted of a source as it is written down for the process that comes next.

use std::time::Instant;

use flow::counters::Counters;
use flow::rtp::Sequence;

use super::{Side, Tally};
use crate::table::clock::Clock;

impl Tally {
    /// How many words it is written down in.
    pub(crate) const WORDS: usize = 16;
    /// In how many of them, from where on it counts.
    pub(crate) const BEGINNING: usize = 5;

    /// From where on it counts, as it is written down.
    pub(crate) fn beginning(&self) -> [u64; Self::BEGINNING] {
        let small = |last: &Counters| {
            [last.highest.0, last.late, last.changes].into_iter().fold(0, |word, part| word << 16 | u64::from(part))
        };
        let (fast, slow) = (&self.fast.last, &self.slow.last);
        let others = u64::from(fast.others) << 32 | u64::from(slow.others);
        [fast.volume.0, small(fast), slow.volume.0, small(slow), others]
    }

    /// What it has counted, as it is written down.
    pub(crate) fn rest(&self, clock: Clock) -> [u64; Self::WORDS - Self::BEGINNING] {
        let time = |at: Option<Instant>| at.map_or(0, |at| clock.ns(at).max(1));
        [
            self.fast.packets,
            self.slow.packets,
            self.highest.map_or(0, |highest| u64::from(highest.0) + 1),
            self.bytes,
            self.late,
            self.expected as u64,
            self.received as u64,
            u64::from(self.jitter),
            self.changes,
            time(self.last_fast),
            time(self.last_slow),
        ]
    }

    /// From what was written down.
    pub(crate) fn from_words(
        beginning: &[u64; Self::BEGINNING],
        rest: &[u64; Self::WORDS - Self::BEGINNING],
        clock: Clock,
    ) -> Self {
        let [fast_volume, fast_small, slow_volume, slow_small, others] = *beginning;
        let [fast, slow, highest, bytes, late, expected, received, jitter, changes, last_fast, last_slow] = *rest;
        let time = |ns: u64| (ns != 0).then(|| clock.instant(ns));
        let side = |packets, volume, small: u64, others: u64| Side {
            packets,
            last: Counters {
                volume: flow::counters::Volume(volume),
                others: others as u32,
                highest: Sequence((small >> 32) as u16),
                late: (small >> 16) as u16,
                changes: small as u16,
                jitter: None,
            },
        };
        Self {
            fast: side(fast, fast_volume, fast_small, others >> 32),
            slow: side(slow, slow_volume, slow_small, others),
            bytes,
            late,
            expected: expected as i64,
            received: received as i64,
            highest: highest.checked_sub(1).map(|highest| Sequence(highest as u16)),
            jitter: jitter as u32,
            changes,
            last_fast: time(last_fast),
            last_slow: time(last_slow),
        }
    }
}
