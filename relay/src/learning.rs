//! Whom a stream takes for its peer: whom the signalling names, and whom packets teach (the latching of RFC 7362).
//!
//! Knows neither slots nor sockets, and no clock: packets and signalling come in with the time, and out comes where packets of the party are
//! accepted from and where packets for it go.
//!
//! ```text
//!             first media packet               the window is over, or its own address is heard
//!   unheard ----------------------> provisional ----------------------> learned
//!      ^                             |  ^                                  |  ^
//!      |                             +--+ a better source                  +--+ a successor
//!      +------------------ signalled elsewhere ---------------------------------+
//! ```
//!
//! `docs/paths.md` has the table of what becomes of whose packets in which mode.

use std::cmp::Ordering;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use flow::Reason;

use crate::op::{Component, Learning, Successor};

/// How long a provisional peer may be replaced by a better source.
const WINDOW: Duration = Duration::from_secs(3);

/// How long a provisional peer must not have been heard before a source that is no better takes its place: many times the packet time of
/// any codec, so that it is not the other one's turn in a conversation of two senders.
const SILENCE: Duration = Duration::from_millis(500);

/// How long a party may go on sending from its old address after it was signalled elsewhere: until the answer has reached it, and some more.
const MOVING: Duration = Duration::from_secs(5);

/// A stream's peer: signalled first, then learned. Addresses must be canonical: no IPv4 address in IPv6 form, no scope, no flow label.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Peer {
    component: Component,
    learning: Learning,
    successor: Successor,
    /// Where the party said it would be; `None` on hold, or when it has not said so yet.
    signalled: Option<SocketAddr>,
    /// The same, not forgotten on hold.
    signalled_last: Option<SocketAddr>,
    taught: Taught,
    /// Where the party was heard before it was signalled elsewhere, and when that was.
    moved_from: Option<(SocketAddr, Instant)>,
    /// Since when the other party's address is known, so that packets have somewhere to go.
    opened: Option<Instant>,
}

/// What packets have taught.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Taught {
    Nothing,
    Provisional(Candidate),
    Learned(SocketAddr),
}

/// A peer that may yet turn out to be the wrong one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Candidate {
    source: SocketAddr,
    /// When the window began, unless the other party's address was not known then.
    since: Instant,
    /// When the source was heard last, while it is kept off the fast path to tell when it falls silent. `None`: it is not.
    watched: Option<Instant>,
}

/// What the sender of a packet that is sent on is to the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admission {
    /// Its peer, at least for now.
    Peer,
    /// Another, who is heard while it is not certain who the peer is.
    Guest,
}

/// All that a slot has to know about a peer: when it changes, the slot must be programmed anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    /// Where packets for the party go: to where it was heard, or else to where it said it would be.
    pub(crate) remote: Option<SocketAddr>,
    /// Where packets are accepted from without a look at them: nobody else is the peer, at least for now.
    pub(crate) confirmed: Option<SocketAddr>,
    /// Whether nobody but the confirmed peer is heard, until it is signalled anew: what others send need not be looked at.
    pub(crate) is_settled: bool,
}

impl Peer {
    /// A peer of which only the signalling is known.
    pub(crate) const fn new(
        component: Component,
        learning: Learning,
        successor: Successor,
        signalled: Option<SocketAddr>,
    ) -> Self {
        Self {
            component,
            learning,
            successor,
            signalled,
            signalled_last: signalled,
            taught: Taught::Nothing,
            moved_from: None,
            opened: None,
        }
    }

    /// Takes what the signalling says now, which may be the same as before.
    pub(crate) fn signal(
        &mut self,
        learning: Learning,
        successor: Successor,
        signalled: Option<SocketAddr>,
        now: Instant,
    ) {
        if (learning == Learning::Off) != (self.learning == Learning::Off) {
            self.taught = Taught::Nothing;
            self.moved_from = None;
        }
        (self.learning, self.successor) = (learning, successor);
        // Who is only provisional is waited for from now on, off the fast path.
        if let (Learning::Delayed, Taught::Provisional(candidate)) = (learning, &mut self.taught) {
            candidate.watched.get_or_insert(now);
        }
        if signalled != self.signalled {
            self.signalled = signalled;
            self.relearn(now);
        }
    }

    /// The signalled address has changed: has the party moved?
    fn relearn(&mut self, now: Instant) {
        let heard = self.heard().or(self.moved_from.map(|(source, _)| source));
        let has_moved = match self.signalled {
            // On hold, packets for the party must not go to where it was heard.
            None => true,
            // A party that comes back from hold, and one that was heard before its answer arrived, is where it was.
            Some(signalled) => self.signalled_last.is_some_and(|last| last != signalled),
        };
        self.signalled_last = self.signalled.or(self.signalled_last);
        (self.taught, self.moved_from) = (Taught::Nothing, None);
        match heard {
            Some(source) if has_moved => self.moved_from = Some((source, now)),
            Some(source) if Some(source) == self.signalled => self.taught = Taught::Learned(source),
            // It was heard long ago, perhaps: it has to be heard again, or another takes its place.
            Some(source) => {
                self.taught = Taught::Provisional(Candidate { source, since: now, watched: Some(now) });
            }
            None => {}
        }
    }

    /// Packets from the party have somewhere to go. The window does not begin before, and who was heard before has to be heard again: a stray
    /// packet during a long ringing must not count as the party when the call is answered.
    pub(crate) fn open(&mut self, now: Instant) {
        if self.opened.is_none() {
            self.opened = Some(now);
            if let Taught::Provisional(candidate) = &mut self.taught {
                candidate.watched = Some(now);
            }
        }
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, now: Instant) {
        // One that is watched is decided on by a packet: its own, or one of another after its silence.
        if let Taught::Provisional(candidate) = self.taught
            && candidate.watched.is_none()
            && self.is_over(candidate, now)
        {
            self.taught = Taught::Learned(candidate.source);
        }
    }

    /// RTP of the same media is heard from this host now. RTCP that was learned from another one is not the party's.
    pub(crate) fn follow_rtp(&mut self, host: IpAddr) {
        if self.component == Component::Rtcp
            && let Some(source) = self.heard()
            && source.ip() != host
            && Some(source) != self.signalled
        {
            self.taught = Taught::Nothing;
        }
    }

    /// Decides on the sender of a packet that was not forwarded without a look. `is_media`: the packet is what the stream is for, so that a
    /// stray datagram does not take a call over. `rtp_host`: for RTCP, where packets for the party's RTP go.
    ///
    /// # Errors
    /// The reason why the packet is lost.
    pub(crate) fn admit(
        &mut self,
        source: SocketAddr,
        is_media: bool,
        rtp_host: Option<IpAddr>,
        now: Instant,
    ) -> Result<Admission, Reason> {
        self.advance(now);
        if self.learning == Learning::Off {
            return match self.signalled {
                Some(signalled) if signalled == source => Ok(Admission::Peer),
                Some(_) => Err(Reason::Stranger),
                None => Err(Reason::NotLearned),
            };
        }
        match self.taught {
            Taught::Learned(peer) if peer == source => return Ok(Admission::Peer),
            Taught::Learned(_) if !self.may_succeed(source, now) => return Err(Reason::Stranger),
            Taught::Provisional(candidate) if candidate.source == source => {
                self.try_out(candidate, now);
                return Ok(Admission::Peer);
            }
            Taught::Nothing | Taught::Provisional(_) | Taught::Learned(_) => {}
        }
        // What the signalling says is better than a guess: whoever was first on the port has to give way.
        if self.signalled == Some(source) {
            self.taught = Taught::Learned(source);
            return Ok(Admission::Peer);
        }
        if self.has_left(source, now) {
            return Ok(Admission::Guest);
        }
        if !is_media {
            return Err(Reason::NotMedia);
        }
        // RTCP is rare, so its port is open to a first comer for long: it must come from the host that the RTP comes from.
        if self.component == Component::Rtcp && rtp_host.is_some_and(|host| host != source.ip()) {
            return Err(Reason::Stranger);
        }
        Ok(self.weigh(source, now))
    }

    /// What others than the peer teach by sending media.
    fn weigh(&mut self, source: SocketAddr, now: Instant) -> Admission {
        match self.taught {
            Taught::Nothing => self.try_out(Candidate { source, since: now, watched: None }, now),
            Taught::Learned(_) => self.taught = Taught::Learned(source),
            Taught::Provisional(candidate) => {
                let is_silent = candidate.watched.is_some_and(|heard| now.saturating_duration_since(heard) >= SILENCE);
                match self.compare(source, candidate.source) {
                    Ordering::Greater => {}
                    Ordering::Equal if is_silent => {}
                    Ordering::Less if is_silent && self.is_over(candidate, now) => {}
                    Ordering::Equal if candidate.watched.is_none() => {
                        self.taught = Taught::Provisional(Candidate { watched: Some(now), ..candidate });
                        return Admission::Guest;
                    }
                    Ordering::Equal | Ordering::Less => return Admission::Guest,
                }
                self.try_out(Candidate { source, ..candidate }, now);
            }
        }
        Admission::Peer
    }

    /// A source that sends is the peer: provisionally, or for good when there has been time enough.
    fn try_out(&mut self, candidate: Candidate, now: Instant) {
        self.taught = if self.is_over(candidate, now) {
            Taught::Learned(candidate.source)
        } else {
            let watched = (self.learning == Learning::Delayed).then_some(now);
            Taught::Provisional(Candidate { watched, ..candidate })
        };
    }

    /// Whether the time is over in which a better source may come.
    fn is_over(&self, candidate: Candidate, now: Instant) -> bool {
        let since = self.opened.map(|opened| opened.max(candidate.since));
        self.learning == Learning::Immediate
            || since.is_some_and(|since| now.saturating_duration_since(since) >= WINDOW)
    }

    /// Whether a source may take the place of a learned peer.
    fn may_succeed(&self, source: SocketAddr, now: Instant) -> bool {
        match self.successor {
            Successor::Nobody => false,
            Successor::Signalled => self.signalled == Some(source),
            // Not the party's former address, or the two would take turns.
            Successor::Anyone => self.signalled == Some(source) || !self.has_left(source, now),
        }
    }

    /// Whether the party was signalled away from there a moment ago, and perhaps does not know yet.
    fn has_left(&self, source: SocketAddr, now: Instant) -> bool {
        self.moved_from.is_some_and(|(old, since)| old == source && now.saturating_duration_since(since) < MOVING)
    }

    /// Which of two sources is the better guess: the one from the signalled host, then the one with the signalled port.
    fn compare(&self, source: SocketAddr, other: SocketAddr) -> Ordering {
        let nearness = |source: SocketAddr| {
            self.signalled.map(|signalled| (source.ip() == signalled.ip(), source.port() == signalled.port()))
        };
        match self.learning {
            Learning::Heuristic => nearness(source).cmp(&nearness(other)),
            Learning::Off | Learning::Immediate | Learning::Delayed => Ordering::Equal,
        }
    }

    /// The source that packets taught, certain or not.
    const fn heard(&self) -> Option<SocketAddr> {
        match self.taught {
            Taught::Nothing => None,
            Taught::Provisional(Candidate { source, .. }) | Taught::Learned(source) => Some(source),
        }
    }

    /// What it all amounts to.
    pub(crate) fn standing(&self) -> Standing {
        let is_off = self.learning == Learning::Off;
        let (confirmed, is_settled) = match self.taught {
            Taught::Nothing if is_off => (self.signalled, true),
            Taught::Nothing | Taught::Provisional(Candidate { watched: Some(_), .. }) => (None, false),
            Taught::Provisional(candidate) => (Some(candidate.source), false),
            Taught::Learned(peer) => (
                Some(peer),
                match self.successor {
                    Successor::Nobody => true,
                    Successor::Signalled => self.signalled.is_none_or(|signalled| signalled == peer),
                    Successor::Anyone => false,
                },
            ),
        };
        Standing { remote: self.heard().or(self.signalled), confirmed, is_settled }
    }
}

#[cfg(test)]
mod tests;
