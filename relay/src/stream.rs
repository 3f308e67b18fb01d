//! A stream of the flow table, and whom it takes for its peer.

use std::time::{Duration, Instant};

use flow::slot::Flags;
use flow::{Endpoint4, HopId, Reason, rtp};

use crate::op::{Component, Learning, StreamSpec};
use crate::resolver::Way;
use crate::tally::Tally;

/// How long a party may go on sending from its old address after it was signalled elsewhere: until the answer has reached it, and some more.
const MOVING: Duration = Duration::from_secs(5);

/// A stream and what packets taught about it.
pub(crate) struct Stream {
    pub(crate) spec: StreamSpec,
    pub(crate) learned: Option<Endpoint4>,
    /// Where it was learned before it was signalled elsewhere, and when that was.
    pub(crate) moved_from: Option<(Endpoint4, Instant)>,
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
        self.learned.or_else(|| self.spec.peer.map(Endpoint4::from))
    }

    /// Where packets are accepted from, once that is certain.
    pub(crate) fn confirmed(&self) -> Option<Endpoint4> {
        match self.spec.learning {
            Learning::Off => self.spec.peer.map(Endpoint4::from),
            Learning::Immediate => self.learned,
        }
    }

    /// Whether nobody but the peer can have a say in who the peer is.
    fn is_settled(&self) -> bool {
        let signalled = self.spec.peer.map(Endpoint4::from);
        self.spec.learning == Learning::Off || (self.learned.is_some() && self.learned == signalled)
    }

    pub(crate) fn flags(&self) -> Flags {
        let mut flags = Flags::ACTIVE.with(Flags::CALL);
        if self.is_settled() {
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
}

/// What a packet's sender is to a stream.
pub(crate) enum Admission {
    /// Its peer.
    Peer,
    /// Its peer from now on.
    Learn,
    /// Its peer of before, which was signalled elsewhere and does not know yet: heard, but not learned again.
    Moving,
}

/// Decides on the sender of a packet that its slot did not forward.
pub(crate) fn admit(
    stream: &Stream,
    source: Endpoint4,
    payload: &[u8],
    rtp_peer: Option<Endpoint4>,
    now: Instant,
) -> Result<Admission, Reason> {
    let is_rtp = stream.spec.component == Component::Rtp;
    let is_signalled = stream.spec.peer.map(Endpoint4::from) == Some(source);
    match stream.confirmed() {
        Some(peer) if peer == source => return Ok(Admission::Peer),
        // What the signalling says is better than a guess: whoever was first on the port has to give way.
        Some(_) if is_signalled && stream.spec.learning != Learning::Off => return Ok(Admission::Learn),
        Some(_) => return Err(Reason::Stranger),
        None if stream.spec.learning == Learning::Off => return Err(Reason::NotLearned),
        None => {}
    }
    if is_signalled {
        return Ok(Admission::Learn);
    }
    if let Some((old, since)) = stream.moved_from
        && old == source
        && now.duration_since(since) < MOVING
    {
        return Ok(Admission::Moving);
    }
    if !is_media(payload, is_rtp) {
        return Err(Reason::NotMedia);
    }
    // RTCP is rare, so its port is open to a first comer for long: it must come from the host that the RTP comes from.
    if !is_rtp && rtp_peer.is_some_and(|peer| peer.addr != source.addr) {
        return Err(Reason::Stranger);
    }
    Ok(Admission::Learn)
}

/// Whether a payload is what a stream is for: only such packets may teach its peer, so that a stray datagram does not take a call over.
fn is_media(payload: &[u8], is_rtp: bool) -> bool {
    match payload {
        [first, second, ..] if is_rtp => rtp::classify(*first, *second) != rtp::Kind::Other && payload.len() >= 12,
        [first, second, ..] => rtp::classify(*first, *second) == rtp::Kind::Rtcp && payload.len() >= 8,
        _ => false,
    }
}
