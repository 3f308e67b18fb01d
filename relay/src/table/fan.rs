//! Several sinks of a source, and work on its packets: what does not fit a slot, and only the workers read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use border::Edge;
use flow::{Be16, Bearing, HopId, SlotIndex};
use media::Chain;

use crate::table::seal::{Opener, Sealer};

/// Where packets of a source go by one of its sinks.
#[derive(Clone, Debug)]
pub(crate) struct Outlet {
    pub(crate) bearing: Bearing,
    /// Source and destination port.
    pub(crate) ports: [Be16; 2],
    /// Why the party there is fed.
    pub(crate) edge: Edge,
    /// The next hop; of an outlet of a [`Fan`] it is the route's as long as the fan is not superseded.
    pub(crate) hop: HopId,
    /// The work on its packets.
    pub(crate) chain: Option<Arc<Mutex<Chain>>>,
    /// What protects them at last.
    pub(crate) sealer: Option<Sealer>,
    /// They are RTCP.
    pub(crate) is_rtcp: bool,
}

/// All sinks of a source.
#[derive(Debug)]
pub(crate) struct Fan {
    is_superseded: AtomicBool,
    /// What makes the source's packets readable first.
    pub(crate) opener: Option<Opener>,
    pub(crate) outlets: Box<[Outlet]>,
}

impl Fan {
    pub(super) fn new(opener: Option<Opener>, outlets: impl IntoIterator<Item = Outlet>) -> Self {
        Self { is_superseded: AtomicBool::new(false), opener, outlets: outlets.into_iter().collect() }
    }

    /// Whether the source has another one by now, or none: the numbers of its next hops may be others'.
    pub(crate) fn is_superseded(&self) -> bool {
        self.is_superseded.load(Ordering::Acquire)
    }
}

/// The fans of all sources that have one. A worker asks once for each and keeps what it gets until that is superseded.
#[derive(Debug, Default)]
pub(super) struct Fans(RwLock<HashMap<SlotIndex, Arc<Fan>>>);

impl Fans {
    /// The fan of a slot.
    pub(super) fn get(&self, index: SlotIndex) -> Option<Arc<Fan>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&index).map(Arc::clone)
    }

    /// A slot has this fan from now on, or none.
    pub(super) fn set(&self, index: SlotIndex, fan: Option<Fan>) {
        let mut fans = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = match fan {
            Some(fan) => fans.insert(index, Arc::new(fan)),
            None => fans.remove(&index),
        };
        if let Some(before) = before {
            before.is_superseded.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_holds_a_fan_sees_that_it_is_superseded() {
        let (fans, slot) = (Fans::default(), SlotIndex(7));
        assert!(fans.get(slot).is_none());
        fans.set(slot, Some(Fan::new(None, [])));
        let held = fans.get(slot).unwrap();
        assert!(!held.is_superseded());
        fans.set(slot, Some(Fan::new(None, [])));
        assert!(held.is_superseded() && !fans.get(slot).unwrap().is_superseded());
        let held = fans.get(slot).unwrap();
        fans.set(slot, None);
        assert!(held.is_superseded() && fans.get(slot).is_none());
    }
}
