//! What passed a slot, and how well.
//!
//! Each count has one writer: the fast path's are written by the softirq that gets the flow's packets, the slow path's by the slot's worker.
//! So they are plain additions.

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
    /// Interarrival jitter (RFC 3550 A.8) in sixteenths of the payload's clock units.
    pub jitter: u32,
}

/// How often the clock is read: on every packet whose number is a multiple of this, for G.711 about twice in a second. Reading it each time costs
/// 11-18 % of the packet rate, and each eighth time still 3 ns a packet.
pub const JITTER_SAMPLE: u32 = 32;

/// How far behind the highest number a packet may come and still be called late (`MAX_MISORDER` of RFC 3550 A.1).
pub const MISORDER: i16 = 100;

/// What is not touched by every packet: jitter, and what should not happen. 16 bytes, apart from the slot, so that the slot is small.
#[repr(C, align(16))]
#[derive(Default)]
pub struct Timing {
    /// Arrival less timestamp of the last sample, in the payload's clock units; zero before the first.
    transit: Word<u32>,
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
        Counters {
            volume,
            highest,
            others: 0,
            late: self.late.load(),
            changes: self.changes.load(),
            jitter: self.jitter.load(),
        }
    }

    fn count_late(&self) {
        self.late.store(self.late.load().wrapping_add(1));
    }

    pub(crate) fn count_change(&self) {
        self.changes.store(self.changes.load().wrapping_add(1));
        self.transit.store(0);
    }

    #[inline(always)]
    fn sample(&self, timestamp: u32, now_ns: u64) {
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
        let last = self.transit.load();
        if last != 0 {
            let difference = (transit.wrapping_sub(last) as i32).unsigned_abs();
            let jitter = self.jitter.load();
            self.jitter.store(jitter.wrapping_add(difference).wrapping_sub((jitter.wrapping_add(8)) >> 4));
        }
        self.transit.store(transit);
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
    if counted.0 as u32 & (JITTER_SAMPLE - 1) == 0
        && let Some(timing) = timing()
    {
        timing.sample(rtp.timestamp, clock());
    }
}

/// A moment by a steady clock, to some milliseconds, of the last minutes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moment(u16);

impl Moment {
    /// Bits of nanoseconds that are left out: 4.2 ms.
    const FINENESS: u32 = 22;

    /// So many moments may whoever notes one be ahead: a second and some.
    const AHEAD: u16 = 256;

    /// The moment of a clock's nanoseconds.
    pub const fn of(clock_ns: u64) -> Self {
        Self((clock_ns >> Self::FINENESS) as u16)
    }

    /// Nanoseconds from this one, in the last four minutes, to a clock's.
    pub const fn until(self, clock_ns: u64) -> u64 {
        let whole = ((clock_ns >> Self::FINENESS) as u16).wrapping_sub(self.0);
        // Whoever notes a moment may be ahead of whoever reads it: it has read its clock before.
        if whole > u16::MAX - Self::AHEAD { 0 } else { (whole as u64) << Self::FINENESS }
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
        self.heard.store(moment.0);
    }

    /// When it was heard so last.
    pub fn heard(&self) -> Moment {
        Moment(self.heard.load())
    }

    /// Starts a new stream at a sequence number. The volume goes on: only its differences mean anything. Called while nobody counts.
    pub fn restart(&self, highest: Sequence, clock_khz: u16) {
        self.highest.store(highest.0);
        self.timing.restart(clock_khz);
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
    fn a_moment_is_some_milliseconds_exact_for_four_minutes() {
        for began in [0, 1 << 30, u64::MAX / 3] {
            for passed in [0, 1_000_000, 500_000_000, 240_000_000_000] {
                let told = Moment::of(began).until(began + passed);
                assert!(told.abs_diff(passed) < 1 << Moment::FINENESS, "{began} {passed} {told}");
                assert_eq!(Moment::of(began + passed / 300).until(began), 0, "who reads it is late");
            }
        }
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
        assert!(cell.read().jitter < 16, "less than one unit");
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
        assert!(cell.read().jitter < 16, "less than one unit");
    }

    #[test]
    fn differences_of_volumes_are_exact_across_a_wrap() {
        let before = Volume(u64::MAX - (7 << 32) - 2);
        let after = (0..5).fold(before, |volume, _| volume.and_packet(1000));
        assert_eq!(after.since(before), (5, 5000));
    }

    #[test]
    fn a_swinging_stream_has_the_jitter_of_its_swing() {
        // Every other sample comes 10 ms late: the mean difference of two samples is 10 ms, 80 units of 8 kHz.
        let cell = Carried::default();
        cell.restart(Sequence(0), 8);
        for number in 1..16_000u16 {
            let late = if (u32::from(number) / JITTER_SAMPLE).is_multiple_of(2) { 10_000_000 } else { 0 };
            cell.count_rtp(172, &packet(number, u32::from(number) * 160), || u64::from(number) * 20_000_000 + late);
        }
        let units = cell.read().jitter / 16;
        assert!((78..=80).contains(&units), "{units}");
    }

    #[test]
    fn the_clock_is_read_on_one_packet_in_thirty_two_only() {
        let cell = Carried::default();
        cell.restart(Sequence(0), 8);
        let reads = core::cell::Cell::new(0);
        for number in 1..=320 {
            cell.count_rtp(172, &packet(number, 0), || {
                reads.set(reads.get() + 1);
                0
            });
        }
        assert_eq!(reads.get(), 10);
    }
}
