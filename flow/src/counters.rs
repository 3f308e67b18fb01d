//! What passed a slot, and how well.
//!
//! Each count has one writer: the fast path's are written by the softirq that gets the flow's packets, the slow path's by the slot's worker.
//! So they are plain additions. (What is no count, where an order begins, is set by whoever sees another synchronisation source first.)

use crate::moment::Moment;
use crate::rtp::{RtpFields, Sequence};
use crate::word::Word;

/// Packets and bytes of UDP payload, as one number that only grows: packets in units of one, bytes in units of 2^32. It wraps; differences are
/// exact as long as they stay below 2^32 packets and 2^32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Volume(pub u64);

impl Volume {
    /// This volume and one more packet.
    #[inline(always)]
    const fn and_packet(self, bytes: u32) -> Self {
        Self(self.0.wrapping_add((bytes as u64) << 32 | 1))
    }

    /// Packets and bytes since an earlier reading.
    pub const fn since(self, earlier: Self) -> (u32, u32) {
        let difference = self.0.wrapping_sub(earlier.0);
        (difference as u32, (difference >> 32) as u32)
    }
}

/// A reading of the counters. The numbers wrap: whoever adds them up takes differences often enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Packets and bytes.
    pub volume: Volume,
    /// Those of the packets that are not RTP although the stream is, modulo 2^32: RTCP on the same port, keep-alives.
    pub others: u32,
    /// The highest RTP sequence number, in the sense of RFC 1982.
    pub highest: Sequence,
    /// Packets that came after a later one, or twice, modulo 2^16.
    pub late: u16,
    /// How often the synchronisation source changed unasked, modulo 2^16.
    pub changes: u16,
    /// Interarrival jitter (RFC 3550 A.8) in sixteenths of the payload's clock units; `None` while no two packets have been compared.
    pub jitter: Option<u32>,
}

/// How often the clock is read: for two packets in a row of so many, for G.711 once in 1.3 seconds. Reading it each time costs 11-18 % of the packet
/// rate, and each eighth time still 3 ns a packet.
///
/// Two in a row, because jitter is the difference between neighbours: of packets that are far apart it would be the difference of whatever a queue
/// on the way has grown or shrunk by meanwhile, five times as much where delays hang together.
pub const JITTER_SAMPLE: u32 = 64;

/// No packet of a stream is later than the one before by more: no phone's buffer is as long by far.
const LONGEST_NS: u64 = 10_000_000_000;

/// How far behind the highest number a packet may come and still be called late (`MAX_MISORDER` of RFC 3550 A.1).
pub const MISORDER: i16 = 100;

/// What is not touched by every packet: jitter, and what should not happen. 16 bytes, apart from the slot, so that the slot is small.
#[repr(C, align(16))]
#[derive(Default)]
pub struct Timing {
    /// Arrival less timestamp of the first of two samples, in the payload's clock units; zero before that.
    transit: Word<u32>,
    /// A [`Mean`].
    jitter: Word<u32>,
    late: Word<u16>,
    changes: Word<u16>,
    /// Clock units of the payload for each nanosecond, times 2^32; zero when the clock is not known, and then there is no jitter.
    scale: Word<u32>,
}

#[cfg(not(all(test, loom)))]
const _: () = assert!(size_of::<Timing>() == 16);

impl Timing {
    /// Starts a new stream whose payload has a clock of so many kHz; 0 when it is not known.
    pub fn restart(&self, clock_khz: u16) {
        self.jitter.store(0);
        self.late.store(0);
        self.set_clock(clock_khz);
    }

    /// The payload's clock is another from now on: the next sample of the jitter starts anew. A sample that is under way may win.
    pub fn set_clock(&self, clock_khz: u16) {
        self.transit.store(0);
        // kHz are units for each 10^6 ns; rounded, which at 8 kHz is off by 1 in 10^5: nothing between two samples.
        self.scale.store((((u64::from(clock_khz) << 32) + 500_000) / 1_000_000) as u32);
    }

    fn clock_khz(&self) -> u16 {
        ((u64::from(self.scale.load()) * 1_000_000 + (1 << 31)) >> 32) as u16
    }

    /// Adds what is counted here to a reading.
    pub(crate) fn read(&self, volume: Volume, highest: Sequence) -> Counters {
        let mean = Mean::of(self.jitter.load());
        Counters {
            volume,
            highest,
            others: 0,
            late: self.late.load(),
            changes: self.changes.load(),
            jitter: (mean.count > 0).then_some(mean.sixteenths),
        }
    }

    fn count_late(&self) {
        self.late.store(self.late.load().wrapping_add(1));
    }

    pub(crate) fn count_change(&self) {
        self.changes.store(self.changes.load().wrapping_add(1));
        self.forget_neighbour();
    }

    /// The next packet is of another source than the one before, and no neighbour of it. A sample that is under way may win.
    pub(crate) fn forget_neighbour(&self) {
        self.transit.store(0);
    }

    /// A packet, the first of two in a row (0) or the second (1): by number, because a verifier follows each branch to the program's end.
    #[inline(always)]
    fn sample(&self, place: u32, timestamp: u32, now_ns: u64) {
        let scale = self.scale.load();
        if scale == 0 {
            return;
        }
        // Only differences matter, so the product may wrap.
        let arrival = (now_ns.wrapping_mul(u64::from(scale)) >> 32) as u32;
        let transit = match arrival.wrapping_sub(timestamp) {
            0 => 1,
            transit => transit,
        };
        // The second takes it away: what comes next is nobody's neighbour, be it after an hour on hold.
        let last = self.transit.load();
        self.transit.store(transit * (1 - place));
        // Those of two sources, or with times of their own making, are no neighbours.
        let difference = (transit.wrapping_sub(last) as i32).unsigned_abs();
        let longest = (LONGEST_NS.wrapping_mul(u64::from(scale)) >> 32) as u32;
        if place * last != 0 && difference <= longest {
            self.jitter.store(Mean::of(self.jitter.load()).and(difference).word());
        }
    }
}

/// The mean of differences: of all of them until there are sixteen, and then as RFC 3550 A.8 has it, one sixteenth the newest. That alone would begin at
/// zero, and take a minute to come near where two of 64 packets are read.
#[derive(Clone, Copy)]
struct Mean {
    /// How many there were, less than sixteen.
    count: u32,
    /// Sixteenths of clock units.
    sixteenths: u32,
}

impl Mean {
    /// Bits of a word for the mean; the others are for the count.
    const BITS: u32 = 28;

    #[inline(always)]
    const fn of(word: u32) -> Self {
        Self { count: word >> Self::BITS, sixteenths: word & ((1 << Self::BITS) - 1) }
    }

    #[inline(always)]
    fn and(self, difference: u32) -> Self {
        let count = self.count + 1;
        let sixteenths = self.sixteenths - (self.sixteenths + count / 2) / count + (difference << 4) / count;
        // Fifteen is as far as it goes.
        Self { count: count - (count >> 4), sixteenths }
    }

    #[inline(always)]
    const fn word(self) -> u32 {
        self.count << Self::BITS | self.sixteenths
    }
}

/// Counts a packet of a stream that is not RTP.
#[inline(always)]
pub(crate) fn count(volume: &Word<u64>, bytes: u32) {
    volume.store(Volume(volume.load()).and_packet(bytes).0);
}

/// Counts an RTP packet. `timing` is asked for a sample of the packets, and for those that come late; `clock` tells nanoseconds of any steady
/// clock and is asked for the sample only.
#[inline(always)]
pub(crate) fn count_rtp<'a>(
    volume: &Word<u64>,
    highest: &Word<u16>,
    bytes: u32,
    rtp: &RtpFields,
    timing: impl Fn() -> Option<&'a Timing>,
    clock: impl FnOnce() -> u64,
) {
    let counted = Volume(volume.load()).and_packet(bytes);
    volume.store(counted.0);
    // Slightly behind is late or double; far behind is a sender that started anew (RFC 3550 A.1).
    if highest.load().wrapping_sub(rtp.sequence.0) <= MISORDER as u16 {
        if let Some(timing) = timing() {
            timing.count_late();
        }
    } else {
        highest.store(rtp.sequence.0);
    }
    // At another place of each 64, until all have been: no rhythm of the sender's is always met at the same beat.
    let number = counted.0 as u32;
    let place = number.wrapping_sub((number / JITTER_SAMPLE).wrapping_mul(37)) & (JITTER_SAMPLE - 1);
    if place & !1 == 0
        && let Some(timing) = timing()
    {
        timing.sample(place, rtp.timestamp, clock());
    }
}

/// The synchronisation source of whose packets a worker's order is, as it is noted of a stream that is not held to one; that of none at first. Apart
/// from the counters: few streams need it, and whoever comes next can do without.
#[repr(transparent)]
#[derive(Default)]
pub struct Order(Word<u32>);

impl Order {
    /// The order of the slot's packets has been set anew.
    pub fn forget(&self) {
        self.0.store(0);
    }

    pub(crate) fn ssrc(&self) -> u32 {
        self.0.load()
    }

    pub(crate) fn set(&self, ssrc: u32) {
        self.0.store(ssrc);
    }
}

/// What a worker carried of a slot: the slow path's counters.
#[repr(C, align(32))]
#[derive(Default)]
pub struct Carried {
    volume: Word<u64>,
    others: Word<u32>,
    highest: Word<u16>,
    /// When the peer was heard last by the slot's own rule, in [`Moment`]s.
    heard: Word<u16>,
    timing: Timing,
}

#[cfg(not(all(test, loom)))]
const _: () = assert!(size_of::<Carried>() == 32);

impl Carried {
    /// A reading.
    pub fn read(&self) -> Counters {
        let counters = self.timing.read(Volume(self.volume.load()), Sequence(self.highest.load()));
        Counters { others: self.others.load(), ..counters }
    }

    /// How much.
    pub fn volume(&self) -> Volume {
        Volume(self.volume.load())
    }

    /// The peer is heard by the slot's own rule, and nobody is asked about it.
    pub fn hear(&self, moment: Moment) {
        self.heard.store(moment.word());
    }

    /// When it was heard so last.
    pub fn heard(&self) -> Moment {
        Moment::from_word(self.heard.load())
    }

    /// Starts a new stream at a sequence number. The volume goes on: only its differences mean anything. Called while nobody counts.
    pub fn restart(&self, highest: Sequence, clock_khz: u16) {
        self.highest.store(highest.0);
        self.timing.restart(clock_khz);
    }

    /// The packets of another synchronisation source begin after this number.
    pub(crate) fn begin(&self, highest: Sequence) {
        self.highest.store(highest.0);
        self.timing.forget_neighbour();
    }

    pub(crate) fn count_change(&self) {
        self.timing.count_change();
    }

    /// The payload's clock is another from now on.
    pub fn set_clock(&self, clock_khz: u16) {
        self.timing.set_clock(clock_khz);
    }

    /// The payload's clock in kHz; 0 when it is not known.
    pub fn clock_khz(&self) -> u16 {
        self.timing.clock_khz()
    }

    /// Counts a packet of a stream that is not RTP.
    pub fn count(&self, bytes: u32) {
        count(&self.volume, bytes);
    }

    /// Counts a packet that is not RTP of a stream that is.
    pub fn count_other(&self, bytes: u32) {
        self.count(bytes);
        self.others.store(self.others.load().wrapping_add(1));
    }

    /// Counts an RTP packet; `clock` tells nanoseconds of any steady clock and is asked for a sample of the packets only.
    pub fn count_rtp(&self, bytes: u32, rtp: &RtpFields, clock: impl FnOnce() -> u64) {
        count_rtp(&self.volume, &self.highest, bytes, rtp, || Some(&self.timing), clock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u16, timestamp: u32) -> RtpFields {
        RtpFields { sequence: Sequence(sequence), timestamp, ssrc: 1 }
    }

    #[test]
    fn volume_is_counted() {
        let cell = Carried::default();
        cell.count(100);
        cell.count(72);
        assert_eq!(cell.read().volume.since(Volume(0)), (2, 172));
    }

    #[test]
    fn late_and_double_packets_do_not_move_the_highest_sequence_number() {
        let cell = Carried::default();
        cell.restart(Sequence(65533), 8);
        for sequence in [65534, 65535, 1, 0, 1, 2] {
            cell.count_rtp(172, &packet(sequence, 0), || 0);
        }
        assert_eq!((cell.read().highest, cell.read().late), (Sequence(2), 2));
    }

    #[test]
    fn a_change_of_clock_is_no_jitter() {
        let cell = Carried::default();
        cell.restart(Sequence(0), 8);
        for number in 1..=80u16 {
            cell.count_rtp(172, &packet(number, u32::from(number) * 160), || u64::from(number) * 20_000_000);
        }
        cell.set_clock(16);
        for number in 81..=160u16 {
            cell.count_rtp(172, &packet(number, u32::from(number) * 320), || u64::from(number) * 20_000_000);
        }
        assert!(cell.read().jitter.unwrap() < 16, "less than one unit");
    }

    #[test]
    fn the_clock_is_told_as_it_was_set() {
        let cell = Carried::default();
        for clock_khz in [0, 8, 16, 44, 48, 90, 192] {
            cell.set_clock(clock_khz);
            assert_eq!(cell.clock_khz(), clock_khz);
        }
    }

    #[test]
    fn a_sender_that_starts_anew_is_followed() {
        let cell = Carried::default();
        cell.restart(Sequence(30000), 8);
        cell.count_rtp(172, &packet(10, 0), || 0);
        assert_eq!((cell.read().highest, cell.read().late), (Sequence(10), 0));
    }

    #[test]
    fn what_is_not_rtp_is_counted_apart_too() {
        let cell = Carried::default();
        cell.count_rtp(172, &packet(1, 0), || 0);
        cell.count_other(28);
        assert_eq!((cell.read().volume.since(Volume(0)), cell.read().others), ((2, 200), 1));
    }

    #[test]
    fn a_steady_stream_has_no_jitter() {
        let cell = Carried::default();
        cell.restart(Sequence(0), 8);
        for number in 1..200u16 {
            cell.count_rtp(172, &packet(number, u32::from(number) * 160), || u64::from(number) * 20_000_000);
        }
        assert!(cell.read().jitter.unwrap() < 16, "less than one unit");
    }

    #[test]
    fn differences_of_volumes_are_exact_across_a_wrap() {
        let before = Volume(u64::MAX - (7 << 32) - 2);
        let after = (0..5).fold(before, |volume, _| volume.and_packet(1000));
        assert_eq!(after.since(before), (5, 5000));
    }

    #[test]
    fn a_swinging_stream_has_the_jitter_of_its_swing() {
        // Every other packet comes 10 ms late: the mean difference of two is 10 ms, 80 units of 8 kHz.
        let cell = Carried::default();
        cell.restart(Sequence(0), 8);
        for number in 1..16_000u16 {
            let late = if number.is_multiple_of(2) { 10_000_000 } else { 0 };
            cell.count_rtp(172, &packet(number, u32::from(number) * 160), || u64::from(number) * 20_000_000 + late);
        }
        let units = cell.read().jitter.unwrap() / 16;
        assert!((78..=80).contains(&units), "{units}");
    }

    /// A reproducible stream of numbers from 0 to 1.
    struct Chance(u64);

    impl Chance {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    #[test]
    fn the_jitter_is_within_five_percent_of_that_of_every_packet_however_delays_hang_together() {
        type Delay = fn(f64, &mut Chance) -> f64;
        let processes: [(&str, Delay); 4] = [
            ("each for itself", |_, chance| 20.0 * chance.next()),
            ("seldom long", |_, chance| -4.0 * (1.0 - chance.next()).ln()),
            ("a queue that fills and empties", |last, chance| (last + 4.0 * chance.next() - 2.0).clamp(0.0, 60.0)),
            ("a slow drift", |last, chance| 0.99 * last + chance.next()),
        ];
        for (name, delay) in processes {
            check_jitter(name, delay);
        }
        // Packets that are sent so many at once.
        for beats in 2..=12 {
            let first = 10.0 * f64::from(beats - 1);
            check_jitter(beats, |last, _| if last < 5.0 { first } else { last - 10.0 });
        }
    }

    /// Holds what is told of a stream against every packet of it.
    fn check_jitter(name: impl std::fmt::Display, delay: impl Fn(f64, &mut Chance) -> f64) {
        let (cell, mut chance, mut late) = (Carried::default(), Chance(7), 0.0);
        cell.restart(Sequence(0), 8);
        let (mut truth, mut told, mut last) = (0.0, 0.0, None);
        let packets = 200_000_u32;
        for number in 1..=packets {
            late = delay(late, &mut chance);
            let arrival = u64::from(number) * 20_000_000 + (late * 1e6) as u64;
            cell.count_rtp(172, &packet(number as u16, number * 160), || arrival);
            let transit = late * 8.0;
            truth += last.map_or(0.0, |last: f64| (transit - last).abs());
            last = Some(transit);
            told += f64::from(cell.read().jitter.unwrap_or(0)) / 16.0;
        }
        let (truth, told) = (truth / f64::from(packets), told / f64::from(packets));
        assert!((told / truth - 1.0).abs() < 0.05, "{name}: {told:.2} units for {truth:.2}");
    }

    #[test]
    fn the_clock_is_read_on_two_packets_of_sixty_four_only() {
        let cell = Carried::default();
        cell.restart(Sequence(0), 8);
        let reads = core::cell::Cell::new(0);
        for number in 1..=6400 {
            cell.count_rtp(172, &packet(number, 0), || {
                reads.set(reads.get() + 1);
                0
            });
        }
        // Where a pair would lie across two times 64, it is left out.
        assert!((196..=200).contains(&reads.get()), "{reads:?}");
    }
}
