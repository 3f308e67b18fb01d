//! What it costs to be looked at: the daemon, while many calls stand and others come and go; and the fast path, while as much as can be goes by it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::bed::{Action, Bed, Subject as Program};
use super::flood::Family;
use super::go_on;
use super::looker::{Captured, Looker, look};
use crate::rig::caller::{Caller, Pace};
use crate::rig::daemon::Build;
use crate::rig::host::Host;
use crate::rig::proxied::{DASHBOARD, HOMER, METRICS, Proxied, Subject};
use crate::rounds::median;

/// So long after it has been started somebody looks.
const STARTED: Duration = Duration::from_millis(300);
/// How many calls of the caller are under way at once.
const WINDOW: usize = 32;

/// What to measure.
#[derive(Clone, Debug)]
pub struct ObservePlan {
    /// How often each is measured, in turns; the medians count.
    pub rounds: usize,
    /// How long each measurement takes.
    pub time: Duration,
    /// How many calls stand meanwhile.
    pub standing: usize,
    /// Whole calls a second that come and go.
    pub rate: f64,
    /// How long the dashboard is open before: at first it has all calls looked at, in some seconds.
    pub settled: Duration,
    /// How many flows of calls go by the fast path, two for each.
    pub flows: u32,
}

impl ObservePlan {
    /// A short form: whether everything works, not what it costs.
    pub const fn smoke() -> Self {
        Self { rounds: 1, time: Duration::from_millis(1500), standing: 200, rate: 50.0, settled: STARTED, flows: 20 }
    }
}

/// One line of the result: medians over the rounds.
#[derive(Clone, Debug, Serialize)]
pub struct ObserveRow {
    /// Who looked.
    pub looker: Looker,
    /// Time of a processor that all threads of the daemon took, in percent.
    pub cpu_percent: f64,
    /// Microseconds from a command to its reply: the median, what one in a hundred exceeds, and the longest.
    pub reply_us: [f64; 3],
    /// Scrapes, or events of the dashboard, that came in all rounds.
    pub looks: u64,
    /// Commands that got no reply within a second, in all rounds.
    pub lost: usize,
}

/// Packets by the fast path.
#[derive(Clone, Debug, Serialize)]
pub struct FastRow {
    /// Who looked.
    pub looker: Looker,
    /// Millions a second: the median.
    pub mpps: f64,
    /// Of what it is while nobody looks, the median over the rounds, each against the one beside it; in percent.
    pub of_nobody_percent: f64,
    /// What came to whoever looked, in all rounds.
    pub looks: u64,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Observe {
    /// Calls that stood.
    pub standing: usize,
    /// All lines.
    pub rows: Vec<ObserveRow>,
    /// Calls whose packets went by the fast path.
    pub fast_calls: u32,
    /// All lines of it.
    pub fast: Vec<FastRow>,
}

impl Observe {
    /// Fails unless every command was answered, and whoever looked saw something.
    ///
    /// # Errors
    /// When that is not so.
    pub fn check(&self) -> anyhow::Result<()> {
        for row in &self.rows {
            ensure!(row.lost == 0 && (row.looker == Looker::Nobody || row.looks > 0), "{row:?}");
        }
        for row in &self.fast {
            ensure!(row.mpps > 0.0 && (row.looker == Looker::Nobody || row.looks > 0), "{row:?}");
        }
        Ok(())
    }
}

/// Measures.
///
/// # Errors
/// When the relay does not start, or does not do as it should.
pub fn run(plan: &ObservePlan) -> anyhow::Result<Observe> {
    let rows = commands(plan)?;
    let fast = fast_path(plan)?;
    Ok(Observe { standing: plan.standing, rows, fast_calls: plan.flows / 2, fast })
}

/// Has something done while somebody looks; what came to him.
fn beside<T>(
    host: &Host,
    (looker, settled): (Looker, Duration),
    captured: Option<Captured<'_>>,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, u64)> {
    go_on()?;
    let (is_over, seen) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| look(host, looker, captured, (&is_over, &seen)));
        // As long as it takes until whoever looks does, and has seen all.
        std::thread::sleep(if matches!(looker, Looker::Dashboard | Looker::All) { settled } else { STARTED });
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        let looked = looking.join().map_err(|_| anyhow::anyhow!("whoever looks has panicked")).flatten();
        looked.and_then(|()| Ok((done?, seen.load(Ordering::Relaxed))))
    })
}

/// Commands, and the daemon's time.
fn commands(plan: &ObservePlan) -> anyhow::Result<Vec<ObserveRow>> {
    let folders = [(), ()].map(|()| tempfile::tempdir_in("/dev/shm").context("/dev/shm cannot be written"));
    let [watched, told] = folders;
    let (watched, told) = (watched?, told?);
    // Whether Homer is told cannot be changed under way.
    let relays = [Proxied::start(Subject::Watched, watched.path())?, Proxied::start(Subject::Told, told.path())?];
    let mut callers = [Caller::on(relays[0].host())?, Caller::on(relays[1].host())?];
    for caller in &mut callers {
        eprintln!("{} calls", plan.standing);
        caller.stand(plan.standing, WINDOW)?;
    }
    let lookers = [Looker::Nobody, Looker::Scraper, Looker::Dashboard, Looker::All];
    let mut taken = lookers.map(|_| (Vec::new(), [const { Vec::new() }; 3], 0, 0));
    for round in 1..=plan.rounds {
        for (looker, (cpu, replies, looks, lost)) in lookers.into_iter().zip(&mut taken) {
            let [(plain, of_plain), (told, of_told)] = {
                let [plain, told] = &mut callers;
                [(&relays[0], plain), (&relays[1], told)]
            };
            let (relay, caller) = if looker == Looker::All { (told, of_told) } else { (plain, of_plain) };
            let ((mut churned, worked), seen) = beside(relay.host(), (looker, plan.settled), None, || {
                let before = relay.worked()?;
                let churned = caller.churn(Pace::PerSecond(plan.rate), plan.time)?;
                Ok((churned, relay.worked()?.saturating_sub(before)))
            })?;
            churned.replies.sort_unstable();
            cpu.push(100.0 * worked.as_secs_f64() / churned.took.as_secs_f64());
            for (values, share) in replies.iter_mut().zip([0.5, 0.99, 1.0]) {
                let place = ((churned.replies.len().max(1) - 1) as f64 * share) as usize;
                values.push(f64::from(*churned.replies.get(place).context("no replies")?) / 1000.0);
            }
            *looks += seen;
            *lost += churned.lost;
            eprintln!("round {round}: {looker:?}: {:.1} % of a processor", cpu.last().copied().unwrap_or(0.0));
        }
    }
    let rows = lookers.into_iter().zip(taken).map(|(looker, (cpu, replies, looks, lost))| {
        let [p50, p99, most] = replies.map(median);
        Ok(ObserveRow { looker, cpu_percent: median(cpu)?, reply_us: [p50?, p99?, most?], looks, lost })
    });
    rows.collect()
}

/// Packets by the fast path, as many as the machine makes.
fn fast_path(plan: &ObservePlan) -> anyhow::Result<Vec<FastRow>> {
    let folder = tempfile::tempdir()?;
    let args = [
        format!("--listen-metrics={METRICS}"),
        format!("--listen-dashboard={DASHBOARD}"),
        format!("--homer={HOMER}"),
        "--homer-enable-ng".to_owned(),
    ];
    let mut bed = Bed::with(Action::Tx, plan.flows, "sink", (folder.path(), &args), &Build::default())?;
    let family = Family::Ipv4;
    bed.set_up(family)?;
    let (host, socket) = (bed.relay(), bed.daemon().kept().folder().join("control.sock"));
    let captured = Captured { call_id: &Bed::first_call(family), socket: &socket, folder: folder.path() };
    let lookers = [Looker::All, Looker::Capturer];
    let (mut alone, mut beside_them) = (Vec::new(), lookers.map(|_| (Vec::new(), Vec::new(), 0)));
    for round in 1..=plan.rounds {
        for (looker, (rates, ratios, looks)) in lookers.into_iter().zip(&mut beside_them) {
            let nobody = bed.measure(Program::Ours, family, plan.flows, plan.time)?.mpps();
            let (rate, seen) = beside(&host, (looker, STARTED), Some(captured), || {
                Ok(bed.measure(Program::Ours, family, plan.flows, plan.time)?.mpps())
            })?;
            eprintln!("round {round}: {looker:?}: {rate:.2} Mpps, {nobody:.2} while nobody looks");
            alone.push(nobody);
            rates.push(rate);
            ratios.push(100.0 * rate / nobody);
            *looks += seen;
        }
    }
    bed.stop()?;
    let nobody = FastRow { looker: Looker::Nobody, mpps: median(alone)?, of_nobody_percent: 100.0, looks: 0 };
    let others = lookers.into_iter().zip(beside_them).map(|(looker, (rates, ratios, looks))| {
        Ok(FastRow { looker, mpps: median(rates)?, of_nobody_percent: median(ratios)?, looks })
    });
    std::iter::once(Ok(nobody)).chain(others).collect()
}
