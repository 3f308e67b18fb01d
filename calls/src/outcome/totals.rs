//! The relay as a whole.

use std::net::IpAddr;
use std::time::Duration;

use border::{Counts, PortUsage};

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
