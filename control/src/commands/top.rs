//! `intertrunk top`: the relay and its worst calls, again and again.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::calls::line;
use super::paint::{Paint, count};
use super::{Which, relay, tell_json};
use crate::console::{Client, ClientError, OnPath, Request};
use crate::cpu_time::{Ticks, processors, threads};
use crate::view::{RelayView, Summary, badness};

/// How many processors are told: the busiest.
const CORES: usize = 8;
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
        let mut before: Option<AtWork> = None;
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
            let mut paths = OnPath::ALL.map(|path| (path.word(), 0_u64));
            let everything = Request::List { limit: None, troubled: false, path: Vec::new() };
            let _end: Value = client.ask_each(&everything, |call: Summary| {
                if let Some((_, count)) = paths.iter_mut().find(|(path, _)| *path == call.path) {
                    *count += 1;
                }
                keep_worst(&mut calls, call);
                Ok(())
            })?;
            let now = AtWork::now(&client);
            let busy = before.as_ref().map(|before| now.threads_since(before)).unwrap_or_default();
            let cores_busy = before.as_ref().map(|before| now.processors_since(before)).unwrap_or_default();
            if self.which.json {
                let paths: BTreeMap<_, _> = paths.into_iter().collect();
                let told = json!({"stats": stats, "paths": paths, "worst": calls, "busy": busy, "cores": cores_busy});
                tell_json(&told)?;
                before = Some(now);
                continue;
            }
            let stats: RelayView = serde_json::from_value(stats).map_err(ClientError::Answer)?;
            let mut out = String::new();
            if is_terminal {
                out += "\x1b[H\x1b[2J";
            }
            out += &relay::text(&stats, paint);
            let busy: Vec<_> = busy.iter().map(|(name, share)| format!("{name} {:.0} %", 100.0 * share)).collect();
            let by_path: Vec<_> = paths.iter().map(|(path, calls)| format!("{} {path}", count(*calls))).collect();
            out += &format!("by path   {}\n", by_path.join(", "));
            if !busy.is_empty() {
                out += &format!("threads   {}\n", busy.join(", "));
            }
            if !cores_busy.is_empty() {
                out += &format!("cores     {}\n", cores(&cores_busy));
            }
            before = Some(now);
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

/// What is known of who is at work.
struct AtWork {
    at: Instant,
    threads: BTreeMap<String, Duration>,
    processors: BTreeMap<u32, Ticks>,
}

impl AtWork {
    fn now(client: &Client) -> Self {
        let threads = client.daemon().map(|process| threads(&process.to_string())).unwrap_or_default();
        Self { at: Instant::now(), threads, processors: processors() }
    }

    /// The share of the time since then that each of the daemon's threads was at work.
    fn threads_since(&self, before: &Self) -> BTreeMap<&str, f64> {
        let since = (self.at - before.at).as_secs_f64().max(0.001);
        let mut shares = BTreeMap::new();
        for (name, worked) in &self.threads {
            if let Some(before) = before.threads.get(name) {
                shares.insert(name.as_str(), worked.saturating_sub(*before).as_secs_f64() / since);
            }
        }
        shares
    }

    /// The same of the host's processors, and what of it interrupts took, which is where XDP forwards.
    fn processors_since(&self, before: &Self) -> BTreeMap<u32, [f64; 2]> {
        let share = |(number, ticks): (&u32, &Ticks)| {
            let ticks = ticks.since(*before.processors.get(number)?);
            Some((*number, [ticks.share(ticks.busy), ticks.share(ticks.interrupts)]))
        };
        self.processors.iter().filter_map(share).collect()
    }
}

/// The busiest processors, in a line.
fn cores(shares: &BTreeMap<u32, [f64; 2]>) -> String {
    let mut busiest: Vec<_> = shares.iter().collect();
    busiest.sort_by(|(_, [one, _]), (_, [other, _])| other.total_cmp(one));
    busiest.truncate(CORES);
    busiest.sort_by_key(|(number, _)| **number);
    let told = busiest.into_iter().map(|(number, [busy, interrupts])| {
        format!("{number} {:.0} % ({:.0} % interrupts)", 100.0 * busy, 100.0 * interrupts)
    });
    let told = told.collect::<Vec<_>>().join(", ");
    if shares.len() > CORES { format!("{told}; the busiest of {}", shares.len()) } else { told }
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
    fn of_many_processors_the_busiest_are_told_in_their_order() {
        let shares = (0..20).map(|number| (number, [f64::from(number % 10) / 10.0, 0.1])).collect();
        let told = cores(&shares);
        assert!(told.starts_with("6 60 % (10 % interrupts), 7 70 %") && told.ends_with("the busiest of 20"), "{told}");
        assert_eq!(cores(&BTreeMap::from([(0, [0.25, 0.0])])), "0 25 % (0 % interrupts)");
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
