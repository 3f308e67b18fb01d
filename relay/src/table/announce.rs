//! What parties hear although nobody sends it: who is to hear what, and where that one is, as the workers are told.

use border::{Edge, Passes, Sink};
use flow::{Be16, Bearing, HopId, SlotIndex};

use crate::table::announcer::Order;
use crate::table::fan::Outlet;
use crate::table::flow_table::FlowTable;
use crate::table::source::Source;
use crate::table::sources::Sources;

impl FlowTable {
    /// Has a source's party hear what it is to hear, where it is now.
    pub(super) fn announce(&self, sources: &mut Sources, index: SlotIndex) {
        let Some(source) =
            sources.get(index).filter(|source| source.spec.announcement.is_some() || source.played.is_some())
        else {
            return;
        };
        let (call, tos) = (source.spec.call, source.spec.tos);
        let sink = Sink { party: index, edge: Edge::Inject, passes: Passes::All };
        let to = self.destination(sources, index, &sink).ok();
        let Some(source) = sources.get_mut(index) else { return };
        let sealer = source.seal.as_ref().map(|seal| seal.sealer());
        let Some(announcement) = source.spec.announcement.clone() else {
            self.hush(source, index);
            if let Some((bearing, id)) = source.played.take().and_then(|played| played.route) {
                self.hops.release(bearing, id);
            }
            return;
        };
        let played = source.played.get_or_insert_default();
        let bearing = to.map(|to| Bearing { from: to.from.ip(), to: to.to.ip(), tos });
        self.follow_route(&mut played.route, bearing);
        let hop = played.route.map_or(HopId::NONE, |(_, id)| id);
        let ports = to.map(|to| [to.from, to.to].map(|endpoint| Be16::new(endpoint.port())));
        let stand = bearing.zip(ports).map(|(bearing, ports)| (bearing, ports, hop));
        let told = (announcement.id, stand, sealer.clone());
        if played.told.as_ref() != Some(&told) {
            played.told = Some(told);
            let outlet = stand.map(|(bearing, ports, hop)| Outlet {
                bearing,
                ports,
                edge: Edge::Inject,
                hop,
                chain: None,
                sealer,
                is_rtcp: index.is_odd(),
            });
            self.shape.announcer.tell(self.player_of(index), Order::Play(index, call, announcement, outlet));
        }
    }

    /// What a source's party was to hear is over.
    pub(super) fn hush(&self, source: &Source, index: SlotIndex) {
        if source.played.is_some() {
            self.shape.announcer.tell(self.player_of(index), Order::Stop(index));
        }
    }

    fn player_of(&self, index: SlotIndex) -> usize {
        self.shape.ours.locals().worker(Be16::new(index.port())) as usize
    }
}
