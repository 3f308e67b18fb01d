//! Places for connections: there are so many, and when all are taken, the one goes that has been silent longest. A proxy that comes gets in,
//! however many are there who say nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::process::{Resource, getrlimit};
use tokio::sync::Notify;

/// How many stream clients a listener has at once: a proxy has a connection for each of its processes.
const CLIENTS: u64 = 1024;
/// Descriptors that are not for clients, and how many listeners share the others, with room to spare.
const OWN: u64 = 256;
const SHARES: u64 = 8;

/// How many stream clients a listener may have at once, so that those of all listeners leave descriptors for everything else.
pub(super) fn clients() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    CLIENTS.min(limit.saturating_sub(OWN) / SHARES).max(SHARES) as usize
}

/// The places of one listener.
#[derive(Debug)]
pub(crate) struct Places {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    taken: HashMap<u64, Taken>,
}

#[derive(Debug)]
struct Taken {
    /// The last whole request, if there was one.
    asked: Option<Instant>,
    came: Instant,
    leave: Arc<Notify>,
}

/// A connection's place; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    id: u64,
    leave: Arc<Notify>,
}

impl Places {
    /// So many places.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default() })
    }

    /// A place for one that comes now, at the cost of another one where none is free: of one that has never asked for anything, or else of
    /// the one that asked for something longest ago.
    pub(crate) fn take(self: &Arc<Self>, now: Instant) -> Place {
        let mut state = self.lock();
        if state.taken.len() >= self.limit
            && let Some((id, taken)) = state.taken.iter().min_by_key(|(_, taken)| (taken.asked, taken.came))
        {
            taken.leave.notify_one();
            let id = *id;
            state.taken.remove(&id);
        }
        let (id, leave) = (state.next, Arc::new(Notify::new()));
        state.next += 1;
        state.taken.insert(id, Taken { asked: None, came: now, leave: Arc::clone(&leave) });
        drop(state);
        Place { places: Arc::clone(self), id, leave }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement above.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// A whole request has come.
    pub(crate) fn asked(&self, now: Instant) {
        if let Some(taken) = self.places.lock().taken.get_mut(&self.id) {
            taken.asked = Some(now);
        }
    }

    /// Waits until somebody else needs the place.
    pub(crate) async fn lost(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().taken.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn is_lost(place: &Place) -> bool {
        tokio::time::timeout(Duration::from_millis(20), place.lost()).await.is_ok()
    }

    #[tokio::test]
    async fn who_never_asked_goes_first_and_then_who_asked_longest_ago() {
        let (places, start) = (Places::new(3), Instant::now());
        let at = |second| start + Duration::from_secs(second);
        let taken = [0, 1, 2].map(|second| places.take(at(second)));
        taken[0].asked(at(5));
        taken[2].asked(at(3));
        let fourth = places.take(at(6));
        assert!(is_lost(&taken[1]).await && !is_lost(&taken[0]).await && !is_lost(&taken[2]).await);
        fourth.asked(at(7));
        let _fifth = places.take(at(8));
        assert!(is_lost(&taken[2]).await && !is_lost(&taken[0]).await);
    }

    #[tokio::test]
    async fn a_place_that_is_given_back_costs_nobody_his() {
        let (places, now) = (Places::new(1), Instant::now());
        drop(places.take(now));
        let place = places.take(now);
        assert!(!is_lost(&place).await);
    }
}
