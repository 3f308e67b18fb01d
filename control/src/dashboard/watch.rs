//! What the page is told: the relay each second, and the calls that fare worst.
//!
//! ```text
//! each second:  calls of which the relay has told something      at once
//!               calls that were signalled                        when media should flow
//!               calls that fare badly, as shown                  again
//!               a part of all others                             a round in four seconds when somebody begins to look, and in a minute then
//! ```

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::watch;

use crate::daemon::Daemon;
use crate::view::{Itself, RelayView, Summary, badness};

/// How often the relay is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// So many calls have all had their turn in one look, and more in so long: first, and when it is not known which have changed; and else.
const FEW: usize = 250;
const FIRST_ROUND: Duration = Duration::from_secs(4);
const ROUND: Duration = Duration::from_secs(60);
/// So long after a call was signalled it is looked at: media that does not flow is missed after three seconds.
const SIGNALLED: Duration = Duration::from_millis(3500);
/// So many calls are looked at without a pause: proxies' commands wait meanwhile.
const AT_ONCE: usize = 4;
/// How many of the worst are told.
const WORST: usize = 20;
/// Of those that fare badly so many are looked at again each time.
const AGAIN: usize = 200;
/// Scores of calls are counted up to these.
const SCORES: [f64; 6] = [2.0, 2.5, 3.0, 3.5, 4.0, 4.5];

/// What is told.
#[derive(Serialize)]
struct Look<'a> {
    relay: RelayView,
    worst: Vec<&'a Summary>,
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
    /// With their Call-IDs as they are.
    worst: Vec<(Vec<u8>, Summary)>,
    paths: HashMap<String, usize>,
    scores: [usize; SCORES.len()],
}

impl Round {
    fn add(&mut self, id: Vec<u8>, call: Summary) {
        *self.paths.entry(call.path.clone()).or_default() += 1;
        if let Some(mos) = call.mos
            && let Some(count) = self.scores.get_mut(SCORES.partition_point(|bound| *bound < mos))
        {
            *count += 1;
        }
        let place = self.worst.partition_point(|(_, other)| badness(other) >= badness(&call));
        if place < WORST {
            self.worst.insert(place, (id, call));
            self.worst.truncate(WORST);
        }
    }

    /// One that is shown is shown as it is now, and no more when it has ended.
    fn refresh(&mut self, id: &[u8], call: Option<&Summary>) {
        match call {
            Some(call) => {
                self.worst.iter_mut().filter(|(other, _)| other == id).for_each(|(_, shown)| *shown = call.clone());
            }
            None => self.worst.retain(|(other, _)| other != id),
        }
    }
}

/// What is known of the calls.
#[derive(Default)]
struct Known {
    /// Those with which something is wrong.
    troubled: BTreeMap<Vec<u8>, Summary>,
    /// The last of them that was looked at again.
    again: Vec<u8>,
    /// The round that is under way, from the last place to the first, and how many have not had their turn in it: a call that takes the place of one that
    /// has ended has had it.
    now: Round,
    left: usize,
    /// When it is to be over.
    until: Option<Instant>,
    /// The last whole one.
    last: Round,
    /// Calls that were signalled, and when they are looked at.
    due: VecDeque<(Instant, Vec<u8>)>,
}

impl Known {
    /// The calls to look at now: those for which there is a reason, and those whose turn it is in the round.
    fn turn(&mut self, daemon: &Daemon, now: Instant) -> (Vec<Vec<u8>>, Range<usize>) {
        let watched = daemon.take_watched();
        self.due.extend(watched.signalled.into_iter().map(|id| (now + SIGNALLED, id)));
        for id in watched.ended {
            self.take(id, None);
        }
        if watched.is_incomplete {
            // Some of them may have ended.
            (self.troubled, self.last) = (BTreeMap::new(), Round::default());
        }
        let is_due = |(at, _): &(Instant, _)| *at <= now;
        let mut again: Vec<_> = watched.fallen;
        while self.due.front().is_some_and(is_due) {
            again.extend(self.due.pop_front().map(|(_, id)| id));
        }
        // Each time those behind the last ones.
        let next: Vec<_> = self
            .troubled
            .range((Bound::Excluded(self.again.clone()), Bound::Unbounded))
            .map(|(id, _)| id)
            .take(AGAIN)
            .cloned()
            .collect();
        self.again = if next.len() < AGAIN { Vec::new() } else { next.last().cloned().unwrap_or_default() };
        again.extend(next);
        again.extend(self.now.worst.iter().chain(&self.last.worst).map(|(id, _)| id.clone()));
        if self.until.is_none() || watched.is_incomplete || self.left == 0 {
            let takes = if self.until.is_none() || watched.is_incomplete { FIRST_ROUND } else { ROUND };
            (self.left, self.now, self.until) = (daemon.calls(), Round::default(), Some(now + takes));
        }
        // As many as have to be looked at to be through in time.
        let seconds = self.until.map_or(1, |until| until.saturating_duration_since(now).as_secs().max(1)) as usize;
        let end = self.left;
        self.left -= end.div_ceil(seconds).max(FEW).min(end);
        (again, self.left..end)
    }

    /// Takes what a look at a call has shown; none when there is no such call any more.
    fn take(&mut self, id: Vec<u8>, call: Option<&Summary>) {
        self.now.refresh(&id, call);
        self.last.refresh(&id, call);
        match call.filter(|call| !call.troubles.is_empty()) {
            Some(call) => drop(self.troubled.insert(id, call.clone())),
            None => drop(self.troubled.remove(&id)),
        }
    }

    fn worst(&self) -> Vec<&Summary> {
        let rounds = self.now.worst.iter().chain(&self.last.worst).map(|(_, call)| call);
        let mut worst: Vec<&Summary> = Vec::new();
        // All calls may be in trouble at once: they are not sorted for the sake of twenty.
        for call in self.troubled.values().chain(rounds) {
            let place = worst.partition_point(|other| badness(other) >= badness(call));
            if place < WORST && !worst.iter().any(|other| other.call_id == call.call_id) {
                worst.insert(place, call);
                worst.truncate(WORST);
            }
        }
        worst
    }
}

/// Looks while anybody does.
pub(super) async fn look(daemon: Arc<Daemon>, itself: Arc<Itself>, told: Arc<watch::Sender<Bytes>>) {
    let mut known: Option<Known> = None;
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if told.receiver_count() == 0 {
            if known.take().is_some() {
                daemon.watch(false);
            }
            continue;
        }
        let known = known.get_or_insert_with(|| {
            daemon.watch(true);
            Known::default()
        });
        let (again, round) = known.turn(&daemon, Instant::now());
        let mut seen = HashSet::new();
        let mut looked = 0;
        let round = round.rev().filter_map(|place| Some((daemon.call_at(place)?, true)));
        for (id, is_round) in round.chain(again.into_iter().map(|id| (id, false))) {
            if !seen.insert(id.clone()) {
                continue;
            }
            let call = daemon.glance(&id).map(|account| Summary::new(&id, &account));
            known.take(id.clone(), call.as_ref());
            if let Some(call) = call.filter(|_| is_round) {
                known.now.add(id, call);
            }
            looked += 1;
            if looked % AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
        if known.left == 0 {
            known.last = std::mem::take(&mut known.now);
        }
        let relay = daemon.observe().view(&itself);
        let (worst, troubled) = (known.worst(), known.troubled.len());
        let look = Look { relay, worst, troubled, paths: &known.last.paths, scores: known.last.scores };
        let event = serde_json::to_string(&look).unwrap_or_default();
        let _nobody = told.send(format!("data: {event}\n\n").into());
    }
}
