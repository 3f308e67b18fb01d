//! The comparison: everything that carries packets between two hosts, with the same calls, streams and frames, in turns on one machine; and what commands
//! cost those that are commanded.
//!
//! ```text
//! carriers (lanes of bench) + commanded (bench control) + circumstances -> result -> page, Markdown
//! ```

use std::time::{Duration, Instant};

use crate::bench::control::{self, ControlPlan};
use crate::compare::result::{Commanded, Comparison};

mod carriers;
mod circumstances;
mod figures;
pub mod page;
mod plots;
pub mod result;

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rounds; each measures everything once, and medians are reported.
    pub rounds: usize,
    /// Time for each measurement.
    pub time: Duration,
    /// Over how many streams the cost of a packet is measured. What else is measured, is over [`Plan::usual`].
    pub streams: Vec<u32>,
    /// At how many thousands of packets a second.
    pub kpps: u32,
    /// How the highest pace is looked for: by steps of these factors, each finer than the one before.
    pub steps: Vec<f64>,
    /// How long packets are sent while a relay is killed and started again.
    pub kill: Duration,
    /// Only these, by name; empty: all.
    pub only: Vec<String>,
    /// What is measured of commands.
    pub control: ControlPlan,
    /// It is a short form, whose figures are not for quoting.
    pub is_quick: bool,
}

impl Plan {
    /// All of it.
    pub fn full() -> Self {
        let control = ControlPlan { rounds: 3, time: Duration::from_secs(2), standing: 1500, rates: Vec::new() };
        Self {
            rounds: 3,
            time: Duration::from_millis(500),
            streams: vec![100, 1000, 8000],
            kpps: 50,
            steps: vec![2.0, 1.2, 1.05],
            kill: Duration::from_secs(3),
            only: Vec::new(),
            control,
            is_quick: false,
        }
    }

    /// In minutes: one short round of everything.
    pub fn quick() -> Self {
        Self {
            rounds: 1,
            time: Duration::from_millis(200),
            streams: vec![100, 1000],
            steps: vec![2.0, 1.25],
            kill: Duration::from_millis(1500),
            control: ControlPlan { rounds: 1, time: Duration::from_millis(500), standing: 1500, rates: Vec::new() },
            is_quick: true,
            ..Self::full()
        }
    }

    /// In seconds: whether everything works.
    pub fn smoke() -> Self {
        Self {
            time: Duration::from_millis(100),
            streams: vec![20],
            kpps: 5,
            // Only down, if at all.
            steps: Vec::new(),
            kill: Duration::from_millis(400),
            control: ControlPlan::smoke(),
            ..Self::quick()
        }
    }

    /// Over how many streams what is not the cost by streams is measured.
    fn usual(&self) -> u32 {
        self.streams.get(self.streams.len() / 2).copied().unwrap_or(1000)
    }
}

/// Measures everything. `command`: how that was asked for.
///
/// # Errors
/// When the rig cannot be built, or a relay ends.
pub fn run(plan: &Plan, command: String) -> anyhow::Result<Comparison> {
    let start = Instant::now();
    let (rows, left_out) = carriers::measure(plan)?;
    let commanded = commanded(plan)?;
    let circumstances = circumstances::of(plan, &rows, command, start.elapsed())?;
    Ok(Comparison { circumstances, rows, commanded, left_out })
}

fn commanded(plan: &Plan) -> anyhow::Result<Vec<Commanded>> {
    if !plan.only.is_empty() {
        return Ok(Vec::new());
    }
    let result = control::run(&plan.control)?;
    // What the journal costs is told by the bench, and nobody else has one.
    let rows = result.rows.into_iter().filter(|row| row.relay != "forgetful");
    let told = rows.map(|row| Commanded {
        name: row.relay.to_owned(),
        standing: row.standing_calls,
        calls_per_second: row.calls_per_second,
        calls_per_cpu_second: row.calls_per_cpu_second,
        reply_us: [row.reply_us.p50, row.reply_us.p99],
        bytes_per_call: row.bytes_per_call,
    });
    Ok(told.collect())
}

impl Comparison {
    /// Fails unless what was sent at a leisurely pace arrived, by every one of ours, and calls outlived a kill.
    ///
    /// # Errors
    /// When not.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.rows.is_empty(), "nothing was measured");
        for row in self.rows.iter().filter(|row| row.name.starts_with("intertrunk")) {
            anyhow::ensure!(row.costs.iter().all(|cost| cost.loss < 0.01), "packets were lost: {row:?}");
            anyhow::ensure!(row.killed.is_some_and(|gap| gap.millis.is_some()), "the calls are gone: {row:?}");
        }
        Ok(())
    }
}
