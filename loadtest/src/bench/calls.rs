//! Whole calls at scale, through Kamailio and the relay: many that stand, calls in which something happens, and how many can be set up in a second.
//! Every call has media but those that nobody answers, and it is counted at both ends.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use super::go_on;
use crate::rig::counter::Counter;
use crate::rig::daemon::{Daemon, DaemonOptions, NgClient};
use crate::rig::proxy::Proxy;
use crate::rig::sipp::{Ends, Scenario, SippCalls, SippPlan};
use crate::rig::trunks::{FAR_DEVICE, Trunk, Trunks};

mod ramp;

pub use ramp::{Ramp, RampPlan, RampStep, Usage};

/// From where the calls come, and to where they go.
const ROUTE: (Trunk, Trunk) = (Trunk::Pbx1, Trunk::Gateway);
/// How long the last packets, and what the relay tells of the last calls, may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often is told how it goes.
const TELL: Duration = Duration::from_secs(1);
/// Speech of so many seconds is long enough to be seen.
const LONG: f64 = 10.0;
/// From so many calls on, messages must have been lost where some are.
const LOSSY: u32 = 50;

/// What to do.
#[derive(Clone, Debug)]
pub struct CallsPlan {
    /// How many calls stand at once.
    pub standing: u32,
    /// How long all of them do.
    pub time: Duration,
    /// How many are set up in a second for that.
    pub rate: f64,
    /// How many calls there are of each other kind.
    pub others: u32,
    /// How many of them at once.
    pub others_at_once: u32,
    /// How long both talk at a time in those.
    pub others_talk: Duration,
    /// How many of those are set up in a second.
    pub others_rate: f64,
    /// How many can be set up.
    pub ramp: RampPlan,
}

impl Default for CallsPlan {
    fn default() -> Self {
        Self {
            standing: 1_000,
            time: Duration::from_secs(30),
            rate: 50.0,
            others: 100,
            others_at_once: 50,
            others_talk: Duration::from_secs(3),
            others_rate: 20.0,
            ramp: RampPlan {
                rates: vec![50.0, 100.0, 200.0],
                growth: 1.4,
                most: 3_000.0,
                time: Duration::from_secs(5),
                talk: Duration::from_millis(300),
            },
        }
    }
}

impl CallsPlan {
    /// A short form: whether everything works, not how many calls there can be.
    pub fn smoke() -> Self {
        Self {
            standing: 20,
            time: Duration::from_secs(1),
            rate: 20.0,
            others: 4,
            others_at_once: 4,
            others_talk: Duration::from_millis(600),
            others_rate: 10.0,
            ramp: RampPlan {
                rates: vec![10.0],
                growth: 1.4,
                most: 10.0,
                time: Duration::from_secs(1),
                talk: Duration::from_millis(300),
            },
        }
    }
}

/// What came of calls of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// What happened in each.
    pub scenario: Scenario,
    /// How many were asked for.
    pub calls: u32,
    /// How many a second.
    pub rate: f64,
    /// How long both talked at a time, in seconds.
    pub talk_seconds: f64,
    /// How many stood at once at the most, as seen once a second.
    pub most_at_once: u64,
    /// What sipp has counted at both ends.
    pub sipp: Ends,
    /// RTP packets that both ends have sent.
    pub sent: u64,
    /// RTP packets that have come to both ends.
    pub received: u64,
    /// The difference: below zero when more came than was sent.
    pub lost: i64,
    /// Frames that the rig's cables have lost meanwhile, which is no fault of the relay's.
    pub lost_on_cables: u64,
    /// Ports to which not a whole number of speeches came: a call's media that went to another call, or was lost while another's came twice.
    pub uneven_ports: usize,
    /// Packets that the XDP program carried, by the relay's account.
    pub fast_packets: u64,
    /// Packets that the workers carried, by the relay's account.
    pub slow_packets: u64,
    /// How many ended calls the relay has told of.
    pub accounts: usize,
    /// How many calls the relay still knew of two seconds after their end, as far as it lists them.
    pub calls_left: usize,
}

impl Round {
    /// The share of packets on the fast path, in percent; `None` when there were no packets.
    pub fn fast_percent(&self) -> Option<f64> {
        let all = self.fast_packets + self.slow_packets;
        (all > 0).then(|| self.fast_packets as f64 * 100.0 / all as f64)
    }

    /// Fails unless every call went as it should, and so did its media.
    ///
    /// # Errors
    /// When one did not.
    pub fn check(&self) -> anyhow::Result<()> {
        let name = self.scenario.name();
        for (role, counts) in [("caller", self.sipp.caller), ("callee", self.sipp.callee)] {
            ensure!(counts.failed == 0, "{name}: {} calls have failed at the {role}", counts.failed);
            let went = (counts.successful, u64::from(self.calls));
            ensure!(went.0 == went.1, "{name}: {} of {} calls were made, says the {role}", went.0, went.1);
        }
        ensure!(self.calls_left == 0, "{name}: the relay still knows of calls");
        if !self.scenario.has_media() {
            ensure!(self.sent == 0 && self.received == 0, "{name}: there was media: {} packets", self.sent);
            return Ok(());
        }
        // Fifty a second from each end; one of a call's at the least.
        let least = u64::from(self.calls) * (self.talk_seconds * 100.0) as u64;
        ensure!(self.sent >= least, "{name}: only {} packets were sent, {least} were planned", self.sent);
        ensure!(self.received > 0 && self.fast_packets + self.slow_packets > 0, "{name}: no media has come");
        ensure!(
            u64::try_from(self.lost).is_ok_and(|lost| lost <= self.lost_on_cables),
            "{name}: {} of {} packets were lost, {} of them on cables at the most",
            self.lost,
            self.sent,
            self.lost_on_cables
        );
        // Where media moves to another port, a speech is heard at both.
        let is_even = self.uneven_ports == 0 || self.scenario == Scenario::Transfer || self.lost_on_cables > 0;
        ensure!(is_even, "{name}: {} ports have heard something else than whole speeches", self.uneven_ports);
        let again = self.sipp.caller.retransmissions + self.sipp.callee.retransmissions;
        let is_lossy = self.scenario == Scenario::Lossy && self.calls >= LOSSY;
        ensure!(!is_lossy || again > 0, "{name}: no message was sent again");
        Ok(())
    }
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct CallsOutcome {
    /// The engine that ran: `xdp`, `uring` or `epoll`.
    pub engine: String,
    /// Many calls at once.
    pub standing: Round,
    /// Calls in which something happens.
    pub others: Vec<Round>,
    /// How many calls could be set up in a second.
    pub ramp: Ramp,
}

impl CallsOutcome {
    /// Fails unless every call went as it should, no packet was lost, and the lowest rate could be had.
    ///
    /// # Errors
    /// When something did not.
    pub fn check(&self) -> anyhow::Result<()> {
        self.standing.check()?;
        let (most, calls) = (self.standing.most_at_once, u64::from(self.standing.calls));
        // Seen once a second: a short form may be over in between.
        let is_long = self.standing.talk_seconds >= LONG;
        ensure!(!is_long || most == calls, "only {most} of {calls} calls stood at once");
        self.others.iter().try_for_each(Round::check)?;
        let first = self.ramp.steps.first().context("no rate was tried")?;
        ensure!(first.passed, "the lowest rate could not be had: {first:?}");
        Ok(())
    }
}

/// Does it; logs, scenarios and what sipp has counted stay in the folder.
///
/// # Errors
/// When something could not be started, or the calls did not come to an end; not when they were bad, which the outcome tells.
pub fn run(plan: &CallsPlan, folder: &Path) -> anyhow::Result<CallsOutcome> {
    let mut bed = Bed::new(folder)?;
    let engine = bed.daemon.engine()?;
    let calls = SippPlan {
        from: ROUTE.0,
        to: ROUTE.1,
        calls: plan.standing,
        concurrent: plan.standing,
        rate: plan.rate,
        // The first one still stands when the last one has stood for long enough.
        talk: plan.time + Duration::from_secs_f64((f64::from(plan.standing) / plan.rate).ceil()),
        scenario: Scenario::Talk,
    };
    let standing = bed.round(&calls)?;
    let mut others = Vec::new();
    for scenario in Scenario::OTHERS {
        go_on()?;
        let calls = SippPlan {
            calls: plan.others,
            concurrent: plan.others_at_once,
            rate: plan.others_rate,
            talk: plan.others_talk,
            scenario,
            ..calls
        };
        others.push(bed.round(&calls)?);
    }
    go_on()?;
    let ramp = ramp::run(&plan.ramp, ROUTE, &bed.trunks, bed.daemon.id(), folder)?;
    Ok(CallsOutcome { engine, standing, others, ramp })
}

/// Everything that calls go through, in the order in which it must end.
struct Bed<'a> {
    folder: &'a Path,
    ng: NgClient,
    _proxy: Proxy,
    daemon: Daemon,
    ends: [Counter; 2],
    trunks: Trunks,
}

impl<'a> Bed<'a> {
    fn new(folder: &'a Path) -> anyhow::Result<Self> {
        let trunks = Trunks::new()?;
        // A port of a call that has ended rests for some seconds, and hundreds of them end in one. Above are those that the kernel gives to anybody.
        let args = ["--port-min", "6000", "--port-max", "32767"].map(str::to_owned).to_vec();
        let daemon = Daemon::start(&trunks, &DaemonOptions { args, ..DaemonOptions::new("auto") }, folder)?;
        let proxy = Proxy::start(&trunks, folder)?;
        let (from, to) = (trunks.far(ROUTE.0), trunks.far(ROUTE.1));
        let ends = [Counter::new(from, FAR_DEVICE)?, Counter::new(to, FAR_DEVICE)?];
        Ok(Self { folder, ng: NgClient::new(&trunks)?, _proxy: proxy, daemon, ends, trunks })
    }

    /// Makes calls and counts what became of them.
    fn round(&mut self, plan: &SippPlan) -> anyhow::Result<Round> {
        go_on()?;
        let name = plan.scenario.name();
        eprintln!("{name}: {} calls, {} at once, {} a second", plan.calls, plan.concurrent, plan.rate);
        let before = Media::of(&self.ends)?;
        let heard_before = self.heard()?;
        let (accounts, cables) = (self.daemon.ended_calls()?.len(), self.trunks.lost_on_cables()?);
        let running = SippCalls::start(&self.trunks, plan, &self.folder.join(name))?;
        let (mut told, mut most) = (Instant::now(), 0);
        let sipp = running.finish(|running| {
            go_on()?;
            if told.elapsed() < TELL {
                return Ok(());
            }
            told = Instant::now();
            let (caller, media) = (running.counts().caller, Media::of(&self.ends)?.since(before));
            most = most.max(caller.current);
            eprintln!(
                "{name}: {:>5} stand, {:>5} done, {} failed | packets {} sent, {} received",
                caller.current, caller.successful, caller.failed, media.sent, media.received
            );
            Ok(())
        })?;
        let start = Instant::now();
        let (mut media, mut left) = (Media::of(&self.ends)?.since(before), self.calls()?);
        let mut ended = self.daemon.ended_calls()?;
        // An account is written when its call has ended, and a little after.
        while (media.lost() > 0 || left > 0 || ended.len() < accounts + plan.calls as usize)
            && start.elapsed() < PATIENCE
        {
            std::thread::sleep(Duration::from_millis(100));
            (media, left) = (Media::of(&self.ends)?.since(before), self.calls()?);
            ended = self.daemon.ended_calls()?;
        }
        let speech = (plan.talk.as_millis() / 20) as u64;
        let heard = self.heard()?;
        let heard = heard.iter().zip(&heard_before).map(|(now, before)| now - before);
        let uneven_ports = heard.filter(|packets| packets.checked_rem(speech).unwrap_or(0) != 0).count();
        let ended = ended.get(accounts..).unwrap_or_default();
        let round = Round {
            scenario: plan.scenario,
            calls: plan.calls,
            rate: plan.rate,
            talk_seconds: plan.talk.as_secs_f64(),
            most_at_once: most,
            sipp,
            sent: media.sent,
            received: media.received,
            lost: media.lost(),
            uneven_ports,
            lost_on_cables: self.trunks.lost_on_cables()?.saturating_sub(cables),
            fast_packets: ended.iter().map(|call| call.fast_packets).sum(),
            slow_packets: ended.iter().map(|call| call.slow_packets).sum(),
            accounts: ended.len(),
            calls_left: left,
        };
        eprintln!(
            "{name}: {} of {} calls, {} packets lost of {}, {:.1} % by the fast path",
            round.sipp.caller.successful,
            round.calls,
            round.lost,
            round.sent,
            round.fast_percent().unwrap_or(0.0)
        );
        Ok(round)
    }

    /// How many packets each port of both ends has heard.
    fn heard(&self) -> anyhow::Result<Vec<u64>> {
        let [from, to] = &self.ends;
        Ok([from.heard()?, to.heard()?].concat())
    }

    /// How many calls the relay knows of, as far as it lists them.
    fn calls(&mut self) -> anyhow::Result<usize> {
        let list = self.ng.request(&json!({"command": "list", "limit": 100}))?;
        list.get("calls").and_then(Value::as_array).map(Vec::len).context("no list of calls")
    }
}

/// RTP packets of both ends.
#[derive(Clone, Copy, Debug)]
struct Media {
    sent: u64,
    received: u64,
}

impl Media {
    fn of(ends: &[Counter]) -> anyhow::Result<Self> {
        let mut all = Self { sent: 0, received: 0 };
        for end in ends {
            let counted = end.read()?;
            all.sent += counted.sent;
            all.received += counted.received;
        }
        Ok(all)
    }

    const fn since(self, before: Self) -> Self {
        Self { sent: self.sent.saturating_sub(before.sent), received: self.received.saturating_sub(before.received) }
    }

    /// What is under way, at the end of it lost.
    fn lost(self) -> i64 {
        i64::try_from(self.sent).unwrap_or(i64::MAX) - i64::try_from(self.received).unwrap_or(i64::MAX)
    }
}
