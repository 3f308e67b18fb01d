//! The slow path against rtpengine in userspace: the same calls by the same commands, the same frames, in turns.
//!
//! ```text
//!   CPU 0                               CPU 1
//!   s --(frames made in the kernel)-->  r [stack] -> relay -> [stack] -> s [counts, and tells delays]
//! ```
//!
//! Each relay has hosts of its own and keeps to CPU 1, with all that the kernel does for it from the taking of a frame out of the device's
//! queue to the sink. Its time is all that CPU 1 is not idle. Of two workers, one shares CPU 0 with the generator, and its thread's time is
//! added.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::lane::{Lane, LanePlan};
use super::pace::Passed;
use super::subject::{Subject, check_names};
use crate::rig::daemon::Build;
use crate::rounds::median;

/// Everything that is compared.
const SUBJECTS: [Subject; 6] =
    [Subject::Uring(1), Subject::Xsk, Subject::XskOut, Subject::Uring(2), Subject::Epoll, Subject::Rtpengine];
/// The paces at which time is measured, in thousands of packets a second.
pub const OFFERED: [u32; 3] = [50, 100, 200];
/// A greater share of lost packets is a relay that cannot keep up.
const LOSS: f64 = 0.001;
/// RTCP reports a second: those of 20,000 streams (RFC 3550 6.2: one in five seconds each).
pub const REPORTS: u32 = 4000;
/// The search for the highest pace begins here (packets a second), and each step is so much faster than the last.
const FIRST_PACE: f64 = 50_000.0;
const FASTER: f64 = 1.1;
/// A pace counts when one of so many tries is without loss: a virtual machine's host takes the processors away now and then, from whichever relay
/// runs just then.
const TRIES: usize = 3;
/// Where the search ends: what the generator can make at this fineness.
pub const LAST_PACE: f64 = 2_000_000.0;

/// How much is measured.
#[derive(Clone, Debug)]
pub struct SlowpathPlan {
    /// Rounds of each pace; medians are reported.
    pub rounds: usize,
    /// Time for each measurement.
    pub time: Duration,
    /// Over how many streams.
    pub streams: u32,
    /// The paces at which time is measured, in thousands of packets a second.
    pub offered: Vec<u32>,
    /// Where the search for the highest pace ends, in packets a second.
    pub last_pace: f64,
    /// RTCP reports a second, of all streams together, beside which ours is measured once more.
    pub reports: u32,
    /// The names of those that are measured; empty: all.
    pub only: Vec<String>,
    /// What comes in plain leaves as SRTP. Then there is no RTCP beside it, and the delay is not known: its stamp is encrypted.
    pub is_secured: bool,
}

impl SlowpathPlan {
    /// A short form: whether everything works, not how fast.
    pub fn smoke() -> Self {
        let time = Duration::from_millis(200);
        Self {
            rounds: 1,
            time,
            streams: 20,
            offered: vec![5],
            last_pace: FIRST_PACE / 10.0,
            reports: 500,
            only: Vec::new(),
            is_secured: false,
        }
    }
}

impl Slowpath {
    /// Fails unless our relay carried what it was sent at a leisurely pace.
    ///
    /// # Errors
    /// When packets were lost.
    pub fn check(&self) -> anyhow::Result<()> {
        for row in self.rows.iter().filter(|row| row.relay != Subject::Rtpengine.name()) {
            anyhow::ensure!(row.loss < 0.01, "of {row:?} packets were lost");
        }
        Ok(())
    }
}

/// The delay that a relay adds, in microseconds: from the making of a frame to its arrival at the sink.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 99 % within.
    pub p99: f64,
    /// 99.9 % within.
    pub p999: f64,
}

/// One line of the result: medians over the rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// `intertrunk-uring`, `intertrunk-xsk`, `intertrunk-xsk-out`, `intertrunk-epoll` or `rtpengine`.
    pub relay: &'static str,
    /// Threads that carry packets.
    pub workers: u32,
    /// RTCP reports a second beside it.
    pub reports: u32,
    /// Thousands of packets a second that were sent.
    pub offered_kpps: f64,
    /// Thousands of packets a second that arrived.
    pub received_kpps: f64,
    /// Share of lost packets.
    pub loss: f64,
    /// Time of the relay's processors for a packet that arrived, in microseconds.
    pub cpu_us_per_packet: f64,
    /// The delay; not known of what leaves encrypted, its stamp included.
    pub latency_us: Option<Latency>,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Slowpath {
    /// All lines.
    pub rows: Vec<Row>,
    /// The highest pace without loss, in thousands of packets a second; two workers have a name with `-2`.
    pub max_loss_free_kpps: BTreeMap<String, f64>,
    /// The most packets for a second of the relay's processors, at any pace without loss. Batches grow with the pace, so this is near the highest.
    pub max_packets_per_cpu_second: BTreeMap<String, f64>,
}

/// Measures everything.
///
/// # Errors
/// When the rig cannot be built, or a relay ends.
pub fn run(plan: &SlowpathPlan) -> anyhow::Result<Slowpath> {
    let folder = tempfile::tempdir()?;
    let mut lanes = lanes(plan, folder.path())?;
    let mut rows = Vec::new();
    for kpps in plan.offered.iter().copied() {
        let mut passed: Vec<[Vec<Passed>; 2]> = lanes.iter().map(|_| Default::default()).collect();
        for round in 1..=plan.rounds {
            for (lane, [alone, beside]) in lanes.iter_mut().zip(&mut passed) {
                let one = lane.pace(kpps * 1000, plan.time)?;
                eprintln!("{kpps} kpps, round {round}: {}", tell(lane.subject, &one));
                alone.push(one);
                if lane.subject != Subject::Rtpengine && plan.reports > 0 && !plan.is_secured {
                    let one = lane.pace_with(plan.reports, kpps * 1000, plan.time)?;
                    eprintln!("{kpps} kpps beside RTCP, round {round}: {}", tell(lane.subject, &one));
                    beside.push(one);
                }
            }
        }
        for (lane, [alone, beside]) in lanes.iter().zip(&passed) {
            rows.push(row(lane.subject, 0, alone, plan.is_secured)?);
            if !beside.is_empty() {
                rows.push(row(lane.subject, plan.reports, beside, plan.is_secured)?);
            }
        }
    }
    // Anew: of rtpengine, some streams stay mute for good after more than it could carry.
    drop(lanes);
    let mut lanes = self::lanes(plan, folder.path())?;
    let (max_loss_free_kpps, max_packets_per_cpu_second) = search(&mut lanes, plan)?;
    Ok(Slowpath { rows, max_loss_free_kpps, max_packets_per_cpu_second })
}

/// Every relay with its calls.
fn lanes(plan: &SlowpathPlan, folder: &Path) -> anyhow::Result<Vec<Lane>> {
    check_names(&plan.only, &SUBJECTS)?;
    let is_wanted = |subject: &Subject| plan.only.is_empty() || plan.only.iter().any(|only| only == subject.name());
    let tried = SUBJECTS.into_iter().filter(is_wanted).map(|subject| Ok((subject, subject.obstacle()?)));
    let had = tried.collect::<anyhow::Result<Vec<_>>>()?.into_iter().filter(|(_, obstacle)| obstacle.is_none());
    let set_up = had.map(|(subject, _)| {
        eprintln!("setting {} calls up on {}, {} workers", plan.streams / 2, subject.name(), subject.workers());
        let (flows, is_secured) = (plan.streams, plan.is_secured);
        Lane::new(
            LanePlan { subject, flows, is_secured, has_reports: subject.is_ours(), build: Build::default() },
            folder,
        )
    });
    set_up.collect()
}

/// Goes faster and faster, all relays in turn, until each has lost packets at a pace in every try.
fn search(lanes: &mut [Lane], plan: &SlowpathPlan) -> anyhow::Result<(BTreeMap<String, f64>, BTreeMap<String, f64>)> {
    let (mut fastest, mut cheapest) = (BTreeMap::new(), BTreeMap::<String, f64>::new());
    let mut lanes: Vec<_> = lanes.iter_mut().collect();
    let mut pace = FIRST_PACE;
    while pace < plan.last_pace && !lanes.is_empty() {
        let mut able = Vec::new();
        for lane in lanes {
            for _ in 0..TRIES {
                let passed = lane.pace(pace as u32, plan.time)?;
                eprintln!("search: {}", tell(lane.subject, &passed));
                if passed.is_carried(LOSS) {
                    let name = match lane.subject.workers() {
                        1 => lane.subject.name().to_owned(),
                        workers => format!("{}-{workers}", lane.subject.name()),
                    };
                    let for_a_second = passed.arrived as f64 / passed.busy.as_secs_f64();
                    let most = cheapest.entry(name.clone()).or_insert(for_a_second);
                    *most = most.max(for_a_second);
                    fastest.insert(name, kpps(passed.arrived, passed.time));
                    able.push(lane);
                    break;
                }
            }
        }
        lanes = able;
        pace *= FASTER;
    }
    Ok((fastest, cheapest))
}

fn tell(subject: Subject, passed: &Passed) -> String {
    format!(
        "{} ({}) {:.0} kpps sent, {:.3} % lost, {:.2} us of its processors for each, delay {:.0} us, 99 % within {:.0} us",
        subject.name(),
        subject.workers(),
        kpps(passed.sent, passed.time),
        100.0 * passed.loss(),
        cost_us(passed),
        passed.delay_us(0.5),
        passed.delay_us(0.99)
    )
}

fn kpps(packets: u64, time: Duration) -> f64 {
    packets as f64 / time.as_secs_f64() / 1000.0
}

fn cost_us(passed: &Passed) -> f64 {
    passed.busy.as_secs_f64() * 1e6 / passed.arrived.max(1) as f64
}

fn row(subject: Subject, reports: u32, passed: &[Passed], is_secured: bool) -> anyhow::Result<Row> {
    let median = |of: &dyn Fn(&Passed) -> f64| median(passed.iter().map(of));
    let delay = |share| median(&|passed| passed.delay_us(share));
    let known = || anyhow::Ok(Latency { p50: delay(0.5)?, p99: delay(0.99)?, p999: delay(0.999)? });
    let latency_us = (!is_secured).then(known).transpose()?;
    Ok(Row {
        relay: subject.name(),
        workers: subject.workers(),
        reports,
        offered_kpps: median(&|passed| kpps(passed.sent, passed.time))?,
        received_kpps: median(&|passed| kpps(passed.arrived, passed.time))?,
        loss: median(&Passed::loss)?,
        cpu_us_per_packet: median(&cost_us)?,
        latency_us,
    })
}
