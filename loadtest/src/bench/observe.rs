//! What it costs the daemon to be looked at: scraped each second, and with the dashboard open, while many calls stand and others come and go.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::go_on;
use crate::rig::caller::{Caller, Pace};
use crate::rig::host::{Host, in_namespace};
use crate::rig::proxied::{DASHBOARD, METRICS, Proxied, Subject};

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
}

impl ObservePlan {
    /// A short form: whether everything works, not what it costs.
    pub const fn smoke() -> Self {
        Self { rounds: 1, time: Duration::from_millis(1500), standing: 200, rate: 50.0 }
    }
}

/// Who looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Looker {
    /// Nobody.
    Nobody,
    /// Prometheus, each second.
    Scraper,
    /// The dashboard.
    Dashboard,
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

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Observe {
    /// Calls that stood.
    pub standing: usize,
    /// All lines.
    pub rows: Vec<ObserveRow>,
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
        Ok(())
    }
}

/// Measures.
///
/// # Errors
/// When the relay does not start, or does not do as it should.
pub fn run(plan: &ObservePlan) -> anyhow::Result<Observe> {
    let folder = tempfile::tempdir_in("/dev/shm").context("/dev/shm cannot be written")?;
    let relay = Proxied::start(Subject::Watched, folder.path())?;
    let mut caller = Caller::on(relay.host())?;
    eprintln!("{} calls", plan.standing);
    caller.stand(plan.standing, WINDOW)?;
    let lookers = [Looker::Nobody, Looker::Scraper, Looker::Dashboard];
    let mut taken = lookers.map(|_| (Vec::new(), [const { Vec::new() }; 3], 0, 0));
    for round in 1..=plan.rounds {
        for (looker, (cpu, replies, looks, lost)) in lookers.into_iter().zip(&mut taken) {
            go_on()?;
            let (is_over, seen) = (AtomicBool::new(false), AtomicU64::new(0));
            let churned = std::thread::scope(|scope| {
                let looking = scope.spawn(|| look(relay.host(), looker, &is_over, &seen));
                // As long as it takes until whoever looks does.
                std::thread::sleep(Duration::from_millis(200));
                let before = relay.worked();
                let churned = caller.churn(Pace::PerSecond(plan.rate), plan.time);
                let worked = before.and_then(|before| Ok(relay.worked()?.saturating_sub(before)));
                is_over.store(true, Ordering::Relaxed);
                let looked = looking.join().map_err(|_| anyhow::anyhow!("whoever looks has panicked")).flatten();
                anyhow::Ok((looked.and(churned)?, worked?))
            });
            let (mut churned, worked) = churned?;
            churned.replies.sort_unstable();
            cpu.push(100.0 * worked.as_secs_f64() / churned.took.as_secs_f64());
            for (values, share) in replies.iter_mut().zip([0.5, 0.99, 1.0]) {
                let place = ((churned.replies.len().max(1) - 1) as f64 * share) as usize;
                values.push(f64::from(*churned.replies.get(place).context("no replies")?) / 1000.0);
            }
            *looks += seen.load(Ordering::Relaxed);
            *lost += churned.lost;
            eprintln!("round {round}: {looker:?}: {:.1} % of a processor", cpu.last().copied().unwrap_or(0.0));
        }
    }
    let rows = lookers.into_iter().zip(taken).map(|(looker, (cpu, replies, looks, lost))| {
        let (cpu_percent, reply_us) = (median(cpu), replies.map(median));
        ObserveRow { looker, cpu_percent, reply_us, looks, lost }
    });
    Ok(Observe { standing: plan.standing, rows: rows.collect() })
}

/// Looks until it is over, and counts what comes.
fn look(host: &Host, looker: Looker, is_over: &AtomicBool, seen: &AtomicU64) -> anyhow::Result<()> {
    let ask = |at: &'static str, path: &'static str| {
        in_namespace(host, move || {
            let mut stream = TcpStream::connect(at)?;
            stream.set_read_timeout(Some(Duration::from_millis(100)))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
            Ok(stream)
        })
    };
    let mut buffer = vec![0; 1 << 20];
    match looker {
        Looker::Nobody => {}
        Looker::Scraper => {
            while !is_over.load(Ordering::Relaxed) {
                let mut stream = ask(METRICS, "/metrics")?;
                let mut body = Vec::new();
                while let Ok(len @ 1..) = stream.read(&mut buffer) {
                    body.extend_from_slice(buffer.get(..len).unwrap_or_default());
                }
                let is_whole = String::from_utf8_lossy(&body).contains("intertrunk_calls ");
                seen.fetch_add(u64::from(is_whole), Ordering::Relaxed);
                for _ in 0..10 {
                    if !is_over.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(100));
                    }
                }
            }
        }
        Looker::Dashboard => {
            let mut stream = ask(DASHBOARD, "/events")?;
            while !is_over.load(Ordering::Relaxed) {
                // Without an event for a while it is tried again.
                if let Ok(len) = stream.read(&mut buffer) {
                    let came = buffer.get(..len).unwrap_or_default();
                    let events = came.windows(6).filter(|window| *window == b"data: ").count();
                    seen.fetch_add(events as u64, Ordering::Relaxed);
                }
            }
        }
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
