//! Those that carry packets. Each is measured alone, for even an idle relay takes time of the core that all of them share; in turns, round by round.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::Plan;
use super::result::{Cost, Delays, Gap, Latency, Row};
use crate::bench::go_on;
use crate::bench::lane::{Lane, LanePlan};
use crate::bench::pace::Passed;
use crate::bench::subject::{Subject, check_names};
use crate::rig::daemon::Build;
use crate::rounds::{Spread, median};

/// All of them, from the limit of the rig on.
const PLAIN: [Subject; 9] = [
    Subject::Reflector,
    Subject::Fast,
    Subject::XskOut,
    Subject::Xsk,
    Subject::Uring(1),
    Subject::Epoll,
    Subject::Rtpengine,
    Subject::Nat,
    Subject::Flowtable,
];
/// Those that can protect what they send.
const SECURED: [Subject; 5] = [Subject::XskOut, Subject::Xsk, Subject::Uring(1), Subject::Epoll, Subject::Rtpengine];
/// A greater share of lost packets is one that cannot keep up.
const LOSS: f64 = 0.001;
/// A pace counts when one of so many tries is without loss: a virtual machine's host takes the processors away now and then, from whichever is
/// measured just then.
const TRIES: usize = 3;
/// Streams with SRTP.
const MOST_SECURED: u32 = 4000;
/// What the time of a processor is counted in.
const TICK: Duration = Duration::from_millis(10);
/// Shares of the highest pace at which delays are measured, in percent.
const SHARES: [u32; 3] = [10, 50, 90];
/// At how many packets a second a relay is killed.
const KILL_PACE: u32 = 20_000;
/// The rig makes no more than the reflector can send back, or not much.
const AT_LIMIT: f64 = 0.9;

/// What the rounds of one of them came to.
struct Rounds {
    subject: Subject,
    is_secured: bool,
    /// For each number of streams.
    costs: Vec<(u32, Vec<Passed>)>,
    highest: Vec<Passed>,
    /// For each share.
    latencies: Vec<(u32, Vec<Passed>)>,
    gaps: Vec<Gap>,
}

/// What could not be measured, and why.
type LeftOut = Vec<(String, String)>;

/// Measures all that are wanted; those that cannot be measured here, with the reason.
pub(super) fn measure(plan: &Plan) -> anyhow::Result<(Vec<Row>, LeftOut)> {
    check_names(&plan.only, &PLAIN)?;
    let folder = tempfile::tempdir()?;
    let all = PLAIN.map(|subject| (subject, false)).into_iter().chain(SECURED.map(|subject| (subject, true)));
    let (mut rounds, mut left_out) = (Vec::new(), Vec::new());
    for (subject, is_secured) in all {
        let is_wanted = plan.only.is_empty() || plan.only.iter().any(|name| name == subject.name());
        if !is_wanted {
            continue;
        }
        match subject.obstacle()? {
            None => rounds.push(Rounds::new(subject, is_secured, plan)),
            Some(_) if is_secured => {}
            Some(obstacle) => left_out.push((subject.what().to_owned(), obstacle.to_owned())),
        }
    }
    for round in 1..=plan.rounds {
        let mut able: Vec<Rounds> = Vec::new();
        for mut one in rounds {
            match one.round(plan, folder.path()) {
                Ok(()) => {
                    eprintln!("round {round}: {}", one.last());
                    able.push(one);
                }
                // What the others have come to is not lost with it.
                Err(error) => {
                    go_on()?;
                    anyhow::ensure!(!one.subject.is_ours(), "{error:#}");
                    eprintln!("round {round}: {error:#}");
                    left_out.push((one.subject.what().to_owned(), format!("{error:#}")));
                }
            }
        }
        rounds = able;
    }
    let mut rows = rounds.into_iter().map(Rounds::row).collect::<anyhow::Result<Vec<_>>>()?;
    let limit = rows.iter().find(|row| row.name == Subject::Reflector.name()).map(|row| row.loss_free_kpps.median);
    for row in &mut rows {
        row.is_at_rigs_limit = limit.is_some_and(|limit| row.loss_free_kpps.median >= AT_LIMIT * limit);
    }
    Ok((rows, left_out))
}

impl Rounds {
    fn new(subject: Subject, is_secured: bool, plan: &Plan) -> Self {
        // A secured stream is a call of its own in this rig, and each call has four sockets in rtpengine.
        let most = if is_secured { MOST_SECURED } else { u32::MAX };
        let streams = plan.streams.iter().map(|streams| (*streams).min(most));
        Self {
            subject,
            is_secured,
            costs: streams.map(|streams| (streams, Vec::new())).collect(),
            highest: Vec::new(),
            latencies: SHARES.map(|share| (share, Vec::new())).to_vec(),
            gaps: Vec::new(),
        }
    }

    fn lane(&self, flows: u32, folder: &Path) -> anyhow::Result<Lane> {
        go_on()?;
        let Self { subject, is_secured, .. } = *self;
        let lane =
            Lane::new(LanePlan { subject, flows, is_secured, has_reports: false, build: Build::default() }, folder);
        let mut lane = lane.with_context(|| subject.name())?;
        // What the first packets of each stream cost is not what a packet costs: both ways, and once more.
        lane.pace(KILL_PACE, Duration::from_secs_f64(3.0 * f64::from(flows) / f64::from(KILL_PACE)))?;
        Ok(lane)
    }

    fn round(&mut self, plan: &Plan, folder: &Path) -> anyhow::Result<()> {
        for place in 0..self.costs.len() {
            let Some(streams) = self.costs.get(place).map(|(streams, _)| *streams) else { break };
            let mut lane = self.lane(streams, folder)?;
            let passed = lane.pace(1000 * plan.kpps, plan.time)?;
            self.costs.get_mut(place).context("no such place")?.1.push(passed);
            if streams == plan.usual() {
                self.exhaust(lane, plan, folder)?;
            }
        }
        Ok(())
    }

    /// Finds out what it can do at most, how soon packets are through at shares of that, and what becomes of its calls when it is killed.
    fn exhaust(&mut self, mut lane: Lane, plan: &Plan, folder: &Path) -> anyhow::Result<()> {
        let highest = self.search(&mut lane, plan, folder)?;
        let per_second = per_second(highest.arrived, highest.time);
        self.highest.push(highest);
        self.refresh(&mut lane, plan, folder)?;
        if !self.is_secured {
            for (share, rounds) in &mut self.latencies {
                rounds.push(lane.pace((per_second * f64::from(*share) / 100.0) as u32, plan.time)?);
            }
        }
        if self.subject.is_relay() {
            let passed = lane.pace_across_a_kill(KILL_PACE, plan.kill, plan.kill / 4)?;
            let after = lane.pace(KILL_PACE, plan.time)?;
            let lost = passed.sent.saturating_sub(passed.arrived);
            let millis = lost as f64 * 1000.0 / f64::from(KILL_PACE);
            let is_back = after.loss() < 0.5;
            self.gaps.push(Gap { millis: is_back.then_some(millis), lost, sent: passed.sent });
        }
        Ok(())
    }

    /// Begins anew with a relay whose streams stay mute for good after more than it could carry.
    fn refresh(&self, lane: &mut Lane, plan: &Plan, folder: &Path) -> anyhow::Result<()> {
        if self.subject == Subject::Rtpengine && !plan.steps.is_empty() {
            *lane = self.lane(plan.usual(), folder)?;
        }
        Ok(())
    }

    /// The highest pace that it carries without loss, to the finest step.
    fn search(&self, lane: &mut Lane, plan: &Plan, folder: &Path) -> anyhow::Result<Passed> {
        let last = self.highest.last().map(|passed| per_second(passed.arrived, passed.time));
        let first = last.unwrap_or(f64::from(1000 * plan.kpps));
        if plan.steps.is_empty() {
            return lane.pace(first as u32, plan.time);
        }
        let (mut pace, mut best) = (first, None);
        // Whoever knows already about where it is begins with the finer steps.
        for factor in plan.steps.iter().skip(usize::from(last.is_some())) {
            while let Some(passed) = self.try_pace(lane, pace, plan, folder)? {
                let reached = per_second(passed.sent, passed.time);
                best = Some(passed);
                if reached < 0.9 * pace {
                    // The rig makes no more.
                    return best.context("nothing was carried");
                }
                pace *= factor;
            }
            // Back to the fastest that is known to be carried, or further down until there is one.
            pace /= factor;
            while best.is_none() && pace > 1000.0 {
                best = self.try_pace(lane, pace, plan, folder)?;
                pace /= if best.is_none() { *factor } else { 1.0 };
            }
            pace *= next_after(&plan.steps, *factor);
        }
        match best {
            Some(best) => Ok(best),
            None => self
                .try_pace(lane, pace, plan, folder)?
                .with_context(|| format!("{} carries nothing", self.subject.name())),
        }
    }

    /// What came of a pace, if it is carried without loss.
    fn try_pace(&self, lane: &mut Lane, pace: f64, plan: &Plan, folder: &Path) -> anyhow::Result<Option<Passed>> {
        for _ in 0..TRIES {
            go_on()?;
            let passed = lane.pace(pace as u32, plan.time)?;
            if passed.is_carried(LOSS) {
                return Ok(Some(passed));
            }
            self.refresh(lane, plan, folder)?;
        }
        Ok(None)
    }

    /// The last round, for people who wait.
    fn last(&self) -> String {
        let highest = self.highest.last().map_or(0.0, |passed| per_second(passed.arrived, passed.time) / 1000.0);
        let cost = self.costs.iter().filter_map(|(streams, rounds)| Some((streams, cost_us(rounds.last()?))));
        let costs = cost.map(|(streams, us)| format!("{us:.2} us over {streams}")).collect::<Vec<_>>().join(", ");
        let secured = if self.is_secured { " (SRTP)" } else { "" };
        let gap = match self.gaps.last() {
            None => String::new(),
            Some(Gap { millis: Some(millis), .. }) => format!("; killed: {millis:.0} ms without packets"),
            Some(_) => "; killed: its calls are gone".to_owned(),
        };
        format!("{}{secured}: {highest:.0} kpps without loss; {costs}{gap}", self.subject.name())
    }

    fn row(self) -> anyhow::Result<Row> {
        let nothing = || format!("{} was not measured", self.subject.name());
        let costs = self.costs.iter().map(|(streams, rounds)| {
            let spread = |of: fn(&Passed) -> f64| Spread::of(rounds.iter().map(of)).with_context(nothing);
            let kpps = spread(|passed| per_second(passed.sent, passed.time) / 1000.0)?.median;
            Ok(Cost { streams: *streams, kpps, cpu_us: spread(cost_us)?, loss: spread(Passed::loss)?.median })
        });
        let latencies = self.latencies.iter().filter(|(_, rounds)| !rounds.is_empty()).map(|(share, rounds)| {
            let median = |of: &dyn Fn(&Passed) -> f64| median(rounds.iter().map(of)).with_context(nothing);
            let delay = |share: f64| median(&|passed| passed.delay_us(share));
            Ok(Latency {
                percent: *share,
                kpps: median(&|passed| per_second(passed.sent, passed.time) / 1000.0)?,
                delay_us: Delays {
                    p50: delay(0.5)?,
                    p90: delay(0.9)?,
                    p99: delay(0.99)?,
                    p999: delay(0.999)?,
                    p9999: delay(0.9999)?,
                },
                loss: median(&Passed::loss)?,
            })
        });
        let rates = self.highest.iter().map(|passed| per_second(passed.arrived, passed.time) / 1000.0);
        // What is less than a tick of the processor's clock is not known.
        let cheap = self.highest.iter().map(|passed| per_second(passed.arrived, passed.busy.max(TICK)));
        // The worst of the rounds: calls are lost once and for all.
        let gone = self.gaps.iter().find(|gap| gap.millis.is_none()).copied();
        let mut gaps: Vec<Gap> = self.gaps.clone();
        gaps.sort_by_key(|gap| gap.lost);
        Ok(Row {
            name: self.subject.name().to_owned(),
            what: self.subject.what().to_owned(),
            is_secured: self.is_secured,
            costs: costs.collect::<anyhow::Result<_>>()?,
            loss_free_kpps: Spread::of(rates).with_context(nothing)?,
            is_at_rigs_limit: false,
            packets_per_cpu_second: median(cheap).with_context(nothing)?,
            latencies: latencies.collect::<anyhow::Result<_>>()?,
            killed: gone.or_else(|| gaps.get(gaps.len() / 2).copied()),
        })
    }
}

/// The factor that comes after another, or 1.
fn next_after(steps: &[f64], factor: f64) -> f64 {
    steps.iter().copied().skip_while(|step| *step > factor).nth(1).unwrap_or(1.0)
}

fn per_second(packets: u64, time: Duration) -> f64 {
    packets as f64 / time.as_secs_f64()
}

fn cost_us(passed: &Passed) -> f64 {
    passed.busy.as_secs_f64() * 1e6 / passed.arrived.max(1) as f64
}

/// How each of these was started.
///
/// # Errors
/// When the daemon was not built.
pub(super) fn started(rows: &[Row]) -> anyhow::Result<Vec<(String, String)>> {
    let measured = PLAIN.iter().filter(|subject| rows.iter().any(|row| row.name == subject.name()));
    let told = measured.map(|subject| Ok(subject.told()?.map(|told| (subject.name().to_owned(), told))));
    told.filter_map(Result::transpose).collect()
}
