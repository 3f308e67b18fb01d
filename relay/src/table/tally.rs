//! From wrapping counters to totals: folds what both paths counted.

use std::time::Instant;

use border::Volume;
use flow::counters::{Counters, MISORDER};
use flow::rtp::Sequence;

mod words;

/// More lost packets in a row than this are a sender that started anew (`MAX_DROPOUT` of RFC 3550 A.1).
const DROPOUT: i64 = 3000;

/// The totals of one source.
///
/// Loss is not counted by anyone on the packet path: it is the difference of what was expected, by the highest sequence number of both
/// paths together, and what arrived by either (RFC 3550 A.3). So a packet that changes its path is neither lost nor counted twice.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    fast: Side,
    slow: Side,
    bytes: u64,
    late: u64,
    expected: i64,
    received: i64,
    highest: Option<Sequence>,
    jitter: u32,
    changes: u64,
    last_fast: Option<Instant>,
    last_slow: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Side {
    packets: u64,
    last: Counters,
}

impl Side {
    /// What was counted since the last reading.
    fn advance(&mut self, now: Counters) -> Progress {
        // The kernel's counters are written without locks; a flow that changes its CPU may lose an update, and so seem to go back.
        let (packets, bytes) = match now.volume.since(self.last.volume) {
            (packets, _) if packets > u32::MAX / 2 => (0, 0),
            volume => volume,
        };
        let progress = Progress {
            packets,
            rtp: packets.saturating_sub(now.others.wrapping_sub(self.last.others)),
            bytes,
            late: now.late.wrapping_sub(self.last.late),
            changes: now.changes.wrapping_sub(self.last.changes),
            jitter: now.jitter.filter(|_| now.jitter != self.last.jitter),
        };
        self.packets += u64::from(packets);
        self.last = now;
        progress
    }
}

struct Progress {
    packets: u32,
    rtp: u32,
    bytes: u32,
    late: u16,
    changes: u16,
    /// If it is news.
    jitter: Option<u32>,
}

impl Progress {
    /// A change may be read before the packet that has brought it.
    const fn is_none(&self) -> bool {
        self.packets == 0 && self.changes == 0 && self.late == 0
    }

    fn volume(&self) -> Volume {
        Volume { packets: self.packets.into(), bytes: self.bytes.into() }
    }
}

impl Tally {
    /// Starts at these readings: what was counted before belongs to another source.
    pub(crate) fn new(fast: Counters, slow: Counters) -> Self {
        let side = |last| Side { packets: 0, last };
        Self {
            fast: side(fast),
            slow: side(slow),
            bytes: 0,
            late: 0,
            expected: 0,
            received: 0,
            highest: None,
            jitter: 0,
            changes: 0,
            last_fast: None,
            last_slow: None,
        }
    }

    /// Whether nothing has been counted.
    pub(crate) const fn is_new(&self) -> bool {
        let Self { fast, slow, bytes, late, expected, received, highest, jitter, changes, last_fast, last_slow } = self;
        let counts = fast.packets | slow.packets | *bytes | *late | *changes | (*expected | *received) as u64;
        counts | *jitter as u64 == 0 && highest.is_none() && last_fast.is_none() && last_slow.is_none()
    }

    /// Goes on with the counters of both paths, fast and slow, as they are now, each of which may have begun anew. Whoever wrote this down may have been
    /// killed after it restarted the order of a source and before it noted that.
    pub(crate) fn go_on(&mut self, paths: [(Counters, bool); 2]) {
        for (side, (now, is_new)) in [&mut self.fast, &mut self.slow].into_iter().zip(paths) {
            if is_new {
                side.last = now;
                // What it did not count meanwhile is not lost.
                self.highest = None;
            } else {
                if now.late < side.last.late {
                    side.last.late = 0;
                }
                if now.changes < side.last.changes {
                    side.last.changes = 0;
                }
            }
        }
    }

    /// The highest sequence number that is known.
    pub(crate) const fn highest(&self) -> Option<Sequence> {
        self.highest
    }

    /// When the last packet was seen, to the second.
    pub(crate) fn last(&self) -> Option<Instant> {
        self.last_fast.max(self.last_slow)
    }

    /// Whether there is nothing to take: neither path has counted anything since.
    pub(crate) fn is_up_to_date(&self, fast: flow::counters::Volume, slow: flow::counters::Volume) -> bool {
        self.fast.last.volume == fast && self.slow.last.volume == slow
    }

    /// Takes new readings, at least once for every 2^31 packets and 2^15 RTP packets of a source, and tells what has come by either path.
    pub(crate) fn fold(&mut self, fast: Counters, slow: Counters, now: Instant) -> [Volume; 2] {
        let (by_fast, by_slow) = (self.fast.advance(fast), self.slow.advance(slow));
        let progress = [&by_fast, &by_slow].map(Progress::volume);
        if by_fast.is_none() && by_slow.is_none() {
            return progress;
        }
        if by_fast.packets > 0 {
            self.last_fast = Some(now);
        }
        if by_slow.packets > 0 {
            self.last_slow = Some(now);
        }
        self.bytes += u64::from(by_fast.bytes) + u64::from(by_slow.bytes);
        self.late += u64::from(by_fast.late) + u64::from(by_slow.late);
        // That of the path that carried more. Who has compared no two packets meanwhile knows nothing of it.
        let more = if by_fast.rtp >= by_slow.rtp { &by_fast } else { &by_slow };
        self.jitter = more.jitter.unwrap_or(self.jitter);
        let changes = u64::from(by_fast.changes) + u64::from(by_slow.changes);
        self.changes += changes;
        if changes > 0 {
            // The numbers of the source before say nothing about this one's.
            self.highest = None;
        }
        self.expect(&by_fast, fast.highest, &by_slow, slow.highest);
        if changes > 0 {
            // Nobody knows whose number the last one was: it may have been read before the change was.
            self.highest = None;
        }
        progress
    }

    /// Takes new readings of packets that went nowhere, and tells how many. Their order is nobody's business.
    pub(crate) fn skip(&mut self, fast: Counters, slow: Counters, now: Instant) -> u32 {
        let sent = (self.fast.packets, self.slow.packets);
        let [by_fast, by_slow] = [self.fast.advance(fast), self.slow.advance(slow)].map(|progress| progress.packets);
        (self.fast.packets, self.slow.packets) = sent;
        if by_fast > 0 {
            self.last_fast = Some(now);
        }
        if by_slow > 0 {
            self.last_slow = Some(now);
        }
        if by_fast + by_slow > 0 {
            self.highest = None;
        }
        by_fast.saturating_add(by_slow)
    }

    fn expect(&mut self, by_fast: &Progress, fast: Sequence, by_slow: &Progress, slow: Sequence) {
        let arrived = i64::from(by_fast.rtp) + i64::from(by_slow.rtp);
        let highest = match (by_fast.rtp, by_slow.rtp) {
            (0, 0) => return,
            (_, 0) => fast,
            (0, _) => slow,
            (_, _) if fast.is_after(slow) => fast,
            (_, _) => slow,
        };
        self.received += arrived;
        // How far the source came; `None` when these are its first packets or its sender started anew.
        let distance = self
            .highest
            .map(|last| highest.distance(last))
            .filter(|distance| (i64::from(-MISORDER)..=arrived + DROPOUT).contains(&i64::from(*distance)));
        match distance {
            Some(distance @ 1..) => self.expected += i64::from(distance),
            // Nothing but late packets.
            Some(_) => return,
            // Nothing is known of losses among them.
            None => self.expected += arrived,
        }
        self.highest = Some(highest);
    }

    /// A new synchronisation source begins with this number, and the counters' orders have been restarted. Their volumes go on: a packet may
    /// be counted at any moment.
    pub(crate) fn restart(&mut self, first: Sequence) {
        if self.highest.is_some() {
            self.changes += 1;
        }
        self.fast.last.late = 0;
        self.slow.last.late = 0;
        self.jitter = 0;
        self.highest = Some(Sequence(first.0.wrapping_sub(1)));
    }

    /// Somebody else turns out to be the party: what was lost and late so far was not its own.
    pub(crate) const fn disown(&mut self) {
        self.expected = self.received;
        self.late = 0;
        self.jitter = 0;
        self.highest = None;
    }

    pub(crate) const fn fast_packets(&self) -> u64 {
        self.fast.packets
    }

    pub(crate) const fn slow_packets(&self) -> u64 {
        self.slow.packets
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) const fn late(&self) -> u64 {
        self.late
    }

    /// How often the synchronisation source changed.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Packets that never arrived; late ones that arrived after all are not among them.
    pub(crate) const fn lost(&self) -> i64 {
        self.expected - self.received
    }

    /// In milliseconds, for a payload clock of so many kHz.
    pub(crate) fn jitter_ms(&self, clock_khz: u16) -> Option<f64> {
        (clock_khz > 0).then(|| f64::from(self.jitter) / 16.0 / f64::from(clock_khz))
    }

    /// When a packet was seen last that the fast path carried, to the second.
    pub(crate) const fn last_fast(&self) -> Option<Instant> {
        self.last_fast
    }

    /// When a packet was seen last that the slow path carried, to the second.
    pub(crate) const fn last_slow(&self) -> Option<Instant> {
        self.last_slow
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::table::clock::Clock;

    fn reading(packets: u32, highest: u16) -> Counters {
        let volume = flow::counters::Volume(u64::from(packets) | u64::from(packets.wrapping_mul(172)) << 32);
        Counters { volume, highest: Sequence(highest), ..Counters::default() }
    }

    fn tally(first: u16) -> Tally {
        let mut tally = Tally::new(reading(0, 0), reading(0, 0));
        tally.restart(Sequence(first));
        tally
    }

    #[test]
    fn a_stream_that_changes_to_the_fast_path_has_lost_nothing() {
        let mut tally = tally(100);
        tally.fold(reading(0, 100), reading(1, 100), Instant::now());
        tally.fold(reading(49, 149), reading(1, 100), Instant::now());
        assert_eq!((tally.lost(), tally.slow_packets(), tally.fast_packets()), (0, 1, 49));
    }

    #[test]
    fn a_packet_that_takes_the_slow_path_in_between_is_not_lost() {
        let mut tally = tally(1);
        tally.fold(reading(10, 10), reading(0, 0), Instant::now());
        // 11 by the slow path, 12 to 20 by the fast one.
        tally.fold(reading(19, 20), reading(1, 11), Instant::now());
        assert_eq!(tally.lost(), 0);
    }

    #[test]
    fn sources_in_turns_on_both_paths_have_lost_nothing() {
        let mut tally = tally(1);
        for number in 1..50_u16 {
            // Each path has seen the change to another source; the numbers of the two are near each other.
            let side = |packets, highest| Counters { changes: number, ..reading(packets, highest) };
            let packets = 2 * u32::from(number);
            let fast = [1, 2].map(|more| side(packets + more, 100 + 2 * number + more as u16));
            tally.fold(fast[0], side(packets, 160 + number), Instant::now());
            // Only that of the lower numbers goes on: it is no late packet of the other.
            tally.fold(fast[1], side(packets, 160 + number), Instant::now());
        }
        assert_eq!((tally.lost(), tally.changes()), (0, 98));
    }

    #[test]
    fn a_change_that_is_read_before_its_packet_is_counted() {
        let mut tally = tally(1);
        let now = Instant::now();
        tally.fold(reading(10, 10), reading(0, 0), now);
        tally.fold(Counters { changes: 1, ..reading(10, 499) }, reading(0, 0), now);
        tally.fold(Counters { changes: 1, ..reading(11, 500) }, reading(0, 0), now);
        assert_eq!((tally.changes(), tally.lost()), (1, 0));
    }

    #[test]
    fn a_keep_alive_by_a_worker_is_no_news_of_the_jitter() {
        let mut tally = tally(1);
        let now = Instant::now();
        let fast = |packets, highest| Counters { jitter: Some(77), ..reading(packets, highest) };
        tally.fold(fast(10, 10), reading(0, 0), now);
        tally.fold(fast(10, 10), Counters { others: 1, ..reading(1, 0) }, now);
        assert_eq!(tally.jitter, 77);
        // Nor has a worker that has carried one packet anything to compare it with.
        tally.fold(fast(10, 10), Counters { others: 1, ..reading(2, 11) }, now);
        assert_eq!(tally.jitter, 77);
        let slow = |packets, highest| Counters { others: 1, jitter: Some(5), ..reading(packets, highest) };
        tally.fold(fast(10, 10), slow(3, 12), now);
        assert_eq!(tally.jitter, 5);
        // What a worker compared before the fast path went on is history.
        tally.fold(Counters { jitter: Some(78), ..fast(90, 92) }, slow(3, 12), now);
        tally.fold(Counters { jitter: Some(78), ..fast(90, 92) }, slow(4, 93), now);
        assert_eq!(tally.jitter, 78);
    }

    #[test]
    fn a_number_that_was_read_before_the_change_to_another_source_is_not_its() {
        let mut tally = tally(1);
        let now = Instant::now();
        tally.fold(reading(10, 10), reading(0, 0), now);
        // The number is still that of the source before, and the new one's packet not counted yet.
        tally.fold(Counters { changes: 1, ..reading(15, 15) }, reading(0, 0), now);
        tally.fold(Counters { changes: 1, ..reading(16, 2500) }, reading(0, 0), now);
        assert_eq!((tally.lost(), tally.changes()), (0, 1));
    }

    #[test]
    fn what_was_written_down_goes_on_where_it_was() {
        let mut tally = tally(60_000);
        let now = Instant::now();
        let fast = Counters { late: 3, changes: 1, jitter: Some(77), ..reading(900, 60_900) };
        let slow = Counters { others: 2, late: 7, ..reading(40, 60_950) };
        tally.fold(fast, slow, now);
        tally.restart(Sequence(9));
        tally.fold(reading(905, 13), reading(41, 14), now);
        let clock = Clock::now();
        let mut written = Tally::from_words(&tally.beginning(), &tally.rest(clock), clock);
        let next = (Counters { late: 9, ..reading(1000, 110) }, reading(45, 112));
        for tally in [&mut tally, &mut written] {
            tally.fold(next.0, next.1, now);
        }
        assert_eq!(format!("{tally:?}"), format!("{written:?}"));
        let none = Tally::new(reading(0, 0), reading(0, 0));
        assert!(none.is_new() && !tally.is_new());
        let again = Tally::from_words(&none.beginning(), &none.rest(clock), clock);
        assert_eq!(format!("{again:?}"), format!("{none:?}"));
    }

    #[test]
    fn a_gap_is_a_loss_and_a_late_packet_mends_it() {
        let mut tally = tally(1);
        tally.fold(reading(8, 10), reading(0, 0), Instant::now());
        assert_eq!(tally.lost(), 2);
        tally.fold(reading(9, 10), reading(0, 0), Instant::now());
        assert_eq!(tally.lost(), 1);
    }

    #[test]
    fn the_counters_of_an_earlier_stream_do_not_count() {
        let mut tally = Tally::new(reading(5000, 7), reading(300, 9));
        tally.fold(reading(5001, 8), reading(300, 9), Instant::now());
        assert_eq!((tally.fast_packets(), tally.slow_packets(), tally.bytes()), (1, 0, 172));
    }

    #[test]
    fn a_new_source_starts_its_own_numbers() {
        let mut tally = tally(1);
        tally.fold(reading(10, 10), reading(0, 0), Instant::now());
        tally.restart(Sequence(40000));
        tally.fold(reading(20, 40010), reading(1, 40000), Instant::now());
        assert_eq!(tally.lost(), 0);
    }

    #[test]
    fn a_sender_that_starts_anew_has_lost_nothing() {
        let mut tally = tally(1);
        tally.fold(reading(10, 10), reading(0, 0), Instant::now());
        tally.fold(reading(20, 20_000), reading(0, 0), Instant::now());
        assert_eq!(tally.lost(), 0);
    }

    #[test]
    fn a_counter_that_goes_back_adds_nothing() {
        let mut tally = tally(1);
        tally.fold(reading(10, 10), reading(0, 0), Instant::now());
        tally.fold(reading(9, 10), reading(0, 0), Instant::now());
        assert_eq!(tally.fast_packets(), 10);
    }

    #[test]
    fn what_is_not_rtp_is_not_expected() {
        let mut tally = tally(1);
        let slow = Counters { others: 5, ..reading(5, 0) };
        tally.fold(reading(10, 10), slow, Instant::now());
        assert_eq!((tally.lost(), tally.slow_packets()), (0, 5));
    }

    proptest! {
        /// Any split of a source with losses over the two paths, read at any time, adds up.
        #[test]
        fn totals_are_exact_over_both_paths(
            first in any::<u16>(),
            packets in prop::collection::vec((any::<bool>(), prop::bool::weighted(0.9), prop::bool::weighted(0.05)), 1..3000),
        ) {
            let mut tally = tally(first);
            let (mut fast, mut slow) = (reading(0, first), reading(0, first.wrapping_sub(1)));
            let (mut arrived, mut last_arrived) = (0i64, 0i64);
            for (number, (by_fast, arrives, read)) in packets.iter().enumerate() {
                if *arrives {
                    let side = if *by_fast { &mut fast } else { &mut slow };
                    *side = reading(side.volume.since(flow::counters::Volume(0)).0 + 1, first.wrapping_add(number as u16));
                    arrived += 1;
                    last_arrived = number as i64 + 1;
                }
                if *read {
                    tally.fold(fast, slow, Instant::now());
                }
            }
            tally.fold(fast, slow, Instant::now());
            prop_assert_eq!(tally.fast_packets() + tally.slow_packets(), arrived as u64);
            prop_assert_eq!(tally.lost(), last_arrived - arrived);
        }
    }
}
