//! Whether packets would go round: from one of our ports to another of them, and in the end to where they began.

use std::net::SocketAddr;

use flow::SlotIndex;

use crate::table::ours::Ours;
use crate::table::sources::Sources;

/// So many slots one after another are too many, whether or not they end somewhere: every one of them is a pass through a worker.
const LONGEST: usize = 32;

/// Whether what leaves a slot for an address of ours would come back to it by our own ports.
pub(super) fn closes(sources: &Sources, ours: &Ours, start: SlotIndex, to: SocketAddr) -> bool {
    let mut seen = Vec::new();
    let mut open: Vec<SlotIndex> = slots_at(sources, ours, to).collect();
    while let Some(index) = open.pop() {
        if index == start || seen.len() > LONGEST {
            return true;
        }
        if !seen.contains(&index) {
            seen.push(index);
            open.extend(arrivals(sources, ours, index));
        }
    }
    false
}

/// The slots of ours that take what leaves by a slot.
fn arrivals(sources: &Sources, ours: &Ours, index: SlotIndex) -> impl Iterator<Item = SlotIndex> {
    let sinks = sources.get(index).map(|source| source.spec.sinks.as_slice()).unwrap_or_default();
    let ends = sinks.iter().filter_map(|sink| sources.remote(sink.party));
    ends.flat_map(move |to| slots_at(sources, ours, to))
}

/// The slots of ours that take what is sent to an address: the one of its port, and where that is shared, that of its RTCP.
fn slots_at(sources: &Sources, ours: &Ours, to: SocketAddr) -> impl Iterator<Item = SlotIndex> {
    let port = ours.slot(to);
    let is_shared = |slot: &SlotIndex| sources.get(*slot).is_some_and(|source| source.spec.mux);
    port.into_iter().chain(port.map(SlotIndex::sibling).filter(is_shared))
}
