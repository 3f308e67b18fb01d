//! The fast path's packet rate, against that of a program that only exchanges MACs: the limit of the rig.
//!
//! ```text
//!   generator host                      relay's host                        far host
//!   g-ours --(frames made in the kernel)--> r-ours [intertrunk] --redirect--> r-out -> f-out [sink]
//!   [sink] <------------- XDP_TX -----------'
//!   g-bare --------------------------------> r-bare [reflector] ...the same...
//!   g-touch -------------------------------> r-touch [reflector that touches an entry of each flow], XDP_TX only
//! ```
//!
//! Everything happens on one core, which is what is measured.

mod test_run;

use std::time::Duration;

use serde::Serialize;

use super::bed::{Action, Bed, Subject};
use super::flood::{Family, Rate};
use crate::rounds::{Spread, median};

/// The numbers of flows that are measured.
pub const FLOWS: [u32; 4] = [1, 1_000, 10_000, 40_000];

/// The least share of what is sent that must arrive, and how often a round is taken until it does: a ring between the hosts overflows while whoever
/// reads it has no processor. All programs are measured again, so that those of a round stay beside each other, and it is told. That nothing at all
/// is lost by the relay is asserted where less is sent than rings hold: `bench scale`, `loadtest streams`.
const WHOLE: f64 = 0.99;
const TRIES: usize = 3;

/// How long, and how often.
#[derive(Clone, Debug)]
pub struct FastpathPlan {
    /// Rounds; each measures everything once. Medians are reported.
    pub rounds: usize,
    /// Time for each measurement.
    pub time: Duration,
    /// Which actions.
    pub actions: Vec<Action>,
    /// Which families.
    pub families: Vec<Family>,
    /// Over how many flows.
    pub flows: Vec<u32>,
}

impl FastpathPlan {
    /// A short form: whether everything works, not how fast.
    pub fn smoke() -> Self {
        let (actions, families) = (Action::ALL.to_vec(), Family::ALL.to_vec());
        Self { rounds: 1, time: Duration::from_millis(50), actions, families, flows: vec![1, 200] }
    }
}

impl Fastpath {
    /// Fails unless what was sent arrived, which has nothing to do with how fast.
    ///
    /// # Errors
    /// When packets did not arrive.
    pub fn check(&self) -> anyhow::Result<()> {
        for row in &self.rows {
            anyhow::ensure!(row.arrived > WHOLE, "of {row:?} packets did not arrive");
        }
        Ok(())
    }
}

/// One line of the result.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// `bare` or `intertrunk`; among the limits, `touch`.
    pub program: &'static str,
    /// The family of the frames.
    pub family: Family,
    /// How frames left.
    pub action: Action,
    /// Over how many flows they were spread.
    pub flows: u32,
    /// Millions of packets a second, median.
    pub mpps: f64,
    /// Nanoseconds for each packet, with everything that the rig does for it.
    pub ns_per_packet: f64,
    /// Share of the bare program's rate with the same flows, median of the rounds' own ratios.
    pub ratio_to_bare: f64,
    /// The least and the greatest of those ratios.
    pub ratio_range: [f64; 2],
    /// Share of the frames sent that arrived.
    pub arrived: f64,
    /// Nanoseconds of the program alone by `BPF_PROG_TEST_RUN`: one flow, warm caches. The same in all rows of a program, family and action.
    pub test_run_ns: Option<f64>,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Fastpath {
    /// All lines.
    pub rows: Vec<Row>,
    /// What a program reaches that exchanges MACs and touches 32 bytes of each flow, as any relay must.
    pub limits: Vec<Row>,
}

/// A point of the result, and the rates of each round.
struct Point {
    family: Family,
    flows: u32,
    bare: Vec<Rate>,
    ours: Vec<Rate>,
    touch: Vec<Rate>,
}

/// Measures everything.
///
/// # Errors
/// When the rig cannot be built.
pub fn run(plan: &FastpathPlan) -> anyhow::Result<Fastpath> {
    let folder = tempfile::tempdir()?;
    let mut result = Fastpath { rows: Vec::new(), limits: Vec::new() };
    for &action in &plan.actions {
        let most = plan.flows.iter().copied().max().unwrap_or_default();
        let mut bed = Bed::new(action, most, "sink", folder.path())?;
        for family in &plan.families {
            bed.set_up(*family)?;
        }
        let families = plan.families.iter();
        let mut points: Vec<Point> =
            families.flat_map(|family| plan.flows.iter().map(|flows| Point::new(*family, *flows))).collect();
        for round in 1..=plan.rounds {
            for point in &mut points {
                measure(&mut bed, action, point, plan.time)?;
                eprintln!("{action:?} round {round}: {}", point.last());
            }
        }
        bed.stop()?;
        for point in &points {
            let ns = |program| test_run::nanoseconds(program, point.family, action).map(Some);
            let row = |program, rates, ns| row(program, action, point, rates, ns);
            result.rows.push(row("bare", &point.bare, ns(Subject::Bare)?)?);
            result.rows.push(row("intertrunk", &point.ours, ns(Subject::Ours)?)?);
            if !point.touch.is_empty() {
                result.limits.push(row("touch", &point.touch, None)?);
            }
        }
    }
    Ok(result)
}

fn measure(bed: &mut Bed, action: Action, point: &mut Point, time: Duration) -> anyhow::Result<()> {
    let Point { family, flows, .. } = *point;
    let has_touch = (action, family) == (Action::Tx, Family::Ipv4);
    let subjects: &[Subject] =
        if has_touch { &[Subject::Bare, Subject::Ours, Subject::Touch] } else { &[Subject::Bare, Subject::Ours] };
    for again in (0..TRIES).rev() {
        let rates: Vec<Rate> =
            subjects.iter().map(|subject| bed.measure(*subject, family, flows, time)).collect::<anyhow::Result<_>>()?;
        let least = rates.iter().map(share_arrived).fold(1.0, f64::min);
        if least > WHOLE || again == 0 {
            for (rates, rate) in [&mut point.bare, &mut point.ours, &mut point.touch].into_iter().zip(rates) {
                rates.push(rate);
            }
            break;
        }
        eprintln!("only {:.1} % arrived of one of {family:?}, {flows} flows: all are measured again", 100.0 * least);
    }
    Ok(())
}

fn share_arrived(rate: &Rate) -> f64 {
    rate.arrived as f64 / rate.sent as f64
}

impl Point {
    const fn new(family: Family, flows: u32) -> Self {
        Self { family, flows, bare: Vec::new(), ours: Vec::new(), touch: Vec::new() }
    }

    /// The last round, for people who wait.
    fn last(&self) -> String {
        let Self { family, flows, .. } = self;
        let last = |rates: &[Rate]| rates.last().map_or(0.0, |rate| rate.mpps());
        let (bare, ours) = (last(&self.bare), last(&self.ours));
        let share = 100.0 * ours / bare;
        let mut text =
            format!("{family:?} {flows:>6} flows: bare {bare:.2} Mpps, intertrunk {ours:.2} Mpps, {share:.1} %");
        if !self.touch.is_empty() {
            text += &format!(" (touch {:.1} %)", 100.0 * last(&self.touch) / bare);
        }
        text
    }
}

fn row(program: &'static str, action: Action, point: &Point, rates: &[Rate], ns: Option<f64>) -> anyhow::Result<Row> {
    let mpps = median(rates.iter().map(|rate| rate.mpps()))?;
    let ratio = Spread::of(rates.iter().zip(&point.bare).map(|(rate, bare)| rate.mpps() / bare.mpps()))?;
    Ok(Row {
        program,
        family: point.family,
        action,
        flows: point.flows,
        mpps,
        ns_per_packet: 1000.0 / mpps,
        ratio_to_bare: ratio.median,
        ratio_range: [ratio.least, ratio.greatest],
        arrived: median(rates.iter().map(share_arrived))?,
        test_run_ns: ns,
    })
}
