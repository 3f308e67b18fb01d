//! Whether packets would go round: from one of our ports to another of them, and in the end to where they began.

use flow::SlotIndex;

use crate::ours::Ours;
use crate::streams::{Streams, remote, stream};

/// So many slots one after another are too many, whether or not they end somewhere: every one of them is a pass through a worker.
const LONGEST: usize = 32;

/// Whether what arrives at a slot would come back to it by our own ports.
pub(crate) fn closes(streams: &Streams, ours: &Ours, start: SlotIndex) -> bool {
    let mut seen = Vec::new();
    let mut open: Vec<SlotIndex> = arrivals(streams, ours, start).collect();
    while let Some(index) = open.pop() {
        if index == start || seen.len() > LONGEST {
            return true;
        }
        if !seen.contains(&index) {
            seen.push(index);
            open.extend(arrivals(streams, ours, index));
        }
    }
    false
}

/// The slots of ours that take what leaves by a slot: the one of the port it is sent to, and where that is shared, that of its RTCP.
fn arrivals(streams: &Streams, ours: &Ours, index: SlotIndex) -> impl Iterator<Item = SlotIndex> {
    let to = stream(streams, index).and_then(|stream| remote(streams, stream.spec.other?));
    let port = to.and_then(|to| ours.slot(to));
    let is_shared = |slot: &SlotIndex| stream(streams, *slot).is_some_and(|stream| stream.spec.mux);
    let shared = port.map(SlotIndex::sibling).filter(is_shared);
    port.into_iter().chain(shared)
}
