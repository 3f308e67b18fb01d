//! Two builds of the daemon against each other: whether the one costs more than the other, by ratios of what is measured right after each other.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use serde::Serialize;

use super::bed::{Action, Bed, Subject as OnBed};
use super::flood::Family;
use super::go_on;
use super::lane::{Lane, LanePlan};
use super::subject::Subject;
use crate::rig::caller::{Caller, Pace};
use crate::rig::daemon::Build;
use crate::rig::proxied::{self, Proxied};
use crate::rounds::median;

mod ratio;

pub use ratio::Ratio;

/// Packets a second at a worker: as many as any of them carries.
const PACE: u32 = 100_000;
/// Who loses a greater share did not do the work whose cost is asked for.
const LOSS: f64 = 0.1;
/// A virtual machine's host takes the processors away now and then, from whichever is measured just then; who loses packets in each try cannot keep up.
const TRIES: usize = 3;
/// Commands under way at once.
const WINDOW: usize = 32;
/// The two builds, for people.
const BASE: &str = "the base";
const THIS: &str = "this build";

/// How much is measured.
#[derive(Clone, Debug)]
pub struct GatePlan {
    /// What is compared with.
    pub base: Build,
    /// What is compared.
    pub this: Build,
    /// Flows of the fast path, and streams of a worker.
    pub flows: u32,
    /// Pairs of each measurement.
    pub rounds: usize,
    /// Time for each of a pair.
    pub time: Duration,
    /// By which share it may be slower, of which one is sure.
    pub bound: f64,
}

/// One of the measurements.
#[derive(Clone, Debug, Serialize)]
pub struct GateRow {
    /// What costs.
    pub what: &'static str,
    /// In which unit.
    pub unit: &'static str,
    /// The median of the base's costs.
    pub base: f64,
    /// The median of this build's.
    pub this: f64,
    /// Their ratio, pair by pair.
    pub ratio: Ratio,
    /// It is sure that it is slower by more than the bound.
    pub is_worse: bool,
    /// The measurements swing so much that twice the bound could hide in them.
    pub is_vague: bool,
}

/// What can be measured again and again.
trait Measured {
    /// What something costs now.
    fn cost(&mut self, time: Duration) -> anyhow::Result<f64>;

    /// Holds the daemon, or has it go on: both have one core, and what the one does by itself would be in the other's time.
    fn hold(&mut self, is_held: bool) -> anyhow::Result<()>;
}

/// The fast path, over so many flows.
struct Fast {
    bed: Bed,
    flows: u32,
}

impl Measured for Fast {
    fn cost(&mut self, time: Duration) -> anyhow::Result<f64> {
        let rate = self.bed.measure(OnBed::Ours, Family::Ipv4, self.flows, time)?;
        Ok(1000.0 / rate.mpps())
    }

    fn hold(&mut self, is_held: bool) -> anyhow::Result<()> {
        self.bed.daemon().signal(if is_held { Signal::STOP } else { Signal::CONT })
    }
}

impl Measured for Lane {
    fn cost(&mut self, time: Duration) -> anyhow::Result<f64> {
        let mut lost = String::new();
        for _ in 0..TRIES {
            let passed = self.pace(PACE, time)?;
            if passed.loss() < LOSS {
                return Ok(passed.busy.as_secs_f64() * 1e6 / passed.arrived.max(1) as f64);
            }
            lost = format!("{} of {} packets were lost", passed.sent - passed.arrived, passed.sent);
        }
        bail!("{lost}, and not fewer in {TRIES} tries")
    }

    fn hold(&mut self, is_held: bool) -> anyhow::Result<()> {
        Self::hold(self, is_held)
    }
}

/// A daemon that is commanded.
struct Commanded {
    relay: Proxied,
    caller: Caller,
}

impl Measured for Commanded {
    fn cost(&mut self, time: Duration) -> anyhow::Result<f64> {
        let before = self.relay.worked()?;
        let churned = self.caller.churn(Pace::All(WINDOW), time)?;
        let worked = self.relay.worked()?.saturating_sub(before);
        Ok(worked.as_secs_f64() * 1e6 / churned.calls.max(1) as f64)
    }

    fn hold(&mut self, is_held: bool) -> anyhow::Result<()> {
        self.relay.hold(is_held)
    }
}

/// Measures everything.
///
/// # Errors
/// When the rig cannot be built, or a daemon does not start.
pub fn run(plan: &GatePlan) -> anyhow::Result<Vec<GateRow>> {
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    let [base, this] = &folders;
    let builds = [(base.path(), &plan.base), (this.path(), &plan.this)];
    let flows = plan.flows;
    let bed = |(folder, build): (&Path, &Build)| {
        let mut bed = Bed::with(Action::Tx, flows, "sink", (folder, &[]), build)?;
        bed.set_up(Family::Ipv4)?;
        anyhow::Ok(Fast { bed, flows })
    };
    let lane = |subject, is_secured| {
        move |(folder, build): (&Path, &Build)| {
            let build = build.clone();
            Lane::new(LanePlan { subject, flows, is_secured, has_reports: false, build }, folder)
        }
    };
    let commanded = |(folder, build): (&Path, &Build)| {
        let relay = Proxied::start_build(proxied::Subject::Intertrunk, folder, build.clone())?;
        let caller = Caller::on(relay.host())?;
        anyhow::Ok(Commanded { relay, caller })
    };
    Ok(vec![
        pairs(plan, "a packet by XDP, the rig's part included", "ns", builds.map(bed))?,
        pairs(plan, "a packet by AF_XDP", "us", builds.map(lane(Subject::Xsk, false)))?,
        pairs(plan, "a packet by io_uring", "us", builds.map(lane(Subject::Uring(1), false)))?,
        pairs(plan, "a packet protected (SRTP), by AF_XDP", "us", builds.map(lane(Subject::Xsk, true)))?,
        pairs(plan, "a whole call's commands", "us", builds.map(commanded))?,
    ])
}

/// Measures two in turns, the one and the other first.
fn pairs<T: Measured>(
    plan: &GatePlan,
    what: &'static str,
    unit: &'static str,
    both: [anyhow::Result<T>; 2],
) -> anyhow::Result<GateRow> {
    let [base, this] = both;
    let (mut base, mut this) = (base.context(BASE)?, this.context(THIS)?);
    // The first time is a warm-up.
    for (one, name) in [(&mut base, BASE), (&mut this, THIS)] {
        one.cost(plan.time).context(name)?;
        one.hold(true)?;
    }
    let cost = |one: &mut T, name| {
        one.hold(false)?;
        let cost = one.cost(plan.time).context(name)?;
        one.hold(true)?;
        anyhow::Ok(cost)
    };
    let mut pairs = Vec::new();
    for round in 0..plan.rounds {
        go_on()?;
        let pair = if round % 2 == 0 {
            let first = cost(&mut base, BASE)?;
            (first, cost(&mut this, THIS)?)
        } else {
            let first = cost(&mut this, THIS)?;
            (cost(&mut base, BASE)?, first)
        };
        pairs.push(pair);
    }
    let ratio = Ratio::of(&pairs).context("nothing was measured")?;
    let row = GateRow {
        what,
        unit,
        base: median(pairs.iter().map(|pair| pair.0))?,
        this: median(pairs.iter().map(|pair| pair.1))?,
        ratio,
        is_worse: ratio.is_worse(plan.bound),
        is_vague: ratio.is_vague(plan.bound),
    };
    for one in [&mut base, &mut this] {
        // One that is held does not hear that it shall end.
        one.hold(false)?;
    }
    eprintln!("{what}: {:.3} of the base's ({:.3} to {:.3})", ratio.median, ratio.least, ratio.greatest);
    Ok(row)
}
