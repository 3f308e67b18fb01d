//! A flow table for tests, in memory that nobody shares.

use std::fs::OpenOptions;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use flow::counters::Timing;
use flow::{HopCell, Reason, Slot};

use crate::engine::Output;
use crate::hops::NextHops;
use crate::host::{Mapped, Shareable};
use crate::table::announcer::Announcer;
use crate::table::events::Events;
use crate::table::flow_table::{FlowTable, TableShape};
use crate::table::note::Notes;
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
    on(Memory::new(slots(addrs)), addrs, has_fast_path, reader, announcer, events)
}

fn slots(addrs: &[IpAddr]) -> usize {
    addrs.len() * flow::local::SLOTS_PER_LOCAL as usize
}

/// What a table lies in.
pub(crate) struct Memory {
    slots: Mapped<Slot>,
    timings: Mapped<Timing>,
    hops: Mapped<HopCell>,
    notes: Notes,
}

const HOPS: usize = 256;

impl Memory {
    /// Nobody's yet.
    fn new(slots: usize) -> Self {
        Self {
            slots: Mapped::anonymous(slots).unwrap(),
            timings: Mapped::anonymous(slots).unwrap(),
            hops: Mapped::anonymous(HOPS).unwrap(),
            notes: Notes::none(slots).unwrap(),
        }
    }

    /// What another process has left in a folder. `has_rules`: the slots, too.
    pub(crate) fn kept_in(folder: &Path, addrs: &[IpAddr], has_rules: bool) -> Self {
        Self::kept_with(folder, addrs, has_rules, "maps")
    }

    /// The same with other maps than those.
    pub(crate) fn kept_with(folder: &Path, addrs: &[IpAddr], has_rules: bool, maps: &str) -> Self {
        let slots = slots(addrs);
        let ports = vec![(30000, 30099); addrs.len()];
        let notes = Notes::open(&folder.join("notes"), slots, ["shape", maps], &ports).unwrap();
        if !has_rules {
            return Self { notes, ..Self::new(slots) };
        }
        Self {
            slots: in_file(folder, "slots", slots),
            timings: in_file(folder, "timings", slots),
            hops: in_file(folder, "hops", HOPS),
            notes,
        }
    }
}

fn in_file<T: Shareable>(folder: &Path, name: &str, len: usize) -> Mapped<T> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(folder.join(name)).unwrap();
    file.set_len((len * size_of::<T>()) as u64).unwrap();
    Mapped::of_file(&file, 0, len).unwrap()
}

/// A table in such memory.
pub(crate) fn on(
    memory: Memory,
    addrs: &[IpAddr],
    has_fast_path: bool,
    reader: Option<Reader>,
    announcer: Announcer,
    events: Arc<Events>,
) -> FlowTable {
    let hops = NextHops::new(memory.hops, has_fast_path).unwrap();
    hops.adopt();
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
        notes: memory.notes,
        epoch: flow::Epoch::FIRST,
    };
    FlowTable::new(memory.slots, memory.timings, hops, shape)
}
