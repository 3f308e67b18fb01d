//! The control plane: how many whole calls a relay sets up and ends for a second of processor time while many stand, how soon it replies, and
//! what a standing call costs, against rtpengine in the same run.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::go_on;
use crate::rig::caller::{Caller, Pace};
use crate::rig::proxied::{Proxied, Subject};
use crate::rounds::median;

/// How many calls of the caller are under way at once when it asks for as much as there is.
const WINDOW: usize = 32;

/// The rates at which both relays' replies are compared, in whole calls a second.
pub const RATES: [u32; 3] = [1_000, 3_000, 8_000];

/// What to measure.
#[derive(Clone, Debug)]
pub struct ControlPlan {
    /// How often each relay is measured; the medians count.
    pub rounds: usize,
    /// How long each measurement takes.
    pub time: Duration,
    /// How many calls stand meanwhile; with rtpengine, as many of them as its descriptors allow.
    pub standing: usize,
    /// At which rates replies are compared.
    pub rates: Vec<u32>,
}

impl ControlPlan {
    /// A short form: whether everything works, not how fast.
    pub fn smoke() -> Self {
        Self { rounds: 1, time: Duration::from_millis(200), standing: 200, rates: vec![100] }
    }
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
    /// At the same rates for both relays, as far as each can keep up.
    pub at_rates: Vec<AtRate>,
}

/// Replies at a rate that was asked for; medians of the rounds.
#[derive(Clone, Debug, Serialize)]
pub struct AtRate {
    /// Whole calls a second that were asked for.
    pub asked: u32,
    /// Those that were made.
    pub calls_per_second: f64,
    /// How soon the replies came.
    pub reply_us: ReplyTimes,
}

/// Microseconds from a request to its reply.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ReplyTimes {
    /// The median.
    pub p50: f64,
    /// What one in a hundred exceeds.
    pub p99: f64,
    /// What none exceeds.
    pub most: f64,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Control {
    /// Ours first.
    pub rows: Vec<ControlRow>,
}

impl Control {
    /// Fails unless every request of ours got its reply.
    ///
    /// # Errors
    /// When some did not.
    pub fn check(&self) -> anyhow::Result<()> {
        let ours = self.rows.first().context("nothing was measured")?;
        ensure!(ours.lost == 0 && ours.calls_per_second > 0.0, "{ours:?}");
        Ok(())
    }
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
    latest: Vec<f64>,
    lost: usize,
    /// For each rate, what the rounds came to.
    at_rates: Vec<(u32, Vec<Paced>)>,
}

/// Calls at a pace.
#[derive(Clone, Copy, Debug)]
struct Paced {
    calls_per_second: f64,
    reply_us: ReplyTimes,
}

/// Measures.
///
/// # Errors
/// When a relay does not start, or does not do as it should.
pub fn run(plan: &ControlPlan) -> anyhow::Result<Control> {
    // As on a host with systemd, where what is kept is in memory.
    let folder = tempfile::tempdir_in("/dev/shm").context("/dev/shm cannot be written")?;
    let mut lanes = Vec::new();
    for subject in [Subject::Intertrunk, Subject::Forgetful, Subject::Rtpengine] {
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
            latest: Vec::new(),
            lost: 0,
            at_rates: plan.rates.iter().map(|rate| (*rate, Vec::new())).collect(),
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
    Ok(Control { rows: lanes.into_iter().map(Lane::row).collect::<anyhow::Result<_>>()? })
}

impl Lane {
    fn round(&mut self, time: Duration) -> anyhow::Result<()> {
        let before = self.relay.worked()?;
        let all = self.caller.churn(Pace::All(WINDOW), time);
        let all = all.with_context(|| format!("{} as fast as it can", self.relay.name()))?;
        let worked = self.relay.worked()?.saturating_sub(before);
        ensure!(all.calls > 0 && !worked.is_zero(), "{} has done no call", self.relay.name());
        let rate = all.calls as f64 / all.took.as_secs_f64();
        self.per_cpu_second.push(all.calls as f64 / worked.as_secs_f64());
        self.per_second.push(rate);
        self.lost += all.lost;
        let half = self.pace(rate / 2.0, time)?;
        self.median.push(half.reply_us.p50);
        self.worst.push(half.reply_us.p99);
        self.latest.push(half.reply_us.most);
        for place in 0..self.at_rates.len() {
            let Some(asked) = self.at_rates.get(place).map(|(asked, _)| *asked) else { break };
            // What it cannot keep up with would only pile up.
            if f64::from(asked) > 0.7 * rate {
                break;
            }
            let paced = self.pace(f64::from(asked), time)?;
            if let Some((_, rounds)) = self.at_rates.get_mut(place) {
                rounds.push(paced);
            }
        }
        Ok(())
    }

    /// Makes calls at a pace. What the relay cannot keep up with is late, and not lost.
    fn pace(&mut self, per_second: f64, time: Duration) -> anyhow::Result<Paced> {
        let paced = self.caller.churn(Pace::PerSecond(per_second), time);
        let mut churned = paced.with_context(|| format!("{} at {per_second:.0} calls a second", self.relay.name()))?;
        churned.replies.sort_unstable();
        let replies = &churned.replies;
        let at = |share: f64| replies.get(((replies.len().max(1) - 1) as f64 * share) as usize).copied();
        let us = |share| at(share).map(|nanos| f64::from(nanos) / 1000.0).context("no replies");
        self.lost += churned.lost;
        Ok(Paced {
            calls_per_second: churned.calls as f64 / churned.took.as_secs_f64(),
            reply_us: ReplyTimes { p50: us(0.5)?, p99: us(0.99)?, most: us(1.0)? },
        })
    }

    fn row(self) -> anyhow::Result<ControlRow> {
        let at_rates = self.at_rates.iter().filter(|(_, rounds)| !rounds.is_empty());
        let at_rates = at_rates.map(|(asked, rounds)| at_rate(*asked, rounds)).collect::<anyhow::Result<_>>()?;
        Ok(ControlRow {
            relay: self.relay.name(),
            standing_calls: self.standing,
            calls_per_cpu_second: median(self.per_cpu_second)?,
            calls_per_second: median(self.per_second)?,
            reply_us: ReplyTimes { p50: median(self.median)?, p99: median(self.worst)?, most: median(self.latest)? },
            bytes_per_call: self.bytes_per_call,
            lost: self.lost,
            at_rates,
        })
    }
}

fn at_rate(asked: u32, rounds: &[Paced]) -> anyhow::Result<AtRate> {
    let of = |value: fn(&Paced) -> f64| median(rounds.iter().map(value));
    Ok(AtRate {
        asked,
        calls_per_second: of(|paced| paced.calls_per_second)?,
        reply_us: ReplyTimes {
            p50: of(|paced| paced.reply_us.p50)?,
            p99: of(|paced| paced.reply_us.p99)?,
            most: of(|paced| paced.reply_us.most)?,
        },
    })
}
