//! `intertrunk top`: the relay and its worst calls, again and again.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::calls::line;
use super::paint::Paint;
use super::{Which, relay, tell_json};
use crate::console::{Client, Request};
use crate::view::{RelayView, Summary, badness};

/// How many calls are told.
const WORST: usize = 15;

/// Shows how the relay is doing, and the calls that fare worst, again and again.
#[derive(Debug, clap::Args)]
pub struct Top {
    #[command(flatten)]
    which: Which,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = interval)]
    interval: f64,
    /// So many looks, and no more
    #[arg(long, value_name = "N")]
    looks: Option<u64>,
}

fn interval(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text} is no number of seconds"))?;
    if (0.2..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("want 0.2 to 3600 seconds".to_owned()) }
}

impl Top {
    /// Looks and tells, until it is interrupted.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn run(self) -> anyhow::Result<()> {
        let (paint, is_terminal) = (Paint::of_output(), io::stdout().is_terminal());
        let mut before: Option<(Instant, BTreeMap<String, Duration>)> = None;
        for look in 0.. {
            if self.looks.is_some_and(|looks| look >= looks) {
                break;
            }
            if look > 0 {
                std::thread::sleep(Duration::from_secs_f64(self.interval));
            }
            // The daemon hangs up on who is silent for long.
            let mut client = self.which.connect()?;
            let stats: Value = client.ask(&Request::Stats)?;
            let mut calls: Vec<Summary> = Vec::new();
            let _end: Value = client.ask_each(&Request::List { limit: None, troubled: false }, |call: Summary| {
                keep_worst(&mut calls, call);
                Ok(())
            })?;
            let (now, threads) = (Instant::now(), threads(&client));
            let busy = before.as_ref().map_or_else(BTreeMap::new, |(at, before)| busy(&threads, before, now - *at));
            before = Some((now, threads));
            if self.which.json {
                tell_json(&serde_json::json!({"stats": stats, "worst": calls, "busy": busy}))?;
                continue;
            }
            let stats: RelayView = serde_json::from_value(stats)?;
            let mut out = String::new();
            if is_terminal {
                out += "\x1b[H\x1b[2J";
            }
            out += &relay::text(&stats, paint);
            let busy: Vec<_> = busy.iter().map(|(name, share)| format!("{name} {:.0} %", 100.0 * share)).collect();
            if !busy.is_empty() {
                out += &format!("threads   {}\n", busy.join(", "));
            }
            out += &format!("\n{}\n", paint.head("the calls that fare worst"));
            for call in &calls {
                out += &format!("{}\n", line(call, paint));
            }
            io::stdout().lock().write_all(out.as_bytes())?;
        }
        Ok(())
    }
}

/// Keeps the worst, the worst first.
fn keep_worst(worst: &mut Vec<Summary>, call: Summary) {
    let place = worst.partition_point(|other| badness(other) >= badness(&call));
    worst.insert(place, call);
    worst.truncate(WORST);
}

/// How long each of the daemon's threads has been at work, as far as this user may know.
fn threads(client: &Client) -> BTreeMap<String, Duration> {
    let mut found = BTreeMap::new();
    let tasks = client.daemon().map(|pid| format!("/proc/{pid}/task")).and_then(|path| std::fs::read_dir(path).ok());
    for task in tasks.into_iter().flatten().flatten() {
        let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let worked = read("schedstat").split(' ').next().and_then(|time| time.parse().ok()).map(Duration::from_nanos);
        if let Some(worked) = worked {
            *found.entry(read("comm").trim().to_owned()).or_default() += worked;
        }
    }
    found
}

/// How busy each has been since then.
fn busy(
    now: &BTreeMap<String, Duration>,
    before: &BTreeMap<String, Duration>,
    since: Duration,
) -> BTreeMap<String, f64> {
    let share = |(name, worked): (&String, &Duration)| {
        let worked = worked.saturating_sub(*before.get(name)?);
        Some((name.clone(), worked.as_secs_f64() / since.as_secs_f64().max(0.001)))
    };
    now.iter().filter_map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Trouble;

    fn call(call_id: &str, mos: Option<f64>, lost: i64, is_silent: bool) -> Summary {
        Summary {
            call_id: call_id.to_owned(),
            created: 0.0,
            age: 0.0,
            legs: 2,
            path: "fast".to_owned(),
            reasons: Vec::new(),
            packets: 100,
            errors: 0,
            lost,
            mos,
            idle: None,
            troubles: if is_silent { vec![Trouble::Silent] } else { Vec::new() },
        }
    }

    #[test]
    fn the_worst_calls_come_first_and_the_others_are_left_out() {
        let mut worst = Vec::new();
        for number in 0..WORST as i64 {
            keep_worst(&mut worst, call("good", Some(4.4), number, false));
        }
        keep_worst(&mut worst, call("scored", Some(2.1), 0, false));
        keep_worst(&mut worst, call("silent", None, 0, true));
        keep_worst(&mut worst, call("perfect", Some(4.5), 0, false));
        let ids: Vec<_> = worst.iter().map(|call| &*call.call_id).collect();
        assert_eq!((ids.len(), &ids[..3]), (WORST, &["silent", "scored", "good"][..]));
        assert!(!ids.contains(&"perfect"));
    }
}
