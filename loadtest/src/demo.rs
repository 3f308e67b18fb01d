//! The demonstration: real calls between two trunks, and the proof that they crossed the relay whole.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::judge::judge;
use crate::live::LiveView;
use crate::report::Report;
use crate::rig::calls::{CallPlan, Calls};
use crate::rig::capture::Capture;
use crate::rig::daemon::{Daemon, DaemonOptions, NgClient};
use crate::rig::proxy::Proxy;
use crate::rig::trunks::{FAR_DEVICE, Trunks};

/// The least share of RTP packets on the fast path, in percent, where there is one: all but the learning ones.
const FAST_PERCENT: u64 = 98;

/// What was proved.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The engine that ran: `xdp`, `uring` or `epoll`.
    pub engine: String,
    /// From where to where.
    pub route: String,
    /// Packets that the XDP program carried, by the relay's account.
    pub fast_path_packets: u64,
    /// Packets that the workers carried, by the relay's account.
    pub slow_path_packets: u64,
    /// What the captures at the far ends show.
    #[serde(flatten)]
    pub wire: Report,
    /// What is wrong, by the relay's own account; empty when all is well.
    pub account_failures: Vec<String>,
}

impl Outcome {
    /// Every sentence that says what is wrong.
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        self.wire.failures.iter().chain(&self.account_failures).map(String::as_str)
    }

    /// Whether nothing is.
    pub fn passed(&self) -> bool {
        self.failures().next().is_none() && self.wire.passed()
    }
}

/// Makes the calls and judges them.
///
/// # Errors
/// When something could not be started, or the calls did not come to an end; not when they were bad, which the outcome tells.
pub fn run(
    plan: &CallPlan,
    options: &DaemonOptions,
    folder: &Path,
    is_stopped: &Arc<AtomicBool>,
) -> anyhow::Result<Outcome> {
    let trunks = if plan.to_ipv6 { Trunks::with_media6(plan.to)? } else { Trunks::new()? };
    let daemon = Daemon::start(&trunks, options, folder)?;
    let _proxy = Proxy::start(&trunks, folder)?;
    let (near_caller, near_callee) = (folder.join("caller-end.pcap"), folder.join("callee-end.pcap"));
    let captures = [
        Capture::start(trunks.far(plan.from), FAR_DEVICE, &near_caller)?,
        Capture::start(trunks.far(plan.to), FAR_DEVICE, &near_callee)?,
    ];
    let mut view = LiveView::new(NgClient::new(&trunks)?);
    Calls::start(&trunks, plan, folder)?.finish(|| {
        if is_stopped.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        view.draw()
    })?;
    for capture in captures {
        capture.stop()?;
    }
    let engine = daemon.engine()?;
    let ended = daemon.ended_calls()?;
    let wire = judge(&near_caller, &near_callee).context("the captures cannot be judged")?;
    let mut outcome = Outcome {
        engine,
        route: format!("{} to {}", plan.from.name(), plan.to.name()),
        fast_path_packets: ended.iter().map(|call| call.fast_packets).sum(),
        slow_path_packets: ended.iter().map(|call| call.slow_packets).sum(),
        wire,
        account_failures: Vec::new(),
    };
    outcome.account_failures = account(&outcome, plan, &options.engine, ended.len());
    if is_stopped.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    Ok(outcome)
}

/// What the relay's account must be, given what was on the wire.
fn account(outcome: &Outcome, plan: &CallPlan, asked: &str, ended: usize) -> Vec<String> {
    let mut failures = Vec::new();
    // Network namespaces have XDP, so here "auto" has no excuse.
    let wanted = if matches!(asked, "uring" | "epoll") { asked } else { "xdp" };
    if outcome.engine != wanted {
        failures.push(format!("the engine is {}, not {wanted}; the daemon's log says why", outcome.engine));
    }
    let planned = u64::from(plan.calls) * u64::from(plan.seconds) * 50 * 2;
    if outcome.wire.packets_sent != planned {
        failures.push(format!("{} packets were sent, {planned} were planned", outcome.wire.packets_sent));
    }
    if outcome.wire.calls != u64::from(plan.calls) {
        failures.push(format!("{} calls were asked for, {} were seen at both ends", plan.calls, outcome.wire.calls));
    }
    if ended as u64 != outcome.wire.calls {
        failures.push(format!("the relay accounts for {ended} ended calls, the captures for {}", outcome.wire.calls));
    }
    let carried = outcome.fast_path_packets + outcome.slow_path_packets;
    let arrived = outcome.wire.packets_received + outcome.wire.rtcp_received;
    if carried != arrived {
        failures.push(format!("the relay accounts for {carried} packets, {arrived} arrived at the far ends"));
    }
    match outcome.engine.as_str() {
        "xdp" if !plan.to_ipv6 && outcome.fast_path_packets * 100 < carried * FAST_PERCENT => {
            failures.push(format!("only {} of {carried} packets took the fast path", outcome.fast_path_packets));
        }
        "uring" | "epoll" if outcome.fast_path_packets > 0 => {
            failures.push(format!("{} packets took the fast path although there is none", outcome.fast_path_packets));
        }
        _ => {}
    }
    failures
}
