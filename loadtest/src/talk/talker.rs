//! Somebody who talks on the telephone: what he sends, and when. Without sockets and clocks.
//!
//! Speech comes in spurts (ITU-T P.59: a second on average, and one and a half of silence), each packet a little before or after its time; a spurt ends with
//! comfort noise (RFC 3389). Now and then a key is pressed (RFC 4733), and each five seconds there is a report (RFC 3550 6.2).

use std::time::Duration;

use crate::rig::chance::Chance;
use crate::rtp::{self, Sequence, Ssrc, Timestamp};

/// From packet to packet.
pub(super) const PACKET_TIME: Duration = Duration::from_millis(20);
/// As a timestamp.
const SAMPLES: u32 = 160;
/// The payload of G.711 with 20 ms.
const PAYLOAD: usize = 160;
/// How long a spurt is on average, and the silence behind it.
const SPURT: Duration = Duration::from_millis(1004);
const SILENCE: Duration = Duration::from_millis(1587);
/// Payload types: A-law, comfort noise, telephone events.
const PCMA: u8 = 8;
const NOISE: u8 = 13;
const EVENT: u8 = 101;
/// One spurt of so many begins with a key.
const KEYS: u64 = 8;
/// How many packets a key is held for, and how often its end is said.
const HELD: u32 = 5;
const ENDS: u32 = 3;
/// A report is due after this time, give or take a half.
const REPORT: Duration = Duration::from_secs(5);
/// Where the number of a packet and the time of its sending are in a payload of speech.
pub(super) const STAMP: usize = 16;

/// What is sent.
#[derive(PartialEq, Debug)]
pub(super) enum Said {
    /// By the port of RTP. Speech has room for a stamp; noise and keys have none.
    Rtp { packet: Vec<u8>, is_stamped: bool },
    /// By the port of RTCP.
    Rtcp(Vec<u8>),
}

/// What is going on.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Mood {
    /// So many packets of speech are to come.
    Speech(u32),
    /// A key is held; so many packets are to come.
    Key(u32),
    /// Nothing until then.
    Silence(Duration),
}

/// One direction of a call.
#[derive(Debug)]
pub(super) struct Talker {
    chance: Chance,
    ssrc: Ssrc,
    sequence: Sequence,
    mood: Mood,
    /// In packet times since the beginning: when the next packet is due but for jitter.
    tick: u32,
    /// When the key went down.
    key: u32,
    is_first: bool,
    report: Duration,
    packets: u32,
    octets: u32,
    /// The most that a packet is early or late.
    jitter: Duration,
}

impl Talker {
    /// One of many: each begins at another time within the first packet time, and is somewhere between a spurt and the next.
    pub(super) fn new(number: u64, jitter: Duration) -> Self {
        let mut chance = Chance::new(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let report = spread(&mut chance, REPORT);
        let mut talker = Self {
            ssrc: Ssrc(chance.below(1 << 32) as u32),
            sequence: Sequence(chance.below(1 << 16) as u16),
            mood: Mood::Speech(1),
            tick: 0,
            key: 0,
            is_first: true,
            report,
            packets: 0,
            octets: 0,
            jitter,
            chance,
        };
        talker.speak();
        talker
    }

    /// When it sends next, since the beginning.
    pub(super) fn next(&mut self) -> Duration {
        let late = self.chance.below(2 * self.jitter.as_micros().max(1) as u64);
        let at = PACKET_TIME * self.tick + Duration::from_micros(late);
        match self.mood {
            Mood::Speech(_) | Mood::Key(_) => at,
            Mood::Silence(until) => until,
        }
        .min(self.report)
    }

    /// What it sends at a time that it was asked to be called at.
    pub(super) fn say(&mut self, now: Duration) -> Option<Said> {
        if now >= self.report {
            self.report = now + spread(&mut self.chance, REPORT);
            return Some(Said::Rtcp(self.sender_report(now)));
        }
        match self.mood {
            Mood::Silence(until) => {
                // Numbers go on where they were, and timestamps as if it had talked.
                self.tick = (until.as_micros() / PACKET_TIME.as_micros()) as u32;
                self.is_first = true;
                if self.chance.below(KEYS) == 0 {
                    (self.mood, self.key) = (Mood::Key(HELD + ENDS), self.tick);
                } else {
                    self.speak();
                }
                None
            }
            Mood::Speech(0) => {
                let packet = self.packet(NOISE, self.tick, &[60]);
                self.mood = Mood::Silence(PACKET_TIME * self.tick + exponential(&mut self.chance, SILENCE));
                Some(Said::Rtp { packet, is_stamped: false })
            }
            Mood::Speech(left) => {
                let packet = self.packet(PCMA, self.tick, &[0x55; PAYLOAD]);
                self.tick += 1;
                self.mood = Mood::Speech(left - 1);
                Some(Said::Rtp { packet, is_stamped: true })
            }
            Mood::Key(0) => {
                self.speak();
                None
            }
            Mood::Key(left) => {
                // All packets of a key have the time of its beginning (RFC 4733 2.5.1.2); the end is said several times.
                let held = (self.tick - self.key).min(HELD);
                let is_end = left <= ENDS;
                let duration = ((held.max(1) * SAMPLES) as u16).to_be_bytes();
                let [high, low] = duration;
                let packet = self.packet(EVENT, self.key, &[5, if is_end { 0x8a } else { 0x0a }, high, low]);
                self.tick += 1;
                self.mood = Mood::Key(left - 1);
                Some(Said::Rtp { packet, is_stamped: false })
            }
        }
    }

    fn speak(&mut self) {
        let length = exponential(&mut self.chance, SPURT);
        self.mood = Mood::Speech((length.as_millis() / PACKET_TIME.as_millis()) as u32 + 1);
    }

    fn packet(&mut self, kind: u8, tick: u32, payload: &[u8]) -> Vec<u8> {
        self.sequence = Sequence(self.sequence.0.wrapping_add(1));
        let timestamp = Timestamp(tick.wrapping_mul(SAMPLES));
        let mut packet = rtp::header(self.is_first, kind, self.sequence, timestamp, self.ssrc).to_vec();
        packet.extend_from_slice(payload);
        self.is_first = false;
        self.packets += 1;
        self.octets = self.octets.wrapping_add(payload.len() as u32);
        packet
    }

    /// RFC 3550 6.4.1, without blocks.
    fn sender_report(&self, now: Duration) -> Vec<u8> {
        let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
        let words = [
            self.ssrc.0,
            now.as_secs() as u32,
            fraction as u32,
            self.tick.wrapping_mul(SAMPLES),
            self.packets,
            self.octets,
        ];
        let mut report = vec![0x80, 200, 0, 6];
        report.extend(words.into_iter().flat_map(u32::to_be_bytes));
        report
    }
}

fn spread(chance: &mut Chance, mean: Duration) -> Duration {
    mean / 2 + Duration::from_micros(chance.below(mean.as_micros() as u64))
}

/// Exponentially distributed, and not longer than five times the mean.
fn exponential(chance: &mut Chance, mean: Duration) -> Duration {
    let part = (chance.below(1 << 32) + 1) as f64 / (1_u64 << 32) as f64;
    mean.mul_f64((-part.ln()).min(5.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What somebody says in so many seconds, with the times.
    fn listen(number: u64, seconds: u64) -> Vec<(Duration, Said)> {
        let mut talker = Talker::new(number, Duration::from_millis(3));
        let mut all = Vec::new();
        loop {
            let at = talker.next();
            if at > Duration::from_secs(seconds) {
                return all;
            }
            all.extend(talker.say(at).map(|said| (at, said)));
        }
    }

    #[test]
    fn somebody_talks_two_fifths_of_the_time() {
        let packets: usize = (0..50).map(|number| listen(number, 60).len()).sum();
        let share = packets as f64 / (50.0 * 60.0 * 50.0);
        assert!((0.35..0.45).contains(&share), "{share}");
    }

    #[test]
    fn numbers_have_no_gap_and_reports_come_each_five_seconds() {
        let all = listen(7, 120);
        let numbers = all.iter().filter_map(|(_, said)| match said {
            Said::Rtp { packet, .. } => Some(u16::from_be_bytes([packet[2], packet[3]])),
            Said::Rtcp(_) => None,
        });
        let numbers: Vec<_> = numbers.collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
        let reports = all.len() - numbers.len();
        assert!((18..=32).contains(&reports), "{reports}");
    }

    #[test]
    fn packets_of_a_spurt_are_twenty_milliseconds_apart_but_for_jitter() {
        let all = listen(3, 60);
        let speech: Vec<_> = all
            .iter()
            .filter(|(_, said)| matches!(said, Said::Rtp { is_stamped: true, .. }))
            .map(|(at, _)| *at)
            .collect();
        let gaps = speech.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        let within: Vec<_> = gaps.filter(|gap| *gap < Duration::from_millis(40)).collect();
        assert!(
            within.len() > 500
                && within.iter().all(|gap| *gap >= Duration::from_millis(13) && *gap <= Duration::from_millis(27))
        );
    }

    #[test]
    fn keys_end_three_times_with_one_timestamp() {
        let keys: Vec<Vec<u8>> = (0..20)
            .flat_map(|number| listen(number, 60))
            .filter_map(|(_, said)| match said {
                Said::Rtp { packet, .. } if packet[1] & 0x7f == EVENT => Some(packet),
                Said::Rtp { .. } | Said::Rtcp(_) => None,
            })
            .collect();
        let ends = keys.iter().filter(|packet| packet[13] & 0x80 != 0).count();
        assert!(ends > 0 && keys.len() * ENDS as usize == ends * (HELD + ENDS) as usize, "{} of {}", ends, keys.len());
        assert!(keys.chunks(8).all(|key| key.iter().all(|packet| packet[4..8] == key[0][4..8])));
    }
}
