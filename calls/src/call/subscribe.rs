//! Copies of what parties say: who gets them, where, and until when.

use std::time::{Instant, SystemTime};

use border::Meter;

use super::calls::{Calls, Done};
use super::dialogue::{Call, MAX_LEGS};
use super::direction::{Direction, Local};
use super::lease::Lease;
use super::leg::LegId;
use super::signal::MAX_MEDIAS;
use super::signalled::Signalled;
use super::subscriber::{CopiedMedia, Subscriber};
use crate::intent::{Party, Subscribe, SubscribeAnswer, Unsubscribe};
use crate::outcome::{Copied, Outcome, Refusal, Subscribed};
use crate::sdp::{self, Body};

impl Calls {
    /// Somebody is to get copies: an offer for it. Nothing is copied before it has answered; what it has agreed to before stays in force until it
    /// answers again, which it need not do where the proxy asks for it (RFC 3264 8).
    pub(super) fn subscribe(&mut self, subscribe: &Subscribe, now: Instant, wall: SystemTime) -> Done {
        let Subscribe { call_id, options, .. } = subscribe;
        self.can_do(options)?;
        let mut draft = self.calls.get(call_id).ok_or(Refusal::UnknownCallId)?.call.clone();
        let sources = draft.medias_of(&subscribe.parties)?;
        // A proxy adds the tag of the other party where it knows one: that one talks, and is no receiver of copies.
        let wanted = subscribe.to_tag.clone().filter(|tag| draft.find(tag).is_none());
        let to_tag = wanted.unwrap_or_else(|| self.new_tag());
        let local = Local { interfaces: &self.interfaces, ports: &self.ports, turn: draft.subscribers.len(), now };
        let interface = Direction::new(local, options, None).receiver()?;
        let before = draft.subscribers.iter().position(|subscriber| subscriber.tag == to_tag);
        let before = before.map(|at| draft.subscribers.remove(at));
        if draft.subscribers.len() >= MAX_LEGS {
            return Err(Refusal::TooManyLegs);
        }
        let mut lease = Lease::new(&mut self.ports, now);
        let mut medias = Vec::with_capacity(sources.len());
        for source @ (leg, index) in sources {
            let Some(media) = draft.leg(leg).and_then(|leg| leg.medias.get(index)) else { continue };
            // The same media has the same ports as before.
            let known = before.iter().flat_map(|before| &before.medias).find(|known| known.source == Some(source));
            let known = known.filter(|known| known.pair.interface == interface);
            let said = known.map(|known| &known.said).filter(|said| said.kind.eq_ignore_ascii_case(&media.said.kind));
            let said = said.cloned().unwrap_or_else(|| media.said.awaited());
            let pair = match known {
                Some(known) => known.pair,
                None => lease.allocate(interface)?,
            };
            medias.push(CopiedMedia { source: Some(source), pair, formats: media.formats.clone(), said });
        }
        draft.subscribers.push(Subscriber {
            tag: to_tag.clone(),
            label: options.to_label.clone().or_else(|| before.as_ref()?.label.clone()),
            created: before.as_ref().map_or(wall, |before| before.created),
            offers: before.as_ref().map_or(0, |before| before.offers) + 1,
            is_answered: before.as_ref().is_some_and(|before| before.is_answered),
            is_paused: subscribe.is_paused,
            medias,
        });
        // The lease gives the ports back.
        if draft.medias() > MAX_MEDIAS {
            return Err(Refusal::TooManyMedia);
        }
        lease.keep();
        draft.touch(self.clock.at(now), wall);
        let subscribed = self.offer_copies(&draft, &to_tag, subscribe).ok_or(Refusal::NothingToCopy)?;
        let ops = self.replace(call_id, draft, now);
        Ok((Outcome::Subscribed(Box::new(subscribed)), ops))
    }

    fn offer_copies(&self, call: &Call, to_tag: &[u8], subscribe: &Subscribe) -> Option<Subscribed> {
        let subscriber = call.subscribers.iter().find(|subscriber| subscriber.tag == to_tag)?;
        let mut copied = Vec::new();
        for (number, media) in subscriber.medias.iter().enumerate() {
            let (id, index) = media.source?;
            let leg = call.leg(id)?;
            copied.push(Copied {
                tag: leg.tag.clone().unwrap_or_default(),
                party_label: leg.label.clone(),
                index: index + 1,
                kind: media.said.kind.clone(),
                label: subscribe.is_siprec.then(|| number.to_string()),
                direction: leg.medias.get(index)?.said.direction,
            });
        }
        let mut offered = Vec::new();
        for (media, copied) in subscriber.medias.iter().zip(&copied) {
            let own = self.interfaces.get(media.pair.interface)?.advertised;
            let address = subscribe.options.media_address.filter(|wanted| wanted.is_ipv4() == own.is_ipv4());
            offered.push(sdp::Offered {
                kind: &media.said.kind,
                // What can be copied is readable here, and so copied as it is.
                protocol: match media.said.profile.filter(|profile| profile.is_secured()) {
                    Some(secured) => secured.plain().name().as_bytes(),
                    None => &media.said.transport,
                },
                address: address.unwrap_or(own),
                port: media.pair.rtp_port,
                formats: &media.formats,
                label: copied.label.as_deref(),
            });
        }
        let session = sdp::Session {
            number: call.number + 1,
            version: subscriber.offers,
            address: offered.first()?.address,
            is_active: !subscriber.is_paused,
        };
        let sdp = sdp::compose(&session, &offered);
        Some(Subscribed { to_tag: to_tag.to_vec(), sdp, medias: copied, is_siprec: subscribe.is_siprec })
    }

    /// The receiver says where it is: copies go there from now on.
    pub(super) fn answer_subscription(
        &mut self,
        answer: &SubscribeAnswer,
        now: Instant,
        wall: SystemTime,
        meter: &dyn Meter,
    ) -> Done {
        let SubscribeAnswer { call_id, to_tag, options, .. } = answer;
        self.can_do(options)?;
        let mut draft = self.calls.get(call_id).ok_or(Refusal::UnknownCallId)?.call.clone();
        let body = Body::parse(&answer.sdp).map_err(Refusal::Sdp)?;
        let said = Signalled::read(&body, options)?;
        let place = draft.subscribers.iter().position(|subscriber| subscriber.tag == *to_tag);
        let subscriber = place.and_then(|at| draft.subscribers.get_mut(at)).ok_or(Refusal::NoSuchSubscriber)?;
        // As many lines as it was offered (RFC 3264 6), each of the same kind, and in the family that copies come from.
        let fits = |media: &CopiedMedia, said: &Signalled| {
            let family = self.interfaces.family(media.pair.interface);
            let is_reached = said.rtp.is_none_or(|at| Some(border::Family::of(at.ip())) == family);
            media.said.kind.eq_ignore_ascii_case(&said.kind)
                && is_reached
                && (!said.open || (said.has_rtcp && !said.secured))
        };
        let do_fit = subscriber.medias.iter().zip(&said).all(|(media, said)| fits(media, said));
        if said.len() != subscriber.medias.len() || !do_fit {
            return Err(Refusal::SubscriptionAnswer);
        }
        for (media, said) in subscriber.medias.iter().zip(&said) {
            let Some(interface) = self.interfaces.get(media.pair.interface) else { continue };
            for addr in said.rtp.iter().chain(&said.rtcp).map(|at| at.ip()) {
                let name = || interface.name.clone();
                meter.judge(interface.addr, addr).map_err(|why| Refusal::Untrusted { addr, interface: name(), why })?;
            }
        }
        subscriber.is_answered = true;
        for (media, said) in subscriber.medias.iter_mut().zip(said) {
            media.said = said;
        }
        draft.touch(self.clock.at(now), wall);
        Ok((Outcome::Done, self.replace(call_id, draft, now)))
    }

    /// Copies end: all that a receiver gets, or those of one party.
    pub(super) fn unsubscribe(&mut self, unsubscribe: &Unsubscribe, now: Instant) -> Done {
        let Unsubscribe { call_id, to_tag, from_tag } = unsubscribe;
        let mut draft = self.calls.get(call_id).ok_or(Refusal::UnknownCallId)?.call.clone();
        let place = draft.subscribers.iter().position(|subscriber| subscriber.tag == *to_tag);
        let place = place.ok_or(Refusal::NoSuchSubscriber)?;
        if let Some(tag) = from_tag {
            let source = draft.find(tag).ok_or(Refusal::NoSuchSource)?;
            if let Some(subscriber) = draft.subscribers.get_mut(place) {
                subscriber.leave(source);
            }
        }
        let is_over = draft.subscribers.get(place).is_none_or(|subscriber| subscriber.sources().next().is_none());
        if from_tag.is_none() || is_over {
            draft.subscribers.remove(place);
            draft.treatments.forget_subscriber(to_tag);
        }
        Ok((Outcome::Done, self.replace(call_id, draft, now)))
    }

    /// A tag that no receiver has.
    fn new_tag(&mut self) -> Vec<u8> {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        self.tags += 1;
        let mut hasher = DefaultHasher::new();
        (&self.mark, self.tags).hash(&mut hasher);
        format!("{:016x}{:08x}", hasher.finish(), self.tags as u32).into_bytes()
    }
}

impl Call {
    /// The medias of parties that can be copied, in the order in which the parties were named.
    fn medias_of(&self, parties: &[Party]) -> Result<Vec<(LegId, usize)>, Refusal> {
        let mut legs: Vec<LegId> = Vec::new();
        for party in parties {
            let found: Vec<LegId> = match party {
                Party::All => self.legs.iter().filter(|(_, leg)| leg.tag.is_some()).map(|(id, _)| *id).collect(),
                Party::Tag(tag) => self.find(tag).into_iter().collect(),
                Party::Label(label) => match self.labelled(label) {
                    none if none.is_empty() => return Err(Refusal::NoSuchLabel),
                    some => some,
                },
                Party::Address(address) => match self.at(*address) {
                    none if none.is_empty() => return Err(Refusal::NoSuchAddress),
                    some => some,
                },
            };
            // Of a list, one that is not there is left out; a single one is what the command is about.
            if found.is_empty() && parties.len() == 1 && matches!(party, Party::Tag(_)) {
                return Err(Refusal::NoSuchTag);
            }
            legs.extend(found.into_iter().filter(|id| !legs.contains(id)).collect::<Vec<_>>());
        }
        if legs.is_empty() {
            return Err(Refusal::NoMedia);
        }
        let of = |id: LegId| {
            let medias = self.leg(id).map(|leg| leg.medias.as_slice()).unwrap_or_default();
            let can_copy = move |number: usize, media: &super::media::Media| {
                let said = media.in_force();
                said.open && said.has_rtcp && self.is_readable(id, number) && media.now().is_some()
            };
            // Of who has said nothing yet nobody knows what it will be.
            let has_spoken = self.leg(id).is_some_and(|leg| leg.has_spoken);
            let medias = if has_spoken { medias } else { &[] };
            medias
                .iter()
                .enumerate()
                .filter(move |(index, media)| can_copy(*index, media))
                .map(move |(index, _)| (id, index))
        };
        let medias: Vec<_> = legs.into_iter().flat_map(of).collect();
        if medias.is_empty() { Err(Refusal::NothingToCopy) } else { Ok(medias) }
    }
}
