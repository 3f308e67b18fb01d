//! The quality of a call as its parties report it by RTCP (RFC 3550 6.4).

use std::time::{Duration, Instant};

/// What one report amounts to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// The mean opinion score in tenths, 10 to 45; `None` where the round-trip time is not known, of which it depends.
    pub mos: Option<u8>,
    /// From party to party and back: the other party's leg as far as it is known.
    pub round_trip: Option<Duration>,
    /// From the relay to the party that reports and back.
    pub leg_round_trip: Option<Duration>,
    /// Milliseconds.
    pub jitter_ms: u32,
    /// Of the packets since the last report, in percent.
    pub loss_percent: u8,
    /// When the report came.
    pub at: Instant,
}

/// The least and the greatest of a figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extremes {
    /// The least.
    pub least: u32,
    /// The greatest.
    pub greatest: u32,
    /// When that was reported for the first time.
    pub greatest_at: Instant,
}

impl Extremes {
    const fn of(value: u32, at: Instant) -> Self {
        Self { least: value, greatest: value, greatest_at: at }
    }

    fn add(&mut self, value: u32, at: Instant) {
        self.least = self.least.min(value);
        if value > self.greatest {
            (self.greatest, self.greatest_at) = (value, at);
        }
    }
}

/// All reports of a party.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quality {
    /// The synchronisation source that reports.
    pub ssrc: u32,
    /// How many reports there were.
    pub samples: u64,
    /// Packets that the party has missed since the beginning, as it says.
    pub cumulative_loss: i32,
    /// The worst report of those with a score, or else the first.
    pub lowest: Sample,
    /// The best report of those with a score, or else the first.
    pub highest: Sample,
    /// Of the jitter of all reports, in milliseconds.
    pub jitter_ms: Extremes,
    /// Of what was lost since the report before, in percent.
    pub loss_percent: Extremes,
    sums: Sums,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Sums {
    mos: Mean,
    /// In nanoseconds, like the next.
    round_trip: Mean,
    leg_round_trip: Mean,
    jitter_ms: Mean,
    loss_percent: Mean,
}

/// The mean of what is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Mean {
    sum: u64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: Option<u64>) {
        if let Some(value) = value {
            self.sum = self.sum.saturating_add(value);
            self.count += 1;
        }
    }

    const fn get(self) -> Option<u64> {
        self.sum.checked_div(self.count)
    }
}

impl Quality {
    /// Before the first report, which is this one.
    pub fn new(ssrc: u32, sample: Sample) -> Self {
        Self {
            ssrc,
            samples: 0,
            cumulative_loss: 0,
            lowest: sample,
            highest: sample,
            jitter_ms: Extremes::of(sample.jitter_ms, sample.at),
            loss_percent: Extremes::of(sample.loss_percent.into(), sample.at),
            sums: Sums::default(),
        }
    }

    /// One more report.
    pub fn add(&mut self, sample: Sample, cumulative_loss: i32) {
        self.samples += 1;
        self.cumulative_loss = cumulative_loss;
        if let Some(mos) = sample.mos {
            if self.lowest.mos.is_none_or(|lowest| mos < lowest) {
                self.lowest = sample;
            }
            if self.highest.mos.is_none_or(|highest| mos > highest) {
                self.highest = sample;
            }
        }
        self.jitter_ms.add(sample.jitter_ms, sample.at);
        self.loss_percent.add(sample.loss_percent.into(), sample.at);
        let nanos = |time: Option<Duration>| time.and_then(|time| u64::try_from(time.as_nanos()).ok());
        self.sums.mos.add(sample.mos.map(u64::from));
        self.sums.round_trip.add(nanos(sample.round_trip));
        self.sums.leg_round_trip.add(nanos(sample.leg_round_trip));
        self.sums.jitter_ms.add(Some(sample.jitter_ms.into()));
        self.sums.loss_percent.add(Some(sample.loss_percent.into()));
    }

    /// How many reports had a score.
    pub const fn scores(&self) -> u64 {
        self.sums.mos.count
    }

    /// The mean of each figure over the reports that have it, as of the best one.
    pub fn average(&self) -> Sample {
        let Sums { mos, round_trip, leg_round_trip, jitter_ms, loss_percent } = self.sums;
        let rounded = mos.sum.saturating_add(mos.count / 2).checked_div(mos.count);
        Sample {
            mos: rounded.map(|mos| u8::try_from(mos).unwrap_or(45)),
            round_trip: round_trip.get().map(Duration::from_nanos),
            leg_round_trip: leg_round_trip.get().map(Duration::from_nanos),
            jitter_ms: u32::try_from(jitter_ms.get().unwrap_or(0)).unwrap_or(u32::MAX),
            loss_percent: u8::try_from(loss_percent.get().unwrap_or(0)).unwrap_or(100),
            at: self.highest.at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_and_jitter_have_extremes_also_where_there_is_no_score() {
        let start = Instant::now();
        let sample = |jitter_ms, loss_percent, second| Sample {
            mos: None,
            round_trip: None,
            leg_round_trip: None,
            jitter_ms,
            loss_percent,
            at: start + Duration::from_secs(second),
        };
        let reports = [(7, 0), (30, 2), (2, 40), (30, 1)];
        let first = sample(7, 0, 0);
        let mut quality = Quality::new(1, first);
        for (second, (jitter_ms, loss_percent)) in (0..).zip(reports) {
            quality.add(sample(jitter_ms, loss_percent, second), 0);
        }
        let told = |extremes: Extremes| (extremes.least, extremes.greatest, (extremes.greatest_at - start).as_secs());
        assert_eq!((told(quality.jitter_ms), told(quality.loss_percent)), ((2, 30, 1), (0, 40, 2)));
        let average = quality.average();
        assert_eq!((average.jitter_ms, average.loss_percent, average.mos), (17, 10, None));
    }
}
