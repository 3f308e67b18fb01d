//! The daemon is killed at any point of what it is doing, and afterwards everything that it keeps has to agree.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use relay::{Inventory, inventory};
use serde::Serialize;
use serde_json::{Value, json};

use crate::rig::chance::Chance;
use crate::rig::line::Line;
use crate::rig::party::sdp;
use crate::rig::scene::Scene;
use crate::rig::trunks::{Trunk, Trunks};

/// So many calls are signalled at once.
const LINES: u16 = 8;
/// The daemon is killed so long after it was ready, at the latest.
const LIFE: Duration = Duration::from_millis(8);
/// One of so many daemons is killed before it is ready.
const EARLY: u64 = 5;
/// How long one may take to start.
const START: Duration = Duration::from_millis(80);
/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// What is signalled for a call, one after another, and over again with another one.
const STEPS: [Step; 5] = [Step::Offer, Step::Answer, Step::OfferAgain, Step::AnswerAgain, Step::Delete];

/// How often.
#[derive(Clone, Copy, Debug)]
pub struct PointsPlan {
    /// How often the daemon is killed.
    pub kills: u32,
    /// What the points are chosen by.
    pub seed: u64,
}

impl PointsPlan {
    /// A short form.
    pub const fn smoke(seed: u64) -> Self {
        Self { kills: 5, seed }
    }
}

/// The result.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Points {
    /// How often the daemon was killed.
    pub kills: u32,
    /// How often of them before it was ready.
    pub early: u32,
    /// What the points were chosen by.
    pub seed: u64,
    /// Commands that were answered.
    pub answered: u64,
    /// Commands that were under way when the daemon was killed: those of them that were in force afterwards, and those that were not.
    pub in_force: u64,
    /// See above.
    pub not_in_force: u64,
    /// Calls that were set up, changed and ended.
    pub calls: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Offer,
    Answer,
    OfferAgain,
    AnswerAgain,
    Delete,
}

/// A call that is signalled, step by step.
struct Signalled {
    line: Line,
    /// Its parties have ports from here on.
    port: u16,
    /// Which call it is by now.
    number: u32,
    /// So many steps have been answered.
    done: usize,
    /// The step that has no answer yet, as it was sent.
    open: Option<String>,
}

/// What there is after so many steps of a call.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Stand {
    /// Where its parties are, by their tags; `None` where there is no call.
    parties: Option<BTreeMap<String, Vec<i64>>>,
    ports: u64,
    slots: usize,
}

/// Kills the daemon at random points, and fails where something does not agree afterwards.
///
/// # Errors
/// When something was forgotten, left over or half done.
pub fn run(plan: PointsPlan) -> anyhow::Result<Points> {
    let mut scene = Scene::new(Trunks::new()?, "xdp", &[])?;
    let mut chance = Chance::new(plan.seed);
    let mut points = Points { seed: plan.seed, ..Points::default() };
    let stands = stands(&mut scene)?;
    let mut calls = Vec::new();
    for number in 0..LINES {
        calls.push(Signalled::new(Line::new(&scene.trunks.relay)?, 10_000 + 100 * number));
    }
    for kill in 1..=plan.kills {
        crate::bench::go_on()?;
        let life = chance.below(LIFE.as_nanos() as u64);
        signal(&mut calls, Duration::from_nanos(life), &mut points)?;
        scene.daemon.kill()?;
        // What was answered before is on its way, and holds.
        calls.iter_mut().try_for_each(|call| call.hear(&mut points).map(drop))?;
        if chance.below(EARLY) == 0 {
            let life = Duration::from_nanos(chance.below(START.as_nanos() as u64));
            scene.daemon.start_and_kill(life)?;
            points.early += 1;
        }
        scene.daemon.restart()?;
        points.kills += 1;
        let agreed = agree(&mut scene, &mut calls, &stands, &mut points);
        agreed.with_context(|| format!("after kill {kill}, seed {}", plan.seed))?;
    }
    // And nothing is left in the end.
    for call in &mut calls {
        while call.done > 0 {
            call.ask(&mut points)?;
        }
    }
    agree(&mut scene, &mut calls, &stands, &mut points).context("when all calls have ended")?;
    scene.daemon.kill()?;
    scene.daemon.restart()?;
    agree(&mut scene, &mut calls, &stands, &mut points).context("when the daemon was killed after that")?;
    let left = inventory(&scene.daemon.kept().pins())?;
    ensure!(left == Inventory::default(), "{left:?} are left");
    Ok(points)
}

/// Has the calls signalled for so long.
fn signal(calls: &mut [Signalled], time: Duration, points: &mut Points) -> anyhow::Result<()> {
    let start = Instant::now();
    while start.elapsed() < time {
        for call in &mut *calls {
            if call.open.is_none() {
                call.send()?;
            }
            call.hear(points)?;
        }
    }
    Ok(())
}

/// Every call is as it was answered, or as it was asked for; those that ask again are answered, and then there is what they need and nothing else.
fn agree(scene: &mut Scene, calls: &mut [Signalled], stands: &[Stand], points: &mut Points) -> anyhow::Result<()> {
    for call in &mut *calls {
        let parties = call.parties(scene)?;
        let [before, after] = [0, 1].map(|more| stands.get((call.done + more) % STEPS.len()));
        let (before, after) = before.zip(after).context("no such step")?;
        let is_in_force = parties == after.parties && call.open.is_some();
        ensure!(
            parties == before.parties || is_in_force,
            "{}, {} steps answered, {:?} under way: {parties:?}; before: {:?}; after: {:?}",
            call.id(),
            call.done,
            call.open,
            before.parties,
            after.parties
        );
        if call.open.is_some() {
            if is_in_force {
                points.in_force += 1;
            } else {
                points.not_in_force += 1;
            }
            call.ask(points)?;
            let parties = call.parties(scene)?;
            ensure!(parties == after.parties, "{}: {parties:?} instead of {:?}", call.id(), after.parties);
        }
    }
    let of = |call: &Signalled| stands.get(call.done).cloned().unwrap_or_default();
    let (ports, slots) = calls.iter().map(of).fold((0, 0), |sum, stand| (sum.0 + stand.ports, sum.1 + stand.slots));
    let there = look(scene)?;
    ensure!(there == (ports, slots), "ports and slots are {there:?} instead of {:?}", (ports, slots));
    let wanted = calls.iter().filter(|call| call.done > 0).count();
    let reply = scene.ng.request(&json!({"command": "statistics"}))?;
    let sessions = reply.pointer("/statistics/currentstatistics/sessionstotal").and_then(Value::as_u64);
    ensure!(sessions == Some(wanted as u64), "{sessions:?} calls instead of {wanted}");
    Ok(())
}

/// What there is after each step of a call, of one that nobody disturbs.
fn stands(scene: &mut Scene) -> anyhow::Result<Vec<Stand>> {
    let mut call = Signalled::new(Line::new(&scene.trunks.relay)?, 10_000);
    let mut stands = Vec::new();
    for _ in STEPS {
        let (ports, slots) = look(scene)?;
        stands.push(Stand { parties: call.parties(scene)?, ports, slots });
        call.ask(&mut Points::default())?;
    }
    let [nothing, rest @ ..] = &stands[..] else { bail!("no steps") };
    ensure!(*nothing == Stand::default() && look(scene)? == (0, 0), "something is left of one call: {nothing:?}");
    ensure!(rest.windows(2).all(|pair| pair.first() != pair.last()), "steps that change nothing: {stands:?}");
    Ok(stands)
}

/// Ports that are in use, and slots that do anything.
fn look(scene: &mut Scene) -> anyhow::Result<(u64, usize)> {
    let reply = scene.ng.request(&json!({"command": "statistics"}))?;
    let interfaces = reply.pointer("/statistics/interfaces").and_then(Value::as_array).context("no interfaces")?;
    let used = interfaces.iter().filter_map(|interface| interface.pointer("/ports/used")?.as_u64());
    Ok((used.sum(), inventory(&scene.daemon.kept().pins())?.slots))
}

impl Signalled {
    const fn new(line: Line, port: u16) -> Self {
        Self { line, port, number: 0, done: 0, open: None }
    }

    fn id(&self) -> String {
        format!("points-{}-{}", self.port, self.number)
    }

    /// Sends the next step.
    fn send(&mut self) -> anyhow::Result<()> {
        let step = STEPS.get(self.done).copied().context("no such step")?;
        let at = |trunk: Trunk, more: u16| sdp(SocketAddr::new(trunk.far().into(), self.port + more));
        let (caller, callee) = (Trunk::Pbx1, Trunk::Gateway);
        let mut request = match step {
            Step::Offer => json!({
                "command": "offer", "sdp": at(caller, 0), "direction": [caller.name(), callee.name()],
            }),
            Step::Answer => json!({"command": "answer", "to-tag": "callee", "sdp": at(callee, 10)}),
            Step::OfferAgain => json!({"command": "offer", "to-tag": "callee", "sdp": at(caller, 20)}),
            Step::AnswerAgain => json!({"command": "answer", "to-tag": "callee", "sdp": at(callee, 30)}),
            Step::Delete => json!({"command": "delete"}),
        };
        for (key, value) in [("call-id", self.id()), ("from-tag", "caller".to_owned())] {
            if let Some(request) = request.as_object_mut() {
                request.insert(key.to_owned(), value.into());
            }
        }
        self.open = Some(self.line.send(&request)?);
        Ok(())
    }

    /// Takes the answer, if it has come.
    fn hear(&mut self, points: &mut Points) -> anyhow::Result<bool> {
        if self.open.is_none() {
            return Ok(false);
        }
        let Some(reply) = self.line.hear()? else { return Ok(false) };
        ensure!(reply.get("result") == Some(&json!("ok")), "{}: {:?}: {reply}", self.id(), self.open);
        self.open = None;
        self.done += 1;
        points.answered += 1;
        if self.done == STEPS.len() {
            (self.done, self.number) = (0, self.number + 1);
            points.calls += 1;
        }
        Ok(true)
    }

    /// Has the step that is under way answered, or the next one.
    fn ask(&mut self, points: &mut Points) -> anyhow::Result<()> {
        match &self.open {
            // The very same again, as a proxy does that has heard nothing.
            Some(request) => self.line.send_again(request)?,
            None => self.send()?,
        }
        let start = Instant::now();
        while !self.hear(points)? {
            ensure!(start.elapsed() < PATIENCE, "{}: no answer to {:?}", self.id(), self.open);
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Where the parties of the call are by the relay's account.
    fn parties(&self, scene: &mut Scene) -> anyhow::Result<Option<BTreeMap<String, Vec<i64>>>> {
        let reply = scene.ng.request(&json!({"command": "query", "call-id": self.id()}))?;
        let Some(tags) = reply.get("tags").and_then(Value::as_object) else {
            ensure!(reply.get("result") == Some(&json!("error")), "{reply}");
            return Ok(None);
        };
        let party = |(tag, party): (&String, &Value)| {
            let streams = party.pointer("/medias/0/streams").and_then(Value::as_array).into_iter().flatten();
            let port = |stream: &Value| stream.pointer("/advertised endpoint/port")?.as_i64();
            // Which call it is does not matter.
            (tag.clone(), streams.filter_map(port).map(|port| port - i64::from(self.port)).collect())
        };
        Ok(Some(tags.iter().map(party).collect()))
    }
}

/// A number to choose points by, other than the last one.
///
/// # Errors
/// When the clock is before 1970.
pub fn seed() -> io::Result<u64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_err(io::Error::other)?;
    Ok(now.as_nanos() as u64)
}
