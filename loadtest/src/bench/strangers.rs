//! Calls under a flood from strangers: how many of the parties' packets are lost, against a program that sends everything back.

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use super::bed::{Action, Bed, Subject};
use super::flood::{Family, Rate};

/// The flows of the live calls, two for each.
const FLOWS: u32 = 200;
/// One frame of so many is a party's: with three million frames a second, 50 a second for each flow. A prime, so that all flows get some.
const EVERY: u64 = 307;

/// How long, and how often.
#[derive(Clone, Copy, Debug)]
pub struct StrangersPlan {
    /// Rounds; each measures both programs.
    pub rounds: usize,
    /// Time for each measurement.
    pub time: Duration,
}

impl StrangersPlan {
    /// A short form.
    pub const fn smoke() -> Self {
        Self { rounds: 1, time: Duration::from_millis(200) }
    }
}

impl Strangers {
    /// Fails unless nearly all of the parties' packets arrived.
    ///
    /// # Errors
    /// When they did not.
    pub fn check(&self) -> anyhow::Result<()> {
        for row in &self.rows {
            anyhow::ensure!(row.sent > 0 && row.lost * 20 <= row.sent, "of {row:?} packets were lost");
        }
        Ok(())
    }
}

/// One line of the result: sums over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct StrangersRow {
    /// `bare` or `intertrunk`.
    pub program: &'static str,
    /// Millions of strangers' packets a second.
    pub flood_mpps: f64,
    /// The parties' packets.
    pub sent: u64,
    /// Those of them that arrived.
    pub arrived: u64,
    /// Those that did not.
    pub lost: u64,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Strangers {
    /// The live calls.
    pub calls: u32,
    /// Both programs.
    pub rows: Vec<StrangersRow>,
    /// Strangers' packets that the relay dropped, by its own account; those before the measurements are among them.
    pub counted: u64,
}

/// Measures both programs.
///
/// # Errors
/// When the rig cannot be built, or the relay's account is too small.
pub fn run(plan: &StrangersPlan) -> anyhow::Result<Strangers> {
    let folder = tempfile::tempdir()?;
    let mut bed = Bed::new(Action::Tx, FLOWS, "sink_parties", folder.path())?;
    bed.set_up(Family::Ipv4)?;
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        for (name, subject, rates) in [("bare", Subject::Bare, &mut bare), ("intertrunk", Subject::Ours, &mut ours)] {
            let rate = bed.measure_strangers(subject, FLOWS, EVERY, plan.time)?;
            let mpps = rate.made as f64 / rate.time.as_secs_f64() / 1e6;
            eprintln!("round {round}: {name} under {mpps:.2} Mpps, {} of {} arrived", rate.arrived, rate.sent);
            rates.push(rate);
        }
    }
    let daemon = bed.stop()?;
    let log = daemon.log()?;
    let passed = log.iter().rev().find_map(|line| line.pointer("/fields/passed")?.as_str());
    let words = passed.context("the relay gave no account")?.split(' ');
    let counted = words.into_iter().find_map(|word| word.strip_prefix("stranger=")?.parse().ok()).unwrap_or(0);
    let strangers: u64 = ours.iter().map(|rate| rate.made - rate.sent).sum();
    anyhow::ensure!(counted >= strangers, "{strangers} packets of strangers, and the relay counted {counted}");
    Ok(Strangers { calls: FLOWS / 2, rows: vec![row("bare", &bare), row("intertrunk", &ours)], counted })
}

fn row(program: &'static str, rates: &[Rate]) -> StrangersRow {
    let sum = |of: fn(&Rate) -> u64| rates.iter().map(of).sum::<u64>();
    let (sent, arrived) = (sum(|rate| rate.sent), sum(|rate| rate.arrived));
    let seconds: f64 = rates.iter().map(|rate| rate.time.as_secs_f64()).sum();
    let flood_mpps = (sum(|rate| rate.made) - sent) as f64 / seconds / 1e6;
    StrangersRow { program, flood_mpps, sent, arrived, lost: sent.saturating_sub(arrived) }
}
