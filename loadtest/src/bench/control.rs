//! The control plane: how many whole calls a relay sets up and ends for a second of processor time while many stand, how soon it replies, and
//! what a standing call costs, against rtpengine in the same run.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use self::caller::{Caller, Pace};
use self::proxied::{Proxied, Subject};
use super::go_on;

mod caller;
mod proxied;

/// How many calls of the caller are under way at once when it asks for as much as there is.
const WINDOW: usize = 32;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct ControlPlan {
    /// How often each relay is measured; the medians count.
    pub rounds: usize,
    /// How long each measurement takes.
    pub time: Duration,
    /// How many calls stand meanwhile; with rtpengine, as many of them as its descriptors allow.
    pub standing: usize,
}

/// One relay.
#[derive(Clone, Debug, Serialize)]
pub struct ControlRow {
    /// `intertrunk` or `rtpengine`.
    pub relay: &'static str,
    /// How many calls stood.
    pub standing_calls: usize,
    /// Whole calls (offer, answer, delete) for a second of the daemon's processor time.
    pub calls_per_cpu_second: f64,
    /// Whole calls in a second, as fast as one processor does them.
    pub calls_per_second: f64,
    /// At half of that.
    pub reply_us: ReplyTimes,
    /// Resident memory of the daemon for each standing call.
    pub bytes_per_call: u64,
    /// Requests that got no reply within a second, in all rounds.
    pub lost: usize,
}

/// Microseconds from a request to its reply.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ReplyTimes {
    /// The median.
    pub p50: f64,
    /// What one in a hundred exceeds.
    pub p99: f64,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Control {
    /// Ours first.
    pub rows: Vec<ControlRow>,
}

/// What the rounds of one relay came to.
struct Lane {
    relay: Proxied,
    caller: Caller,
    standing: usize,
    bytes_per_call: u64,
    per_cpu_second: Vec<f64>,
    per_second: Vec<f64>,
    median: Vec<f64>,
    worst: Vec<f64>,
    lost: usize,
}

/// Measures.
///
/// # Errors
/// When a relay does not start, or does not do as it should.
pub fn run(plan: &ControlPlan) -> anyhow::Result<Control> {
    let folder = tempfile::tempdir()?;
    let mut lanes = Vec::new();
    for subject in [Subject::Intertrunk, Subject::Rtpengine] {
        let relay = Proxied::start(subject, folder.path())?;
        let mut caller = Caller::on(relay.host())?;
        // What the first calls make the relay allocate is not theirs.
        caller.churn(Pace::All(WINDOW), Duration::from_millis(300))?;
        let before = relay.memory()?;
        let standing = plan.standing.min(subject.most_calls()?);
        eprintln!("{}: {standing} calls", subject.name());
        caller.stand(standing, WINDOW)?;
        let bytes_per_call = relay.memory()?.saturating_sub(before) / standing.max(1) as u64;
        relay.hold(true)?;
        lanes.push(Lane {
            relay,
            caller,
            standing,
            bytes_per_call,
            per_cpu_second: Vec::new(),
            per_second: Vec::new(),
            median: Vec::new(),
            worst: Vec::new(),
            lost: 0,
        });
    }
    for round in 1..=plan.rounds {
        for lane in &mut lanes {
            go_on()?;
            lane.relay.hold(false)?;
            lane.round(plan.time)?;
            lane.relay.hold(true)?;
            eprintln!(
                "round {round}: {}: {:.0} calls for a second of its time",
                lane.relay.name(),
                lane.per_cpu_second.last().copied().unwrap_or(0.0)
            );
        }
    }
    Ok(Control { rows: lanes.into_iter().map(Lane::row).collect() })
}

impl Lane {
    fn round(&mut self, time: Duration) -> anyhow::Result<()> {
        let before = self.relay.worked()?;
        let all = self.caller.churn(Pace::All(WINDOW), time)?;
        let worked = self.relay.worked()?.saturating_sub(before);
        ensure!(all.calls > 0 && !worked.is_zero(), "{} has done no call", self.relay.name());
        let rate = all.calls as f64 / all.took.as_secs_f64();
        let mut half = self.caller.churn(Pace::PerSecond(rate / 2.0), time)?;
        self.per_cpu_second.push(all.calls as f64 / worked.as_secs_f64());
        self.per_second.push(rate);
        half.replies.sort_unstable();
        let at = |share: f64| half.replies.get(((half.replies.len() - 1) as f64 * share) as usize).copied();
        let times = at(0.5).zip(at(0.99)).context("no replies")?;
        self.median.push(f64::from(times.0) / 1000.0);
        self.worst.push(f64::from(times.1) / 1000.0);
        self.lost += all.lost + half.lost;
        Ok(())
    }

    fn row(self) -> ControlRow {
        ControlRow {
            relay: self.relay.name(),
            standing_calls: self.standing,
            calls_per_cpu_second: median(self.per_cpu_second),
            calls_per_second: median(self.per_second),
            reply_us: ReplyTimes { p50: median(self.median), p99: median(self.worst) },
            bytes_per_call: self.bytes_per_call,
            lost: self.lost,
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
