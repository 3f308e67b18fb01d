//! A call: its legs, and who talks with whom.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use relay::{Learning, PortPair};

use super::direction::Direction;
use super::leg::{Leg, LegId};
use super::refusal::Refusal;
use super::settings::Settings;
use crate::command::Options;

/// How many legs a call may have. Forks and retries make few; anything more is a mistake that would eat memory.
const MAX_LEGS: usize = 64;

/// A call: everything that the proxy names by one Call-ID.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Call {
    /// No other call of this daemon has the same.
    pub number: u64,
    /// When it came to be.
    pub created: SystemTime,
    /// The same by the clock that never goes back.
    pub began: Instant,
    /// Seconds that it goes on when it is deleted, where a command has said so.
    pub delete_delay: Option<u32>,
    /// When it was signalled last.
    pub last_signal: SystemTime,
    /// The last sign of life that is known: of the proxy, or of a packet.
    pub alive: Instant,
    /// Type of service of the packets.
    pub tos: Option<u8>,
    /// How peers are learned.
    pub learning: Learning,
    /// What any party sends goes nowhere, also of those that come later.
    pub blocked: bool,
    /// Numbers are never used again, so the order is that in which the legs came to be.
    legs: BTreeMap<LegId, Leg>,
    next: u32,
}

/// Who a command is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parties<'a> {
    /// The tag of the party that made the offer.
    pub from: &'a [u8],
    /// The tag of the party that it is for.
    pub to: Option<&'a [u8]>,
    /// The branch on which it was sent to that party.
    pub branch: Option<&'a [u8]>,
}

/// The two legs of an offer and its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Roles {
    /// The leg whose party made the offer.
    pub offerer: LegId,
    /// The leg whose party answers.
    pub answerer: LegId,
}

impl Call {
    pub(super) const fn new(number: u64, settings: &Settings, now: Instant, wall: SystemTime) -> Self {
        Self {
            number,
            created: wall,
            began: now,
            delete_delay: None,
            last_signal: wall,
            alive: now,
            tos: settings.tos,
            learning: settings.learning,
            blocked: false,
            legs: BTreeMap::new(),
            next: 0,
        }
    }

    /// Takes what a command says about the call as a whole; it is a sign of life.
    pub(super) fn hear(&mut self, options: &Options, now: Instant, wall: SystemTime) {
        self.tos = options.tos.or(self.tos);
        self.learning = options.learning.unwrap_or(self.learning);
        self.delete_delay = options.delete_delay.or(self.delete_delay);
        self.last_signal = wall;
        self.alive = self.alive.max(now);
    }

    /// Has what a party sends, or all parties, go nowhere, or no longer.
    pub(super) fn block(&mut self, id: Option<LegId>, is_on: bool) {
        let Some(id) = id else {
            self.blocked = is_on;
            return self.legs.values_mut().for_each(|leg| leg.blocked = false);
        };
        if let Some(leg) = self.leg_mut(id) {
            leg.blocked = is_on;
        }
    }

    /// The leg of the party with this name.
    pub(super) fn labelled(&self, label: &[u8]) -> Option<LegId> {
        self.legs.iter().find_map(|(id, leg)| (leg.label.as_deref() == Some(label)).then_some(*id))
    }

    /// The leg of the party that says it is at this address.
    pub(super) fn at(&self, address: IpAddr) -> Option<LegId> {
        let is_there = |leg: &Leg| leg.medias.iter().any(|media| media.said.rtp.is_some_and(|rtp| rtp.ip() == address));
        self.legs.iter().find_map(|(id, leg)| is_there(leg).then_some(*id))
    }

    /// The legs of an offer. Tags that are not known yet get legs; the party that the offer is for may have none.
    pub(super) fn offer_roles(
        &mut self,
        parties: &Parties<'_>,
        direction: Direction<'_>,
        wall: SystemTime,
    ) -> Result<Roles, Refusal> {
        let Parties { from, to, .. } = *parties;
        if to == Some(from) {
            return Err(Refusal::SameTags);
        }
        let known_to = to.and_then(|tag| self.find(tag));
        // The party it is for is known, and waits for the answer of one that has no tag: this one.
        let nameless = known_to.and_then(|to| self.partner(to)).filter(|id| self.is_nameless(*id));
        let offerer = match self.find(from).or(nameless) {
            Some(id) => id,
            None => self.add(direction.from()?, wall)?,
        };
        if let Some(leg) = self.leg_mut(offerer)
            && let Some(interface) = direction.followed(leg.interface)
        {
            leg.move_to(interface);
        }
        let answerer = match known_to.or_else(|| self.callee(offerer, parties)) {
            Some(id) => self.move_callee(offerer, id, to, direction).map(|()| id)?,
            None => match self.partner(offerer).filter(|_| to.is_some()) {
                // A tag that never answered, in a dialogue: of a fork whose answers did not come this way.
                Some(partner) => {
                    let id = self.fork(partner, wall)?;
                    self.move_callee(offerer, id, to, direction).map(|()| id)?
                }
                None => self.add(direction.to()?, wall)?,
            },
        };
        // The same offer may go to somebody else now: whoever has answered it before (a voice that says that nobody is there) is not the one then.
        if let (None, None, Some(leg)) = (to, parties.branch, self.leg_mut(answerer)) {
            leg.is_sought = true;
        }
        self.name(offerer, Some(from));
        self.name(answerer, to);
        for (id, other) in [(offerer, answerer), (answerer, offerer)] {
            self.ring(id, other);
        }
        // Within a dialogue, and in a late offer, the branch is not the way to the party that gets the offer.
        if let (Some(branch), None, Some(leg)) = (parties.branch, to, self.leg_mut(answerer)) {
            leg.via_branch = Some(branch.to_vec());
        }
        // Within a dialogue it may have crossed a BYE, and is answered only if that was not the end.
        if to.is_none() {
            self.revive([offerer, answerer]);
        }
        Ok(Roles { offerer, answerer })
    }

    /// The leg of the party that an offer is for, by its branch where it has one; its tag is not known.
    fn callee(&self, offerer: LegId, parties: &Parties<'_>) -> Option<LegId> {
        let branch = parties.branch.and_then(|branch| self.branch(offerer, branch));
        match parties.to {
            Some(_) => branch.or_else(|| self.partner(offerer)).filter(|id| self.is_nameless(*id)),
            None if parties.branch.is_some() => branch,
            None => self.partner(offerer),
        }
    }

    /// Puts the leg of the party that an offer is for where the command wants it.
    fn move_callee(
        &mut self,
        offerer: LegId,
        callee: LegId,
        to: Option<&[u8]>,
        direction: Direction<'_>,
    ) -> Result<(), Refusal> {
        let Some(leg) = self.leg_mut(callee) else { return Ok(()) };
        // Without a to-tag this is an INVITE that begins a call, perhaps to the next destination after one that failed, and that one may be on
        // another interface. The caller's leg, which is the older, stays.
        if to.is_none() && direction.names_to() && offerer < callee && !direction.suits_to(leg.interface) {
            leg.move_to(direction.to()?);
        } else if let Some(interface) = direction.turned(leg.interface) {
            leg.move_to(interface);
        }
        Ok(())
    }

    /// The legs of an answer. A tag that is not known is that of a party the offer was made to: by its branch, or the only one, or the first
    /// of a fork that answers. Another one that answers the same offer gets a leg of its own on the same ports, for it was told of these.
    pub(super) fn answer_roles(&mut self, parties: &Parties<'_>, wall: SystemTime) -> Result<Roles, Refusal> {
        let Parties { from, to, branch } = *parties;
        let to = to.ok_or(Refusal::UnknownFromTag)?;
        if to == from {
            return Err(Refusal::SameTags);
        }
        let offerer = self.find(from).ok_or(Refusal::UnknownFromTag)?;
        let answerer = match self.find(to) {
            Some(id) => id,
            None => {
                let branch = branch.and_then(|branch| self.branch(offerer, branch));
                let asked = branch.or_else(|| self.partner(offerer)).ok_or(Refusal::UnknownFromTag)?;
                let is_open = self.leg(asked).is_some_and(|leg| leg.tag.is_none() || leg.is_sought);
                if is_open { asked } else { self.fork(asked, wall)? }
            }
        };
        if let Some(leg) = self.leg_mut(answerer) {
            leg.is_sought = false;
        }
        self.name(answerer, Some(to));
        self.join(offerer, answerer);
        self.revive([offerer, answerer]);
        Ok(Roles { offerer, answerer })
    }

    /// The legs that a delete ends: all without tags, those of one branch, or those of one dialogue. None if the tags are not ours.
    ///
    /// A party that several were offered to goes on with the others when one of them ends.
    pub(super) fn ended_by(&self, from: Option<&[u8]>, to: Option<&[u8]>, branch: Option<&[u8]>) -> Option<Vec<LegId>> {
        if to.is_none()
            && let Some(branch) = branch
        {
            let of_branch = |(_, leg): &(&LegId, &Leg)| leg.via_branch.as_deref() == Some(branch);
            let ended: Vec<LegId> = self.legs.iter().filter(of_branch).map(|(id, _)| *id).collect();
            if !ended.is_empty() {
                return Some(ended);
            }
        }
        let (tag, other) = match (from, to) {
            (None, None) => return Some(self.legs.keys().copied().collect()),
            // They may come in the order of the request that is ended or in that of the one that ends it, and one of them may have never answered.
            (Some(from), Some(to)) if self.find(from).is_none() => (to, Some(from)),
            (Some(from), to) => (from, to),
            (None, Some(to)) => (to, None),
        };
        // A party that has not answered may have any tag, also where it is the only one that is named.
        let nameless = || self.legs.keys().copied().find(|id| from.is_none() && self.is_nameless(*id));
        let id = self.find(tag).or_else(nameless)?;
        let partner = self.partner(id);
        let Some(other) = other else {
            // The dialogue, unless the party that it was with has found another one.
            let mutual = partner.filter(|partner| self.partner(*partner) == Some(id));
            return Some([Some(id), mutual].into_iter().flatten().collect());
        };
        let Some(other) = self.find(other) else {
            // A party that has not answered may have any tag; others that ring go on.
            let of_branch = branch.and_then(|branch| self.branch(id, branch));
            let mut silent = self.branches(id).filter(|id| self.is_nameless(*id));
            let only = silent.next().filter(|_| silent.next().is_none());
            let nameless = of_branch.or(partner).filter(|id| self.is_nameless(*id)).or(only)?;
            return Some(if self.has_branch_but(id, nameless) { vec![nameless] } else { vec![id, nameless] });
        };
        match (partner == Some(other), self.partner(other) == Some(id)) {
            (true, true) => Some(self.ended_with(id, other)),
            // One that another one has taken the place of.
            (true, false) if self.has_branch_but(other, id) => Some(vec![id]),
            (false, true) if self.has_branch_but(id, other) => Some(vec![other]),
            (false, false) => None,
            (true, false) | (false, true) => Some(vec![id, other]),
        }
    }

    /// The legs that end with a dialogue. A party that called several goes on with another one that has answered; those that have not will not do so
    /// any more.
    fn ended_with(&self, one: LegId, two: LegId) -> Vec<LegId> {
        let (caller, callee) = if self.has_branch_but(two, one) { (two, one) } else { (one, two) };
        let others: Vec<LegId> = self.branches(caller).filter(|branch| *branch != callee).collect();
        let has_answered = |id: &LegId| self.leg(*id).is_some_and(|leg| leg.has_answered);
        if others.iter().any(has_answered) {
            return vec![callee];
        }
        [caller, callee].into_iter().chain(others).collect()
    }

    /// Ends legs, and with them those that talk with nobody any more.
    pub(super) fn end(&mut self, ended: &[LegId]) {
        self.legs.retain(|id, _| !ended.contains(id));
        loop {
            let lost = |(_, leg): &(&LegId, &Leg)| leg.other.is_none_or(|other| !self.legs.contains_key(&other));
            let Some(id) = self.legs.iter().find(lost).map(|(id, _)| *id) else { return };
            // Of the parties that are left, the one that has answered last is the one to talk with.
            let has_spoken = |id: &LegId| self.leg(*id).is_some_and(|leg| leg.has_spoken);
            let next = self.branches(id).filter(has_spoken).last().or_else(|| self.branches(id).last());
            match (next, self.leg_mut(id)) {
                (Some(_), Some(leg)) => leg.other = next,
                _ => drop(self.legs.remove(&id)),
            }
        }
    }

    /// Ends legs later; sooner if that was said before.
    pub(super) fn end_at(&mut self, ended: &[LegId], at: Instant) {
        for id in ended {
            if let Some(leg) = self.leg_mut(*id) {
                leg.ends = Some(leg.ends.map_or(at, |before| before.min(at)));
            }
        }
    }

    /// The legs whose end has come.
    pub(super) fn ending(&self, now: Instant) -> Vec<LegId> {
        let is_due = |(_, leg): &(&LegId, &Leg)| leg.ends.is_some_and(|at| at <= now);
        self.legs.iter().filter(is_due).map(|(id, _)| *id).collect()
    }

    /// Whether all legs have ended.
    pub(super) fn is_over(&self) -> bool {
        self.legs.is_empty()
    }

    /// The leg of a number.
    pub(super) fn leg(&self, id: LegId) -> Option<&Leg> {
        self.legs.get(&id)
    }

    /// The leg of a number.
    pub(super) fn leg_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        self.legs.get_mut(&id)
    }

    /// All legs, in the order in which they came to be.
    pub(super) fn legs(&self) -> impl Iterator<Item = &Leg> {
        self.legs.values()
    }

    /// Every leg that talks with another, and that other: each dialogue comes twice.
    pub(super) fn dialogues(&self) -> impl Iterator<Item = (&Leg, &Leg)> {
        self.legs.iter().filter_map(|(id, leg)| {
            let other = self.leg(leg.other?)?;
            (other.other == Some(*id)).then_some((leg, other))
        })
    }

    /// The legs of parties that ring, beside the one in the dialogue, and the leg of the one that calls them: whichever picks up may be heard
    /// before its answer has come.
    pub(super) fn ringing(&self) -> impl Iterator<Item = (&Leg, &Leg)> {
        self.legs.iter().filter_map(|(id, leg)| {
            let caller = self.leg(leg.other?)?;
            let first = caller.other.filter(|first| first != id)?;
            (!leg.has_spoken && !self.leg(first)?.has_spoken).then_some((leg, caller))
        })
    }

    /// Which medias a leg and the one that it talks with both have in force.
    pub(super) fn open_medias(&self, id: LegId) -> Vec<bool> {
        let medias = |id: Option<LegId>| id.and_then(|id| self.leg(id)).map_or(&[][..], |leg| leg.medias.as_slice());
        let both = medias(Some(id)).iter().zip(medias(self.partner(id)));
        both.map(|(mine, theirs)| mine.in_force().open && theirs.in_force().open).collect()
    }

    /// How many medias all legs have together.
    pub(super) fn medias(&self) -> usize {
        self.legs.values().map(|leg| leg.medias.len()).sum()
    }

    /// The ports of all legs, each once: the parties of a fork share theirs.
    pub(super) fn pairs(&self) -> Vec<PortPair> {
        let all = self
            .legs
            .values()
            .flat_map(|leg| &leg.medias)
            .flat_map(|media| media.pairs().map(|pair| (pair.rtp_slot, pair)));
        all.collect::<HashMap<_, _>>().into_values().collect()
    }

    /// Whether a party has answered another.
    pub(super) fn is_answered(&self) -> bool {
        self.dialogues().any(|(leg, other)| leg.has_spoken && other.has_spoken)
    }

    /// Whether a party has agreed on something with another before.
    pub(super) fn is_agreed(&self, id: LegId) -> bool {
        let has_spoken = |id| self.leg(id).is_some_and(|leg| leg.has_spoken);
        has_spoken(id) && self.partner(id).is_some_and(has_spoken)
    }

    /// Whether silence is what the parties asked for: everything is on hold, or rejected.
    pub(super) fn is_quiet(&self) -> bool {
        self.dialogues().all(|(leg, other)| {
            let mut medias = leg.medias.iter().zip(&other.medias);
            medias.all(|(mine, theirs)| {
                let (mine, theirs) = (mine.in_force(), theirs.in_force());
                !mine.open || !theirs.open || mine.is_quiet() || theirs.is_quiet()
            }) || self.blocked
                // What is dropped is not seen, so that it is not a sign of life.
                || leg.blocked
                || other.blocked
        })
    }

    /// The legs that a party is named by.
    pub(super) fn find(&self, tag: &[u8]) -> Option<LegId> {
        self.legs.iter().find_map(|(id, leg)| (leg.tag.as_deref() == Some(tag)).then_some(*id))
    }

    fn partner(&self, id: LegId) -> Option<LegId> {
        self.leg(id)?.other
    }

    fn is_nameless(&self, id: LegId) -> bool {
        self.leg(id).is_some_and(|leg| leg.tag.is_none())
    }

    /// The legs of those that a party was or is to talk with.
    fn branches(&self, id: LegId) -> impl Iterator<Item = LegId> {
        self.legs.iter().filter(move |(_, leg)| leg.other == Some(id)).map(|(id, _)| *id)
    }

    fn has_branch_but(&self, id: LegId, other: LegId) -> bool {
        self.branches(id).any(|branch| branch != other)
    }

    /// The leg of a branch; of several that answered on it, one.
    fn branch(&self, caller: LegId, branch: &[u8]) -> Option<LegId> {
        self.branches(caller).find(|id| self.leg(*id).is_some_and(|leg| leg.via_branch.as_deref() == Some(branch)))
    }

    fn add(&mut self, interface: relay::InterfaceId, wall: SystemTime) -> Result<LegId, Refusal> {
        self.insert(Leg::new(interface, wall))
    }

    /// A leg for one more party that got the same offer.
    fn fork(&mut self, id: LegId, wall: SystemTime) -> Result<LegId, Refusal> {
        let Some(leg) = self.leg(id) else { return Err(Refusal::UnknownFromTag) };
        self.insert(leg.fork(wall))
    }

    fn insert(&mut self, leg: Leg) -> Result<LegId, Refusal> {
        if self.legs.len() >= MAX_LEGS {
            return Err(Refusal::TooManyLegs);
        }
        let id = LegId(self.next);
        self.next = self.next.wrapping_add(1);
        self.legs.insert(id, leg);
        Ok(id)
    }

    fn name(&mut self, id: LegId, tag: Option<&[u8]>) {
        if let (Some(leg), Some(tag)) = (self.leg_mut(id), tag)
            && leg.tag.as_deref() != Some(tag)
        {
            leg.tag = Some(tag.to_vec());
        }
    }

    /// Commands for parties that were to end say that they live.
    fn revive(&mut self, ids: [LegId; 2]) {
        for id in ids {
            if let Some(leg) = self.leg_mut(id) {
                leg.ends = None;
            }
        }
    }

    /// Has a party talk with another one, unless it does with one that has answered: an offer may be refused.
    fn ring(&mut self, id: LegId, other: LegId) {
        let partner = self.partner(id).and_then(|partner| self.leg(partner));
        // An offer that comes again puts nobody in another's place.
        let rings_already = partner.is_some() && self.partner(other) == Some(id);
        if !rings_already
            && partner.is_none_or(|partner| !partner.has_spoken)
            && let Some(leg) = self.leg_mut(id)
        {
            leg.other = Some(other);
        }
    }

    /// Makes two legs talk with each other, and with nobody else.
    fn join(&mut self, one: LegId, two: LegId) {
        for (id, other) in [(one, two), (two, one)] {
            if let Some(leg) = self.leg_mut(id) {
                leg.other = Some(other);
            }
        }
    }
}
