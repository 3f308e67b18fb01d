//! Local ports, in pairs of an even one for RTP and the next for RTCP (RFC 3550 11).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use flow::SlotIndex;

use crate::interface::InterfaceId;

/// How long a released port rests at least before a new call gets it, so that no packet that was under way is heard in the new one.
pub(crate) const QUARANTINE: Duration = Duration::from_secs(3);
/// How long it rests while there are others: a party whose BYE gets no answer speaks on for 32 s (timer F, RFC 3261 17.1.2.2).
const LONG_REST: Duration = Duration::from_secs(35);

/// The two ports of one media of one leg.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortPair {
    /// The interface whose ports these are.
    pub interface: InterfaceId,
    /// The even port, for RTP.
    pub rtp_port: u16,
    /// The slot of the even port.
    pub rtp_slot: SlotIndex,
    /// The slot of the odd port.
    pub rtcp_slot: SlotIndex,
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
    pools: Vec<Pool>,
}

/// How much of an interface's ports is in use, in pairs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortUsage {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
    /// Pairs that calls have.
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
    /// Free even ports. The lowest goes first: the slots in use stay together, on few pages.
    free: BinaryHeap<Reverse<u16>>,
    resting: VecDeque<(Instant, u16)>,
    used: usize,
}

impl Pool {
    fn new(first: u16, last: u16) -> Result<Self, NoPair> {
        let free: BinaryHeap<_> = (first..last).filter(|port| port.is_multiple_of(2)).map(Reverse).collect();
        if free.is_empty() {
            return Err(NoPair { first, last });
        }
        Ok(Self { first, last, free, resting: VecDeque::new(), used: 0 })
    }
}

impl Ports {
    /// The ports of each interface, from the first to the last.
    ///
    /// # Errors
    /// When a range holds not even one pair.
    pub fn new(ranges: &[(u16, u16)]) -> Result<Self, NoPair> {
        Ok(Self { pools: ranges.iter().map(|(first, last)| Pool::new(*first, *last)).collect::<Result<_, _>>()? })
    }

    /// Whether an interface has a pair that could be taken now.
    pub fn has_free(&self, interface: InterfaceId, now: Instant) -> bool {
        self.pools.get(interface.0).is_some_and(|pool| {
            let rested = pool.resting.front().is_some_and(|(since, _)| now.duration_since(*since) >= QUARANTINE);
            !pool.free.is_empty() || rested
        })
    }

    /// How much of each interface's ports is in use.
    pub fn usage(&self) -> impl Iterator<Item = PortUsage> {
        self.pools.iter().map(|pool| PortUsage {
            first: pool.first,
            last: pool.last,
            used: pool.used,
            free: pool.free.len(),
            all: pool.used + pool.free.len() + pool.resting.len(),
        })
    }

    /// Takes a pair of an interface's ports.
    ///
    /// # Errors
    /// When none is free.
    pub fn allocate(&mut self, interface: InterfaceId, now: Instant) -> Result<PortPair, Exhausted> {
        let pool = self.pools.get_mut(interface.0).ok_or(Exhausted)?;
        let rested = |time| move |(since, _): &mut (Instant, u16)| now.duration_since(*since) >= time;
        while let Some((_, port)) = pool.resting.pop_front_if(rested(LONG_REST)) {
            pool.free.push(Reverse(port));
        }
        let port = match pool.free.pop() {
            Some(Reverse(port)) => port,
            None => pool.resting.pop_front_if(rested(QUARANTINE)).ok_or(Exhausted)?.1,
        };
        pool.used += 1;
        let slot = SlotIndex::new(interface.0 as u32, port);
        Ok(PortPair { interface, rtp_port: port, rtp_slot: slot, rtcp_slot: slot.sibling() })
    }

    /// Gives a pair back.
    pub fn release(&mut self, pair: PortPair, now: Instant) {
        if let Some(pool) = self.pools.get_mut(pair.interface.0) {
            pool.used -= 1;
            pool.resting.push_back((now, pair.rtp_port));
        }
    }

    /// Takes a pair back that nobody was told of: it needs no rest.
    pub fn cancel(&mut self, pair: PortPair) {
        if let Some(pool) = self.pools.get_mut(pair.interface.0) {
            pool.used -= 1;
            pool.free.push(Reverse(pair.rtp_port));
        }
    }

    /// How many pairs of all interfaces are in use.
    pub fn used(&self) -> usize {
        self.pools.iter().map(|pool| pool.used).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONLY: InterfaceId = InterfaceId(0);

    #[test]
    fn pairs_are_even_then_odd_and_the_lowest_comes_first() {
        let mut ports = Ports::new(&[(30001, 30010)]).unwrap();
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
        assert_eq!(taken, [30000, 30002, 30004]);
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
    fn a_pair_that_nobody_was_told_of_is_free_at_once() {
        let mut ports = Ports::new(&[(30000, 30001)]).unwrap();
        let now = Instant::now();
        let pair = ports.allocate(ONLY, now).unwrap();
        ports.cancel(pair);
        assert_eq!(ports.used(), 0);
        assert_eq!(ports.allocate(ONLY, now), Ok(pair));
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
