//! What parties hear although nobody sends it: the workers are told what to play, to whom, and where that one is.

use std::sync::Arc;

use border::Announcement;
use crossbeam::channel::{Receiver, Sender, unbounded};
use flow::SlotIndex;

use crate::host::Wake;
use crate::table::fan::Outlet;

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// The party of a slot, of the call of this number, is to hear this, by this outlet: from its beginning, or from where it is. Nowhere to be
    /// found, it waits.
    Play(SlotIndex, u64, Arc<Announcement>, Option<Outlet>),
    /// The party of a slot is to hear nothing any more.
    Stop(SlotIndex),
}

/// The ways to the workers. A slot's announcements are played by the worker that receives from its port.
#[derive(Debug, Default)]
pub(crate) struct Announcer(Vec<(Sender<Order>, Arc<Wake>)>);

impl Announcer {
    /// The ways to workers that are woken by these, and what each hears of it by.
    pub(crate) fn new(wakes: &[Arc<Wake>]) -> (Self, Vec<Receiver<Order>>) {
        let line = |wake: &Arc<Wake>| {
            let (sender, orders) = unbounded();
            ((sender, Arc::clone(wake)), orders)
        };
        let (lines, orders) = wakes.iter().map(line).unzip();
        (Self(lines), orders)
    }

    /// Tells a worker.
    pub(super) fn tell(&self, worker: usize, order: Order) {
        if let Some((line, wake)) = self.0.get(worker) {
            // A worker that has died is noticed elsewhere.
            let _is_dead = line.send(order);
            wake.ring();
        }
    }
}
