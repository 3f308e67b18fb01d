//! The totals of a call's streams, read once: the reply to a delete and the log's account tell the same.

use std::collections::BTreeMap;
use std::net::IpAddr;

use border::{Counts, Meter, SlotIndex, SourceTotals, Untrusted};

use super::sources::Sources;

/// What the meter says of some streams at one moment.
pub(super) struct Reading<'a> {
    meter: &'a dyn Meter,
    totals: BTreeMap<SlotIndex, SourceTotals>,
}

impl<'a> Reading<'a> {
    pub(super) fn of(streams: &Sources, meter: &'a dyn Meter) -> Self {
        let totals = streams.keys().filter_map(|slot| Some((*slot, meter.totals(*slot)?))).collect();
        Self { meter, totals }
    }
}

impl Meter for Reading<'_> {
    fn counts(&self) -> Counts {
        self.meter.counts()
    }

    fn totals(&self, slot: SlotIndex) -> Option<SourceTotals> {
        self.totals.get(&slot).cloned()
    }

    fn judge(&self, local: IpAddr, party: IpAddr) -> Result<(), Untrusted> {
        self.meter.judge(local, party)
    }
}
