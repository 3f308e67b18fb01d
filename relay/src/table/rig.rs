//! A flow table for tests, in memory that nobody shares.

use std::net::IpAddr;
use std::sync::Arc;

use flow::Reason;

use crate::engine::Output;
use crate::hops::NextHops;
use crate::host::Mapped;
use crate::table::announcer::Announcer;
use crate::table::events::Events;
use crate::table::flow_table::{FlowTable, TableShape};
use crate::table::ours::{Fitness, Ours, Seat};
use crate::table::reader::Reader;
use crate::table::trust::{Trust, TrustConfig};

/// A table with ports 30000 to 30099 at these local addresses. The first is also known as 203.0.113.200.
pub(crate) fn table(addrs: &[IpAddr], has_fast_path: bool, reader: Option<Reader>) -> FlowTable {
    with(addrs, has_fast_path, reader, Announcer::default(), Arc::new(Events::new(|| {})))
}

/// The same, with somebody who plays and a place for events.
pub(crate) fn with(
    addrs: &[IpAddr],
    has_fast_path: bool,
    reader: Option<Reader>,
    announcer: Announcer,
    events: Arc<Events>,
) -> FlowTable {
    let hops = NextHops::new(Mapped::anonymous(256).unwrap(), has_fast_path).unwrap();
    let slots = addrs.len() * flow::local::SLOTS_PER_LOCAL as usize;
    let without_fast_path = (!has_fast_path).then_some(Reason::EngineUring);
    let locals = flow::Locals::new(addrs, 30000, 30099, 1).unwrap();
    let ours = Ours::new(Arc::new(locals), vec![("203.0.113.200".parse().unwrap(), addrs[0])], addrs.len());
    for local in 0..addrs.len() {
        ours.set_seat(local, Seat { device: Some(1), fitness: Fitness::Fit });
    }
    let shape = TableShape {
        without_fast_path,
        ours,
        trust: Arc::new(Trust::new(TrustConfig::default(), std::iter::empty())),
        output: Output::Stack,
        reader,
        bound: None,
        announcer,
        events,
    };
    FlowTable::new(Mapped::anonymous(slots).unwrap(), Mapped::anonymous(slots).unwrap(), hops, shape).unwrap()
}
