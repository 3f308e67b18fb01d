//! A stream of the flow table.

use border::{Component, StreamSpec};
use flow::slot::Flags;
use flow::{Bearing, HopId};

use crate::learning::{Peer, Standing};
use crate::matter::Matter;
use crate::quality::Reports;
use crate::tally::Tally;

/// A stream and what packets taught about it.
pub(crate) struct Stream {
    pub(crate) spec: StreamSpec,
    pub(crate) peer: Peer,
    /// The other party does not hear what the fast path sends.
    pub(crate) is_doubted: bool,
    /// The party said it would be where none may be.
    pub(crate) is_untrusted: bool,
    pub(crate) ssrc: Option<u32>,
    pub(crate) ssrc_changes: u8,
    pub(crate) any_ssrc: bool,
    /// The way to the stream's own peer, by which an IPv6 peer is known; as acquired from the next hops.
    pub(crate) towards: Option<(Bearing, HopId)>,
    /// The way that the slot's packets take now.
    pub(crate) way: Option<(Bearing, HopId)>,
    pub(crate) tally: Tally,
    pub(crate) errors: u64,
    /// What the party has reported by RTCP.
    pub(crate) reports: Option<Box<Reports>>,
}

impl Stream {
    /// What the slot is to do with packets, given what is known of the peer.
    pub(crate) fn flags(&self, standing: &Standing) -> Flags {
        let mut flags = Flags::ACTIVE.with(Flags::CALL);
        if standing.is_settled {
            flags = flags.with(Flags::SETTLED);
        }
        if self.spec.component == Component::Rtp {
            flags = flags.with(Flags::RTP);
        }
        if self.spec.mux {
            flags = flags.with(Flags::MUX);
        }
        if self.any_ssrc || self.ssrc.is_none() {
            flags = flags.with(Flags::ANY_SSRC);
        }
        flags
    }

    /// The synchronisation source that the stream is held to; bytes in network order.
    pub(crate) fn held_to(&self) -> Option<u32> {
        self.ssrc.filter(|_| !self.any_ssrc)
    }

    /// What a payload is to the stream, and so what it may teach.
    pub(crate) fn matter(&self, payload: &[u8]) -> Matter {
        Matter::of(self.spec.content, self.spec.component, payload)
    }
}
