//! A call: its legs, and who talks with whom.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::SystemTime;

use border::{InterfaceId, Learning, PortPair, SlotIndex};
use serde::{Deserialize, Serialize};

use super::leg::{Leg, LegId};
use super::moment::Moment;
use super::playing::Playing;
use super::settings::Settings;
use super::subscriber::Subscriber;
use super::treatments::Treatments;
use crate::intent::{Finality, Options, Treatment};
use crate::outcome::Refusal;

/// How many legs a call may have. Forks and retries make few; anything more is a mistake that would eat memory.
pub(super) const MAX_LEGS: usize = 64;

/// A call: everything that the proxy names by one Call-ID.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Call {
    /// No other call of this daemon has the same.
    pub number: u64,
    /// When it came to be.
    pub created: SystemTime,
    /// The same by the clock that never goes back.
    pub began: Moment,
    /// Seconds that it goes on when it is deleted, where a command has said so.
    pub delete_delay: Option<u32>,
    /// When it was signalled last.
    pub last_signal: SystemTime,
    /// The last sign of life that is known: of the proxy, or of a packet.
    pub alive: Moment,
    /// Type of service of the packets.
    pub tos: Option<u8>,
    /// How peers are learned.
    pub learning: Learning,
    /// How media is treated.
    pub treatments: Treatments,
    /// Who gets copies of what parties say.
    pub subscribers: Vec<Subscriber>,
    /// What parties hear although nobody says it; each hears one at a time. Recordings are in no record of a call: whoever comes after this daemon
    /// has nothing to play.
    #[serde(skip)]
    pub playing: Vec<Playing>,
    /// How many answers there were.
    pub(super) answers: u32,
    /// Branches that have ended: who ends them once more means nobody.
    pub(super) gone: Vec<Vec<u8>>,
    /// A party was left with another one that had answered before, and perhaps is not there any more.
    pub is_handed_over: bool,
    /// Numbers are never used again, so the order is that in which the legs came to be.
    pub(super) legs: BTreeMap<LegId, Leg>,
    next: u32,
}

impl Call {
    pub(super) fn new(number: u64, settings: &Settings, now: Moment, wall: SystemTime) -> Self {
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
    pub(super) fn hear(&mut self, options: &Options, now: Moment, wall: SystemTime) {
        self.tos = options.tos.or(self.tos);
        self.learning = options.learning.unwrap_or(self.learning);
        self.delete_delay = options.delete_delay.or(self.delete_delay);
        self.touch(now, wall);
    }

    /// Something was said about the call.
    pub(super) fn touch(&mut self, now: Moment, wall: SystemTime) {
        self.last_signal = wall;
        self.alive = self.alive.max(now);
    }

    /// Whether everything that a party sends is treated so.
    pub(super) fn treats_leg(&self, id: LegId, treatment: Treatment) -> bool {
        self.treatments.of_leg(id, treatment)
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

    /// The legs of the party that says it is at this address.
    pub(super) fn at(&self, address: IpAddr) -> Vec<LegId> {
        let is_there = |leg: &Leg| leg.medias.iter().any(|media| media.said.rtp.is_some_and(|rtp| rtp.ip() == address));
        self.legs.iter().filter(|(_, leg)| is_there(leg)).map(|(id, _)| *id).collect()
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

    /// Every place where ports are named; those that several parties share are named by each.
    pub(super) fn pairs_mut(&mut self) -> impl Iterator<Item = &mut PortPair> {
        let medias = self.legs.values_mut().flat_map(|leg| &mut leg.medias);
        let of_parties = medias.flat_map(|media| {
            let agreed = media.agreed.as_mut().and_then(|agreed| agreed.pair.as_mut());
            media.pair.iter_mut().chain(&mut media.told).chain(agreed)
        });
        let copied = self.subscribers.iter_mut().flat_map(|subscriber| &mut subscriber.medias);
        of_parties.chain(copied.map(|media| &mut media.pair))
    }

    /// The interface of each party.
    pub(super) fn interfaces_mut(&mut self) -> impl Iterator<Item = &mut InterfaceId> {
        self.legs.values_mut().map(|leg| &mut leg.interface)
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

    pub(super) fn add(&mut self, interface: InterfaceId, wall: SystemTime) -> Result<LegId, Refusal> {
        self.insert(Leg::new(interface, wall))
    }

    /// A leg for one more party that got the same offer.
    pub(super) fn fork(&mut self, id: LegId, wall: SystemTime) -> Result<LegId, Refusal> {
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

    pub(super) fn name(&mut self, id: LegId, tag: Option<&[u8]>) {
        if let (Some(leg), Some(tag)) = (self.leg_mut(id), tag)
            && leg.tag.as_deref() != Some(tag)
            && !leg.aliases.iter().any(|alias| alias == tag)
        {
            leg.tag = Some(tag.to_vec());
        }
    }

    /// Commands for parties that were to end say that they live.
    pub(super) fn revive(&mut self, ids: [LegId; 2]) {
        for id in ids {
            if let Some(leg) = self.leg_mut(id) {
                leg.ends = None;
            }
        }
    }

    /// Has a party talk with another one, unless it does with one that has answered: an offer may be refused.
    pub(super) fn ring(&mut self, id: LegId, other: LegId) {
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
    pub(super) fn join(&mut self, one: LegId, two: LegId) {
        for (id, other) in [(one, two), (two, one)] {
            if let Some(leg) = self.leg_mut(id) {
                leg.other = Some(other);
            }
        }
    }
}
