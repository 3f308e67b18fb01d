//! Local ports, in pairs of an even one for RTP and the next for RTCP (RFC 3550 11).
//!
//! Which pair a call gets nobody can predict, but it is one of few pages: the slots of the pairs in use stay together.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use flow::SlotIndex;
use serde::{Deserialize, Serialize};

use crate::interface::{InterfaceId, Interfaces};

/// How long a released port rests at least before a new call gets it, so that no packet that was under way is heard in the new one.
pub(crate) const QUARANTINE: Duration = Duration::from_secs(3);
/// How long it rests while there are others: a party whose BYE gets no answer speaks on for 32 s (timer F, RFC 3261 17.1.2.2), and one whose BYE
/// was lost until its own media time-out ends it.
pub const LONG_REST: Duration = Duration::from_secs(300);

/// Pairs of one page of the flow table: 4096 bytes of 32-byte slots of even ports.
const PAGE: usize = 128;
/// At least so many pairs are there to choose from, as long as there are so many: one of a guesser's thousand guesses hits.
const CHOICE: usize = 8 * PAGE;

/// The two ports of one media of one leg.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PortPair {
    /// The interface whose ports these are.
    pub interface: InterfaceId,
    /// The even port, for RTP.
    pub rtp_port: u16,
    /// The slot of the even port. It is not written down: another daemon may count addresses in another order.
    #[serde(skip, default = "nowhere")]
    pub rtp_slot: SlotIndex,
    /// The slot of the odd port.
    #[serde(skip, default = "nowhere")]
    pub rtcp_slot: SlotIndex,
}

/// The slot of ports that have not been [claimed](Ports::claim) yet: there are never so many addresses.
const fn nowhere() -> SlotIndex {
    SlotIndex(u32::MAX)
}

impl PortPair {
    /// The odd port, for RTCP.
    pub const fn rtcp_port(self) -> u16 {
        self.rtp_port + 1
    }
}

/// Every pair of the interface is in use or at rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("Ran out of ports")]
pub struct Exhausted;

/// A port range that holds no pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the port range {first}-{last} holds no even port followed by an odd one: raise port-max")]
pub struct NoPair {
    first: u16,
    last: u16,
}

/// The ports of all interfaces.
#[derive(Debug)]
pub struct Ports {
    /// One for each local address.
    pools: Vec<Pool>,
    /// The pool of each interface.
    of_interfaces: Vec<usize>,
    /// Chooses by secret keys; `None`: the lowest port.
    chooser: Option<RandomState>,
    choices: u64,
    /// Pairs of calls that are on no record.
    orphans: Vec<PortPair>,
}

/// How much of an interface's ports is in use, in pairs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortUsage {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
    /// Pairs that calls have, of all interfaces of the address.
    pub used: usize,
    /// Pairs that can be taken; the others rest.
    pub free: usize,
    /// All pairs.
    pub all: usize,
}

#[derive(Debug)]
struct Pool {
    first: u16,
    last: u16,
    /// Free even ports to choose from.
    free: Vec<u16>,
    /// Even ports that have not served yet, the next last.
    unopened: Vec<u16>,
    /// Ports that have served, the longest ago first.
    resting: VecDeque<(Instant, u16)>,
    used: usize,
}

impl Pool {
    /// All pairs.
    fn all(&self) -> usize {
        self.used + self.free.len() + self.unopened.len() + self.resting.len()
    }

    fn new(first: u16, last: u16) -> Result<Self, NoPair> {
        let unopened: Vec<_> = (first..last).filter(|port| port.is_multiple_of(2)).rev().collect();
        if unopened.is_empty() {
            return Err(NoPair { first, last });
        }
        Ok(Self { first, last, free: Vec::new(), unopened, resting: VecDeque::new(), used: 0 })
    }

    /// Has enough to choose from, as far as there is: what has rested long enough, then what has never served, then what has rested a while.
    fn replenish(&mut self, now: Instant) {
        let rested = |time| move |(since, _): &mut (Instant, u16)| now.saturating_duration_since(*since) >= time;
        while let Some((_, port)) = self.resting.pop_front_if(rested(LONG_REST)) {
            self.free.push(port);
        }
        while self.free.len() < CHOICE && !self.unopened.is_empty() {
            let page = self.unopened.len().saturating_sub(PAGE);
            self.free.extend(self.unopened.drain(page..));
        }
        // Many at once: of a single one everybody could tell which it will be.
        if self.free.is_empty() {
            while self.free.len() < CHOICE
                && let Some((_, port)) = self.resting.pop_front_if(rested(QUARANTINE))
            {
                self.free.push(port);
            }
        }
    }

    /// Takes the port that a random number chooses, or else the lowest.
    fn take(&mut self, choice: Option<u64>, now: Instant) -> Option<u16> {
        self.replenish(now);
        let lowest = || self.free.iter().enumerate().min_by_key(|(_, port)| **port).map(|(place, _)| place);
        let place = match choice {
            Some(choice) => choice.checked_rem(self.free.len() as u64)? as usize,
            None => lowest()?,
        };
        self.used += 1;
        Some(self.free.swap_remove(place))
    }
}

impl Ports {
    /// The ports of each interface, from the first to the last, each at an address of its own. The lowest goes first, for whoever tries out
    /// commands and wants the same replies each time.
    ///
    /// # Errors
    /// When a range holds not even one pair.
    pub fn new(ranges: &[(u16, u16)]) -> Result<Self, NoPair> {
        let pools: Vec<Pool> = ranges.iter().map(|(first, last)| Pool::new(*first, *last)).collect::<Result<_, _>>()?;
        Ok(Self { of_interfaces: (0..pools.len()).collect(), pools, chooser: None, choices: 0, orphans: Vec::new() })
    }

    /// The ports of these interfaces, in an order that nobody can predict. Those that have one address share its ports; `range` is that of all
    /// that have none of their own.
    ///
    /// # Errors
    /// When a range holds not even one pair.
    pub fn of(interfaces: &Interfaces, range: (u16, u16)) -> Result<Self, NoPair> {
        let addrs = interfaces.addrs();
        let of_addr = |addr| interfaces.iter().find(|one| one.addr == addr).and_then(|one| one.ports);
        let ranges: Vec<_> = addrs.into_iter().map(|addr| of_addr(addr).unwrap_or(range)).collect();
        Ok(Self { of_interfaces: interfaces.locals(), chooser: Some(RandomState::new()), ..Self::new(&ranges)? })
    }

    fn pool(&self, interface: InterfaceId) -> Option<(usize, &Pool)> {
        let number = *self.of_interfaces.get(interface.0)?;
        Some((number, self.pools.get(number)?))
    }

    fn pool_mut(&mut self, interface: InterfaceId) -> Option<&mut Pool> {
        self.pools.get_mut(*self.of_interfaces.get(interface.0)?)
    }

    /// How many pairs there are.
    pub fn pairs(&self) -> usize {
        self.pools.iter().map(Pool::all).sum()
    }

    /// Whether an interface has a pair that could be taken now.
    pub fn has_free(&self, interface: InterfaceId, now: Instant) -> bool {
        self.pool(interface).is_some_and(|(_, pool)| {
            let is_rested = |(since, _): &(Instant, u16)| now.saturating_duration_since(*since) >= QUARANTINE;
            !pool.free.is_empty() || !pool.unopened.is_empty() || pool.resting.front().is_some_and(is_rested)
        })
    }

    /// How much of each interface's ports is in use.
    pub fn usage(&self) -> impl Iterator<Item = PortUsage> {
        let pools = self.of_interfaces.iter().filter_map(|number| self.pools.get(*number));
        pools.map(|pool| {
            let free = pool.free.len() + pool.unopened.len();
            PortUsage { first: pool.first, last: pool.last, used: pool.used, free, all: pool.all() }
        })
    }

    /// Takes a pair of an interface's ports.
    ///
    /// # Errors
    /// When none is free.
    pub fn allocate(&mut self, interface: InterfaceId, now: Instant) -> Result<PortPair, Exhausted> {
        self.choices = self.choices.wrapping_add(1);
        let choice = self.chooser.as_ref().map(|chooser| chooser.hash_one(self.choices));
        let (number, _) = self.pool(interface).ok_or(Exhausted)?;
        let port = self.pool_mut(interface).and_then(|pool| pool.take(choice, now)).ok_or(Exhausted)?;
        Ok(Self::pair(number, interface, port))
    }

    /// Takes the pair with this even port, which a call had before this process began; `None` when it is not free, or none of the interface's.
    pub fn claim(&mut self, interface: InterfaceId, rtp_port: u16) -> Option<PortPair> {
        let (number, _) = self.pool(interface)?;
        let pool = self.pool_mut(interface)?;
        // There are tens of thousands of them, and they stand in their order, the lowest last.
        match pool.unopened.binary_search_by(|port| rtp_port.cmp(port)) {
            Ok(place) => drop(pool.unopened.remove(place)),
            Err(_) => drop(pool.free.swap_remove(pool.free.iter().position(|port| *port == rtp_port)?)),
        }
        pool.used += 1;
        Some(Self::pair(number, interface, rtp_port))
    }

    fn pair(number: usize, interface: InterfaceId, rtp_port: u16) -> PortPair {
        let slot = SlotIndex::new(number as u32, rtp_port);
        PortPair { interface, rtp_port, rtp_slot: slot, rtcp_slot: slot.sibling() }
    }

    /// These pairs, each by the slot of its even port, are of calls that are on no record: nobody is given them. Those that were such before and are
    /// not any more are given back.
    pub fn set_orphans(&mut self, orphans: &[SlotIndex], now: Instant) {
        for pair in std::mem::take(&mut self.orphans) {
            if orphans.contains(&pair.rtp_slot) {
                self.orphans.push(pair);
            } else {
                self.release(pair, now);
            }
        }
        for slot in orphans {
            let interface = self.of_interfaces.iter().position(|number| *number == slot.local() as usize);
            if self.orphans.iter().all(|pair| pair.rtp_slot != *slot)
                && let Some(pair) = interface.and_then(|interface| self.claim(InterfaceId(interface), slot.port()))
            {
                self.orphans.push(pair);
            }
        }
    }

    /// Gives a pair back.
    pub fn release(&mut self, pair: PortPair, now: Instant) {
        if let Some(pool) = self.pool_mut(pair.interface) {
            pool.used -= 1;
            pool.resting.push_back((now, pair.rtp_port));
        }
    }

    /// Takes a pair back that nobody was told of: it needs no rest.
    pub fn cancel(&mut self, pair: PortPair) {
        if let Some(pool) = self.pool_mut(pair.interface) {
            pool.used -= 1;
            pool.free.push(pair.rtp_port);
        }
    }

    /// How many pairs of all interfaces are in use.
    pub fn used(&self) -> usize {
        self.pools.iter().map(|pool| pool.used).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ONLY: InterfaceId = InterfaceId(0);

    #[test]
    fn pairs_are_even_then_odd() {
        let mut ports = Ports::new(&[(30001, 30003)]).unwrap();
        let pair = ports.allocate(ONLY, Instant::now()).unwrap();
        assert_eq!((pair.rtp_port, pair.rtcp_port()), (30002, 30003));
        let addr = std::net::IpAddr::from([192, 0, 2, 1]);
        let locals = flow::Locals::new(&[addr], 30001, 30010, 1).unwrap();
        let slot = |port| locals.find(addr).unwrap().slot(flow::Be16::new(port)).unwrap();
        assert_eq!((pair.rtp_slot, pair.rtcp_slot), (slot(30002), slot(30003)), "as the fast path finds them");
    }

    #[test]
    fn a_range_gives_all_its_pairs_and_no_more() {
        let mut ports = Ports::new(&[(30000, 30005)]).unwrap();
        let now = Instant::now();
        let taken: Vec<_> = std::iter::from_fn(|| ports.allocate(ONLY, now).ok()).map(|pair| pair.rtp_port).collect();
        assert_eq!(taken.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from([30000, 30002, 30004]));
        assert_eq!(ports.allocate(ONLY, now), Err(Exhausted));
    }

    #[test]
    fn a_lone_even_port_at_the_end_of_the_range_is_no_pair() {
        let mut ports = Ports::new(&[(30000, 30002)]).unwrap();
        let now = Instant::now();
        assert_eq!(ports.allocate(ONLY, now).unwrap().rtp_port, 30000);
        assert_eq!(ports.allocate(ONLY, now), Err(Exhausted));
        assert!(Ports::new(&[(30001, 30002)]).is_err());
    }

    #[test]
    fn pairs_of_calls_on_no_record_are_nobodys_until_they_are_given_back() {
        let (mut ports, now) = (Ports::new(&[(30000, 30003), (30000, 30001)]).unwrap(), Instant::now());
        let orphans = [SlotIndex::new(0, 30002), SlotIndex::new(1, 30000), SlotIndex::new(1, 30008)];
        ports.set_orphans(&orphans, now);
        ports.set_orphans(&orphans, now);
        assert_eq!(ports.used(), 2);
        assert_eq!(ports.allocate(ONLY, now).unwrap().rtp_port, 30000);
        assert_eq!(ports.allocate(ONLY, now), Err(Exhausted));
        ports.set_orphans(&orphans[1..], now);
        assert_eq!(ports.allocate(ONLY, now), Err(Exhausted), "they rest, as those of any call");
        assert_eq!(ports.allocate(ONLY, now + QUARANTINE).unwrap().rtp_port, 30002);
        assert_eq!(ports.allocate(InterfaceId(1), now + QUARANTINE), Err(Exhausted));
        ports.set_orphans(&[], now);
        assert_eq!(ports.used(), 2);
    }

    #[test]
    fn a_released_pair_rests_before_it_is_used_again() {
        let mut ports = Ports::new(&[(30000, 30001)]).unwrap();
        let now = Instant::now();
        let pair = ports.allocate(ONLY, now).unwrap();
        ports.release(pair, now);
        assert_eq!(ports.allocate(ONLY, now + QUARANTINE / 2), Err(Exhausted));
        assert_eq!(ports.allocate(ONLY, now + QUARANTINE), Ok(pair));
    }

    #[test]
    fn a_port_that_never_served_goes_before_one_that_did() {
        let mut ports = Ports::new(&[(30000, 30003)]).unwrap();
        let now = Instant::now();
        let pair = ports.allocate(ONLY, now).unwrap();
        ports.release(pair, now);
        assert_eq!(ports.allocate(ONLY, now + LONG_REST / 2).unwrap().rtp_port, 30002);
        assert_eq!(ports.allocate(ONLY, now + LONG_REST), Ok(pair));
    }

    #[test]
    fn the_order_of_ports_is_another_one_each_time_and_they_are_of_few_pages() {
        let first = |_| {
            let only = Interfaces::new(vec!["192.0.2.1".parse().unwrap()]).unwrap();
            let mut ports = Ports::of(&only, (30000, 40000)).unwrap();
            let now = Instant::now();
            [0; 16].map(|_: u16| ports.allocate(ONLY, now).unwrap().rtp_port)
        };
        let (one, other) = (first(()), first(()));
        assert_ne!(one, other);
        assert!(one.iter().chain(&other).all(|port| *port < 30000 + 2 * (CHOICE + PAGE) as u16), "{one:?} {other:?}");
        let rising = one.windows(2).filter(|pair| pair[0] + 2 == pair[1]).count();
        assert!(rising < 4, "{one:?}");
    }

    #[test]
    fn a_port_that_served_rests_for_minutes_while_others_are_free_and_for_seconds_where_none_are() {
        for (last, others) in [(40000, 4000), (30007, 2)] {
            let mut ports = Ports::new(&[(30000, last)]).unwrap();
            let now = Instant::now();
            let pair = ports.allocate(ONLY, now).unwrap();
            ports.release(pair, now);
            let later = now + LONG_REST - Duration::from_secs(1);
            for _ in 0..others {
                assert_ne!(ports.allocate(ONLY, later).unwrap(), pair);
            }
            assert_eq!(ports.usage().map(|usage| usage.all).sum::<usize>(), usize::from(last - 30000).div_ceil(2));
        }
    }

    #[test]
    fn interfaces_of_one_address_share_its_ports() {
        let one = |text: &str| text.parse().unwrap();
        let interfaces = Interfaces::new(vec![one("priv/10.0.0.5"), one("pub/10.0.0.5!203.0.113.5")]).unwrap();
        let mut ports = Ports::of(&interfaces, (30000, 30003)).unwrap();
        let now = Instant::now();
        let pairs = [0, 1].map(|interface| ports.allocate(InterfaceId(interface), now).unwrap());
        assert_ne!(pairs[0].rtp_slot, pairs[1].rtp_slot);
        assert_eq!(ports.allocate(ONLY, now), Err(Exhausted));
        assert_eq!((ports.used(), ports.usage().count()), (2, 2));
        pairs.into_iter().for_each(|pair| ports.release(pair, now));
        assert_eq!(ports.used(), 0);
    }

    #[test]
    fn a_pair_that_nobody_was_told_of_is_free_at_once() {
        let mut ports = Ports::new(&[(30000, 30001)]).unwrap();
        let now = Instant::now();
        let pair = ports.allocate(ONLY, now).unwrap();
        ports.cancel(pair);
        assert_eq!(ports.used(), 0);
        assert_eq!(ports.allocate(ONLY, now), Ok(pair));
    }

    #[test]
    fn a_pair_that_was_a_calls_before_is_claimed_once_and_released_as_any_other() {
        let mut ports = Ports::new(&[(30000, 30999), (30000, 30001)]).unwrap();
        let now = Instant::now();
        let opened = ports.allocate(ONLY, now).unwrap();
        assert_eq!(ports.claim(ONLY, opened.rtp_port), None, "it is another's");
        for rtp_port in [30010, 30998] {
            let pair = ports.claim(ONLY, rtp_port).unwrap();
            assert_eq!((pair.rtp_port, pair.rtp_slot), (rtp_port, SlotIndex::new(0, rtp_port)));
            assert_eq!(ports.claim(ONLY, rtp_port), None);
        }
        assert_eq!(ports.claim(InterfaceId(1), 30000).unwrap().rtp_slot, SlotIndex::new(1, 30000));
        for (interface, rtp_port) in [(ONLY, 31000), (ONLY, 30001), (InterfaceId(2), 30000)] {
            assert_eq!(ports.claim(interface, rtp_port), None);
        }
        assert_eq!(ports.used(), 4);
        let all: BTreeSet<_> =
            std::iter::from_fn(|| ports.allocate(ONLY, now).ok()).map(|pair| pair.rtp_port).collect();
        assert_eq!((all.len(), all.contains(&30010)), (497, false));
    }

    #[test]
    fn interfaces_do_not_share_ports_or_slots() {
        let mut ports = Ports::new(&[(30000, 30001), (30000, 30001)]).unwrap();
        let now = Instant::now();
        let one = ports.allocate(InterfaceId(0), now).unwrap();
        let two = ports.allocate(InterfaceId(1), now).unwrap();
        assert_eq!(one.rtp_port, two.rtp_port);
        assert_ne!(one.rtp_slot, two.rtp_slot);
        assert_eq!(ports.used(), 2);
    }
}
