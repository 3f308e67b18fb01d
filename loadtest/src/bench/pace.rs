//! Frames made in the kernel at a steady pace, and what became of them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use aya::maps::{Array, PerCpuArray};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions};
use aya::util::nr_cpus;
use rustix::thread::{CpuSet, sched_setaffinity};

use super::flood::{Flows, made, plan, sunk, template};
use crate::histogram::Histogram;
use crate::rig::host::{Host, in_namespace};
use crate::rig::program::Program;

/// The core that makes the frames.
const CORE: usize = 0;
/// Frames that are due within this time are sent together: a driver, too, hands frames over in small bursts.
const BURST: Duration = Duration::from_micros(50);
/// A relay from which nothing has come for so long has nothing under way any more.
const REST: Duration = Duration::from_millis(50);
/// Who keeps up has sent the last frame so soon after it came, even where somebody else had the processor for a moment.
const SOON: Duration = Duration::from_millis(20);
/// How long a relay may take for what it has queued; the next one shall not be measured meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of a pace.
#[derive(Clone, Debug)]
pub(crate) struct Passed {
    pub(crate) sent: u64,
    pub(crate) arrived: u64,
    /// Those that had arrived soon after the last was sent.
    in_time: u64,
    /// From the first frame to the last.
    pub(crate) time: Duration,
    /// Time of the relay's processors.
    pub(crate) busy: Duration,
    /// How long the frames took.
    pub(crate) delays: Histogram,
}

impl Passed {
    /// Several as one; `None` of none.
    pub(crate) fn of_all(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().reduce(|mut sum, other| {
            sum.sent += other.sent;
            sum.arrived += other.arrived;
            sum.in_time += other.in_time;
            sum.time += other.time;
            sum.busy += other.busy;
            sum.delays.add(&other.delays);
            sum
        })
    }

    /// Share of the frames that were lost.
    pub(crate) fn loss(&self) -> f64 {
        1.0 - self.arrived as f64 / self.sent as f64
    }

    /// Whether the relay keeps up with this pace: no more than this share is lost, or left in a queue that grows. The queues of thousands of sockets
    /// hold what comes in half a second.
    pub(crate) fn is_carried(&self, loss: f64) -> bool {
        self.sent.saturating_sub(self.in_time) as f64 <= loss * self.sent as f64
    }

    /// The delay that so great a share of the frames stayed within, in microseconds.
    pub(crate) fn delay_us(&self, share: f64) -> f64 {
        self.delays.within_us(share)
    }
}

/// What is sent, and where.
#[derive(Clone, Copy)]
pub(crate) struct Sending<'a> {
    /// The generator's program.
    pub(crate) program: &'static str,
    /// The device, and its host.
    pub(crate) host: &'a Host,
    pub(crate) device: &'a str,
    pub(crate) flows: Flows,
}

/// Sends so many frames a second for about so long. `busy` tells how long the relay has been at work.
pub(crate) fn pace(
    generator: &mut Program,
    Sending { program, host, device, flows }: Sending<'_>,
    per_second: u32,
    time: Duration,
    sink: &Program,
    busy: &(dyn Fn() -> anyhow::Result<Duration> + Sync),
) -> anyhow::Result<Passed> {
    super::go_on()?;
    let mut frame = template(flows.family, [0; 2]);
    complete(&mut frame)?;
    plan(generator, flows, &frame)?;
    let burst = ((f64::from(per_second) * BURST.as_secs_f64()) as u32).clamp(1, 64);
    let interval = f64::from(burst) * 1e9 / f64::from(per_second);
    let mut pace: Array<_, [u64; 2]> = generator.ebpf.map_mut("PACE").context("no PACE")?.try_into()?;
    pace.set(0, [interval as u64, u64::from(burst)], 0)?;
    let mut due: PerCpuArray<_, [u64; 3]> = generator.ebpf.map_mut("DUE").context("no DUE")?.try_into()?;
    due.set(0, vec![[0; 3]; nr_cpus().map_err(|(_, error)| error)?].try_into()?, 0)?;
    let index = host.device_index(device)?;
    generator.xdp(program)?;
    let generator = &*generator;
    let program = generator.loaded(program)?;
    in_namespace(host, || {
        let mut core = CpuSet::new();
        core.set(CORE);
        sched_setaffinity(None, &core).context("cannot stay on one core")?;
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context: Vec<u8> = [0, frame.len() as u32, 0, index, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        let options = |repeat| TestRunOptions {
            data_in: Some(&frame),
            ctx_in: Some(&context),
            repeat,
            attrs: TestRunAttrs::new().xdp_live_frames(burst),
            ..TestRunOptions::new()
        };
        let (arrived, sent, delays) = (sunk(sink)?, made(generator)?, histogram(sink)?);
        let before = busy()?;
        let frames = f64::from(per_second) * time.as_secs_f64();
        ensure!(frames <= f64::from(u32::MAX), "{frames:.0} frames are more than the kernel makes at a time");
        program.test_run(options(frames as u32))?;
        std::thread::sleep(SOON);
        let in_time = sunk(sink)? - arrived;
        rest(sink)?;
        // Readings of a processor that idles are of ticks, and may go back by one.
        let busy = busy()?.saturating_sub(before);
        let (arrived, sent) = (sunk(sink)? - arrived, made(generator)? - sent);
        let delays = histogram(sink)?.since(&delays);
        Ok(Passed { sent, arrived, in_time, time: span(generator)?, busy, delays })
    })
}

/// Gives the template what a stack asks for: a whole IP checksum, whose low byte the generator takes two from, and no UDP checksum.
fn complete(frame: &mut [u8]) -> anyhow::Result<()> {
    let header = frame.get_mut(14..42).context("a frame too short for its headers")?;
    for id in 0..=u16::MAX {
        header.get_mut(4..6).context("no id")?.copy_from_slice(&id.to_be_bytes());
        header.get_mut(10..12).context("no checksum")?.fill(0);
        let words = header.get(..20).unwrap_or_default().as_chunks::<2>().0;
        let sum: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        let checksum = !((sum + (sum >> 16)) as u16);
        if checksum & 0xff >= 2 {
            header.get_mut(10..12).context("no checksum")?.copy_from_slice(&checksum.to_be_bytes());
            break;
        }
    }
    header.get_mut(26..28).context("no UDP checksum")?.fill(0);
    Ok(())
}

/// Waits until nothing arrives any more.
fn rest(sink: &Program) -> anyhow::Result<()> {
    let (start, mut before) = (Instant::now(), sunk(sink)?);
    while start.elapsed() < PATIENCE {
        std::thread::sleep(REST);
        let now = sunk(sink)?;
        if now == before {
            break;
        }
        before = now;
    }
    Ok(())
}

/// From the first frame to the end of the last burst's turn.
fn span(generator: &Program) -> anyhow::Result<Duration> {
    let due: PerCpuArray<_, [u64; 3]> = generator.ebpf.map("DUE").context("no DUE")?.try_into()?;
    let span = due.get(&0, 0)?.iter().map(|[due, _, first]| due.saturating_sub(*first)).max();
    Ok(Duration::from_nanos(span.unwrap_or(0)))
}

fn histogram(sink: &Program) -> anyhow::Result<Histogram> {
    let delays: PerCpuArray<_, u64> = sink.ebpf.map("DELAYS").context("no DELAYS")?.try_into()?;
    let buckets = (0..delays.len()).map(|bucket| Ok(delays.get(&bucket, 0)?.iter().sum()));
    Ok(Histogram::of_buckets(buckets.collect::<anyhow::Result<_>>()?))
}
