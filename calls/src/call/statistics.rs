//! What the relay as a whole has done, as `statistics` tells it.

use std::time::{Duration, Instant};

use border::{Counts, Meter, Reason, Traffic, Turns};

use super::account::Account;
use super::calls::Calls;
use super::settings::Load;
use crate::ng::{Dict, Value};
use crate::reply::Reply;

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
}

impl End {
    /// All of them.
    pub(super) const ALL: [Self; 5] =
        [Self::Regular, Self::Timeout, Self::SilentTimeout, Self::FinalTimeout, Self::OfferTimeout];

    /// For the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Regular => "deleted",
            Self::Timeout => "no media",
            Self::SilentTimeout => "no media while on hold",
            Self::FinalTimeout => "as long as a call may last",
            Self::OfferTimeout => "no answer",
        }
    }

    /// In replies.
    const fn key(self) -> &'static str {
        match self {
            Self::Regular => "regularterminatedsessions",
            Self::Timeout => "timeoutsessions",
            Self::SilentTimeout => "silenttimeoutsessions",
            Self::FinalTimeout => "finaltimeoutsessions",
            Self::OfferTimeout => "offertimeoutsessions",
        }
    }
}

/// Sums since the start, and of the last minute.
#[derive(Debug)]
pub(super) struct Statistics {
    began: Instant,
    /// Calls that were created.
    pub(super) created: u64,
    /// Calls that were refused because of a limit.
    pub(super) rejected: u64,
    ended: [u64; End::ALL.len()],
    /// Seconds that all ended calls lasted together, and their squares.
    duration: f64,
    duration2: f64,
    zero_way: u64,
    one_way: u64,
    minute: Minute,
    last_minute: Minute,
    since: Instant,
}

/// What is told of a minute.
#[derive(Clone, Copy, Debug)]
struct Minute {
    fewest: usize,
    most: usize,
    duration: f64,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Minute {
    const fn new(calls: usize) -> Self {
        Self { fewest: calls, most: calls, duration: 0.0 }
    }
}

impl Statistics {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            began: now,
            created: 0,
            rejected: 0,
            ended: [0; End::ALL.len()],
            duration: 0.0,
            duration2: 0.0,
            zero_way: 0,
            one_way: 0,
            minute: Minute::new(0),
            last_minute: Minute::new(0),
            since: now,
        }
    }

    /// A call has ended; so many are left.
    pub(super) fn end(&mut self, why: End, account: &Account, lasted: Duration, left: usize) {
        let ends = End::ALL.iter().zip(&mut self.ended).find(|(end, _)| **end == why);
        if let Some((_, count)) = ends {
            *count += 1;
        }
        let lasted = lasted.as_secs_f64();
        self.duration += lasted;
        self.duration2 += lasted * lasted;
        self.minute.duration += lasted;
        self.minute.fewest = self.minute.fewest.min(left);
        self.zero_way += account.silent_streams();
        self.one_way += account.one_way_streams();
    }

    /// Once a second.
    pub(super) fn tick(&mut self, calls: usize, now: Instant) {
        self.minute.fewest = self.minute.fewest.min(calls);
        self.minute.most = self.minute.most.max(calls);
        if now.saturating_duration_since(self.since) >= MINUTE {
            self.since = now;
            self.last_minute = std::mem::replace(&mut self.minute, Minute::new(calls));
        }
    }

    fn total(&self, now: Instant, traffic: &Traffic) -> Dict<'static> {
        let ended: u64 = self.ended.iter().sum();
        let average = if ended == 0 { 0.0 } else { self.duration / ended as f64 };
        let variance = if ended == 0 { 0.0 } else { (self.duration2 / ended as f64 - average * average).max(0.0) };
        let uptime = now.saturating_duration_since(self.began).as_secs();
        let mut dict = Dict::new()
            .with("uptime", uptime.to_string())
            .with("managedsessions", Value::count(ended))
            .with("rejectedsessions", Value::count(self.rejected));
        for (end, count) in End::ALL.into_iter().zip(self.ended) {
            dict.push(end.key().as_bytes(), Value::count(count));
        }
        // A client of the protocol cannot end a call otherwise than regularly.
        dict.push(&b"forcedterminatedsessions"[..], 0);
        let (slow, fast) = (&traffic.slow, &traffic.fast);
        dict.with("relayedpackets_user", Value::count(slow.packets))
            .with("relayedpacketerrors_user", Value::count(traffic.errors))
            .with("relayedbytes_user", Value::count(slow.bytes))
            .with("relayedpackets_kernel", Value::count(fast.packets))
            .with("relayedpacketerrors_kernel", 0)
            .with("relayedbytes_kernel", Value::count(fast.bytes))
            .with("relayedpackets", Value::count(slow.packets + fast.packets))
            .with("relayedpacketerrors", Value::count(traffic.errors))
            .with("relayedbytes", Value::count(slow.bytes + fast.bytes))
            .with("zerowaystreams", Value::count(self.zero_way))
            .with("onewaystreams", Value::count(self.one_way))
            .with("avgcallduration", seconds(average))
            .with("totalcallsduration", seconds(self.duration))
            .with("totalcallsduration2", seconds(self.duration2))
            .with("totalcallsduration_stddev", seconds(variance.sqrt()))
    }

    fn interval(&self) -> Dict<'static> {
        let Minute { fewest, most, duration } = self.last_minute;
        Dict::new()
            .with("totalcallsduration", seconds(duration))
            .with("minmanagedsessions", Value::count(fewest as u64))
            .with("maxmanagedsessions", Value::count(most as u64))
    }
}

impl Calls {
    /// Everything about the relay as a whole.
    pub(super) fn statistics(&self, now: Instant, meter: &dyn Meter) -> Reply {
        let Counts { program, workers, fast_path: Turns { lost, regained }, traffic } = meter.counts();
        let reasons = Dict::new().with("program", by_reason(&program)).with("workers", by_reason(&workers));
        let fast_path = Dict::new().with("lost", Value::count(lost)).with("regained", Value::count(regained));
        let statistics = Dict::new()
            .with("currentstatistics", self.current(&traffic))
            .with("totalstatistics", self.statistics.total(now, &traffic))
            .with("intervalstatistics", self.statistics.interval())
            .with("interfaces", Value::List(self.interfaces_in_use().collect()))
            .with("reasons", reasons)
            .with("fast path", fast_path);
        Reply::Ok(Dict::new().with("statistics", statistics))
    }

    fn current(&self, traffic: &Traffic) -> Dict<'static> {
        let sessions = Value::count(self.calls.len() as u64);
        let (slow, fast) = (&traffic.slow_rate, &traffic.fast_rate);
        let Load { average, cpu, bandwidth } = self.load;
        Dict::new()
            .with("sessionsown", sessions.clone())
            .with("sessionsforeign", 0)
            .with("sessionstotal", sessions)
            .with("transcodedmedia", 0)
            .with("packetrate_user", Value::count(slow.packets))
            .with("byterate_user", Value::count(slow.bytes))
            .with("errorrate_user", Value::count(traffic.error_rate))
            .with("packetrate_kernel", Value::count(fast.packets))
            .with("byterate_kernel", Value::count(fast.bytes))
            .with("errorrate_kernel", 0)
            .with("packetrate", Value::count(slow.packets + fast.packets))
            .with("byterate", Value::count(slow.bytes + fast.bytes))
            .with("errorrate", Value::count(traffic.error_rate))
            .with("load average", format!("{average:.2}"))
            .with("cpu percent", format!("{cpu:.1}"))
            .with("bandwidth", Value::count(bandwidth))
    }

    fn interfaces_in_use(&self) -> impl Iterator<Item = Value<'static>> {
        self.interfaces.iter().zip(self.ports.usage()).map(|(interface, usage)| {
            let percent = 100.0 * usage.used as f64 / usage.all.max(1) as f64;
            let ports = Dict::new()
                .with("min", i64::from(usage.first))
                .with("max", i64::from(usage.last))
                .with("used", Value::count(2 * usage.used as u64))
                .with("used_pct", format!("{percent:.2}"))
                .with("free", Value::count(2 * usage.free as u64))
                .with("totals", Value::count(2 * usage.all as u64));
            Value::Dict(
                Dict::new()
                    .with("name", interface.name.clone())
                    .with("address", interface.addr.to_string())
                    .with("ports", ports),
            )
        })
    }
}

/// Six digits after the point, as the names' readers expect.
fn seconds(seconds: f64) -> String {
    format!("{seconds:.6}")
}

/// The reasons that have occurred.
fn by_reason(counts: &[(Reason, u64)]) -> Dict<'static> {
    let mut dict = Dict::new();
    for (reason, count) in counts.iter().filter(|(_, count)| *count > 0) {
        dict.push(reason.name().as_bytes(), Value::count(*count));
    }
    dict
}
