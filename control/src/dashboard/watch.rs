//! What the page is told: the relay each second, and the calls that fare worst, found by going through all of them again and again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use calls::intent::Intent;
use calls::outcome::Outcome;
use serde::Serialize;
use tokio::sync::watch;

use crate::daemon::Daemon;
use crate::view::{Itself, RelayView, Summary, badness};

/// How often the relay is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// So many calls have all had their turn in one look, and more in so long.
const FEW: usize = 1000;
const ROUND: Duration = Duration::from_secs(4);
/// So many calls are looked at without a pause: proxies' commands wait meanwhile.
const AT_ONCE: usize = 4;
/// How many of the worst are told.
const WORST: usize = 20;
/// Scores of calls are counted up to these.
const SCORES: [f64; 6] = [2.0, 2.5, 3.0, 3.5, 4.0, 4.5];

/// What is told.
#[derive(Serialize)]
struct Look<'a> {
    relay: RelayView,
    worst: &'a [Summary],
    /// Calls with which something is wrong, of those that there are.
    troubled: usize,
    /// Calls by path: fast, slow, mixed, none.
    paths: &'a HashMap<String, usize>,
    /// Calls by score: for each of the bounds, those up to it and above the one before; those without a score are in none.
    scores: [usize; SCORES.len()],
}

/// A round through all calls.
#[derive(Default)]
struct Round {
    worst: Vec<Summary>,
    troubled: usize,
    paths: HashMap<String, usize>,
    scores: [usize; SCORES.len()],
}

impl Round {
    fn add(&mut self, call: Summary) {
        self.troubled += usize::from(!call.troubles.is_empty());
        *self.paths.entry(call.path.clone()).or_default() += 1;
        if let Some(mos) = call.mos
            && let Some(count) = self.scores.get_mut(SCORES.partition_point(|bound| *bound < mos))
        {
            *count += 1;
        }
        let place = self.worst.partition_point(|other| badness(other) >= badness(&call));
        if place < WORST {
            self.worst.insert(place, call);
            self.worst.truncate(WORST);
        }
    }
}

/// Looks while anybody does.
pub(super) async fn look(daemon: Arc<Daemon>, itself: Arc<Itself>, told: Arc<watch::Sender<Bytes>>) {
    let (mut last, mut now) = (Round::default(), Round::default());
    let mut left: Vec<Vec<u8>> = Vec::new();
    let (mut ticks, mut round) = (tokio::time::interval(LOOK), Instant::now());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if told.receiver_count() == 0 {
            (left, last) = (Vec::new(), Round::default());
            continue;
        }
        if left.is_empty() {
            left = ids(&daemon);
            round = Instant::now();
            now = Round::default();
        }
        // As many as have to be looked at to be through in time.
        let seconds = (ROUND.saturating_sub(round.elapsed())).as_secs().max(1) as usize;
        for number in 0..left.len().div_ceil(seconds).max(FEW) {
            let Some(id) = left.pop() else { break };
            // One that has ended meanwhile is none.
            if let Some(Outcome::Call(account)) = daemon.ask(Intent::Query { call_id: id.clone() }) {
                now.add(Summary::new(&id, &account));
            }
            if number % AT_ONCE == AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
        }
        if left.is_empty() {
            last = std::mem::take(&mut now);
        }
        // What has been found of this round is worse than nothing; the last whole one has the counts.
        let mut worst: Vec<Summary> = now.worst.iter().chain(&last.worst).cloned().collect();
        worst.sort_by_key(|call| std::cmp::Reverse(badness(call)));
        let mut seen = std::collections::HashSet::new();
        worst.retain(|call| seen.insert(call.call_id.clone()));
        worst.truncate(WORST);
        let relay = RelayView::new(&daemon.observe().relay, &itself);
        let look = Look { relay, worst: &worst, troubled: last.troubled, paths: &last.paths, scores: last.scores };
        let event = serde_json::to_string(&look).unwrap_or_default();
        let _nobody = told.send(format!("data: {event}\n\n").into());
    }
}

fn ids(daemon: &Daemon) -> Vec<Vec<u8>> {
    match daemon.ask(Intent::List { limit: usize::MAX }) {
        Some(Outcome::Calls(ids)) => ids,
        Some(_) | None => Vec::new(),
    }
}
