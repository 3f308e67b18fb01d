//! How many calls can be set up in a second: more and more, until some fail, come late, or ask again and again; and who is at his limit then.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::bench::cpu::Clock;
use crate::bench::go_on;
use crate::rig::sipp::{MOST_AT_ONCE, Scenario, SippCalls, SippPlan};
use crate::rig::trunks::{Trunk, Trunks};

/// Ticks of `/proc/PID/stat` in a second (`USER_HZ`, fixed on x86 and arm64).
const TICKS: f64 = 100.0;
/// SIP messages of a call, without the 100 that each hop makes: INVITE, 180, 200, ACK, BYE, 200.
const MESSAGES: u64 = 6;
/// What must be reached of a rate.
const REACHED: f64 = 0.95;
/// So many of its messages may be sent again, in percent.
const AGAIN: f64 = 1.0;
/// Between two rates, for ports and transactions of the last one.
const REST: Duration = Duration::from_secs(1);

/// Which rates to try.
#[derive(Clone, Debug)]
pub struct RampPlan {
    /// The first ones, in calls a second.
    pub rates: Vec<f64>,
    /// By which factor each further one is greater.
    pub growth: f64,
    /// None is greater than this.
    pub most: f64,
    /// For how long calls are set up at each.
    pub time: Duration,
    /// How long both talk in each call.
    pub talk: Duration,
}

/// Processors that were at work, 1.0 being one of them all the time.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub struct Usage {
    /// All processes of Kamailio.
    pub kamailio: f64,
    /// The relay.
    pub intertrunk: f64,
    /// sipp, the caller.
    pub caller: f64,
    /// sipp, the callee.
    pub callee: f64,
    /// Everything on this machine, the kernel's own work and the rig's included.
    pub machine: f64,
    /// How many processors there are.
    pub processors: usize,
}

impl Usage {
    /// Who used the most.
    pub fn most(&self) -> (&'static str, f64) {
        let all = [
            ("kamailio", self.kamailio),
            ("intertrunk", self.intertrunk),
            ("sipp, the caller", self.caller),
            ("sipp, the callee", self.callee),
        ];
        all.into_iter().max_by(|one, other| one.1.total_cmp(&other.1)).unwrap_or(("nobody", 0.0))
    }
}

/// What came of a rate.
#[derive(Clone, Debug, Serialize)]
pub struct RampStep {
    /// Calls a second that were asked for.
    pub asked: f64,
    /// Those that were made: all, by the time in which they were begun.
    pub reached: f64,
    /// How many calls were asked for.
    pub calls: u32,
    /// How many went well.
    pub successful: u64,
    /// How many failed, at either end.
    pub failed: u64,
    /// Messages that were sent again, in percent of those that the calls consist of.
    pub again_percent: f64,
    /// From the INVITE to its 200 on average, in milliseconds.
    pub set_up_ms: Option<f64>,
    /// Who worked how much while calls were set up.
    pub usage: Usage,
    /// Whether the rate could be had.
    pub passed: bool,
    /// What the caller complained of first.
    pub complaint: Option<String>,
}

/// What came of all rates.
#[derive(Clone, Debug, Serialize)]
pub struct Ramp {
    /// Each rate.
    pub steps: Vec<RampStep>,
    /// The highest one that could be had, in calls a second; 0 when there was none.
    pub highest: f64,
    /// What kept it from more, as far as the use of processors tells; `None` when the highest one that was to be tried could be had.
    pub limit: Option<String>,
}

/// Tries them.
pub(super) fn run(
    plan: &RampPlan,
    route: (Trunk, Trunk),
    trunks: &Trunks,
    relay: u32,
    folder: &Path,
) -> anyhow::Result<Ramp> {
    let (mut steps, mut highest, mut limit) = (Vec::new(), 0.0, None);
    for rate in rates(plan) {
        go_on()?;
        let step = step(plan, rate, route, trunks, relay, folder)?;
        eprintln!(
            "ramp: {rate:.0} a second: {:.0} reached, {} failed, {:.2} % sent again, processors {:.2} of {}: kamailio {:.2}, \
             intertrunk {:.2}, caller {:.2}, callee {:.2}",
            step.reached,
            step.failed,
            step.again_percent,
            step.usage.machine,
            step.usage.processors,
            step.usage.kamailio,
            step.usage.intertrunk,
            step.usage.caller,
            step.usage.callee
        );
        let (passed, usage, complaint) = (step.passed, step.usage, step.complaint.clone());
        steps.push(step);
        if !passed {
            let (name, most) = usage.most();
            let (machine, processors) = (usage.machine, usage.processors);
            let complaint = complaint.map(|complaint| format!("; the caller: {complaint}")).unwrap_or_default();
            limit =
                Some(format!("{name} used {most:.2} processors; all together {machine:.2} of {processors}{complaint}"));
            break;
        }
        highest = rate;
        std::thread::sleep(REST);
    }
    Ok(Ramp { steps, highest, limit })
}

/// All rates, in whole calls a second.
fn rates(plan: &RampPlan) -> Vec<f64> {
    let mut rates: Vec<f64> = plan.rates.iter().copied().filter(|rate| *rate <= plan.most).collect();
    while let Some(last) = rates.last().copied() {
        let next = (last * plan.growth).round();
        if next <= last || next > plan.most {
            break;
        }
        rates.push(next);
    }
    rates
}

fn step(
    plan: &RampPlan,
    rate: f64,
    (from, to): (Trunk, Trunk),
    trunks: &Trunks,
    relay: u32,
    folder: &Path,
) -> anyhow::Result<RampStep> {
    let calls = ((rate * plan.time.as_secs_f64()).round() as u32).max(1);
    let mut sipp = SippPlan { from, to, calls, concurrent: 1, rate, talk: plan.talk, scenario: Scenario::Talk };
    // Twice as many as there would be at once, and some: who is late shall be late, and not be held back.
    let at_once = rate * sipp.length().as_secs_f64() * 2.0 + 20.0;
    sipp.concurrent = (at_once as u32).min(MOST_AT_ONCE);
    let folder = folder.join(format!("ramp-{rate:.0}"));
    let running = SippCalls::start(trunks, &sipp, &folder)?;
    let start = Instant::now();
    let before = Work::read(relay, running.ids())?;
    let mut usage = None;
    let ends = running.finish(|running| {
        go_on()?;
        if usage.is_none() && start.elapsed() >= plan.time {
            usage = Some(Work::read(relay, running.ids())?.since(&before));
        }
        Ok(())
    })?;
    let caller = ends.caller;
    // From the first call to the last one; of the time that sipp ran, a call's own is the end.
    let time = (caller.seconds - caller.call_seconds).max(plan.time.as_secs_f64() * 0.1);
    let reached = caller.created as f64 / time;
    let again = (caller.retransmissions + ends.callee.retransmissions) as f64;
    let again_percent = again * 100.0 / (u64::from(calls) * MESSAGES) as f64;
    let failed = caller.failed + ends.callee.failed;
    let are_all = caller.successful as f64 >= f64::from(calls) * REACHED;
    Ok(RampStep {
        asked: rate,
        reached,
        calls,
        successful: caller.successful,
        failed,
        again_percent,
        set_up_ms: caller.set_up_ms,
        usage: usage.unwrap_or_default(),
        complaint: std::fs::read_to_string(folder.join("caller.errors")).ok().as_deref().and_then(complaint),
        passed: failed == 0 && are_all && reached >= rate * REACHED && again_percent <= AGAIN,
    })
}

/// Why sipp has given the first call up, without the time.
fn complaint(errors: &str) -> Option<String> {
    // What it says of calls that are over is what came of the others.
    let line = errors.lines().find(|line| line.contains(": Aborting"))?;
    Some(line.split_once(": ")?.1.trim().chars().take(200).collect())
}

/// How much everybody has worked until now.
struct Work {
    at: Instant,
    kamailio: u64,
    relay: u64,
    sipps: [u64; 2],
    processors: Vec<Clock>,
}

impl Work {
    fn read(relay: u32, sipps: [u32; 2]) -> anyhow::Result<Self> {
        let processes = processes()?;
        let of = |id: u32| processes.iter().find(|process| process.id == id).map_or(0, |process| process.ticks);
        let ours = descendants(&processes, std::process::id());
        let kamailio = processes.iter().filter(|process| ours.contains(&process.id) && process.name == "kamailio");
        let count = std::thread::available_parallelism()?.get();
        Ok(Self {
            at: Instant::now(),
            kamailio: kamailio.map(|process| process.ticks).sum(),
            relay: of(relay),
            sipps: sipps.map(of),
            processors: (0..count).map(Clock::read).collect::<anyhow::Result<_>>()?,
        })
    }

    fn since(&self, before: &Self) -> Usage {
        let seconds = (self.at - before.at).as_secs_f64().max(0.001);
        let share = |now: u64, then: u64| now.saturating_sub(then) as f64 / TICKS / seconds;
        let ([caller, callee], [caller_then, callee_then]) = (self.sipps, before.sipps);
        let busy = self.processors.iter().zip(&before.processors).map(|(now, then)| now.busy_since(*then));
        Usage {
            kamailio: share(self.kamailio, before.kamailio),
            intertrunk: share(self.relay, before.relay),
            caller: share(caller, caller_then),
            callee: share(callee, callee_then),
            machine: busy.sum::<Duration>().as_secs_f64() / seconds,
            processors: self.processors.len(),
        }
    }
}

/// A process, with all its threads, also those that have ended: each speech of sipp is one.
#[derive(PartialEq, Debug)]
struct OneProcess {
    id: u32,
    parent: u32,
    name: String,
    /// At work, in the kernel and out of it.
    ticks: u64,
}

/// All that run now.
fn processes() -> anyhow::Result<Vec<OneProcess>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        // One that ends meanwhile is none.
        let text = std::fs::read_to_string(entry?.path().join("stat")).unwrap_or_default();
        all.extend(process(&text));
    }
    Ok(all)
}

/// From `/proc/PID/stat`: "id (name) state parent ...", of which the 14th and 15th are the ticks; a name may have anything in it.
fn process(stat: &str) -> Option<OneProcess> {
    let (front, back) = stat.rsplit_once(')')?;
    let (id, name) = front.split_once(" (")?;
    let fields: Vec<&str> = back.split_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some(OneProcess {
        id: id.parse().ok()?,
        parent: u32::try_from(number(1)?).ok()?,
        name: name.to_owned(),
        ticks: number(11)? + number(12)?,
    })
}

/// A process' children, and theirs.
fn descendants(all: &[OneProcess], of: u32) -> HashSet<u32> {
    let mut found = HashSet::from([of]);
    loop {
        let before = found.len();
        for process in all {
            if found.contains(&process.parent) {
                found.insert(process.id);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_is_called() {
        let text = "77 (a) b (c) S 12 77 77 0 -1 4194560 100 0 0 0 250 50 7 7 20 0 1 0 100 1 1 1\n";
        let expected = OneProcess { id: 77, parent: 12, name: "a) b (c".to_owned(), ticks: 300 };
        assert_eq!(process(text), Some(expected));
        assert_eq!(process(""), None);
        assert_eq!(process("cpu  1 2 3\n"), None);
    }

    #[test]
    fn children_of_children_are_found() {
        let one = |id, parent| OneProcess { id, parent, name: String::new(), ticks: 0 };
        let all = [one(5, 3), one(3, 2), one(4, 3), one(9, 1), one(2, 1)];
        assert_eq!(descendants(&all, 2), HashSet::from([2, 3, 4, 5]));
    }

    #[test]
    fn this_process_is_among_them() {
        let all = processes().unwrap();
        assert!(all.iter().any(|process| process.id == std::process::id()));
    }

    #[test]
    fn rates_grow_until_the_greatest() {
        let plan = RampPlan {
            rates: vec![50.0, 100.0, 200.0],
            growth: 1.4,
            most: 400.0,
            time: Duration::from_secs(1),
            talk: Duration::from_millis(300),
        };
        assert_eq!(rates(&plan), [50.0, 100.0, 200.0, 280.0, 392.0]);
        assert_eq!(rates(&RampPlan { rates: vec![10.0], most: 10.0, ..plan }), [10.0]);
    }

    #[test]
    fn what_sipp_complains_of_is_told_without_its_time() {
        let errors = "The following events occurred:\n2026-11-28\t00:40:20.5\t1795826420.5: Aborting call: received 'SIP/2.0 500\nVia: x\n";
        assert_eq!(complaint(errors).as_deref(), Some("Aborting call: received 'SIP/2.0 500"));
        assert_eq!(complaint(""), None);
    }

    #[test]
    fn who_used_the_most_is_told() {
        let usage = Usage { kamailio: 0.4, callee: 0.9, ..Usage::default() };
        assert_eq!(usage.most(), ("sipp, the callee", 0.9));
    }
}
