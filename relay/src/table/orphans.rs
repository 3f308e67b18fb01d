//! Orphans: pairs of ports for which an earlier process has left rules, and of whose calls nothing is on record. What XDP carries of them goes on
//! until nobody sends any more; nothing else is known of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use flow::counters::Volume;
use flow::slot::Flags;
use flow::{Bearing, HopId, Rule, SlotIndex};

use crate::table::flow_table::FlowTable;

/// A call in which nobody has sent for so long is over, as one that is on record is by default.
const SILENCE: Duration = Duration::from_secs(60);

/// The orphans, by the slot of the even port.
#[derive(Default)]
pub(super) struct Orphans(BTreeMap<SlotIndex, Orphan>);

/// A pair of ports.
struct Orphan {
    /// The next hops that the rules of both ports name.
    routes: Vec<(Bearing, HopId)>,
    /// The pair that its media leaves from: that of the other party. Each has its ports for as long as one of them is heard.
    partner: Option<SlotIndex>,
    /// What both ports had carried when that was looked at last.
    carried: [Volume; 2],
    /// When that had become more, last.
    heard: Instant,
}

/// The slot of the even port of a pair.
const fn pair_of(index: SlotIndex) -> SlotIndex {
    if index.is_odd() { index.sibling() } else { index }
}

impl FlowTable {
    /// Has the rule of a slot go on of whose call nothing is on record; whether that can be. Before routes are resolved.
    pub(super) fn foster(&self, orphans: &mut Orphans, index: SlotIndex, now: Instant) -> bool {
        let is_fast = |rule: &Rule| rule.is_fast() && !rule.flags.has(Flags::BLOCKED);
        let Some(rule) = self.slot(index).and_then(flow::Slot::read).filter(is_fast) else { return false };
        let Some(bearing) = self.bearing(rule.hop) else { return false };
        // The party of an IPv6 flow is known by a number, too.
        let towards = if bearing.to.is_ipv6() { rule.peer6() } else { HopId::NONE };
        let mut routes = Vec::new();
        for id in [rule.hop, towards].into_iter().filter(|id| *id != HopId::NONE) {
            let Some(bearing) = self.bearing(id) else { continue };
            let acquired = self.hops.acquire(bearing);
            routes.push((bearing, acquired));
            if acquired != id {
                routes.into_iter().for_each(|(bearing, id)| self.hops.release(bearing, id));
                return false;
            }
        }
        let [from_port, _] = rule.ports;
        let partner = self.ours().locals().find(bearing.from).and_then(|local| local.slot(from_port)).map(pair_of);
        let fresh = || Orphan { routes: Vec::new(), partner, carried: self.carried_by(index), heard: now };
        orphans.0.entry(pair_of(index)).or_insert_with(fresh).routes.extend(routes);
        true
    }

    /// What the packets of a next hop bear, if it is resolved.
    fn bearing(&self, id: HopId) -> Option<Bearing> {
        self.hops.hop(id).and(self.hops.cell(id)).map(flow::HopCell::bearing)
    }

    /// What both ports of a pair have carried.
    fn carried_by(&self, pair: SlotIndex) -> [Volume; 2] {
        let pair = pair_of(pair);
        [pair, pair.sibling()].map(|index| self.slot(index).map_or(Volume(0), flow::Slot::volume))
    }

    /// Ends the orphans that nobody speaks by any more, with their partners; tells which are left. To be called about once a second.
    pub(crate) fn orphans(&self, now: Instant) -> Vec<SlotIndex> {
        let mut orphans = self.lock_orphans();
        for (index, orphan) in &mut orphans.0 {
            let carried = self.carried_by(*index);
            if std::mem::replace(&mut orphan.carried, carried) != carried {
                orphan.heard = now;
            }
        }
        let is_heard = |orphan: &Orphan| now.saturating_duration_since(orphan.heard) < SILENCE;
        let is_over = |orphan: &Orphan| {
            let partner = orphan.partner.and_then(|partner| orphans.0.get(&partner));
            !is_heard(orphan) && !partner.is_some_and(is_heard)
        };
        let over = orphans.0.iter().filter(|(_, orphan)| is_over(orphan)).map(|(index, _)| *index);
        for index in over.collect::<Vec<_>>() {
            // First of all: a number may be another route's as soon as it is released, and the slots must not send there.
            for index in [index, index.sibling()] {
                if let Some(slot) = self.slot(index) {
                    slot.program(Rule::INACTIVE);
                }
                self.shape.notes.clear(index);
            }
            let routes = orphans.0.remove(&index).map(|orphan| orphan.routes).unwrap_or_default();
            routes.into_iter().for_each(|(bearing, id)| self.hops.release(bearing, id));
        }
        orphans.0.keys().copied().collect()
    }
}
