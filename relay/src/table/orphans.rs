//! Orphans: pairs of ports for which an earlier process has left rules, and of whose calls nothing is on record. What XDP carries of them goes on
//! until nobody sends any more; nothing else is known of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use flow::counters::Volume;
use flow::{Bearing, HopId, SlotIndex};

/// A call in which nobody has sent for so long is over, as one that is on record is by default.
const SILENCE: Duration = Duration::from_secs(60);

/// The orphans, by the slot of the even port.
#[derive(Default)]
pub(super) struct Orphans(BTreeMap<SlotIndex, Orphan>);

/// A pair of ports.
pub(super) struct Orphan {
    /// The next hops that the rules of both ports name.
    pub(super) routes: Vec<(Bearing, HopId)>,
    /// The pair that its media leaves from: that of the other party. Each has its ports for as long as one of them is heard.
    pub(super) partner: Option<SlotIndex>,
    /// What both ports had carried when that was looked at last.
    pub(super) carried: [Volume; 2],
    /// When that had become more, last.
    pub(super) heard: Instant,
}

impl Orphan {
    fn is_heard(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) < SILENCE
    }
}

/// The slot of the even port of a pair.
pub(super) const fn pair_of(index: SlotIndex) -> SlotIndex {
    if index.is_odd() { index.sibling() } else { index }
}

impl Orphans {
    /// A pair, which may be one already, has these routes, too.
    pub(super) fn add(&mut self, pair: SlotIndex, orphan: Orphan) {
        match self.0.get_mut(&pair) {
            Some(known) => known.routes.extend(orphan.routes),
            None => drop(self.0.insert(pair, orphan)),
        }
    }

    /// The pairs.
    pub(super) fn pairs(&self) -> Vec<SlotIndex> {
        self.0.keys().copied().collect()
    }

    /// Takes how much each has carried by now, and takes those out that nobody speaks by any more, with their partners.
    pub(super) fn forget_silent(
        &mut self,
        carried: impl Fn(SlotIndex) -> [Volume; 2],
        now: Instant,
    ) -> Vec<(SlotIndex, Orphan)> {
        for (pair, orphan) in &mut self.0 {
            let carried = carried(*pair);
            if std::mem::replace(&mut orphan.carried, carried) != carried {
                orphan.heard = now;
            }
        }
        let is_over = |orphan: &Orphan| {
            let partner = orphan.partner.and_then(|partner| self.0.get(&partner));
            !orphan.is_heard(now) && !partner.is_some_and(|partner| partner.is_heard(now))
        };
        let over: Vec<_> = self.0.iter().filter(|(_, orphan)| is_over(orphan)).map(|(pair, _)| *pair).collect();
        over.into_iter().filter_map(|pair| self.0.remove_entry(&pair)).collect()
    }
}
