//! A call: its legs, and who talks with whom.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use relay::{Learning, PortPair};

use super::direction::Direction;
use super::leg::{Leg, LegId};
use super::refusal::Refusal;
use super::settings::Settings;

/// How many legs a call may have. Forks and retries make few; anything more is a mistake that would eat memory.
const MAX_LEGS: usize = 64;

/// A call: everything that the proxy names by one Call-ID.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Call {
    /// When it came to be.
    pub created: SystemTime,
    /// When it was signalled last.
    pub last_signal: SystemTime,
    /// The last sign of life that is known: of the proxy, or of a packet.
    pub alive: Instant,
    /// Type of service of the packets.
    pub tos: Option<u8>,
    /// How peers are learned.
    pub learning: Learning,
    /// Numbers are never used again, so the order is that in which the legs came to be.
    legs: BTreeMap<LegId, Leg>,
    next: u32,
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
    pub(super) const fn new(settings: &Settings, now: Instant, wall: SystemTime) -> Self {
        Self {
            created: wall,
            last_signal: wall,
            alive: now,
            tos: settings.tos,
            learning: settings.learning,
            legs: BTreeMap::new(),
            next: 0,
        }
    }

    /// The legs of an offer. Tags that are not known yet get legs; the party that the offer is for may have none.
    pub(super) fn offer_roles(
        &mut self,
        from: &[u8],
        to: Option<&[u8]>,
        direction: Direction<'_>,
        wall: SystemTime,
    ) -> Result<Roles, Refusal> {
        if to == Some(from) {
            return Err(Refusal::SameTags);
        }
        let known_to = to.and_then(|tag| self.find(tag));
        let offerer = match (self.find(from), known_to) {
            (Some(id), _) => id,
            // The party it is for is known, so this one answered before, on another branch or not at all.
            (None, Some(to)) => self.partner(to).map_or_else(|| self.add(direction.from()?, wall), Ok)?,
            (None, None) => self.add(direction.from()?, wall)?,
        };
        if let Some(leg) = self.leg_mut(offerer)
            && let Some(interface) = direction.followed(leg.interface)
        {
            leg.move_to(interface);
        }
        let answerer = match (known_to, self.partner(offerer)) {
            (Some(id), _) => id,
            (None, Some(id)) => {
                // Without a to-tag this is an INVITE that begins a call, perhaps to the next destination after one
                // that failed, and that one may be on another interface. The caller's leg, which is the older, stays.
                if to.is_none()
                    && direction.names_to()
                    && offerer < id
                    && let Some(leg) = self.leg_mut(id)
                {
                    leg.move_to(direction.to()?);
                } else if let Some(leg) = self.leg_mut(id)
                    && let Some(interface) = direction.turned(leg.interface)
                {
                    leg.move_to(interface);
                }
                id
            }
            (None, None) => self.add(direction.to()?, wall)?,
        };
        self.name(offerer, Some(from));
        self.name(answerer, to);
        self.join(offerer, answerer);
        Ok(Roles { offerer, answerer })
    }

    /// The legs of an answer. A tag that is not known is that of the party the offer was made to: its first answer, or
    /// that of another branch, which takes the place of the one before.
    pub(super) fn answer_roles(&mut self, from: &[u8], to: &[u8]) -> Result<Roles, Refusal> {
        if to == from {
            return Err(Refusal::SameTags);
        }
        let offerer = self.find(from).ok_or(Refusal::UnknownFromTag)?;
        let answerer = self.find(to).or_else(|| self.partner(offerer)).ok_or(Refusal::UnknownFromTag)?;
        self.name(answerer, Some(to));
        self.join(offerer, answerer);
        Ok(Roles { offerer, answerer })
    }

    /// The legs that a delete ends: all without tags, else those of one dialogue. None if the tags are not ours.
    pub(super) fn ended_by(&self, from: Option<&[u8]>, to: Option<&[u8]>) -> Option<Vec<LegId>> {
        let (tag, other) = match (from, to) {
            (None, None) => return Some(self.legs.keys().copied().collect()),
            (Some(from), to) => (from, to),
            (None, Some(to)) => (to, None),
        };
        // A party that has not answered may have any tag, also where it is the only one that is named.
        let unnamed = || self.legs.iter().find_map(|(id, leg)| (leg.tag.is_none() && from.is_none()).then_some(*id));
        let id = self.find(tag).or_else(unnamed)?;
        let partner = self.partner(id);
        // A party that has not answered may have any tag.
        let partner_tag = partner.and_then(|id| self.leg(id)?.tag.as_deref());
        if let (Some(expected), Some(found)) = (other, partner_tag)
            && expected != found
        {
            return None;
        }
        Some([Some(id), partner].into_iter().flatten().collect())
    }

    /// Ends legs, and with them those that talk with nobody any more.
    pub(super) fn end(&mut self, ended: &[LegId]) {
        self.legs.retain(|id, leg| !ended.contains(id) && leg.other.is_some_and(|other| !ended.contains(&other)));
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
        self.legs.values().filter_map(|leg| Some((leg, self.leg(leg.other?)?)))
    }

    /// The ports of all legs.
    pub(super) fn pairs(&self) -> impl Iterator<Item = PortPair> {
        self.legs.values().flat_map(|leg| &leg.medias).filter_map(|media| media.pair)
    }

    /// Whether a party has answered another.
    pub(super) fn is_answered(&self) -> bool {
        self.dialogues().any(|(leg, other)| leg.has_spoken && other.has_spoken)
    }

    /// Whether both parties of an offer have agreed on something before.
    pub(super) fn is_agreed(&self, roles: Roles) -> bool {
        [roles.offerer, roles.answerer].into_iter().all(|id| self.leg(id).is_some_and(|leg| leg.has_spoken))
    }

    /// Whether silence is what the parties asked for: everything is on hold, or rejected.
    pub(super) fn is_quiet(&self) -> bool {
        self.dialogues().all(|(leg, other)| {
            let mut medias = leg.medias.iter().zip(&other.medias);
            medias.all(|(mine, theirs)| {
                let (mine, theirs) = (mine.in_force(), theirs.in_force());
                !mine.open || !theirs.open || mine.is_quiet() || theirs.is_quiet()
            })
        })
    }

    fn find(&self, tag: &[u8]) -> Option<LegId> {
        self.legs.iter().find_map(|(id, leg)| (leg.tag.as_deref() == Some(tag)).then_some(*id))
    }

    fn partner(&self, id: LegId) -> Option<LegId> {
        self.leg(id)?.other
    }

    fn add(&mut self, interface: relay::InterfaceId, wall: SystemTime) -> Result<LegId, Refusal> {
        if self.legs.len() >= MAX_LEGS {
            return Err(Refusal::TooManyLegs);
        }
        let id = LegId(self.next);
        self.next = self.next.wrapping_add(1);
        self.legs.insert(id, Leg::new(interface, wall));
        Ok(id)
    }

    fn name(&mut self, id: LegId, tag: Option<&[u8]>) {
        if let (Some(leg), Some(tag)) = (self.leg_mut(id), tag)
            && leg.tag.as_deref() != Some(tag)
        {
            leg.tag = Some(tag.to_vec());
        }
    }

    /// Makes two legs talk with each other, and with nobody else.
    fn join(&mut self, one: LegId, two: LegId) {
        for (id, other) in [(one, two), (two, one)] {
            if let Some(former) = self.partner(id).filter(|former| *former != other)
                && let Some(former) = self.leg_mut(former)
            {
                former.other = None;
            }
            if let Some(leg) = self.leg_mut(id) {
                leg.other = Some(other);
            }
        }
    }
}
