//! What is known of a peer as it is written down for the process that comes next.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use border::{Component, Signalled};

use super::{Candidate, Peer, Taught};
use crate::table::suspects::Suspects;

impl Peer {
    /// How many words it is written down in.
    pub(crate) const WORDS: usize = 10;

    /// Whether nothing is known but what the signalling says now.
    pub(crate) fn is_new(&self) -> bool {
        self.taught == Taught::Nothing && self.signalled_last == self.signalled.at
    }

    /// What packets have taught, and what the signalling said then, as it is written down. Where a party was before it was signalled elsewhere is not:
    /// that is a matter of seconds.
    pub(crate) fn words(&self) -> [u64; Self::WORDS] {
        let (taught, flags) = match self.taught {
            Taught::Nothing => (None, 0),
            Taught::Learned(source) => (Some(source), 1),
            Taught::Provisional(candidate) => {
                let bits = [true, candidate.is_sender, candidate.is_renewed, candidate.watched.is_some()];
                (Some(candidate.source), bits.into_iter().rev().fold(0, |flags, bit| flags << 1 | u64::from(bit)) << 1)
            }
        };
        let flags = flags | u64::from(self.opened.is_some()) << 8 | u64::from(self.signalled.renewals) << 32;
        let [taught, at, last] = [taught, self.signalled.at, self.signalled_last].map(words_of);
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
        now: Instant,
    ) -> Self {
        let [flags, one, two, three, four, five, six, seven, eight, nine] = *words;
        let renewals = (flags >> 32) as u32;
        let before = Signalled { at: address_of([four, five, six]), renewals, ..signalled };
        let has = |bit: u32| flags & 1 << bit != 0;
        let taught = match address_of([one, two, three]) {
            Some(source) if has(0) => Taught::Learned(source),
            Some(source) if has(1) => Taught::Provisional(Candidate {
                source,
                since: now,
                watched: has(4).then_some(now),
                is_sender: has(2),
                is_renewed: has(3),
            }),
            Some(_) | None => Taught::Nothing,
        };
        let mut peer = Self {
            signalled_last: address_of([seven, eight, nine]),
            taught,
            opened: has(8).then_some(now),
            ..Self::new(component, before, suspects)
        };
        peer.signal(signalled, now);
        peer
    }
}

/// An address in three words; zeroes for none.
fn words_of(address: Option<SocketAddr>) -> [u64; 3] {
    let Some(address) = address else { return [0; 3] };
    let (ip, family) = match address.ip() {
        IpAddr::V4(ip) => (u128::from(u32::from(ip)), 4),
        IpAddr::V6(ip) => (u128::from(ip), 6),
    };
    [(ip >> 64) as u64, ip as u64, family << 16 | u64::from(address.port())]
}

fn address_of([high, low, rest]: [u64; 3]) -> Option<SocketAddr> {
    let ip = match rest >> 16 {
        4 => IpAddr::from((low as u32).to_be_bytes()),
        6 => IpAddr::from((u128::from(high) << 64 | u128::from(low)).to_be_bytes()),
        _ => return None,
    };
    Some(SocketAddr::new(ip, rest as u16))
}
