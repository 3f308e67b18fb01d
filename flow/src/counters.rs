//! The counters of one slot: what passed, and how well.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::rtp::{RtpFields, Sequence};
use crate::word::Word;

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Volume {
    packets: u32,
    bytes: u32,
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Order {
    highest: u16,
    late: u16,
    jitter: u32,
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Timing {
    transit: u32,
    clock_khz: u16,
    samples: u16,
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Others {
    others: u32,
    spare: u32,
}

/// A reading of the counters. The numbers wrap: whoever adds them up takes differences often enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Packets, modulo 2^32.
    pub packets: u32,
    /// Bytes of UDP payload, modulo 2^32.
    pub bytes: u32,
    /// Those of the packets that are not RTP although the stream is, modulo 2^32: RTCP on the same port, keep-alives.
    pub others: u32,
    /// The highest RTP sequence number, in the sense of RFC 1982.
    pub highest: Sequence,
    /// Packets that came after a later one, or twice, modulo 2^16.
    pub late: u16,
    /// Interarrival jitter (RFC 3550 A.8) in sixteenths of the payload's clock units.
    pub jitter: u32,
    /// The payload's clock rate in kHz; 0 when it is not known, and then there is no jitter.
    pub clock_khz: u16,
}

/// How often the clock is read: on every packet whose number is a multiple of this. Reading it each time costs 11-18 % of the packet rate.
pub const JITTER_SAMPLE: u32 = 8;

/// How far behind the highest number a packet may come and still be called late (`MAX_MISORDER` of RFC 3550 A.1).
pub const MISORDER: i16 = 100;

/// The counters as they lie in memory, written by whoever carries the packets: one writer, plain additions.
#[repr(C)]
#[derive(Default)]
pub struct CountersCell {
    volume: Word,
    order: Word,
    timing: Word,
    others: Word,
}

const _: () = assert!(size_of::<CountersCell>() == 32);

impl CountersCell {
    /// A reading.
    pub fn read(&self) -> Counters {
        let volume: Volume = zerocopy::transmute!(self.volume.load());
        let order: Order = zerocopy::transmute!(self.order.load());
        let timing: Timing = zerocopy::transmute!(self.timing.load());
        let others: Others = zerocopy::transmute!(self.others.load());
        Counters {
            packets: volume.packets,
            bytes: volume.bytes,
            others: others.others,
            highest: Sequence(order.highest),
            late: order.late,
            jitter: order.jitter,
            clock_khz: timing.clock_khz,
        }
    }

    /// Starts a new stream at a sequence number. The volume goes on: only its differences mean anything. Called while nobody counts.
    pub fn restart(&self, highest: Sequence, clock_khz: u16) {
        self.order.store(zerocopy::transmute!(Order { highest: highest.0, late: 0, jitter: 0 }));
        self.timing.store(zerocopy::transmute!(Timing { transit: 0, clock_khz, samples: 0 }));
    }

    /// The payload's clock is another from now on: the next sample of the jitter starts anew. A sample that is under way may win.
    pub fn set_clock(&self, clock_khz: u16) {
        self.timing.store(zerocopy::transmute!(Timing { transit: 0, clock_khz, samples: 0 }));
    }

    /// Counts a packet of a stream that is not RTP.
    #[inline(always)]
    pub fn count(&self, bytes: u16) {
        self.add(bytes);
    }

    /// Counts a packet that is not RTP of a stream that is.
    pub fn count_other(&self, bytes: u16) {
        self.add(bytes);
        let others: Others = zerocopy::transmute!(self.others.load());
        self.others.store(zerocopy::transmute!(Others { others: others.others.wrapping_add(1), ..others }));
    }

    /// Counts an RTP packet; `clock` tells nanoseconds of any steady clock and is asked for a sample of the packets only.
    #[inline(always)]
    pub fn count_rtp(&self, bytes: u16, rtp: &RtpFields, clock: impl FnOnce() -> u64) {
        let packets = self.add(bytes);
        let mut order: Order = zerocopy::transmute!(self.order.load());
        // Slightly behind is late or double; far behind is a sender that started anew (RFC 3550 A.1).
        if (-MISORDER..=0).contains(&rtp.sequence.distance(Sequence(order.highest))) {
            order.late = order.late.wrapping_add(1);
        } else {
            order.highest = rtp.sequence.0;
        }
        if packets & (JITTER_SAMPLE - 1) == 0 {
            self.sample(&mut order, rtp.timestamp, clock());
        }
        self.order.store(zerocopy::transmute!(order));
    }

    #[inline(always)]
    fn add(&self, bytes: u16) -> u32 {
        let volume: Volume = zerocopy::transmute!(self.volume.load());
        let packets = volume.packets.wrapping_add(1);
        let bytes = volume.bytes.wrapping_add(u32::from(bytes));
        self.volume.store(zerocopy::transmute!(Volume { packets, bytes }));
        packets
    }

    #[inline(always)]
    fn sample(&self, order: &mut Order, timestamp: u32, now_ns: u64) {
        let timing: Timing = zerocopy::transmute!(self.timing.load());
        if timing.clock_khz == 0 {
            return;
        }
        let arrival = ((now_ns / 1000) * u64::from(timing.clock_khz) / 1000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        if timing.samples > 0 {
            let difference = (transit.wrapping_sub(timing.transit) as i32).unsigned_abs();
            order.jitter = order.jitter.wrapping_add(difference).wrapping_sub((order.jitter.wrapping_add(8)) >> 4);
        }
        self.timing.store(zerocopy::transmute!(Timing { transit, samples: 1, ..timing }));
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
        let cell = CountersCell::default();
        cell.count(100);
        cell.count(72);
        assert_eq!((cell.read().packets, cell.read().bytes), (2, 172));
    }

    #[test]
    fn late_and_double_packets_do_not_move_the_highest_sequence_number() {
        let cell = CountersCell::default();
        cell.restart(Sequence(65533), 8);
        for sequence in [65534, 65535, 1, 0, 1, 2] {
            cell.count_rtp(172, &packet(sequence, 0), || 0);
        }
        assert_eq!((cell.read().highest, cell.read().late), (Sequence(2), 2));
    }

    #[test]
    fn a_change_of_clock_is_no_jitter() {
        let cell = CountersCell::default();
        cell.restart(Sequence(0), 8);
        for number in 1..=80u16 {
            cell.count_rtp(172, &packet(number, u32::from(number) * 160), || u64::from(number) * 20_000_000);
        }
        cell.set_clock(16);
        for number in 81..=160u16 {
            cell.count_rtp(172, &packet(number, u32::from(number) * 320), || u64::from(number) * 20_000_000);
        }
        assert_eq!((cell.read().jitter, cell.read().clock_khz), (0, 16));
    }

    #[test]
    fn a_sender_that_starts_anew_is_followed() {
        let cell = CountersCell::default();
        cell.restart(Sequence(30000), 8);
        cell.count_rtp(172, &packet(10, 0), || 0);
        assert_eq!((cell.read().highest, cell.read().late), (Sequence(10), 0));
    }

    #[test]
    fn what_is_not_rtp_is_counted_apart_too() {
        let cell = CountersCell::default();
        cell.count_rtp(172, &packet(1, 0), || 0);
        cell.count_other(28);
        assert_eq!((cell.read().packets, cell.read().others, cell.read().bytes), (2, 1, 200));
    }

    #[test]
    fn a_steady_stream_has_no_jitter() {
        let cell = CountersCell::default();
        cell.restart(Sequence(0), 8);
        for number in 1..200u16 {
            cell.count_rtp(172, &packet(number, u32::from(number) * 160), || u64::from(number) * 20_000_000);
        }
        assert_eq!(cell.read().jitter, 0);
    }

    #[test]
    fn a_swinging_stream_has_the_jitter_of_its_swing() {
        // Every other sample comes 10 ms late: the mean difference of two samples is 10 ms, 80 units of 8 kHz.
        let cell = CountersCell::default();
        cell.restart(Sequence(0), 8);
        for number in 1..4000u16 {
            let late = if (number / 8) % 2 == 0 { 10_000_000 } else { 0 };
            cell.count_rtp(172, &packet(number, u32::from(number) * 160), || u64::from(number) * 20_000_000 + late);
        }
        let units = cell.read().jitter / 16;
        assert!((78..=80).contains(&units), "{units}");
    }

    #[test]
    fn the_clock_is_read_on_every_eighth_packet_only() {
        let cell = CountersCell::default();
        cell.restart(Sequence(0), 8);
        let reads = core::cell::Cell::new(0);
        for number in 1..=80 {
            cell.count_rtp(172, &packet(number, 0), || {
                reads.set(reads.get() + 1);
                0
            });
        }
        assert_eq!(reads.get(), 10);
    }
}
