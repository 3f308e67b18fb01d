//! A call: its legs, and who talks with whom.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use border::{Learning, PortPair, SlotIndex};

use super::direction::Direction;
use super::leg::{Leg, LegId};
use super::playing::Playing;
use super::settings::Settings;
use super::signalled::Signalled;
use super::subscriber::Subscriber;
use super::treatments::Treatments;
use crate::intent::{AliasKey, Finality, Options, Treatment};
use crate::outcome::Refusal;

/// How many legs a call may have. Forks and retries make few; anything more is a mistake that would eat memory.
pub(super) const MAX_LEGS: usize = 64;

/// How many other tags a party may have used.
const MAX_ALIASES: usize = 16;

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
    /// How media is treated.
    pub treatments: Treatments,
    /// Who gets copies of what parties say.
    pub subscribers: Vec<Subscriber>,
    /// What parties hear although nobody says it; each hears one at a time.
    pub playing: Vec<Playing>,
    /// How many answers there were.
    answers: u32,
    /// Branches that have ended: who ends them once more means nobody.
    pub(super) gone: Vec<Vec<u8>>,
    /// A party was left with another one that had answered before, and perhaps is not there any more.
    pub is_handed_over: bool,
    /// Numbers are never used again, so the order is that in which the legs came to be.
    pub(super) legs: BTreeMap<LegId, Leg>,
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
    pub(super) fn new(number: u64, settings: &Settings, now: Instant, wall: SystemTime) -> Self {
        Self {
            number,
            created: wall,
            began: now,
            delete_delay: None,
            last_signal: wall,
            alive: now,
            tos: settings.tos,
            learning: settings.learning,
            treatments: Treatments::default(),
            subscribers: Vec::new(),
            playing: Vec::new(),
            answers: 0,
            gone: Vec::new(),
            is_handed_over: false,
            legs: BTreeMap::new(),
            next: 0,
        }
    }

    /// Takes what a command says about the call as a whole; it is a sign of life.
    pub(super) fn hear(&mut self, options: &Options, now: Instant, wall: SystemTime) {
        self.tos = options.tos.or(self.tos);
        self.learning = options.learning.unwrap_or(self.learning);
        self.delete_delay = options.delete_delay.or(self.delete_delay);
        self.touch(now, wall);
    }

    /// Something was said about the call.
    pub(super) fn touch(&mut self, now: Instant, wall: SystemTime) {
        self.last_signal = wall;
        self.alive = self.alive.max(now);
    }

    /// Whether everything that a party sends is treated so.
    pub(super) fn treats_leg(&self, id: LegId, treatment: Treatment) -> bool {
        self.treatments.of_leg(id, treatment)
    }

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

    /// Whether a tag is that of somebody who gets copies, and of no party.
    pub(super) fn is_receiver(&self, tag: &[u8]) -> bool {
        self.subscribers.iter().any(|subscriber| subscriber.tag == tag) && self.find(tag).is_none()
    }

    /// The tag of whom a slot belongs to.
    pub(super) fn tag_at(&self, slot: SlotIndex) -> Option<Vec<u8>> {
        let has = |pair: PortPair| pair.rtp_slot == slot || pair.rtcp_slot == slot;
        let leg = self.legs().find(|leg| leg.medias.iter().any(|media| media.pairs().any(has)));
        let subscriber = || self.subscribers.iter().find(|one| one.medias.iter().any(|media| has(media.pair)));
        leg.and_then(|leg| leg.tag.clone()).or_else(|| subscriber().map(|subscriber| subscriber.tag.clone()))
    }

    /// The legs of the party with this name: it may be called on several branches.
    pub(super) fn labelled(&self, label: &[u8]) -> Vec<LegId> {
        let is_named = |(_, leg): &(&LegId, &Leg)| leg.label.as_deref() == Some(label);
        self.legs.iter().filter(is_named).map(|(id, _)| *id).collect()
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

    /// The legs of the party that says it is at this address.
    pub(super) fn at(&self, address: IpAddr) -> Vec<LegId> {
        let is_there = |leg: &Leg| leg.medias.iter().any(|media| media.said.rtp.is_some_and(|rtp| rtp.ip() == address));
        self.legs.iter().filter(|(_, leg)| is_there(leg)).map(|(id, _)| *id).collect()
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
    pub(super) fn dialogues(&self) -> impl Iterator<Item = [(LegId, &Leg); 2]> {
        self.legs.iter().filter_map(|(id, leg)| {
            let other = leg.other?;
            let partner = self.leg(other)?;
            (partner.other == Some(*id)).then_some([(*id, leg), (other, partner)])
        })
    }

    /// The legs of parties that were called, beside the one in the dialogue, and the leg of the one that calls them: as long as nobody has answered
    /// for good, all may be heard, those that announce something and whichever picks up before its answer has come. Where nobody tells an
    /// announcement from an answer, those that have said something. One that has been ended is heard no more, however long it is kept.
    pub(super) fn ringing(&self) -> impl Iterator<Item = [(LegId, &Leg); 2]> {
        self.legs.iter().filter_map(|(id, leg)| {
            let other = leg.other?;
            let caller = self.leg(other)?;
            let first = caller.other.filter(|first| first != id && caller.is_calling)?;
            let is_open = match self.leg(first)?.finality {
                Finality::Provisional => !leg.has_answered(),
                Finality::Unknown => leg.has_spoken && leg.finality < Finality::Final,
                Finality::Final => false,
            };
            (is_open && leg.ends.is_none()).then_some([(*id, leg), (other, caller)])
        })
    }

    /// Which medias a leg and the one that it talks with both have in force.
    pub(super) fn open_medias(&self, id: LegId) -> Vec<bool> {
        let medias = |id: Option<LegId>| id.and_then(|id| self.leg(id)).map_or(&[][..], |leg| leg.medias.as_slice());
        let both = medias(Some(id)).iter().zip(medias(self.partner(id)));
        both.map(|(mine, theirs)| mine.in_force().open && theirs.in_force().open).collect()
    }

    /// How many medias all legs have together, and who gets copies.
    pub(super) fn medias(&self) -> usize {
        let copied: usize = self.subscribers.iter().map(|subscriber| subscriber.medias.len()).sum();
        copied + self.legs.values().map(|leg| leg.medias.len()).sum::<usize>()
    }

    /// The ports of all legs, each once: the parties of a fork share theirs.
    pub(super) fn pairs(&self) -> Vec<PortPair> {
        let all = self
            .legs
            .values()
            .flat_map(|leg| &leg.medias)
            .flat_map(|media| media.pairs().map(|pair| (pair.rtp_slot, pair)));
        let copied = self.subscribers.iter().flat_map(|subscriber| &subscriber.medias);
        let copied = copied.map(|media| (media.pair.rtp_slot, media.pair));
        all.chain(copied).collect::<HashMap<_, _>>().into_values().collect()
    }

    /// Whether a party has answered another.
    pub(super) fn is_answered(&self) -> bool {
        self.dialogues().any(|[(_, leg), (_, other)]| leg.has_spoken && other.has_spoken)
    }

    /// Whether a party has agreed on something with another before.
    pub(super) fn is_agreed(&self, id: LegId) -> bool {
        let has_spoken = |id| self.leg(id).is_some_and(|leg| leg.has_spoken);
        has_spoken(id) && self.partner(id).is_some_and(has_spoken)
    }

    /// Whether silence is what the parties asked for: everything is on hold, or rejected.
    pub(super) fn is_quiet(&self) -> bool {
        self.dialogues().all(|[(id, leg), (other_id, other)]| {
            let mut medias = leg.medias.iter().zip(&other.medias);
            medias.all(|(mine, theirs)| {
                let (mine, theirs) = (mine.in_force(), theirs.in_force());
                !mine.open || !theirs.open || mine.is_quiet() || theirs.is_quiet()
            })
                // Who hears nothing may well fall silent.
                || [id, other_id].into_iter().any(|id| self.treats_leg(id, Treatment::Block))
        })
    }

    /// The legs that a party is named by.
    pub(super) fn find(&self, tag: &[u8]) -> Option<LegId> {
        let is_named = |leg: &Leg| leg.tag.as_deref() == Some(tag) || leg.aliases.iter().any(|alias| alias == tag);
        self.legs.iter().find_map(|(id, leg)| is_named(leg).then_some(*id))
    }

    pub(super) fn partner(&self, id: LegId) -> Option<LegId> {
        self.leg(id)?.other
    }

    pub(super) fn is_nameless(&self, id: LegId) -> bool {
        self.leg(id).is_some_and(|leg| leg.tag.is_none())
    }

    /// The legs of those that a party was or is to talk with.
    pub(super) fn branches(&self, id: LegId) -> impl Iterator<Item = LegId> {
        self.legs.iter().filter(move |(_, leg)| leg.other == Some(id)).map(|(id, _)| *id)
    }

    pub(super) fn has_branch_but(&self, id: LegId, other: LegId) -> bool {
        self.branches(id).any(|branch| branch != other)
    }

    /// The leg of a branch; of several that answered on it, one.
    pub(super) fn branch(&self, caller: LegId, branch: &[u8]) -> Option<LegId> {
        self.branches(caller).find(|id| self.leg(*id).is_some_and(|leg| leg.via_branch.as_deref() == Some(branch)))
    }

    fn add(&mut self, interface: border::InterfaceId, wall: SystemTime) -> Result<LegId, Refusal> {
        self.insert(Leg::new(interface, wall))
    }

    /// A leg for one more party that got the same offer.
    fn fork(&mut self, id: LegId, wall: SystemTime) -> Result<LegId, Refusal> {
        let Some(leg) = self.leg(id) else { return Err(Refusal::UnknownFromTag) };
        let fork = self.insert(leg.fork(wall))?;
        self.treatments.fork(id, fork);
        Ok(fork)
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
            && !leg.aliases.iter().any(|alias| alias == tag)
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
