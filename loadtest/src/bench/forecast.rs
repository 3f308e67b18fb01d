//! Whether `intertrunk plan` is right: what it says of so many calls, against what they are measured to take.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;

use super::go_on;
use super::lane::{Lane, LanePlan};
use super::subject::Subject;
use crate::rig::daemon::{Build, binary};
use crate::rig::process::run as run_program;
use crate::rounds::median;

/// Packets a second of a call, both ways.
const PER_CALL: u32 = 100;

/// How much is measured.
#[derive(Clone, Debug)]
pub struct ForecastPlan {
    /// The report that the plan is made from; what the daemon has in it unless told.
    pub measured: Option<PathBuf>,
    /// So many calls.
    pub sizes: Vec<u32>,
    /// Rounds of each; the median counts.
    pub rounds: usize,
    /// Time for each.
    pub time: Duration,
}

impl Default for ForecastPlan {
    fn default() -> Self {
        Self { measured: None, sizes: vec![750, 1500, 2500], rounds: 5, time: Duration::from_millis(500) }
    }
}

impl ForecastPlan {
    /// A short form: whether it works.
    pub fn smoke() -> Self {
        Self { sizes: vec![10], rounds: 1, time: Duration::from_millis(100), ..Self::default() }
    }
}

/// One size of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct ForecastRow {
    /// What carries the calls.
    pub kind: &'static str,
    /// How many calls.
    pub calls: u32,
    /// The share of a processor that the plan says.
    pub planned: f64,
    /// The one that was measured.
    pub measured: f64,
}

/// How calls are carried, as the plan is told, and where it says what that takes.
const KINDS: [(&str, Subject, bool, [&str; 2], &str); 3] = [
    ("XDP", Subject::Fast, false, ["0", "0"], "/needs/fast/busy"),
    ("AF_XDP", Subject::Xsk, false, ["0", "100"], "/needs/worker/busy"),
    ("AF_XDP, SRTP", Subject::Xsk, true, ["100", "0"], "/needs/secured/busy"),
];

/// Measures everything.
///
/// # Errors
/// When the rig cannot be built, or the plan not be made.
pub fn run(plan: &ForecastPlan) -> anyhow::Result<Vec<ForecastRow>> {
    let folder = tempfile::tempdir()?;
    let cells = KINDS.iter().flat_map(|kind| plan.sizes.iter().map(move |calls| (kind, *calls)));
    // What cannot be planned with is known before anything is measured.
    let mut cells = cells
        .map(|(kind, calls)| {
            let (name, _, _, shares, pointer) = *kind;
            let planned = planned(plan.measured.as_deref(), calls, shares, pointer)?;
            Ok((kind, ForecastRow { kind: name, calls, planned, measured: 0.0 }, Vec::new()))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    for round in 1..=plan.rounds {
        for ((name, subject, is_secured, ..), row, rounds) in &mut cells {
            let calls = row.calls;
            let busy = busy(*subject, *is_secured, calls, plan.time, folder.path());
            let busy = busy.with_context(|| format!("{calls} calls by {name}"))?;
            eprintln!("round {round}: {calls} calls by {name}: {:.1} % of a processor", 100.0 * busy);
            rounds.push(busy);
        }
    }
    cells.into_iter().map(|(_, row, rounds)| Ok(ForecastRow { measured: median(rounds)?, ..row })).collect()
}

/// The share of a processor that calls take.
fn busy(subject: Subject, is_secured: bool, calls: u32, time: Duration, folder: &Path) -> anyhow::Result<f64> {
    go_on()?;
    let plan = LanePlan { subject, flows: 2 * calls, is_secured, has_reports: false, build: Build::default() };
    let mut lane = Lane::new(plan, folder)?;
    lane.pace(PER_CALL * calls, time / 2)?;
    let passed = lane.pace(PER_CALL * calls, time)?;
    anyhow::ensure!(
        passed.loss() < 0.01,
        "{} of {} packets were lost: more than this machine carries, or somebody else is at work on it",
        passed.sent - passed.arrived,
        passed.sent
    );
    Ok(passed.busy.as_secs_f64() / passed.time.as_secs_f64())
}

/// The one that the plan says.
fn planned(report: Option<&Path>, calls: u32, [secured, by_worker]: [&str; 2], pointer: &str) -> anyhow::Result<f64> {
    let mut command = Command::new(binary()?);
    // One processor, however full it is.
    command.args([
        "plan",
        "--json",
        "--load",
        "100",
        "--calls",
        &calls.to_string(),
        "--srtp",
        secured,
        "--workers",
        by_worker,
    ]);
    if let Some(report) = report {
        command.arg("--measured").arg(report);
    }
    let told: Value = serde_json::from_str(&run_program(command)?)?;
    told.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("no {pointer} in {told}"))
}
