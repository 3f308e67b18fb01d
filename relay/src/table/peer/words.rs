//! What is known of a peer as it is written down for the process that comes next.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use border::{Component, Learning, Signalled};

use super::{Candidate, Peer, Taught};
use crate::table::clock::Clock;
use crate::table::suspects::Suspects;

/// Nanoseconds of the unit of times.
const HUNDREDTH: u64 = 10_000_000;

impl Peer {
    /// How many words it is written down in.
    pub(crate) const WORDS: usize = 10;

    /// Whether nothing is known but what the signalling says now.
    pub(crate) fn is_new(&self) -> bool {
        self.taught == Taught::Nothing && self.signalled_last == self.signalled.at
    }

    /// What packets have taught and when, and what the signalling said then, as it is written down. Where a party was before it was signalled elsewhere
    /// is not: that is a matter of seconds.
    pub(crate) fn words(&self, clock: Clock) -> [u64; Self::WORDS] {
        let (taught, flags) = match self.taught {
            Taught::Nothing => (None, 0),
            Taught::Learned(source) => (Some(source), 1),
            Taught::Provisional(candidate) => {
                let bits = [true, candidate.is_sender, candidate.is_renewed, candidate.watched.is_some()];
                (Some(candidate.source), bits.into_iter().rev().fold(0, |flags, bit| flags << 1 | u64::from(bit)) << 1)
            }
        };
        let flags = flags | u64::from(self.signalled.renewals) << 32;
        let (since, watched) = match self.taught {
            Taught::Provisional(candidate) => (Some(candidate.since), candidate.watched),
            Taught::Nothing | Taught::Learned(_) => (None, None),
        };
        let [opened, since, heard] = [self.opened, since, watched].map(|at| time_of(clock, at));
        // Two that differ still do.
        let has_been_heard = !matches!(self.taught, Taught::Provisional(candidate) if candidate.is_unproven());
        let watched = if watched.is_some() && has_been_heard { heard.max(since + 1) } else { heard };
        let taught = words_of(taught, opened);
        let (at, last) = (words_of(self.signalled.at, since), words_of(self.signalled_last, watched));
        let [one, two, three] = taught;
        let [four, five, six] = at;
        let [seven, eight, nine] = last;
        [flags, one, two, three, four, five, six, seven, eight, nine]
    }

    /// A peer of which an earlier process has written down what it knew, before it was told what the signalling says now.
    pub(crate) fn recall(
        component: Component,
        signalled: Signalled,
        suspects: Suspects,
        words: &[u64; Self::WORDS],
        (clock, now): (Clock, Instant),
    ) -> Self {
        let [flags, one, two, three, four, five, six, seven, eight, nine] = *words;
        let renewals = (flags >> 32) as u32;
        let before = Signalled { at: address_of([four, five, six]), renewals, ..signalled };
        let has = |bit: u32| flags & 1 << bit != 0;
        let [opened, since, watched] = [three, six, nine].map(|word| instant_of(clock, word));
        // Whoever was heard before goes on being heard, but nobody was there to see it. One that was waited for still is.
        let watched = watched.map(|watched| if Some(watched) == since { watched } else { watched.max(now) });
        let taught = match address_of([one, two, three]) {
            Some(source) if has(0) => Taught::Learned(source),
            Some(source) if has(1) => Taught::Provisional(Candidate {
                source,
                since: since.unwrap_or(now),
                watched: watched.filter(|_| has(4)),
                is_sender: has(2),
                is_renewed: has(3),
            }),
            Some(_) | None => Taught::Nothing,
        };
        let mut peer = Self {
            signalled_last: address_of([seven, eight, nine]),
            taught,
            opened,
            ..Self::new(component, before, suspects)
        };
        peer.signal(signalled, now);
        peer.advance(now);
        peer
    }

    /// A peer of which nothing is written down, but that a rule of an earlier process accepts packets from.
    pub(crate) fn of_rule(
        component: Component,
        signalled: Signalled,
        suspects: Suspects,
        source: SocketAddr,
        now: Instant,
    ) -> Self {
        let is_off = signalled.learning == Learning::Off;
        let taught = if is_off { Taught::Nothing } else { Taught::Learned(source) };
        Self { taught, opened: Some(now), ..Self::new(component, signalled, suspects) }
    }
}

/// Hundredths of a second since the host was booted, and one; zero for never.
fn time_of(clock: Clock, at: Option<Instant>) -> u32 {
    at.map_or(0, |at| u32::try_from(clock.ns(at) / HUNDREDTH).unwrap_or(u32::MAX - 2) + 1)
}

/// The time that is in the upper half of the last word of an address.
fn instant_of(clock: Clock, rest: u64) -> Option<Instant> {
    let time = u64::from((rest >> 32) as u32).checked_sub(1)?;
    Some(clock.instant(time * HUNDREDTH))
}

/// An address in three words, zeroes for none; with a time beside its port.
fn words_of(address: Option<SocketAddr>, time: u32) -> [u64; 3] {
    let time = u64::from(time) << 32;
    let Some(address) = address else { return [0, 0, time] };
    let (ip, family) = match address.ip() {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)), 4),
        IpAddr::V6(ip) => (u128::from(ip), 6),
    };
    [(ip >> 64) as u64, ip as u64, time | family << 16 | u64::from(address.port())]
}

fn address_of([high, low, rest]: [u64; 3]) -> Option<SocketAddr> {
    let ip = match rest as u32 >> 16 {
        4 => IpAddr::from((low as u32).to_be_bytes()),
        6 => IpAddr::from((u128::from(high) << 64 | u128::from(low)).to_be_bytes()),
        _ => return None,
    };
    Some(SocketAddr::new(ip, rest as u16))
}
