//! Which legs of a call an offer or an answer is about, by the tags and branches that a proxy names.

use std::time::SystemTime;

use super::dialogue::Call;
use super::direction::Direction;
use super::leg::{Leg, LegId};
use super::signalled::Signalled;
use crate::intent::{AliasKey, Finality};
use crate::outcome::Refusal;

/// How many other tags a party may have used.
const MAX_ALIASES: usize = 16;

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
    /// Refuses tags that cannot be those of two parties.
    fn check_tags(&self, parties: &Parties<'_>) -> Result<(), Refusal> {
        let Parties { from, to, .. } = *parties;
        if to == Some(from) {
            return Err(Refusal::SameTags);
        }
        if [Some(from), to].into_iter().flatten().any(|tag| self.is_receiver(tag)) {
            return Err(Refusal::TagOfReceiver);
        }
        Ok(())
    }

    /// Takes a tag that nobody knows for another one of a party that has said the same before.
    pub(super) fn alias(&mut self, parties: &Parties<'_>, key: AliasKey, said: &[Signalled], digest: u64) {
        let tag = parties.from;
        if self.find(tag).is_some() {
            return;
        }
        // Nobody talks to itself.
        let other = parties.to.and_then(|to| self.find(to));
        let has_said = |leg: &Leg| {
            let endpoints = leg.medias.iter().map(|media| media.said.rtp);
            leg.has_spoken
                && match key {
                    AliasKey::Sdp => leg.digest == digest,
                    AliasKey::Endpoint => {
                        said.iter().any(|said| said.rtp.is_some()) && endpoints.eq(said.iter().map(|said| said.rtp))
                    }
                }
        };
        let mut others = self.legs.iter_mut().filter(|(id, _)| Some(**id) != other);
        if let Some((_, leg)) = others.find(|(_, leg)| has_said(leg) && leg.aliases.len() < MAX_ALIASES) {
            leg.aliases.push(tag.to_vec());
        }
    }

    /// The legs of an offer. Tags that are not known yet get legs; the party that the offer is for may have none.
    pub(super) fn offer_roles(
        &mut self,
        parties: &Parties<'_>,
        direction: Direction<'_>,
        wall: SystemTime,
    ) -> Result<Roles, Refusal> {
        let Parties { from, to, .. } = *parties;
        self.check_tags(parties)?;
        let known_to = to.and_then(|tag| self.find(tag));
        // The party it is for is known, and waits for the answer of one that has no tag: this one.
        let nameless = known_to.and_then(|to| self.partner(to)).filter(|id| self.is_nameless(*id));
        let offerer = match self.find(from).or(nameless) {
            Some(id) => id,
            None => self.add(direction.from()?, wall)?,
        };
        // What has been agreed on stays where it is; another family has ports of its own, media by media.
        if let Some(leg) = self.leg_mut(offerer).filter(|leg| !leg.has_spoken)
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
        // Nobody tries the next destination after one has answered for good: what has come until now was announcements.
        if to.is_none() && parties.branch.is_some() {
            let others: Vec<LegId> = self.branches(offerer).filter(|id| *id != answerer && *id > offerer).collect();
            for id in others {
                if let Some(leg) = self.leg_mut(id) {
                    leg.finality = Finality::Provisional;
                }
            }
        }
        // The same offer may go to somebody else now: whoever has answered it before (a voice that says that nobody is there) is not the one then.
        if let (None, None, Some(leg)) = (to, parties.branch, self.leg_mut(answerer)) {
            leg.is_sought = true;
        }
        for id in [offerer, answerer] {
            if let Some(leg) = self.leg_mut(id) {
                leg.is_calling = to.is_none() && id == offerer;
            }
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
    ///
    /// A provisional answer takes nobody's place who has answered for good.
    pub(super) fn answer_roles(
        &mut self,
        parties: &Parties<'_>,
        is_provisional: bool,
        wall: SystemTime,
    ) -> Result<Roles, Refusal> {
        let Parties { from, to, branch } = *parties;
        let to = to.ok_or(Refusal::UnknownFromTag)?;
        self.check_tags(parties)?;
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
        let is_beside = is_provisional
            && self.partner(offerer).is_some_and(|partner| partner != answerer && self.has_answered(partner));
        self.answers = self.answers.wrapping_add(1);
        let number = self.answers;
        if let Some(leg) = self.leg_mut(answerer) {
            leg.is_sought = false;
            leg.answer = number;
        }
        self.name(answerer, Some(to));
        if is_beside {
            self.ring(answerer, offerer);
        } else {
            self.join(offerer, answerer);
            self.is_handed_over = false;
        }
        self.revive([offerer, answerer]);
        Ok(Roles { offerer, answerer })
    }
}
