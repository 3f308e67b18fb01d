//! The next-hop table: numbers for destinations, and the requests that have them resolved.

use std::collections::{HashMap, hash_map};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{io, mem};

use border::Hops;
use flow::{Bearing, Hop, HopCell, HopId};

use crate::hops::resolver::{Event, Ports};
use crate::host::{Mapped, Wake};

/// How many ways there can be: trunks have few, and phones behind a registrar share a gateway but not an address.
pub(crate) const HOPS: usize = 1 << 16;

/// The index in the device map of a device that is not in it: frames can leave by it only if they came by it.
pub(crate) const NO_PORT: u16 = u16::MAX;

/// The next hops of all destinations in use. Numbers are shared by the slots that go the same way.
pub(crate) struct NextHops {
    cells: Mapped<HopCell>,
    /// Whether there is a resolver that takes requests.
    has_resolver: bool,
    /// How many of the cells have a next hop.
    resolved: AtomicUsize,
    state: Mutex<State>,
    wake: Wake,
}

#[derive(Default)]
struct State {
    ids: HashMap<Bearing, Entry>,
    free: Vec<HopId>,
    used: usize,
    requests: Vec<Event>,
}

struct Entry {
    id: HopId,
    slots: usize,
}

impl NextHops {
    /// An empty table on this memory. Without a resolver, ways have numbers and are never resolved: the slow path needs no more.
    pub(crate) fn new(cells: Mapped<HopCell>, has_resolver: bool) -> io::Result<Self> {
        Ok(Self { cells, has_resolver, resolved: AtomicUsize::new(0), state: Mutex::default(), wake: Wake::new()? })
    }

    /// The number of a way, for one more slot. [`HopId::NONE`] when the table is full: the slow path serves those.
    pub(crate) fn acquire(&self, way: Bearing) -> HopId {
        let mut state = self.lock();
        if let Some(entry) = state.ids.get_mut(&way) {
            entry.slots += 1;
            let (id, is_first) = (entry.id, entry.slots == 1);
            // An earlier process has left it.
            if is_first && self.has_resolver {
                state.requests.push(Event::Want { way, id, known: self.hop(id) });
                drop(state);
                self.wake();
            }
            return id;
        }
        let id = match state.free.pop() {
            Some(id) => id,
            // Number zero is `NONE`.
            None if state.used + 1 < self.cells.len() => {
                state.used += 1;
                HopId(state.used as u16)
            }
            None => return HopId::NONE,
        };
        state.ids.insert(way, Entry { id, slots: 1 });
        if let Some(cell) = self.cell(id) {
            cell.bear(&way);
        }
        if self.has_resolver {
            state.requests.push(Event::Want { way, id, known: None });
            drop(state);
            self.wake();
        }
        id
    }

    /// Takes up the ways that an earlier process has left resolved: they keep their numbers, which slots have. Before anybody acquires one.
    pub(crate) fn adopt(&self) {
        let mut state = self.lock();
        let mut taken = Vec::new();
        for (number, cell) in self.cells.iter().enumerate().skip(1) {
            if cell.read().is_none() {
                continue;
            }
            if let hash_map::Entry::Vacant(place) = state.ids.entry(cell.bearing()) {
                place.insert(Entry { id: HopId(number as u16), slots: 0 });
                self.resolved.fetch_add(1, Ordering::Relaxed);
                taken.push(number);
            } else {
                cell.write(None);
            }
        }
        state.used = taken.last().copied().unwrap_or(0);
        let free = (1..state.used).filter(|number| taken.binary_search(number).is_err());
        state.free = free.map(|number| HopId(number as u16)).collect();
    }

    /// Writes those off that nobody has acquired. Before there is a resolver.
    pub(crate) fn release_unused(&self) {
        let mut state = self.lock();
        let State { ids, free, .. } = &mut *state;
        ids.retain(|_, entry| {
            if entry.slots == 0 {
                self.write(entry.id, None);
                free.push(entry.id);
            }
            entry.slots > 0
        });
    }

    /// One slot less for a way, of those that got this number for it.
    pub(crate) fn release(&self, way: Bearing, id: HopId) {
        let mut state = self.lock();
        let Some(entry) = state.ids.get_mut(&way).filter(|entry| entry.id == id) else { return };
        entry.slots -= 1;
        if entry.slots > 0 {
            return;
        }
        state.ids.remove(&way);
        if self.has_resolver {
            state.requests.push(Event::Forget { way });
            drop(state);
            self.wake();
        } else {
            state.free.push(id);
        }
    }

    /// The resolver has written a number off: only now may another destination have it, or its slots would send to the old one's MAC.
    pub(crate) fn free(&self, id: HopId) {
        self.lock().free.push(id);
    }

    /// Whether all ways that anybody has acquired are resolved.
    pub(crate) fn are_resolved(&self) -> bool {
        self.lock().ids.values().all(|entry| self.hop(entry.id).is_some())
    }

    /// How many there are. Where nobody resolves, none has to be.
    pub(crate) fn usage(&self) -> Hops {
        let state = self.lock();
        let used = state.ids.len();
        // One that nobody needs any more is resolved until its number is written off.
        let resolved = if self.has_resolver { self.resolved.load(Ordering::Relaxed) } else { used };
        Hops { used, unresolved: used.saturating_sub(resolved), all: self.cells.len().saturating_sub(1) }
    }

    /// The next hop, if it is resolved.
    pub(crate) fn hop(&self, id: HopId) -> Option<Hop> {
        self.cells.get(usize::from(id.0))?.read()
    }

    /// The resolver knows now, or does not know any more, where a number leads.
    pub(crate) fn write(&self, id: HopId, hop: Option<Hop>) {
        let Some(cell) = self.cell(id) else { return };
        match (cell.read().is_some(), hop.is_some()) {
            (false, true) => drop(self.resolved.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.resolved.fetch_sub(1, Ordering::Relaxed)),
            (true, true) | (false, false) => {}
        }
        cell.write(hop);
    }

    /// The entry of a number.
    pub(crate) fn cell(&self, id: HopId) -> Option<&HopCell> {
        self.cells.get(usize::from(id.0))
    }

    /// Tells the resolver by which devices frames may leave now.
    pub(crate) fn set_ports(&self, ports: Ports) {
        if self.has_resolver {
            self.lock().requests.push(Event::Ports(ports));
            self.wake();
        }
    }

    /// The requests since the last call, in order.
    pub(crate) fn take_requests(&self) -> Vec<Event> {
        self.wake.hush();
        mem::take(&mut self.lock().requests)
    }

    /// Becomes readable when there are requests.
    pub(crate) fn readable(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Has the resolver look up from its sleep.
    pub(crate) fn wake(&self) {
        self.wake.ring();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // The state is whole after every statement above; a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const ONE: Bearing = Bearing { from: FROM, to: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), tos: None };
    const TWO: Bearing = Bearing { from: FROM, to: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2)), tos: None };

    fn next_hops(len: usize) -> NextHops {
        NextHops::new(Mapped::anonymous(len).unwrap(), true).unwrap()
    }

    #[test]
    fn slots_of_one_destination_share_a_number() {
        let hops = next_hops(8);
        let id = hops.acquire(ONE);
        assert_ne!(id, HopId::NONE);
        assert_eq!(hops.acquire(ONE), id);
        assert_ne!(hops.acquire(TWO), id);
        assert_eq!(hops.take_requests().len(), 2);
    }

    #[test]
    fn a_number_is_free_again_when_its_last_slot_is_gone_and_it_is_written_off() {
        let hops = next_hops(2);
        let id = hops.acquire(ONE);
        hops.acquire(ONE);
        hops.release(ONE, id);
        assert_eq!(hops.acquire(TWO), HopId::NONE, "the table is full");
        hops.release(ONE, id);
        assert_eq!(hops.acquire(TWO), HopId::NONE, "the resolver has not written it off");
        hops.free(id);
        assert_eq!(hops.acquire(TWO), id);
        let requests = hops.take_requests();
        let want = |way| Event::Want { way, id, known: None };
        assert_eq!(requests, [want(ONE), Event::Forget { way: ONE }, want(TWO)]);
    }

    #[test]
    fn a_slot_that_got_no_number_gives_none_back() {
        let hops = next_hops(2);
        let id = hops.acquire(ONE);
        assert_eq!(hops.acquire(TWO), HopId::NONE);
        hops.release(ONE, id);
        hops.free(id);
        assert_eq!(hops.acquire(TWO), id);
        // The one that was refused ends; the number is another's.
        hops.release(TWO, HopId::NONE);
        hops.take_requests();
        hops.release(TWO, id);
        assert_eq!(hops.take_requests(), [Event::Forget { way: TWO }]);
    }

    #[test]
    fn what_an_earlier_process_has_resolved_keeps_its_number_and_what_nobody_wants_any_more_is_free() {
        let hop = Hop { to: [2; 6].into(), from: [4; 6].into(), device: 3, port: 1, reflects: true, mtu: 1500 };
        let hops = next_hops(8);
        let three = Bearing { tos: Some(184), ..ONE };
        for (number, way, is_resolved) in [(2, ONE, true), (4, TWO, true), (5, three, false)] {
            hops.cells[number].bear(&way);
            hops.cells[number].write(is_resolved.then_some(hop));
        }
        hops.adopt();
        assert_eq!(hops.acquire(ONE), HopId(2));
        assert_eq!(hops.acquire(ONE), HopId(2));
        let new = hops.acquire(three);
        assert!(new != HopId(2) && new != HopId(4), "it was not resolved, and its number may be any");
        let known = Some(hop);
        let wants = [Event::Want { way: ONE, id: HopId(2), known }, Event::Want { way: three, id: new, known: None }];
        assert_eq!(hops.take_requests(), wants);
        let usage = |used, unresolved| Hops { used, unresolved, all: 7 };
        assert_eq!(hops.usage(), usage(3, 1));
        hops.release_unused();
        assert_eq!(hops.usage(), usage(2, 1));
        hops.write(new, known);
        hops.write(new, known);
        assert_eq!(hops.usage(), usage(2, 0));
        hops.write(new, None);
        assert_eq!(hops.usage(), usage(2, 1));
        assert_eq!((hops.hop(HopId(2)), hops.hop(HopId(4))), (known, None));
        let mut numbers: Vec<HopId> = (10..20)
            .map(|last| hops.acquire(Bearing { to: IpAddr::from([10, 0, 0, last]), ..ONE }))
            .filter(|id| *id != HopId::NONE)
            .chain([HopId(2), new])
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..8).map(HopId).collect::<Vec<_>>());
    }

    #[test]
    fn without_a_resolver_a_number_is_free_at_once_and_nobody_is_asked() {
        let hops = NextHops::new(Mapped::anonymous(2).unwrap(), false).unwrap();
        let id = hops.acquire(ONE);
        assert_eq!(hops.cell(id).unwrap().bearing(), ONE);
        hops.release(ONE, id);
        assert_eq!(hops.acquire(TWO), id);
        assert_eq!(hops.take_requests(), []);
    }
}
