//! The quality of a call as its parties report it by RTCP (RFC 3550 6.4).
//!
//! A party says in its reports how it receives what the other one sends, and by the times in them the relay knows how long a packet takes to
//! the party and back. Both legs' times together are the round-trip time between the parties.

use std::time::{Duration, Instant};

use border::{Quality, Sample};

use crate::table::doubt::{Doubt, Heard};

/// How many sources of a party are told apart.
const SOURCES: usize = 4;
/// A round trip that takes longer is a mistake of somebody's clock.
const LONGEST: Duration = Duration::from_secs(10);
/// Jitter beyond this is none: no buffer of a phone is as long.
const MOST_JITTER_MS: u32 = 10_000;
/// So many packets more than were sent a party may claim to have missed: those that were under way when the account was read.
const SLACK: i64 = 64;

/// What is known from the RTCP of one party.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports {
    /// The middle 32 bits of the NTP time of the last sender report, and when it passed.
    sent: Option<(u32, Instant)>,
    /// From the relay to the party and back, when last known.
    leg_round_trip: Option<Duration>,
    pub(crate) qualities: Vec<Quality>,
    /// Whether the fast path reaches the party.
    pub(crate) doubt: Doubt,
}

impl Reports {
    /// Reads a datagram of the party. The other party's reports are those that this one answers. `sent` is what the party was sent, which it can
    /// report about. What is not plausible is not told: a datagram that is no compound of whole packets (RFC 3550 6.1, A.2) is encrypted, or noise.
    pub(crate) fn read(&mut self, other: Option<&Self>, sent: Sent, datagram: &[u8], now: Instant) {
        if !is_compound(datagram) {
            return;
        }
        for packet in Packets(datagram) {
            let Some((ssrc, body)) = word(packet.body) else { return };
            let blocks = match packet.kind {
                SENDER_REPORT => {
                    let Some((middle, after)) = body.get(2..).and_then(word).filter(|_| body.len() >= 20) else {
                        return;
                    };
                    self.sent = Some((middle, now));
                    after.get(14..).unwrap_or_default()
                }
                RECEIVER_REPORT => body,
                _ => continue,
            };
            // With several blocks it is that of what the other party sends, where that is known: the party may hear a recording beside it.
            let whole = blocks.get(..usize::from(packet.count) * BLOCK_LEN).unwrap_or_default();
            let mut all = whole.chunks_exact(BLOCK_LEN).filter_map(Block::parse);
            let of_partner = all.clone().find(|block| block.source == sent.ssrc);
            let block = of_partner.or_else(|| all.next());
            if let Some(block) = block.filter(|block| block.is_plausible(sent)) {
                let Sent { fast, slow, .. } = sent;
                self.doubt.report(Heard { source: block.source, highest: block.highest, fast, slow });
                self.report(ssrc, &block, other, sent.clock_khz, now);
            }
        }
    }

    /// The lowest score of all reports.
    pub(crate) fn lowest(&self) -> Option<u8> {
        self.qualities.iter().filter_map(|quality| quality.lowest.mos).min()
    }

    fn report(&mut self, ssrc: u32, block: &Block, other: Option<&Self>, clock_khz: u16, now: Instant) {
        // Zero says that none has come, and is also what a device without a clock sends.
        let answered =
            other.and_then(|other| other.sent).filter(|(middle, _)| *middle == block.last_report && *middle != 0);
        let took = answered.and_then(|(_, sent)| now.saturating_duration_since(sent).checked_sub(block.delay));
        self.leg_round_trip = took.filter(|took| *took < LONGEST).or(self.leg_round_trip);
        let leg_round_trip = self.leg_round_trip;
        let beyond = other.and_then(|other| other.leg_round_trip).unwrap_or_default();
        let round_trip = leg_round_trip.map(|leg| leg + beyond);
        let jitter_ms = block.jitter.checked_div(u32::from(clock_khz)).unwrap_or(0);
        let loss_percent = u8::try_from(u16::from(block.fraction_lost) * 100 / 256).unwrap_or(100);
        let sample = Sample {
            mos: round_trip.map(|time| mos(f64::from(loss_percent), f64::from(jitter_ms), time.as_secs_f64() * 1000.0)),
            round_trip,
            leg_round_trip,
            jitter_ms,
            loss_percent,
            at: now,
        };
        if !self.qualities.iter().any(|quality| quality.ssrc == ssrc) {
            // The oldest goes: a party that changes its source changes it seldom.
            if self.qualities.len() >= SOURCES {
                self.qualities.remove(0);
            }
            self.qualities.push(Quality::new(ssrc, sample));
        }
        if let Some(quality) = self.qualities.iter_mut().find(|quality| quality.ssrc == ssrc) {
            quality.add(sample, block.cumulative_loss);
        }
    }
}

/// How well G.711 bears losses that are concealed (ITU-T G.113, Bpl).
const ROBUSTNESS: f64 = 25.1;

/// The mean opinion score in tenths by the E-model (ITU-T G.107) for G.711, from percent, milliseconds and milliseconds.
fn mos(loss: f64, jitter: f64, round_trip: f64) -> u8 {
    let delay = round_trip / 2.0 + jitter;
    let by_delay = 0.024 * delay + if delay > 177.3 { 0.11 * (delay - 177.3) } else { 0.0 };
    let by_loss = 95.0 * loss / (loss + ROBUSTNESS);
    let rating = 93.2 - by_delay - by_loss;
    let score = if rating < 0.0 {
        1.0
    } else if rating > 100.0 {
        4.5
    } else {
        1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6
    };
    (score.clamp(1.0, 4.5) * 10.0) as u8
}

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;

/// What a party was sent of a media, and so can report about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sent {
    /// Packets, as far as they were counted, and those that were lost before.
    pub(crate) packets: u64,
    /// Of these, what the fast path sent.
    pub(crate) fast: u64,
    /// Of these, what the slow path sent.
    pub(crate) slow: u64,
    /// The clock rate of the payload in kHz; 0 when unknown.
    pub(crate) clock_khz: u16,
    /// The synchronisation source that was noted last; 0 when none was.
    pub(crate) ssrc: u32,
}

/// Bytes of a report block.
const BLOCK_LEN: usize = 24;

/// Whether a datagram is packets of RTCP one after another, to its last byte, of which the first is a report.
fn is_compound(datagram: &[u8]) -> bool {
    let mut packets = Packets(datagram);
    let is_report = packets.next().is_some_and(|first| matches!(first.kind, SENDER_REPORT | RECEIVER_REPORT));
    let is_rtcp = packets.by_ref().all(|packet| (192..=223).contains(&packet.kind));
    is_report && is_rtcp && packets.0.is_empty()
}

/// The packets of a compound datagram.
struct Packets<'a>(&'a [u8]);

struct Packet<'a> {
    kind: u8,
    count: u8,
    body: &'a [u8],
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        let [first, kind, high, low, rest @ ..] = self.0 else { return None };
        if first >> 6 != 2 {
            return None;
        }
        let (body, after) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])) * 4)?;
        self.0 = after;
        Some(Packet { kind: *kind, count: first & 31, body })
    }
}

/// A report block (RFC 3550 6.4.1).
struct Block {
    source: u32,
    highest: u32,
    fraction_lost: u8,
    cumulative_loss: i32,
    jitter: u32,
    last_report: u32,
    delay: Duration,
}

impl Block {
    /// Whether a party that was sent this can have received so: neither more lost than was sent, nor a delay that nobody has.
    fn is_plausible(&self, sent: Sent) -> bool {
        let jitter_ms = self.jitter.checked_div(u32::from(sent.clock_khz)).unwrap_or(0);
        let most = i64::try_from(sent.packets).unwrap_or(i64::MAX).saturating_add(SLACK);
        // Duplicates count as negative losses (RFC 3550 6.4.1).
        let lost = i64::from(self.cumulative_loss);
        jitter_ms <= MOST_JITTER_MS && (-most..=most).contains(&lost) && (self.fraction_lost == 0 || sent.packets > 0)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (source, bytes) = word(bytes)?;
        let (lost, bytes) = word(bytes)?;
        let (highest, bytes) = word(bytes)?;
        let (jitter, bytes) = word(bytes)?;
        let (last_report, bytes) = word(bytes)?;
        let (delay, _) = word(bytes)?;
        Some(Self {
            source,
            highest,
            fraction_lost: (lost >> 24) as u8,
            // 24 bits with a sign.
            cumulative_loss: (lost << 8).cast_signed() >> 8,
            jitter,
            last_report,
            delay: Duration::from_nanos(u64::from(delay) * 1_000_000_000 / 65536),
        })
    }
}

fn word(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*word), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Plenty.
    const SENT: Sent = Sent { packets: 1_000_000, fast: 500_000, slow: 500_000, clock_khz: 8, ssrc: 0 };
    const MS: Duration = Duration::from_millis(1);

    fn block(fraction: u8, lost: u32, jitter: u32, last_report: u32, delay_ms: u32) -> Vec<u8> {
        let words = [7, u32::from(fraction) << 24 | lost, 0, jitter, last_report, delay_ms * 65536 / 1000];
        words.into_iter().flat_map(u32::to_be_bytes).collect()
    }

    fn sender_report(ssrc: u32, middle: u32, blocks: &[Vec<u8>]) -> Vec<u8> {
        let mut body =
            [ssrc, middle >> 16, middle << 16, 0, 0, 0].into_iter().flat_map(u32::to_be_bytes).collect::<Vec<_>>();
        body.extend(blocks.concat());
        packet(SENDER_REPORT, blocks.len() as u8, &body)
    }

    fn packet(kind: u8, count: u8, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80 | count, kind];
        packet.extend((body.len() as u16 / 4).to_be_bytes());
        packet.extend(body);
        packet
    }

    #[test]
    fn of_several_blocks_that_of_the_other_party_is_told() {
        let other = |mut block: Vec<u8>| {
            block[..4].copy_from_slice(&99_u32.to_be_bytes());
            block
        };
        let loss = |sent: Sent, blocks: &[Vec<u8>]| {
            let mut reports = Reports::default();
            reports.read(None, sent, &sender_report(1, 100, blocks), Instant::now());
            reports.qualities.first().unwrap().average().loss_percent
        };
        let blocks = [other(block(128, 5, 0, 0, 0)), block(26, 5, 0, 0, 0)];
        assert_eq!(loss(Sent { ssrc: 7, ..SENT }, &blocks), 10, "the first is that of a recording");
        assert_eq!(loss(SENT, &blocks), 50, "where nobody is known it is the first");
    }

    #[test]
    fn the_round_trip_is_that_of_both_legs() {
        let start = Instant::now();
        let (mut a, mut b) = (Reports::default(), Reports::default());
        a.read(Some(&b), SENT, &sender_report(1, 100, &[]), start);
        // 60 ms to b and back, 20 of which b took its time.
        b.read(Some(&a), SENT, &sender_report(2, 200, &[block(0, 0, 80, 100, 20)]), start + 80 * MS);
        a.read(Some(&b), SENT, &sender_report(1, 300, &[block(26, 5, 160, 200, 10)]), start + 130 * MS);
        let quality = a.qualities.first().unwrap();
        let sample = quality.average();
        assert_eq!((quality.ssrc, quality.samples, quality.cumulative_loss), (1, 1, 5));
        assert_eq!((sample.loss_percent, sample.jitter_ms), (10, 20));
        let (leg, whole) = (sample.leg_round_trip.unwrap(), sample.round_trip.unwrap());
        assert!(leg.abs_diff(40 * MS) < MS && whole.abs_diff(100 * MS) < MS, "{sample:?}");
        assert_eq!(b.qualities.first().unwrap().average().jitter_ms, 10);
    }

    #[test]
    fn the_score_falls_with_loss_and_delay() {
        assert_eq!(mos(0.0, 0.0, 0.0), 44);
        // What rtpengine says of 7 % and 5 % too; without loss it says 43 where the model says 44.
        assert_eq!((mos(7.0, 11.0, 120.0), mos(5.0, 10.0, 120.0), mos(0.0, 2.0, 120.0)), (36, 38, 43));
        let falling: Vec<u8> = (0..=100).map(|loss| mos(f64::from(loss), 0.0, 0.0)).collect();
        assert!(falling.is_sorted_by(|one, two| one >= two), "{falling:?}");
        assert!(mos(20.0, 100.0, 800.0) < 25);
    }

    #[test]
    fn a_report_without_a_known_sender_report_has_no_time_and_no_score() {
        let mut reports = Reports::default();
        let report = packet(RECEIVER_REPORT, 1, &[&9_u32.to_be_bytes()[..], &block(0, 0, 0, 0, 0)].concat());
        reports.read(None, Sent { clock_khz: 0, ..SENT }, &report, Instant::now());
        let quality = &reports.qualities[0];
        assert_eq!((quality.average().round_trip, quality.average().mos), (None, None));
        assert_eq!((quality.samples, quality.scores()), (1, 0));
    }

    #[test]
    fn means_are_those_of_the_reports_that_know() {
        let start = Instant::now();
        let mut sender = Reports::default();
        sender.read(None, SENT, &sender_report(1, 100, &[]), start);
        let mut reports = Reports::default();
        for (at, last_report) in [(100, 0), (400, 100), (400, 100)] {
            let report = [&9_u32.to_be_bytes()[..], &block(0, 0, 0, last_report, 0)].concat();
            reports.read(Some(&sender), SENT, &packet(RECEIVER_REPORT, 1, &report), start + at * MS);
        }
        let quality = &reports.qualities[0];
        assert_eq!((quality.samples, quality.scores()), (3, 2));
        assert_eq!(quality.average().round_trip, Some(400 * MS));
        assert_eq!(quality.average().mos, Some(mos(0.0, 0.0, 400.0)));
    }

    #[test]
    fn the_best_and_the_worst_report_are_kept() {
        let start = Instant::now();
        let (mut sender, mut reports) = (Reports::default(), Reports::default());
        sender.read(None, SENT, &sender_report(1, 100, &[]), start);
        for (fraction, last_report) in [(5, 0), (0, 100), (128, 100), (25, 100)] {
            let report = [&9_u32.to_be_bytes()[..], &block(fraction, 0, 0, last_report, 0)].concat();
            reports.read(Some(&sender), SENT, &packet(RECEIVER_REPORT, 1, &report), start + 20 * MS);
        }
        let quality = &reports.qualities[0];
        assert_eq!((quality.lowest.loss_percent, quality.highest.loss_percent, quality.samples), (50, 0, 4));
    }

    proptest! {
        #[test]
        fn any_datagram_does_no_harm(datagram in prop::collection::vec(any::<u8>(), 0..200), clock in any::<u16>()) {
            Reports::default().read(None, Sent { clock_khz: clock, ..SENT }, &datagram, Instant::now());
            let mut framed = vec![0x81, 200, 0, datagram.len() as u8 / 4];
            framed.extend(&datagram);
            Reports::default().read(Some(&Reports::default()), Sent { clock_khz: clock, ..SENT }, &framed, Instant::now());
        }
    }

    /// What a reader without the key sees: the header of the first packet in clear (RFC 3711 3.4), then noise.
    #[test]
    fn encrypted_reports_are_not_told() {
        for seed in 0..2000_u32 {
            let mut reports = Reports::default();
            let mut datagram = sender_report(7, 1, &[block(0, 0, 0, 0, 0)]);
            datagram.extend(packet(202, 1, &[0; 12]));
            let noise =
                |at: usize| (seed.wrapping_mul(2_654_435_761).rotate_left(at as u32 % 31) >> 7) as u8 ^ at as u8;
            datagram.iter_mut().enumerate().skip(8).for_each(|(at, byte)| *byte ^= noise(at));
            datagram.extend([0x80, 0, 0, 1]);
            datagram.extend((0..10).map(noise));
            reports.read(None, SENT, &datagram, Instant::now());
            assert!(reports.qualities.is_empty(), "{seed}");
        }
    }

    #[test]
    fn what_no_receiver_can_have_seen_is_not_told() {
        let few = Sent { packets: 100, ..SENT };
        for (block, sent, is_told) in [
            (block(0, 100, 80, 0, 0), few, true),
            (block(0, 165, 80, 0, 0), few, false),
            (block(0, 0xff_ffff, 80, 0, 0), few, true),
            (block(0, 0x80_0000, 80, 0, 0), few, false),
            (block(0, 0, 80_000, 0, 0), few, true),
            (block(0, 0, 80_001, 0, 0), few, true),
            (block(0, 0, 80_008, 0, 0), few, false),
            (block(0, 0, 0x3000_0000, 0, 0), few, false),
            (block(10, 0, 0, 0, 0), Sent::default(), false),
        ] {
            let mut reports = Reports::default();
            let report = packet(RECEIVER_REPORT, 1, &[&7u32.to_be_bytes()[..], &block].concat());
            reports.read(None, sent, &report, Instant::now());
            assert_eq!(!reports.qualities.is_empty(), is_told, "{block:?}");
        }
    }

    #[test]
    fn what_is_no_compound_of_whole_packets_is_not_told() {
        let whole = sender_report(7, 1, &[block(0, 0, 80, 0, 0)]);
        let more = [&whole[..], &packet(202, 1, &[0; 8])].concat();
        for (datagram, is_told) in [
            (whole.clone(), true),
            (more.clone(), true),
            (whole[..whole.len() - 4].to_vec(), false),
            ([&whole[..], &[0]].concat(), false),
            ([&whole[..], &[0x40, 202, 0, 0]].concat(), false),
            ([&whole[..], &[0x80, 8, 0, 0]].concat(), false),
            ([&packet(202, 1, &[0; 8]), &whole[..]].concat(), false),
        ] {
            let mut reports = Reports::default();
            reports.read(None, SENT, &datagram, Instant::now());
            assert_eq!(!reports.qualities.is_empty(), is_told, "{datagram:02x?}");
        }
    }
}
