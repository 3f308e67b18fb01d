//! The relay as a whole.

use std::net::IpAddr;
use std::time::Duration;

use border::{Counts, PortUsage, Quality};

use super::histogram::Histogram;

/// How a call came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The proxy deleted it.
    Regular,
    /// An answered call without packets.
    Timeout,
    /// The same, but on hold.
    SilentTimeout,
    /// It lasted as long as a call may.
    FinalTimeout,
    /// Nobody answered it.
    OfferTimeout,
    /// The operator ended it.
    Forced,
}

impl End {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Regular, Self::Timeout, Self::SilentTimeout, Self::FinalTimeout, Self::OfferTimeout, Self::Forced];

    /// For the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Regular => "deleted",
            Self::Timeout => "no media",
            Self::SilentTimeout => "no media while on hold",
            Self::FinalTimeout => "as long as a call may last",
            Self::OfferTimeout => "no answer",
            Self::Forced => "ended by the operator",
        }
    }

    /// In one word, for whoever counts them.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Regular => "deleted",
            Self::Timeout => "timeout",
            Self::SilentTimeout => "silent-timeout",
            Self::FinalTimeout => "final-timeout",
            Self::OfferTimeout => "offer-timeout",
            Self::Forced => "terminated",
        }
    }
}

/// How busy the host and the relay are.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Load {
    /// The load average over one minute.
    pub average: f64,
    /// How busy the processors were in the last second, in percent.
    pub cpu: f64,
    /// Bytes of media in the last second.
    pub bandwidth: u64,
}

/// How the relay as a whole is doing.
#[derive(Clone, PartialEq, Debug)]
pub struct RelayAccount {
    /// Since it was started.
    pub uptime: Duration,
    /// Calls that there are.
    pub calls: usize,
    /// How busy the host is.
    pub load: Load,
    /// Calls that have come to be.
    pub created: u64,
    /// No new calls are taken.
    pub is_draining: bool,
    /// Calls that were refused because of a limit.
    pub rejected: u64,
    /// Calls that ended.
    pub ended: Ended,
    /// How their parties received.
    pub quality: QualityAccount,
    /// RTP packets of ended calls that never arrived.
    pub lost: i64,
    /// The last whole minute.
    pub minute: MinuteAccount,
    /// The ports of each interface.
    pub ports: Vec<PortAccount>,
    /// What the data plane has counted.
    pub counts: Counts,
}

/// Calls that ended.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ended {
    /// How many, by the way they ended.
    pub by: [u64; End::ALL.len()],
    /// How long they lasted.
    pub lasted: Lasted,
    /// RTP sources without a packet, of calls that had none at all.
    pub zero_way: u64,
    /// RTP sources without a packet, of calls that had some.
    pub one_way: u64,
    /// Those of them that were answered.
    pub answered: Answered,
}

/// Calls that were answered, and have ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Answered {
    /// How many.
    pub ended: u64,
    /// In which nobody was heard.
    pub unheard: u64,
    /// In which somebody was heard, and another one was not.
    pub one_way: u64,
}

/// How parties of ended calls received, by their own reports: a value for each that reported, the mean over its call.
#[derive(Clone, PartialEq, Debug)]
pub struct QualityAccount {
    /// Scores (MOS), 1.0 to 4.5.
    pub mos: Histogram,
    /// Jitter in seconds.
    pub jitter: Histogram,
    /// Share of lost packets, 0 to 1, by whole percents.
    pub loss: Histogram,
    /// From party to party and back, in seconds.
    pub round_trip: Histogram,
    /// The same from the relay to the party.
    pub leg_round_trip: Histogram,
}

impl Default for QualityAccount {
    fn default() -> Self {
        const TIMES: &[f64] = &[0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0];
        Self {
            mos: Histogram::new(&[1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.3]),
            jitter: Histogram::new(&[0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2]),
            loss: Histogram::new(&[0.0, 0.01, 0.02, 0.05, 0.1, 0.2]),
            round_trip: Histogram::new(TIMES),
            leg_round_trip: Histogram::new(TIMES),
        }
    }
}

impl QualityAccount {
    /// One more party.
    pub(crate) fn add(&mut self, quality: &Quality) {
        let average = quality.average();
        if let Some(mos) = average.mos {
            self.mos.add(f64::from(mos) / 10.0);
        }
        self.jitter.add(f64::from(average.jitter_ms) / 1000.0);
        self.loss.add(f64::from(average.loss_percent) / 100.0);
        for (histogram, time) in
            [(&mut self.round_trip, average.round_trip), (&mut self.leg_round_trip, average.leg_round_trip)]
        {
            if let Some(time) = time {
                histogram.add(time.as_secs_f64());
            }
        }
    }
}

/// Sums of seconds that calls lasted.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Lasted {
    /// Their sum.
    pub seconds: f64,
    /// The sum of their squares.
    pub squares: f64,
}

/// What is told of a minute.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MinuteAccount {
    /// The fewest calls that there were at once.
    pub fewest: usize,
    /// The most.
    pub most: usize,
    /// Seconds that the calls which ended in it had lasted together.
    pub duration: f64,
}

/// The ports of an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortAccount {
    /// The interface's name.
    pub name: String,
    /// Its address.
    pub addr: IpAddr,
    /// How much is in use.
    pub usage: PortUsage,
}
