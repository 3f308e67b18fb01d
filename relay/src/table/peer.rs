//! Whom a source takes for its peer: whom the signalling names, and whom packets teach (the latching of RFC 7362).
//!
//! Knows neither slots nor sockets, and no clock: packets and signalling come in with the time, and out comes where packets of the party are
//! accepted from and where packets for it go.
//!
//! ```text
//!             first media packet               the window is over, or its own address is heard
//!   unheard ----------------------> provisional ----------------------> learned
//!      ^                             |  ^  ^                               |  ^
//!      |                             +--+  |                               +--+ a nearer source, a successor
//!      |                    a nearer source|                               |
//!      |                                   +------- described anew --------+
//!      +---- on hold, or described elsewhere and silent from there --------+
//! ```
//!
//! `docs/paths.md` has the table of what becomes of whose packets in which mode, `docs/security.md` what each withstands.

mod words;

use std::cmp::Ordering;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use border::{Component, Learning, Signalled, Successor};
use flow::Reason;

use crate::table::matter::Matter;
use crate::table::suspects::Suspects;

/// How long a provisional peer may be replaced by an equal source.
const WINDOW: Duration = Duration::from_secs(3);

/// How long a provisional peer must not have been heard before a source that is no nearer takes its place: many times the packet time of
/// any codec, so that it is not the other one's turn in a conversation of two senders.
const SILENCE: Duration = Duration::from_millis(500);

/// How long a party may go on sending from its old address after it was signalled elsewhere: until the answer has reached it, and some more. Who
/// does so for longer has not moved: what changed is an address that its network does not show.
const MOVING: Duration = Duration::from_secs(5);

/// How long a party that was signalled elsewhere must not have been heard from where it was before packets for it go to where it says it is now:
/// more than the packet time of any codec, and little of what it would miss if it only listens.
const ABSENCE: Duration = Duration::from_millis(200);

/// How near a source is to where the signalling says that the party is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Nearness {
    /// Anywhere else.
    Far,
    /// At the host that the signalling came from.
    Signaller,
    /// At the host of the description.
    Host,
    /// At exactly the address of the description.
    Exact,
}

/// A source's peer: signalled first, then learned. Addresses must be canonical: no IPv4 address in IPv6 form, no scope, no flow label.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Peer {
    component: Component,
    signalled: Signalled,
    /// Where the party said it would be last, not forgotten on hold.
    signalled_last: Option<SocketAddr>,
    suspects: Suspects,
    taught: Taught,
    /// Where the party was heard before it was signalled elsewhere, and when that was.
    moved_from: Option<Moved>,
    /// Since when the other party's address is known, so that packets have somewhere to go.
    opened: Option<Instant>,
}

/// Where a party was heard before it was signalled elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Moved {
    source: SocketAddr,
    since: Instant,
    /// Where its description said that it was then.
    described: Option<SocketAddr>,
    /// It was heard until then, and not only before a hold.
    is_live: bool,
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
    /// It has sent what the source is for, and not only signs of life.
    is_sender: bool,
    /// It had the place before, and the party was described again.
    is_renewed: bool,
}

impl Candidate {
    /// One that was heard before, and is to be heard again.
    const fn waited_for(source: SocketAddr, now: Instant) -> Self {
        Self { source, since: now, watched: Some(now), is_sender: true, is_renewed: false }
    }

    /// Whether it has not been heard since it became one.
    fn is_unproven(&self) -> bool {
        self.watched == Some(self.since)
    }

    /// Whether that means that the party may be elsewhere, however late it is. Where only the same was said again, there is no more time for that
    /// than the window.
    fn may_be_gone(&self) -> bool {
        self.is_unproven() && !self.is_renewed
    }
}

/// What the sender of a packet that is sent on is to the source.
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
    /// Where packets are accepted from likewise while it is seen whether it falls silent: off the fast path, and the time of the last one is noted.
    pub(crate) watched: Option<SocketAddr>,
    /// Whether nobody but the confirmed peer is heard, until it is signalled anew: what others send need not be looked at.
    pub(crate) is_settled: bool,
}

impl Peer {
    /// A peer of which only the signalling is known, on a port where others may have been heard before.
    pub(crate) const fn new(component: Component, signalled: Signalled, suspects: Suspects) -> Self {
        Self {
            component,
            signalled_last: signalled.at,
            signalled,
            suspects,
            taught: Taught::Nothing,
            moved_from: None,
            opened: None,
        }
    }

    /// Takes what the signalling says now, which may be the same as before.
    pub(crate) fn signal(&mut self, signalled: Signalled, now: Instant) {
        let before = std::mem::replace(&mut self.signalled, signalled);
        if (signalled.learning == Learning::Off) != (before.learning == Learning::Off) {
            self.taught = Taught::Nothing;
            self.moved_from = None;
        }
        // Who is only provisional is waited for from now on, off the fast path.
        if let (Learning::Delayed, Taught::Provisional(candidate)) = (signalled.learning, &mut self.taught) {
            candidate.watched.get_or_insert(now);
        }
        if signalled.at != before.at {
            self.relearn(now);
        } else if signalled.renewals != before.renewals {
            self.reopen(now);
        }
    }

    /// The party has said the same again, and may send from elsewhere from now on: whom packets taught has to be heard again in the window, or one
    /// as near takes its place.
    fn reopen(&mut self, now: Instant) {
        let renewed = |candidate: Candidate| Candidate { since: now, watched: Some(now), ..candidate };
        let candidate = match self.taught {
            Taught::Learned(source) => Candidate { is_renewed: true, ..Candidate::waited_for(source, now) },
            // One that has only shown that it lives may be anybody still, and one that has not been heard since a hold may be gone.
            Taught::Provisional(candidate) if !candidate.is_sender => return,
            Taught::Provisional(candidate) if candidate.is_unproven() => renewed(candidate),
            Taught::Provisional(candidate) => renewed(Candidate { is_renewed: true, ..candidate }),
            Taught::Nothing => return,
        };
        let is_certain = Some(candidate.source) == self.signalled.at && !self.signalled.is_asymmetric;
        if !is_certain && !self.has_left(candidate.source, now) {
            self.taught = Taught::Provisional(candidate);
        }
    }

    /// The signalled address has changed: has the party moved?
    fn relearn(&mut self, now: Instant) {
        let is_live = self.heard().is_some();
        let (heard, described, since) = match (self.heard(), self.moved_from) {
            (None, Some(moved)) => (Some(moved.source), moved.described, moved.since),
            (heard, _) => (heard, self.signalled_last, now),
        };
        let has_moved = match self.signalled.at {
            // On hold, packets for the party must not go to where it was heard.
            None => true,
            // A party that comes back from hold is where it was.
            Some(signalled) => described.is_some_and(|described| described != signalled),
        };
        self.signalled_last = self.signalled.at.or(self.signalled_last);
        (self.taught, self.moved_from) = (Taught::Nothing, None);
        match heard {
            Some(source) if Some(source) == self.signalled.at => self.taught = Taught::Learned(source),
            Some(source) if has_moved => {
                self.moved_from = Some(Moved { source, since, described, is_live });
                self.stay(source, now);
            }
            // It was heard long ago, perhaps: it has to be heard again, or another takes its place.
            Some(source) => self.taught = Taught::Provisional(Candidate::waited_for(source, now)),
            None => {}
        }
    }

    /// A party that was signalled elsewhere is where it was for now, if it was not where it said before either: it is behind a NAT, and nothing has
    /// changed there. But not where its signalling comes from another host than its media did, for then it may be another party.
    fn stay(&mut self, source: SocketAddr, now: Instant) {
        let nearness = self.nearness(source);
        // What was heard before a hold says nothing of now.
        let was_elsewhere = |moved: Moved| moved.is_live && moved.described != Some(source);
        let may_be_it = self.moved_from.is_some_and(was_elsewhere)
            && (nearness > Nearness::Far || self.signalled.signaller.is_none());
        if self.signalled.at.is_some() && may_be_it && nearness >= self.least() {
            self.taught = Taught::Provisional(Candidate::waited_for(source, now));
        }
    }

    /// When packets for the party may go elsewhere although none comes, at the earliest.
    pub(crate) fn next_turn(&self) -> Option<Instant> {
        match self.taught {
            Taught::Provisional(Candidate { source, watched: Some(heard), .. }) if self.has_left(source, heard) => {
                Some(heard + ABSENCE)
            }
            Taught::Nothing | Taught::Provisional(_) | Taught::Learned(_) => None,
        }
    }

    /// Packets from the party have somewhere to go. Nothing is learned before.
    pub(crate) fn open(&mut self, now: Instant) {
        self.opened.get_or_insert(now);
    }

    /// Lets time pass.
    pub(crate) fn advance(&mut self, now: Instant) {
        if self.next_turn().is_some_and(|turn| turn <= now) {
            self.taught = Taught::Nothing;
        }
        // One that is watched is decided on by a packet: its own, or one of another after its silence.
        if let Taught::Provisional(candidate) = self.taught
            && candidate.watched.is_none()
            && candidate.is_sender
            && self.is_over(candidate, now)
        {
            self.taught = Taught::Learned(candidate.source);
        }
    }

    /// Who is watched was heard last at this time, which nobody has told yet.
    pub(crate) fn catch_up(&mut self, heard: Instant) {
        if let Taught::Provisional(candidate) = self.taught
            && let Some(before) = candidate.watched
            && candidate.is_sender
        {
            // What was noted is exact to some milliseconds only.
            self.try_out(candidate, heard.max(before + Duration::from_nanos(1)));
        }
    }

    /// RTP of the same media is heard from this host now. RTCP that was learned from another one is not the party's.
    pub(crate) fn follow_rtp(&mut self, host: IpAddr) {
        if self.component == Component::Rtcp
            && let Some(source) = self.heard()
            && source.ip() != host
            && Some(source) != self.signalled.at
        {
            self.taught = Taught::Nothing;
        }
    }

    /// Decides on the sender of a packet that was not forwarded without a look. `matter`: what the packet is to the source, so that a
    /// stray datagram does not take a call over. `rtp_host`: for RTCP, where the party's RTP is heard.
    ///
    /// # Errors
    /// The reason why the packet is lost.
    pub(crate) fn admit(
        &mut self,
        source: SocketAddr,
        matter: Matter,
        rtp_host: Option<IpAddr>,
        now: Instant,
    ) -> Result<Admission, Reason> {
        self.advance(now);
        if self.signalled.learning == Learning::Off {
            return match self.signalled.at {
                Some(signalled) if signalled == source => Ok(Admission::Peer),
                Some(_) => Err(Reason::Stranger),
                None => Err(Reason::NotLearned),
            };
        }
        // Nothing is learned for a party before the other one's description is there: whoever sends so early cannot be heard anyway.
        if self.opened.is_none() {
            return Err(Reason::NoDestination);
        }
        // Nothing is better than what the signalling says: whoever was on the port before has to give way.
        let nearness = self.nearness(source);
        match self.taught {
            Taught::Learned(peer) if peer == source => return Ok(Admission::Peer),
            Taught::Nothing | Taught::Provisional(_) | Taught::Learned(_) if nearness == Nearness::Exact => {
                self.taught = Taught::Learned(source);
                return Ok(Admission::Peer);
            }
            Taught::Provisional(candidate) if candidate.source == source => {
                let is_sender = candidate.is_sender || matter == Matter::Media;
                self.try_out(Candidate { is_sender, ..candidate }, now);
                return Ok(Admission::Peer);
            }
            Taught::Nothing | Taught::Provisional(_) | Taught::Learned(_) => {}
        }
        if self.has_left(source, now) {
            // It has left, but whoever has come is farther: nobody that the signalling speaks of.
            let is_nearer = self.heard().is_some_and(|peer| nearness > self.nearness(peer));
            if is_nearer && nearness >= self.least() && matter != Matter::Noise {
                self.taught = Taught::Provisional(Candidate::waited_for(source, now));
                return Ok(Admission::Peer);
            }
            // Nobody is heard from elsewhere yet.
            if self.taught == Taught::Nothing && matter != Matter::Noise {
                self.stay(source, now);
            }
            return match self.taught {
                Taught::Learned(_) => Err(Reason::Stranger),
                Taught::Provisional(candidate) if candidate.source == source => Ok(Admission::Peer),
                Taught::Nothing | Taught::Provisional(_) => Ok(Admission::Guest),
            };
        }
        // A sign of life is only for one that nobody else is heard of.
        let is_alone = match self.taught {
            Taught::Nothing => true,
            Taught::Provisional(candidate) => !candidate.is_sender && nearness > self.nearness(candidate.source),
            Taught::Learned(_) => false,
        };
        if matter == Matter::Noise || (matter == Matter::SignOfLife && !is_alone) {
            return Err(Reason::NotMedia);
        }
        // RTCP is rare, so its port is open to a first comer for long: it must come from the host that the RTP comes from.
        let is_with_rtp = match rtp_host.filter(|_| self.component == Component::Rtcp) {
            Some(host) if host != source.ip() => return Err(Reason::Stranger),
            Some(_) => true,
            None => false,
        };
        if nearness < self.least() {
            return Err(Reason::Stranger);
        }
        if nearness == Nearness::Far && !is_with_rtp {
            // The party is there, and nobody else has come.
            let is_vacant = self.taught == Taught::Nothing && self.signalled.at.is_some();
            if self.suspects.are(source.ip(), is_vacant, now) {
                return Err(Reason::Stranger);
            }
        }
        // A party that rings or is on hold may be heard, but there is nowhere that packets for it are to go, and so nothing to learn.
        if self.signalled.at.is_none() && !is_with_rtp {
            return Ok(Admission::Guest);
        }
        let is_sender = matter == Matter::Media;
        self.weigh(Candidate { source, since: now, watched: None, is_sender, is_renewed: false }, nearness, now)
    }

    /// How near a source must be to be heard at all.
    const fn least(&self) -> Nearness {
        match (self.signalled.successor, self.signalled.is_asymmetric) {
            (Successor::Nobody, true) => Nearness::Host,
            (Successor::Nobody, false) if self.signalled.signaller.is_some() => Nearness::Signaller,
            (Successor::Signalled | Successor::Nobody | Successor::Anyone, _) => Nearness::Far,
        }
    }

    /// What others than the peer teach by sending media.
    fn weigh(&mut self, new: Candidate, nearness: Nearness, now: Instant) -> Result<Admission, Reason> {
        match self.taught {
            Taught::Nothing => self.try_out(new, now),
            Taught::Learned(_) if self.signalled.successor == Successor::Anyone => {
                self.taught = Taught::Learned(new.source);
            }
            Taught::Learned(peer) if nearness > self.nearness(peer) => self.try_out(new, now),
            // One that was signalled elsewhere keeps its place only from who is nobody's.
            Taught::Learned(peer)
                if nearness > Nearness::Far
                    && nearness == self.nearness(peer)
                    && self.moved_from.is_some_and(|moved| moved.source == peer && moved.is_live) =>
            {
                self.try_out(new, now);
            }
            Taught::Learned(_) => return Err(Reason::Stranger),
            Taught::Provisional(candidate) => {
                let is_silent = candidate.watched.is_some_and(|heard| now.saturating_duration_since(heard) >= SILENCE);
                match nearness.cmp(&self.nearness(candidate.source)) {
                    Ordering::Greater => {}
                    Ordering::Less => return Err(Reason::Stranger),
                    // The party was signalled elsewhere, or has only shown that it lives: here it is.
                    Ordering::Equal if self.has_left(candidate.source, now) => {
                        self.try_out(new, now);
                        return Ok(Admission::Peer);
                    }
                    Ordering::Equal if new.is_sender && !candidate.is_sender => {}
                    // Later a silent one is one that listens - unless it was never heard since it came back from hold.
                    Ordering::Equal if is_silent && (!self.is_over(candidate, now) || candidate.may_be_gone()) => {}
                    Ordering::Equal if self.is_over(candidate, now) && !candidate.may_be_gone() => {
                        if self.signalled.learning != Learning::Delayed || !is_silent || candidate.is_renewed {
                            self.taught = Taught::Learned(candidate.source);
                            return Err(Reason::Stranger);
                        }
                    }
                    Ordering::Equal => {
                        let watched = candidate.watched.or(Some(now));
                        self.taught = Taught::Provisional(Candidate { watched, ..candidate });
                        // Who had the place before, and has it still, has it alone.
                        let is_alone = candidate.is_renewed && !candidate.is_unproven();
                        return if is_alone { Err(Reason::Stranger) } else { Ok(Admission::Guest) };
                    }
                }
                self.try_out(Candidate { since: candidate.since, ..new }, now);
            }
        }
        Ok(Admission::Peer)
    }

    /// A source that sends is the peer: provisionally, or for good when there has been time enough.
    fn try_out(&mut self, candidate: Candidate, now: Instant) {
        // Of a sign of life, one is chance.
        let is_certain = candidate.is_sender || now.saturating_duration_since(candidate.since) >= WINDOW;
        self.taught = if is_certain && self.is_over(candidate, now) {
            Taught::Learned(candidate.source)
        } else {
            let is_waited_for = self.signalled.learning == Learning::Delayed || self.has_left(candidate.source, now);
            let watched = is_waited_for.then_some(now);
            Taught::Provisional(Candidate { watched, ..candidate })
        };
    }

    /// Whether the time is over in which an equal source may come.
    fn is_over(&self, candidate: Candidate, now: Instant) -> bool {
        if self.has_left(candidate.source, now) {
            return false;
        }
        let since = self.opened.map(|opened| opened.max(candidate.since));
        (self.signalled.learning == Learning::Immediate && !candidate.is_renewed)
            || since.is_some_and(|since| now.saturating_duration_since(since) >= WINDOW)
    }

    /// Whether the party was signalled away from there a moment ago, and perhaps does not know yet.
    fn has_left(&self, source: SocketAddr, now: Instant) -> bool {
        let is_recent = |moved: Moved| now.saturating_duration_since(moved.since) < MOVING;
        self.moved_from.is_some_and(|moved| moved.source == source && is_recent(moved))
    }

    /// How near a source is to the party, as far as that has said where it is.
    fn nearness(&self, source: SocketAddr) -> Nearness {
        match self.signalled.at.or(self.signalled_last) {
            // Where an asymmetric party receives is not where it is expected to send from.
            Some(at) if at == source && self.signalled.at.is_some() && !self.signalled.is_asymmetric => Nearness::Exact,
            Some(at) if at.ip() == source.ip() => Nearness::Host,
            Some(_) | None if self.signalled.signaller == Some(source.ip()) => Nearness::Signaller,
            Some(_) | None => Nearness::Far,
        }
    }

    /// The source that packets taught, certain or not.
    pub(crate) const fn heard(&self) -> Option<SocketAddr> {
        match self.taught {
            Taught::Nothing => None,
            Taught::Provisional(Candidate { source, .. }) | Taught::Learned(source) => Some(source),
        }
    }

    /// The host that the party is heard from, or else says it is at.
    pub(crate) fn host(&self) -> Option<IpAddr> {
        let is_far = |heard: &SocketAddr| self.signalled.is_direct && self.nearness(*heard) == Nearness::Far;
        self.heard().filter(|heard| !is_far(heard)).or(self.signalled.at).map(|at| at.ip())
    }

    /// Where packets for the party go: of one that receives elsewhere than it sends from, where it said. A party whose signalling comes from where its description says it is has no NAT before it that the
    /// description would not know of: one that is heard from elsewhere may be the party by another of its addresses, but what is for the party
    /// goes to where it said.
    fn remote(&self) -> Option<SocketAddr> {
        if self.signalled.is_asymmetric {
            return self.signalled.at;
        }
        let is_direct = self.signalled.is_direct;
        match (self.heard(), self.signalled.at) {
            (Some(heard), Some(at)) if is_direct && self.nearness(heard) == Nearness::Far => Some(at),
            (heard, at) => heard.or(at),
        }
    }

    /// Who is heard for now, and may yet turn out to be the wrong one.
    pub(crate) const fn heard_for_now(&self) -> Option<SocketAddr> {
        match self.taught {
            // Who had the place before the party was described again was the party.
            Taught::Provisional(Candidate { source, is_renewed: false, .. }) => Some(source),
            Taught::Nothing | Taught::Provisional(_) | Taught::Learned(_) => None,
        }
    }

    /// What it all amounts to.
    pub(crate) fn standing(&self) -> Standing {
        let is_off = self.signalled.learning == Learning::Off;
        let (confirmed, is_settled) = match self.taught {
            Taught::Nothing if is_off => (self.signalled.at, true),
            Taught::Nothing | Taught::Provisional(Candidate { watched: Some(_), .. }) => (None, false),
            // Its first media packet is to be seen.
            Taught::Provisional(Candidate { is_sender: false, .. }) => (None, false),
            Taught::Provisional(candidate) => (Some(candidate.source), false),
            // A nearer source may always come.
            Taught::Learned(peer) => {
                let is_certain = self.signalled.at == Some(peer) && !self.signalled.is_asymmetric;
                (Some(peer), self.signalled.successor != Successor::Anyone && is_certain)
            }
        };
        let watched = match self.taught {
            // The first packet of one that is to be heard again is to be seen: that may be all that is waited for.
            Taught::Provisional(candidate) if candidate.is_sender && !candidate.is_unproven() => {
                candidate.watched.map(|_| candidate.source)
            }
            Taught::Nothing | Taught::Provisional(_) | Taught::Learned(_) => None,
        };
        Standing { remote: self.remote(), confirmed, watched, is_settled }
    }

    /// Whether the party has said where it is, now or before it was put on hold.
    pub(crate) const fn has_said(&self) -> bool {
        self.signalled_last.is_some()
    }

    /// The host that the party was heard from last, for whoever has the port next.
    pub(crate) fn last_host(&self) -> Option<IpAddr> {
        self.heard().or(self.moved_from.map(|moved| moved.source)).map(|source| source.ip())
    }
}

#[cfg(test)]
mod tests;
