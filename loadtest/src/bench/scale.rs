//! A hundred thousand flows at once: set up by the control protocol, all of them with packets, counted exactly, and torn down.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;

use super::bed::{Action, Bed, MOST_FLOWS, Subject};
use super::flood::Family;

/// How much.
#[derive(Clone, Copy, Debug)]
pub struct ScalePlan {
    /// Flows of each family.
    pub flows: u32,
    /// How long each family's flows get packets.
    pub time: Duration,
}

impl Default for ScalePlan {
    fn default() -> Self {
        Self { flows: MOST_FLOWS, time: Duration::from_secs(3) }
    }
}

impl ScalePlan {
    /// A short form.
    pub const fn smoke() -> Self {
        Self { flows: 1000, time: Duration::from_millis(200) }
    }
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Scale {
    /// RTP flows that were active at once. Each has an RTCP flow beside it.
    pub flows: u32,
    /// Offers with their answers a second, one after another from one client.
    pub set_up_per_second: f64,
    /// Deletes a second, each with the call's account in the reply.
    pub tear_down_per_second: f64,
    /// Memory of the daemon for each RTP flow with its RTCP, in bytes.
    pub daemon_bytes_per_flow: u64,
    /// RTP packets that were sent and arrived.
    pub packets: u64,
    /// The memory of the daemon when the last call has ended, as a share of what it was with all calls.
    pub left_after: f64,
}

/// Does it all, and fails when a packet, a call or a descriptor is not where it should be.
///
/// # Errors
/// When something was lost or left over.
pub fn run(plan: ScalePlan) -> anyhow::Result<Scale> {
    let folder = tempfile::tempdir()?;
    let mut bed = Bed::new(Action::Tx, plan.flows, "sink", folder.path())?;
    let (empty, descriptors) = (memory(&mut bed)?, descriptors(&mut bed)?);

    let start = Instant::now();
    let mut requests = 0;
    for family in Family::ALL {
        requests += bed.set_up(family)?;
    }
    let set_up_per_second = f64::from(requests / 2) / start.elapsed().as_secs_f64();
    let flows = plan.flows * Family::ALL.len() as u32;
    let calls = f64::from(flows / 2);
    let full = memory(&mut bed)?;

    eprintln!("packets for {flows} flows");
    for family in Family::ALL {
        let rate = bed.measure(Subject::Ours, family, plan.flows, plan.time)?;
        if rate.arrived != rate.sent {
            let (lost, reasons) = (rate.sent.abs_diff(rate.arrived), bed.reasons()?);
            let forwarded = bed.tear_down(family)?;
            bail!(
                "{lost} of {} packets of {family:?} did not arrive; the relay forwarded {forwarded}, and says of the others {reasons}",
                rate.sent
            );
        }
    }
    let arrived = bed.sunk()?;

    eprintln!("tearing {} calls down", flows / 2);
    let start = Instant::now();
    let mut counted = 0;
    for family in Family::ALL {
        counted += bed.tear_down(family)?;
    }
    let tear_down_per_second = calls / start.elapsed().as_secs_f64();
    ensure!(counted == arrived, "{arrived} packets arrived, and the relay counted {counted}");
    ensure!(bed.calls()? == 0, "calls are left");
    ensure!(self::descriptors(&mut bed)? == descriptors, "descriptors are left");
    let left_after = memory(&mut bed)? as f64 / full as f64;
    bed.stop()?;
    let daemon_bytes_per_flow = full.saturating_sub(empty) / u64::from(flows);
    Ok(Scale { flows, set_up_per_second, tear_down_per_second, daemon_bytes_per_flow, packets: counted, left_after })
}

/// The daemon's memory in bytes, with what it shares with the kernel as far as it has touched it.
fn memory(bed: &mut Bed) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", bed.daemon().process().id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.split_whitespace().next().context("no number")?.parse()?;
    Ok(kilobytes * 1024)
}

/// The fewest descriptors of several looks: now and then the daemon has one for a moment, to ask the kernel something.
fn descriptors(bed: &mut Bed) -> anyhow::Result<usize> {
    let path = format!("/proc/{}/fd", bed.daemon().process().id());
    let mut fewest = usize::MAX;
    for _ in 0..10 {
        fewest = fewest.min(std::fs::read_dir(&path)?.count());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(fewest)
}
