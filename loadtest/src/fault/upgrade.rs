//! Another version takes over while calls talk: one whose memory in the kernel is laid out otherwise.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use serde::Serialize;
use serde_json::json;

use super::crowd::{Crowd, query};
use super::kill::offer_again;
use crate::rig::daemon::binary;
use crate::rig::process::wait_until;
use crate::rig::scene::Scene;
use crate::rig::trunks::Trunks;

/// What the other version is called, beside the ordinary one.
const OTHER: &str = "intertrunk-other";

/// How often it is noted what the fast path has counted, with some delay.
const NOTED: Duration = Duration::from_millis(1200);

/// How often, and under what load.
#[derive(Clone, Copy, Debug)]
pub struct UpgradePlan {
    /// Calls that talk, 50 packets a second each way.
    pub calls: u16,
    /// How often one version takes over from the other.
    pub times: usize,
    /// How long each runs.
    pub every: Duration,
}

impl Default for UpgradePlan {
    fn default() -> Self {
        Self { calls: 500, times: 8, every: Duration::from_secs(3) }
    }
}

impl UpgradePlan {
    /// A short form.
    pub const fn smoke() -> Self {
        Self { calls: 20, times: 2, every: Duration::from_millis(700) }
    }
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Upgraded {
    /// Calls that talked.
    pub calls: u16,
    /// How often one version took over from the other: by turns from one that was stopped, and from one that was killed.
    pub times: usize,
    /// Packets that parties sent.
    pub packets: u64,
    /// Those that never came.
    pub lost: u64,
    /// Frames that the rig's cables have lost, and not the relay.
    pub lost_on_cables: u64,
    /// Those that came twice.
    pub doubled: u64,
    /// Packets that are in no call's totals: what the kernel forwarded between the end of a daemon and the next one's taking over.
    pub uncounted: i64,
    /// Milliseconds from the start of each version until it was ready.
    pub ready_ms: Vec<u64>,
}

/// Has versions take turns; fails when a packet or a call is lost.
///
/// # Errors
/// When one is, or the other version was not built.
pub fn run(plan: UpgradePlan) -> anyhow::Result<Upgraded> {
    let one = binary()?;
    let other = one.with_file_name(OTHER);
    ensure!(
        other.is_file(),
        "there is no {OTHER} beside this program: cargo build --package control --features other-layout --bin {OTHER}"
    );
    let mut scene = Scene::new(Trunks::new()?, "xdp", &["--on-stop=keep"])?;
    let mut crowd = Crowd::new(&scene.trunks, &mut scene.ng, plan.calls, true)?;
    let mut ready_ms = Vec::new();
    let Scene { ng, daemon, trunks, .. } = &mut scene;
    let before = trunks.lost_on_cables()?;
    let heard = crowd.talk(|calls| {
        for (time, version) in (0..plan.times).zip([&other, &one].into_iter().cycle()) {
            crate::bench::go_on()?;
            std::thread::sleep(plan.every);
            if time % 2 == 0 {
                daemon.signal(Signal::TERM)?;
                wait_until("the daemon has ended", Duration::from_secs(5), || {
                    daemon.process().ended().is_ok_and(|ended| ended.is_some())
                })?;
            } else {
                daemon.kill()?;
            }
            let start = Instant::now();
            daemon.restart_as(&one, version)?;
            ready_ms.push(start.elapsed().as_millis() as u64);
            for call in calls {
                query(ng, call)?;
                offer_again(ng, call)?;
            }
        }
        std::thread::sleep(plan.every);
        Ok(())
    })?;
    let uncounted = crowd.uncounted(ng)?;
    let said = || daemon.log().map(|log| log.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    let statistics = ng.request(&json!({"command": "statistics"}))?;
    let reasons = statistics.pointer("/statistics/reasons").map(ToString::to_string).unwrap_or_default();
    let lost_on_cables = trunks.lost_on_cables()? - before;
    ensure!(
        heard.lost <= lost_on_cables,
        "{} of {} packets never came, {lost_on_cables} of them on cables: {reasons}",
        heard.lost,
        heard.sent
    );
    ensure!(heard.doubled == 0, "{} of {} packets came twice", heard.doubled, heard.sent);
    ensure!(uncounted >= 0, "{} packets were counted that nobody has sent", -uncounted);
    // Each time: what the old maps counted since it was noted last, and until the new ones took their place.
    let unseen: Duration = ready_ms.iter().map(|ms| NOTED + Duration::from_millis(*ms)).sum();
    let most = unseen.as_secs_f64() * 100.0 * f64::from(plan.calls);
    ensure!(uncounted as f64 <= most, "{uncounted} packets are in no totals, and not {most} at most: totals were lost");
    said()?.contains("this program has taken the place").then_some(()).context("no other layout has taken over")?;
    Ok(Upgraded {
        calls: plan.calls,
        times: plan.times,
        packets: heard.sent,
        lost: heard.lost,
        lost_on_cables,
        doubled: heard.doubled,
        uncounted,
        ready_ms,
    })
}
