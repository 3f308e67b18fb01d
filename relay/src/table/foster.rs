//! What the table does about [orphans](crate::table::orphans): it leaves their rules as they are, until nobody speaks any more.

use std::time::Instant;

use flow::counters::Volume;
use flow::slot::Flags;
use flow::{Bearing, HopId, Rule, SlotIndex};

use crate::table::flow_table::FlowTable;
use crate::table::orphans::{Orphan, Orphans, pair_of};

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
        let pair = pair_of(index);
        orphans.add(pair, Orphan { routes, partner, carried: self.carried_by(pair), heard: now });
        true
    }

    /// What the packets of a next hop bear, if it is resolved.
    fn bearing(&self, id: HopId) -> Option<Bearing> {
        self.hops.hop(id).and(self.hops.cell(id)).map(flow::HopCell::bearing)
    }

    /// What both ports of a pair have carried.
    fn carried_by(&self, pair: SlotIndex) -> [Volume; 2] {
        [pair, pair.sibling()].map(|index| self.slot(index).map_or(Volume(0), flow::Slot::volume))
    }

    /// Ends the orphans that nobody speaks by any more, with their partners; tells which are left. To be called about once a second.
    pub(crate) fn orphans(&self, now: Instant) -> Vec<SlotIndex> {
        let mut orphans = self.lock_orphans();
        for (pair, orphan) in orphans.forget_silent(|pair| self.carried_by(pair), now) {
            // First of all: a number may be another route's as soon as it is released, and the slots must not send there.
            for index in [pair, pair.sibling()] {
                if let Some(slot) = self.slot(index) {
                    slot.program(Rule::INACTIVE);
                }
                self.shape.notes.clear(index);
            }
            orphan.routes.into_iter().for_each(|(bearing, id)| self.hops.release(bearing, id));
        }
        orphans.pairs()
    }
}
