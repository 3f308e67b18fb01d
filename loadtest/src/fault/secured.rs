//! Calls on the fast path beside very many that are secured, and beside floods of packets that somebody has forged.
//!
//! ```text
//!   pbx2 <--(a crowd that talks, 50 packets a second each)--> relay <--> gateway
//!   pbx1 --(frames made in the kernel, of 2,000 calls)------> relay --(SRTP)--> pbx1
//! ```

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use super::crowd::Crowd;
use crate::bench::flood::{Family, Flows, flood, party, refused, relay};
use crate::bench::pace::{Passed, Sending, pace};
use crate::bench::secured::{Secured, set_up};
use crate::rig::daemon::NgClient;
use crate::rig::process::wait_until;
use crate::rig::program::Program;
use crate::rig::scene::Scene;
use crate::rig::trunks::{FAR_DEVICE, Trunk, Trunks};

const V4: Family = Family::Ipv4;
/// The first port of senders of plain RTP, and of those that are forged.
const FIRST_PORTS: [u16; 2] = [10_000, 18_000];
/// The relay's, beside those of the trunks.
const RELAY_PORTS: (u16, u32) = (30_000, 10_000);
/// Packets a second of a flow.
const OF_A_FLOW: u32 = 50;

/// How much.
#[derive(Clone, Copy, Debug)]
pub struct SecuredPlan {
    /// Calls on the fast path, whose every packet is followed.
    pub calls: u16,
    /// Secured flows of 50 packets a second: two are as much work as a call that both sides speak in.
    pub flows: u32,
    /// Flows that are forged, as if from the party itself.
    pub forged: u32,
    /// How long each.
    pub time: Duration,
}

impl Default for SecuredPlan {
    fn default() -> Self {
        Self { calls: 200, flows: 4000, forged: 400, time: Duration::from_secs(10) }
    }
}

impl SecuredPlan {
    /// A short form.
    pub const fn smoke() -> Self {
        Self { calls: 20, flows: 40, forged: 10, time: Duration::from_secs(1) }
    }
}

/// What became of the crowd's packets, and of others meanwhile.
#[derive(Clone, Debug, Serialize)]
pub struct Beside {
    /// Packets that the crowd sent.
    pub packets: u64,
    /// Those that never came.
    pub lost: u64,
    /// Packets a second, of others.
    pub others_per_second: f64,
    /// Those of the others that were lost: secured ones on their way, or forged ones that are in no count.
    pub others_lost: u64,
}

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct SecuredCalls {
    /// Calls on the fast path.
    pub calls: u16,
    /// Calls that are secured, of two flows.
    pub secured: u32,
    /// Nothing else.
    pub alone: Beside,
    /// The secured calls.
    pub beside_secured: Beside,
    /// What claims to be of a party, and is not by its key, of each second secured flow's sender.
    pub beside_forged: Beside,
    /// Packets from strangers to every port of the secured calls, as many as the machine makes.
    pub beside_strangers: Beside,
}

/// Fails when a packet of the crowd is lost, or forged ones are not counted for what they are.
///
/// # Errors
/// When one is, or the rig cannot be built.
pub fn run(plan: SecuredPlan) -> anyhow::Result<SecuredCalls> {
    let trunks = Trunks::new()?;
    // What is made in the kernel comes from the host of the first trunk, and the crowd talks between the two others.
    let source = trunks.far(Trunk::Pbx1);
    source.add_addr(FAR_DEVICE, party(V4, 1))?;
    let near = Trunk::Pbx1.name();
    trunks.relay.add_addr(near, relay(V4, 1))?;
    trunks.relay.run("ip", ["link", "set", near, "address", "02:00:00:00:00:01"])?;
    let mut sink = Program::load()?;
    sink.attach_ingress("sink_delays", source, FAR_DEVICE)?;
    let [a, b] = [("a", 0), ("b", 1)].map(|(name, side)| format!("--interface={name}/{}", relay(V4, side)));
    let mut scene = Scene::new(trunks, "xdp", &[&a, &b])?;
    let ends = [Trunk::Pbx2, Trunk::Gateway];
    let mut crowd = Crowd::between(&scene.trunks, &mut scene.ng, ends, plan.calls, true)?;
    let source = scene.trunks.far(Trunk::Pbx1);
    let [mut good, mut forged] = [Program::load()?, Program::load()?];
    let [good_port, forged_port] = FIRST_PORTS;
    set_up(&mut scene.ng, &mut good, good_port, plan.flows, Secured::Receiver)?;
    set_up(&mut scene.ng, &mut forged, forged_port, plan.forged, Secured::Sender)?;
    let send = |generator: &mut Program, first_port, count, time| {
        let flows = Flows { family: V4, count, every: None, first_port };
        let sending = Sending { program: "generate_stamped", host: source, device: FAR_DEVICE, flows };
        pace(generator, sending, count * OF_A_FLOW, time, &sink, &|| Ok(Duration::ZERO))
    };

    let alone = beside(&mut crowd, || {
        std::thread::sleep(plan.time);
        Ok(Others { sent: 0, lost: 0, time: plan.time })
    })?;
    let mut carried = 0;
    let beside_secured = beside(&mut crowd, || {
        let Passed { sent, arrived, time, .. } = send(&mut good, good_port, plan.flows, plan.time)?;
        carried = arrived;
        Ok(Others { sent, lost: sent - arrived, time })
    })?;
    let forgeries = |ng: &mut NgClient| count(ng, "workers", "srtp-forged");
    let before = forgeries(&mut scene.ng)?;
    let beside_forged = beside(&mut crowd, || {
        let Passed { sent, arrived, time, .. } = send(&mut forged, forged_port, plan.forged, plan.time)?;
        ensure!(arrived == 0, "{arrived} forged packets were carried");
        let mut lost = sent;
        let ng = &mut scene.ng;
        let _all_or_not = wait_until("all are counted", Duration::from_secs(3), || {
            lost = forgeries(ng).map_or(sent, |counted| sent.saturating_sub(counted - before));
            lost == 0
        });
        Ok(Others { sent, lost, time })
    })?;
    let ng = Mutex::new(NgClient::new(&scene.trunks)?);
    let strangers = || {
        let ng = &mut *ng.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
        // Some ports rest.
        Ok(count(ng, "program", "stranger")? + count(ng, "program", "no-call")?)
    };
    let (first_port, count) = RELAY_PORTS;
    let flows = Flows { family: V4, count, every: Some(u64::MAX), first_port };
    let beside_strangers = beside(&mut crowd, || {
        let refused = refused(source, FAR_DEVICE)?;
        let rate = flood(&mut good, source, FAR_DEVICE, flows, plan.time, &strangers)?;
        let refused = self::refused(source, FAR_DEVICE)? - refused;
        Ok(Others { sent: rate.made, lost: rate.made.saturating_sub(rate.arrived + refused), time: rate.time })
    })?;
    ensure!(beside_strangers.others_lost == 0, "packets of strangers are in no count: {beside_strangers:?}");
    ensure!(beside_forged.others_lost == 0, "forged packets are in no count: {beside_forged:?}");
    // As many as the machine can beside all else.
    ensure!(carried > 0, "no secured packet was carried: {beside_secured:?}");
    crowd.check_totals(&mut scene.ng)?;
    Ok(SecuredCalls {
        calls: plan.calls,
        secured: plan.flows / 2,
        alone,
        beside_secured,
        beside_forged,
        beside_strangers,
    })
}

/// Packets of others.
struct Others {
    sent: u64,
    lost: u64,
    time: Duration,
}

/// Has the crowd talk while others send.
fn beside(crowd: &mut Crowd, send: impl FnOnce() -> anyhow::Result<Others>) -> anyhow::Result<Beside> {
    let mut others = None;
    let heard = crowd.talk(|_| {
        others = Some(send()?);
        Ok(())
    })?;
    let others = others.context("nobody has sent")?;
    let told = Beside {
        packets: heard.sent,
        lost: heard.lost,
        others_per_second: others.sent as f64 / others.time.as_secs_f64(),
        others_lost: others.lost,
    };
    eprintln!("{told:?}");
    ensure!(told.lost == 0, "packets of the crowd never came: {told:?}");
    Ok(told)
}

/// How many packets the relay has counted for a reason.
fn count(ng: &mut NgClient, path: &str, reason: &str) -> anyhow::Result<u64> {
    let reply = ng.request(&json!({"command": "statistics"}))?;
    let reasons = reply.pointer("/statistics/reasons").and_then(|reasons| reasons.get(path));
    Ok(reasons.with_context(|| format!("no reasons: {reply}"))?.get(reason).and_then(Value::as_u64).unwrap_or(0))
}
