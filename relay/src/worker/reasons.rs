//! What a worker has lost, and why.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::utils::CachePadded;
use flow::Reason;

/// Counts of packets by reason, of one worker: in cache lines that no other worker writes.
#[derive(Debug)]
pub(crate) struct Reasons(CachePadded<[AtomicU64; Reason::COUNT]>);

impl Default for Reasons {
    fn default() -> Self {
        Self(CachePadded::new([const { AtomicU64::new(0) }; Reason::COUNT]))
    }
}

impl Reasons {
    pub(crate) fn count(&self, reason: Reason) {
        self.add(reason, 1);
    }

    pub(crate) fn add(&self, reason: Reason, packets: u64) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.fetch_add(packets, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> [u64; Reason::COUNT] {
        std::array::from_fn(|reason| self.0.get(reason).map_or(0, |counter| counter.load(Ordering::Relaxed)))
    }
}
