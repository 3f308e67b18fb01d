//! The daemon is killed while calls talk, again and again.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::json;

use super::crowd::{Crowd, PACKET_TIME, query, totals};
use crate::rig::daemon::{Daemon, NgClient};
use crate::rig::party::{Call, Party, sdp};
use crate::rig::scene::Scene;
use crate::rig::trunks::{Trunk, Trunks};

/// The first port of the parties of calls that end between two kills.
const SHORT_PORT: u16 = 30_000;
/// So many of them end after each kill.
const SHORT: u16 = 5;

/// How often, and under what load.
#[derive(Clone, Copy, Debug)]
pub struct KillPlan {
    /// Which path carries the media: `xdp`, of which nothing may be lost, or `uring` or `epoll`, of which it is measured how long nothing comes.
    pub engine: &'static str,
    /// Calls that talk, 50 packets a second each way.
    pub calls: u16,
    /// How long.
    pub time: Duration,
    /// Time between two kills.
    pub every: Duration,
    /// Calls that stand when it is measured how long a start takes.
    pub standing: u32,
}

impl Default for KillPlan {
    fn default() -> Self {
        Self {
            engine: "xdp",
            calls: 500,
            time: Duration::from_secs(60),
            every: Duration::from_secs(5),
            standing: 20_000,
        }
    }
}

impl KillPlan {
    /// A short form.
    pub const fn smoke() -> Self {
        Self {
            engine: "xdp",
            calls: 20,
            time: Duration::from_secs(2),
            every: Duration::from_millis(900),
            standing: 200,
        }
    }
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Killed {
    /// Which path carried the media.
    pub engine: &'static str,
    /// Calls that talked.
    pub calls: u16,
    /// How often the daemon was killed.
    pub kills: usize,
    /// Packets that parties sent.
    pub packets: u64,
    /// Those that never came.
    pub lost: u64,
    /// Those that came twice.
    pub doubled: u64,
    /// For how many milliseconds a party heard nothing after a kill, on an average.
    pub silent_ms: f64,
    /// Milliseconds from the start of each daemon until it was ready.
    pub ready_ms: Vec<u64>,
    /// Calls that stood when it was started once more.
    pub standing: u32,
    /// Milliseconds until it was ready with all of them.
    pub standing_ready_ms: u64,
}

/// Kills the daemon again and again; fails when a packet, a call or a count is not where it should be.
///
/// # Errors
/// When something was lost.
pub fn run(plan: KillPlan) -> anyhow::Result<Killed> {
    let mut scene = Scene::new(Trunks::new()?, plan.engine, &[])?;
    let is_fast = plan.engine == "xdp";
    let kills = (plan.time.as_millis() / plan.every.as_millis().max(1)).max(1) as usize;
    let mut crowd = Crowd::new(&scene.trunks, &mut scene.ng, plan.calls, is_fast)?;
    let mut short = short_calls(&mut scene, kills)?;
    let Scene { ng, daemon, .. } = &mut scene;
    let mut ready_ms = Vec::new();
    let heard = crowd.talk(|calls| {
        for kill in 1..=kills {
            crate::bench::go_on()?;
            std::thread::sleep(plan.every);
            ready_ms.push(kill_and_start(daemon)?);
            eprintln!("kill {kill} of {kills}: ready after {} ms", ready_ms.last().copied().unwrap_or_default());
            for call in calls {
                query(ng, call)?;
                offer_again(ng, call)?;
            }
            for _ in 0..SHORT {
                let Some((call, sent)) = short.pop() else { break };
                let reply = ng.request(&json!({"command": "delete", "call-id": call.id, "from-tag": "caller"}))?;
                let counted = totals(&reply)?;
                ensure!(counted == (sent, 0), "{}: {sent} packets were sent, and the relay told {counted:?}", call.id);
            }
        }
        Ok(())
    })?;
    if is_fast {
        crowd.check_totals(ng)?;
    }
    ensure!(!is_fast || heard.lost == 0, "{} of {} packets never came", heard.lost, heard.sent);
    ensure!(heard.doubled == 0, "{} of {} packets came twice", heard.doubled, heard.sent);
    drop((crowd, scene));
    let silences = 2.0 * f64::from(plan.calls) * kills as f64;
    Ok(Killed {
        engine: plan.engine,
        silent_ms: heard.lost as f64 / silences * PACKET_TIME.as_secs_f64() * 1000.0,
        calls: plan.calls,
        kills,
        packets: heard.sent,
        lost: heard.lost,
        doubled: heard.doubled,
        ready_ms,
        standing: plan.standing,
        standing_ready_ms: standing(plan.standing)?,
    })
}

/// Kills the daemon and starts it anew; milliseconds until it was ready.
fn kill_and_start(daemon: &mut Daemon) -> anyhow::Result<u64> {
    daemon.kill()?;
    let start = Instant::now();
    daemon.restart()?;
    Ok(start.elapsed().as_millis() as u64)
}

/// Calls that say something and are to end between two kills, each with what its parties have sent.
fn short_calls(scene: &mut Scene, kills: usize) -> anyhow::Result<Vec<(Call, i64)>> {
    let mut calls = Vec::new();
    for number in 0..SHORT * kills as u16 {
        let (port, packets) = (SHORT_PORT + 2 * number, 3);
        let ends = [Trunk::Pbx1, Trunk::Gateway];
        let [mut caller, mut callee] =
            [Party::new(&scene.trunks, ends[0], port)?, Party::new(&scene.trunks, ends[1], port)?];
        let ends = ((&caller, ends[0]), (&callee, ends[1]));
        let call = Call::set_up(&mut scene.ng, &format!("short-{number}"), ends.0, ends.1, &[])?;
        call.converse(&mut caller, &mut callee, packets)?;
        calls.push((call, i64::from(2 * packets)));
    }
    Ok(calls)
}

/// An offer without change within a call, and its answer, as a session timer makes them.
pub(super) fn offer_again(ng: &mut NgClient, call: &Call) -> anyhow::Result<()> {
    let number: u16 = call.id.rsplit('-').next().and_then(|number| number.parse().ok()).context("no number")?;
    let addr = |trunk: Trunk| SocketAddr::new(trunk.far().into(), super::crowd::FIRST_PORT + 2 * number);
    let [caller, callee] = [addr(Trunk::Pbx1), addr(Trunk::Gateway)].map(sdp);
    for (command, sdp, local) in [("offer", callee, call.for_caller), ("answer", caller, call.for_callee)] {
        let reply = ng.request(&json!({
            "command": command, "call-id": call.id, "from-tag": "callee", "to-tag": "caller", "sdp": sdp,
        }))?;
        let told = crate::rig::party::media(&reply)?;
        ensure!(told == local, "{}: {local} is {told} now", call.id);
    }
    Ok(())
}

/// How long a start takes with so many calls, in milliseconds.
fn standing(calls: u32) -> anyhow::Result<u64> {
    let mut scene = Scene::new(Trunks::new()?, "xdp", &["--port-min", "2000", "--port-max", "60000"])?;
    eprintln!("setting {calls} calls up");
    let party =
        |trunk: Trunk, number: u32| sdp(SocketAddr::new(trunk.far().into(), 2000 + 2 * (number % 30_000) as u16));
    for number in 0..calls {
        crate::bench::go_on()?;
        let id = format!("standing-{number}");
        for (command, sdp, extra) in [
            ("offer", party(Trunk::Pbx1, number), json!({"direction": [Trunk::Pbx1.name(), Trunk::Gateway.name()]})),
            ("answer", party(Trunk::Gateway, number), json!({"to-tag": "callee"})),
        ] {
            let mut request = json!({"command": command, "call-id": id, "from-tag": "caller", "sdp": sdp});
            if let (Some(request), Some(extra)) = (request.as_object_mut(), extra.as_object()) {
                request.extend(extra.clone());
            }
            let reply = scene.ng.request(&request)?;
            ensure!(reply.get("result") == Some(&json!("ok")), "{reply}");
        }
    }
    let took = kill_and_start(&mut scene.daemon)?;
    for number in (0..calls).step_by(97) {
        let reply = scene.ng.request(&json!({"command": "query", "call-id": format!("standing-{number}")}))?;
        ensure!(reply.get("result") == Some(&json!("ok")), "call {number} is gone: {reply}");
    }
    let statistics = scene.ng.request(&json!({"command": "statistics"}))?;
    let there = statistics.pointer("/statistics/currentstatistics/sessionstotal").and_then(serde_json::Value::as_u64);
    ensure!(there == Some(calls.into()), "{calls} calls stood, and now there are {there:?}");
    Ok(took)
}
