//! A stream of the flow table.

use std::net::SocketAddr;

use flow::slot::Flags;
use flow::{Endpoint4, HopId, rtp};

use crate::learning::Peer;
use crate::op::{Component, StreamSpec};
use crate::resolver::Way;
use crate::tally::Tally;

/// A stream and what packets taught about it.
pub(crate) struct Stream {
    pub(crate) spec: StreamSpec,
    pub(crate) peer: Peer,
    pub(crate) ssrc: Option<u32>,
    pub(crate) ssrc_changes: u8,
    pub(crate) any_ssrc: bool,
    /// Where the slot's packets go now, as acquired from the next hops.
    pub(crate) way: Option<(Way, HopId)>,
    pub(crate) tally: Tally,
    pub(crate) errors: u64,
}

impl Stream {
    /// Where packets for the stream's party go: to where it was heard from, or else to where it said it would be.
    pub(crate) fn remote(&self) -> Option<Endpoint4> {
        self.peer.standing().remote.and_then(endpoint)
    }

    /// Where packets are accepted from, once that is certain.
    pub(crate) fn confirmed(&self) -> Option<Endpoint4> {
        self.peer.standing().confirmed.and_then(endpoint)
    }

    pub(crate) fn flags(&self) -> Flags {
        let mut flags = Flags::ACTIVE.with(Flags::CALL);
        if self.peer.standing().is_settled {
            flags = flags.with(Flags::SETTLED);
        }
        if self.spec.component == Component::Rtp {
            flags = flags.with(Flags::RTP);
        }
        if self.any_ssrc || self.ssrc.is_none() {
            flags = flags.with(Flags::ANY_SSRC);
        }
        if self.spec.tos.is_some() {
            flags = flags.with(Flags::SET_TOS);
        }
        flags
    }

    /// Whether a payload is what the stream is for: only such packets may teach its peer, so that a stray datagram does not take a call over.
    pub(crate) fn is_media(&self, payload: &[u8]) -> bool {
        match (self.spec.component, payload) {
            (Component::Rtp, [first, second, ..]) => {
                rtp::classify(*first, *second) != rtp::Kind::Other && payload.len() >= 12
            }
            (Component::Rtcp, [first, second, ..]) => {
                rtp::classify(*first, *second) == rtp::Kind::Rtcp && payload.len() >= 8
            }
            _ => false,
        }
    }
}

fn endpoint(addr: SocketAddr) -> Option<Endpoint4> {
    match addr {
        SocketAddr::V4(addr) => Some(addr.into()),
        SocketAddr::V6(_) => None,
    }
}
