//! Offers and answers: a description on its way from one party to the other.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use border::{Family, FlowOp, Interfaces, Meter};

use super::calls::{Calls, Done};
use super::dialogue::Call;
use super::direction::{Direction, Local};
use super::lease::Lease;
use super::leg::{Leg, LegId, Mirror};
use super::roles::{Parties, Roles};
use super::security::{self, Entropy, Security, Shown};
use super::signalled::{self, Signalled};
use crate::intent::{Answer, Echo, Finality, Ice, Offer, Options, RtcpForm, Sdes};
use crate::outcome::{DescriptionKind as Kind, Outcome, Refusal};
use crate::sdp::{self, Body, Edit, NewMedia, Profile, RtcpAttribute, Told, edit};

/// How many medias the legs of a call may have together: one call shall not have the ports of hundreds.
pub(super) const MAX_MEDIAS: usize = 256;

impl Calls {
    pub(super) fn offer(&mut self, offer: &Offer, now: Instant, wall: SystemTime, meter: &dyn Meter) -> Done {
        let Offer { call_id, options, .. } = offer;
        self.can_do(options)?;
        let body = Body::parse(&offer.sdp).map_err(Refusal::Sdp)?;
        if self.has_passed(&body, options) {
            return Ok(unchanged(&offer.sdp));
        }
        let mut draft = match self.calls.get(call_id) {
            Some(entry) => entry.call.clone(),
            None => {
                self.admit()?;
                // One that is refused after all leaves its number to the next.
                Call::new(self.numbers, &self.settings, self.clock.at(now), wall)
            }
        };
        let turn = usize::try_from(self.numbers).unwrap_or(0);
        let local = Local { interfaces: &self.interfaces, ports: &self.ports, turn, now };
        let direction = Direction::new(local, options, signalled::family(&body, options));
        let parties =
            Parties { from: &offer.from_tag, to: offer.to_tag.as_deref(), branch: offer.via_branch.as_deref() };
        if let Some(key) = options.alias_key {
            draft.alias(&parties, key, &Signalled::read(&body, options)?, digest(&offer.sdp));
        }
        let roles = draft.offer_roles(&parties, direction, wall)?;
        let whole = restored(&draft, roles.offerer, &offer.sdp);
        let body = whole.as_deref().map_or(Ok(body), Body::parse).map_err(Refusal::Sdp)?;
        let said = Signalled::read(&body, options)?;
        self.check_place(&draft, roles.offerer, &said, meter)?;
        for id in [roles.offerer, roles.answerer] {
            if draft.is_agreed(id)
                && let Some(leg) = draft.leg_mut(id)
            {
                leg.hold_agreement(id == roles.offerer);
            }
        }
        for id in [roles.offerer, roles.answerer] {
            let was_open = draft.open_medias(id);
            if let Some(leg) = draft.leg_mut(id) {
                leg.turn_lines(&said, &was_open, id == roles.offerer, &self.interfaces);
            }
        }
        let mut is_new = Vec::new();
        if let Some(leg) = draft.leg_mut(roles.offerer) {
            is_new = leg.hear(&said, options);
            leg.hear_formats(sdp::formats(&body));
            leg.offered = None;
            leg.digest = digest(&offer.sdp);
            leg.expect_clocks(&said);
            leg.hear_mux(&said);
        }
        if let Some(leg) = draft.leg_mut(roles.answerer) {
            leg.expect(&said, &is_new);
            leg.expect_clocks(&said);
            leg.offer_mux(&said, options.mux);
            leg.hide(&said, whole.as_deref().unwrap_or(&offer.sdp), options);
            leg.profile = options.profile.or(leg.profile);
            if options.to_label.is_some() {
                leg.label.clone_from(&options.to_label);
            }
        }
        draft.offer_security(&said, roles, &options.sdes, self.entropy)?;
        let relayed = said.iter().map(|said| said.open).collect();
        let came = (offer.from_tag.as_slice(), offer.sdp.as_slice());
        let signal = Signal { kind: Kind::Offer, roles, receiver: roles.answerer, relayed, options, came };
        self.apply(call_id, draft, &signal, &body, now, wall)
    }

    pub(super) fn answer(&mut self, answer: &Answer, now: Instant, wall: SystemTime, meter: &dyn Meter) -> Done {
        let Answer { call_id, options, .. } = answer;
        self.can_do(options)?;
        let body = Body::parse(&answer.sdp);
        if let Ok(body) = &body
            && self.has_passed(body, options)
        {
            return Ok(unchanged(&answer.sdp));
        }
        let mut draft = self.calls.get(call_id).ok_or(Refusal::UnknownCall)?.call.clone();
        let body = body.map_err(Refusal::Sdp)?;
        let parties =
            Parties { from: &answer.from_tag, to: Some(&answer.to_tag), branch: answer.via_branch.as_deref() };
        let roles = draft.answer_roles(&parties, options.finality == Finality::Provisional, wall)?;
        let whole = restored(&draft, roles.answerer, &answer.sdp);
        let whole =
            draft.leg(roles.answerer).and_then(|leg| leg.fitted(whole.as_deref().unwrap_or(&answer.sdp))).or(whole);
        let body = whole.as_deref().map_or(Ok(body), Body::parse).map_err(Refusal::Sdp)?;
        let said = Signalled::read(&body, options)?;
        self.check_place(&draft, roles.answerer, &said, meter)?;
        let mut accepts_mux = None;
        let optional = draft.offered_in_plain(roles);
        // What is overtaken is edited, and says nothing.
        let is_late = draft.leg(roles.answerer).is_some_and(|leg| leg.has_overtaken(options.finality));
        if let Some(leg) = draft.leg_mut(roles.answerer).filter(|_| !is_late) {
            leg.is_asked &= options.finality == Finality::Provisional;
            accepts_mux = leg.accepts_mux;
            leg.answer();
            leg.hear(&said, options);
            leg.hear_formats(sdp::formats(&body));
            leg.digest = digest(&answer.sdp);
            leg.set_clocks(&said);
            leg.agree_mux(&said, accepts_mux);
            leg.agree(options.finality);
        }
        if !is_late {
            draft.answer_security(&said, &optional, roles)?;
        }
        let mut relayed = vec![false; said.len()];
        let is_talking = draft.partner(roles.offerer) == Some(roles.answerer);
        if let Some(leg) = draft.leg_mut(roles.offerer) {
            if is_talking && !is_late {
                leg.agree(options.finality);
                leg.set_clocks(&said);
                leg.agree_mux(&said, accepts_mux);
            }
            for ((relayed, said), media) in relayed.iter_mut().zip(&said).zip(&leg.medias) {
                *relayed = said.open && media.said.open;
            }
        }
        let came = (answer.to_tag.as_slice(), answer.sdp.as_slice());
        let signal = Signal { kind: Kind::Answer, roles, receiver: roles.offerer, relayed, options, came };
        self.apply(call_id, draft, &signal, &body, now, wall)
    }

    /// Whether the description has been through this relay already, and the script asks for that to be looked at.
    fn has_passed(&self, body: &Body<'_>, options: &Options) -> bool {
        options.loop_protect && body.is_marked(&self.mark)
    }

    /// Refuses a party that is in a family that the interface it talks to has no address in, for neither would reach the other, and one that says
    /// it is where none may be.
    fn check_place(&self, call: &Call, id: LegId, said: &[Signalled], meter: &dyn Meter) -> Result<(), Refusal> {
        let Some(leg) = call.leg(id) else { return Ok(()) };
        for addr in said.iter().flat_map(|said| said.rtp.iter().chain(&said.rtcp)).map(|at| at.ip()) {
            let found = self.interfaces.in_family(leg.interface, Family::of(addr));
            let Some(interface) = self.interfaces.get(found.unwrap_or(leg.interface)) else { continue };
            let (local, name) = (interface.addr, || interface.name.clone());
            meter.judge(local, addr).map_err(|why| Refusal::Untrusted { addr, interface: name(), why })?;
            if found.is_none() {
                return Err(Refusal::Family { addr, local, interface: name() });
            }
        }
        Ok(())
    }

    /// The second half of an offer or answer: ports, the new description, and the draft becomes the call.
    fn apply(
        &mut self,
        call_id: &[u8],
        mut draft: Call,
        signal: &Signal<'_>,
        body: &Body<'_>,
        now: Instant,
        wall: SystemTime,
    ) -> Done {
        draft.hear(signal.options, self.clock.at(now), wall);
        if let Some(echo) = signal.options.echo {
            let sender = if signal.kind == Kind::Offer { signal.roles.offerer } else { signal.roles.answerer };
            for (id, hears) in [(sender, Echo::Sender), (signal.receiver, Echo::Receiver)] {
                if let Some(leg) = draft.leg_mut(id) {
                    leg.echo = Some(if echo == hears || echo == Echo::Both { Mirror::Echo } else { Mirror::Silence });
                }
            }
        }
        let mut lease = Lease::new(&mut self.ports, now);
        for id in [signal.roles.offerer, signal.roles.answerer] {
            if let Some(leg) = draft.leg_mut(id) {
                leg.take_ports(&signal.relayed, &self.interfaces, &mut lease)?;
            }
        }
        // The lease gives the ports back.
        if draft.medias() > MAX_MEDIAS {
            return Err(Refusal::TooManyMedia);
        }
        lease.keep();
        let sdp = signal.describe(&mut draft, body, &self.interfaces, &self.mark);
        let ops = self.replace(call_id, draft, now);
        if let Some(entry) = self.calls.get_mut(call_id) {
            let (tag, came) = signal.came;
            entry.described.note(signal.kind, tag, [came, &sdp], wall);
        }
        Ok((Outcome::Description(sdp), ops))
    }
}

/// The profile that a party is to see of a media that is offered; `None`: as it came. `is_changed`: it has its own, whatever the other one has.
fn shown_profile(leg: &Leg, own: &Signalled, is_changed: bool) -> Option<Profile> {
    leg.profile.or(own.profile.filter(|_| is_changed))
}

impl Call {
    /// Whether a party keeps its profile in offers to it: where profiles are changed for the one party, the other keeps its own.
    fn has_own_profile(&self, id: LegId, offerer: LegId) -> bool {
        self.leg(id).is_some_and(|leg| leg.has_spoken)
            && self.leg(offerer).is_some_and(|offerer| offerer.profile.is_some())
    }

    /// Decides on how the medias of an offer are protected towards both parties.
    fn offer_security(
        &mut self,
        said: &[Signalled],
        roles: Roles,
        sdes: &Sdes,
        entropy: Option<Entropy>,
    ) -> Result<(), Refusal> {
        let is_changed = self.has_own_profile(roles.answerer, roles.offerer);
        for (at, said) in said.iter().enumerate() {
            let leg = self.leg(roles.answerer);
            let own = leg.and_then(|leg| Some((leg, leg.medias.get(at)?)));
            let to = own.and_then(|(leg, media)| shown_profile(leg, &media.said, is_changed));
            let had = own.and_then(|(_, media)| media.said.profile);
            let shown = Shown { to, had };
            self.with_security(at, roles, |sides| security::offered(said, shown, sides, sdes, entropy))?;
        }
        Ok(())
    }

    /// Takes what an answer says of how its medias are protected.
    fn answer_security(&mut self, said: &[Signalled], optional: &[bool], roles: Roles) -> Result<(), Refusal> {
        let mut said = said.iter().zip(optional.iter().chain(std::iter::repeat(&false))).enumerate();
        said.try_for_each(|(at, (said, is_optional))| {
            self.with_security(at, roles, |sides| security::answered(said, *is_optional, sides))
        })
    }

    /// Which of its medias the answerer was offered with a plain profile.
    fn offered_in_plain(&self, roles: Roles) -> Vec<bool> {
        let is_changed = self.has_own_profile(roles.answerer, roles.offerer);
        let (Some(offerer), Some(answerer)) = (self.leg(roles.offerer), self.leg(roles.answerer)) else {
            return Vec::new();
        };
        let medias = offerer.medias.iter().zip(&answerer.medias);
        let shown = medias.map(|(from, to)| shown_profile(answerer, &to.said, is_changed).or(from.said.profile));
        shown.map(|profile| profile.is_some_and(|profile| !profile.is_secured())).collect()
    }

    /// Works on how a media is protected towards both parties.
    fn with_security(
        &mut self,
        at: usize,
        roles: Roles,
        work: impl FnOnce([&mut Option<Security>; 2]) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut sides = [roles.offerer, roles.answerer].map(|id| {
            let media = self.leg_mut(id).and_then(|leg| leg.medias.get_mut(at));
            media.and_then(|media| media.security.take())
        });
        let [offerer, answerer] = &mut sides;
        let worked = work([offerer, answerer]);
        for (id, side) in [roles.offerer, roles.answerer].into_iter().zip(sides) {
            if let Some(media) = self.leg_mut(id).and_then(|leg| leg.medias.get_mut(at)) {
                media.security = side;
            }
        }
        worked
    }
}

fn unchanged(sdp: &[u8]) -> (Outcome, Vec<FlowOp>) {
    (Outcome::Description(sdp.to_vec()), Vec::new())
}

/// The description of a party that did not get to see all medias, with these rejected; `None` where it has seen all.
fn restored(call: &Call, id: LegId, sdp: &[u8]) -> Option<Vec<u8>> {
    let hidden = &call.leg(id)?.hidden;
    (!hidden.is_empty()).then(|| sdp::restore(sdp, hidden))
}

/// A number that a description has, and hardly another one.
fn digest(sdp: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    sdp.hash(&mut hasher);
    hasher.finish()
}

/// A description on its way from one party to the other.
struct Signal<'a> {
    kind: Kind,
    roles: Roles,
    /// The leg of the party that gets it.
    receiver: LegId,
    /// Which of its medias are relayed; the others stay as they are.
    relayed: Vec<bool>,
    options: &'a Options,
    /// Who has said it, and how it came.
    came: (&'a [u8], &'a [u8]),
}

impl Signal<'_> {
    /// The description as the receiver is to see it.
    fn describe(&self, call: &mut Call, body: &Body<'_>, interfaces: &Interfaces, mark: &[u8]) -> Vec<u8> {
        let mut sdp = edit(body, &self.edit(call, interfaces));
        let options = self.options;
        if options.codecs.is_wanted() {
            sdp = options.codecs.select(&sdp);
        }
        if !options.extmaps.is_empty() {
            sdp = sdp::strip_extmaps(&sdp, &options.extmaps);
        }
        let Some(leg) = call.leg_mut(self.receiver) else { return sdp };
        if !leg.hidden.is_empty() {
            let hidden: Vec<bool> =
                (0..body.media().len()).map(|at| leg.hidden.iter().any(|(hidden, _)| *hidden == at)).collect();
            sdp = sdp::hide(&sdp, &hidden);
        }
        if options.generate_mid && self.kind == Kind::Offer {
            sdp = sdp::generate_mids(&sdp);
        }
        if options.loop_protect {
            sdp = sdp::mark(&sdp, mark);
        }
        if !options.attributes.is_empty() {
            sdp = sdp::change(&sdp, &options.attributes);
        }
        if options.steady.is_wanted() {
            let (text, told) = Told::tell(leg.told.as_deref(), &sdp, options.steady);
            (sdp, leg.told) = (text, told.map(Box::new));
        }
        sdp
    }

    fn edit(&self, call: &Call, interfaces: &Interfaces) -> Edit {
        let leg = call.leg(self.receiver);
        let address = |interface| {
            let own = interfaces.get(interface)?.advertised;
            // An address of the other family is none that the relay has there.
            let is_of_family = |wanted: &IpAddr| Family::of(own) == Family::of(*wanted);
            Some(self.options.media_address.filter(is_of_family).unwrap_or(own))
        };
        let medias = leg.map(|leg| leg.medias.as_slice()).unwrap_or_default();
        let is_changed = call.has_own_profile(self.receiver, self.roles.offerer);
        let sender = if self.kind == Kind::Offer { self.roles.offerer } else { self.roles.answerer };
        let senders = call.leg(sender).map(|leg| leg.medias.as_slice()).unwrap_or_default();
        let senders = senders.iter().map(|media| media.security.is_some()).chain(std::iter::repeat(false));
        let sdes = &self.options.sdes;
        let new = medias.iter().zip(senders).zip(&self.relayed).map(|((media, is_opened), is_relayed)| {
            let pair = media.pair.filter(|_| *is_relayed)?;
            let (mux, is_only) = match self.kind {
                Kind::Offer => (media.is_offered_mux(), self.options.mux.require),
                Kind::Answer => (media.mux, true),
            };
            let rtcp_port = if mux && is_only { pair.rtp_port } else { pair.rtcp_port() };
            let profile: Option<Profile> = match self.kind {
                Kind::Offer => leg.and_then(|leg| shown_profile(leg, &media.said, is_changed)),
                // An answer has the profile of its offer (RFC 3264 section 6).
                Kind::Answer => media.said.profile,
            };
            let lines =
                |security: &Security| security.shown.iter().map(|line| line.write(sdes.pad, sdes.lifetime)).collect();
            let crypto = media.security.as_ref().map(lines).or_else(|| is_opened.then(Vec::new));
            Some(NewMedia {
                address: address(pair.interface)?,
                rtp_port: pair.rtp_port,
                rtcp_port,
                mux,
                profile,
                crypto,
            })
        });
        Edit {
            media: new.collect(),
            replace_origin: self.options.replace_origin,
            replace_zero_address: self.options.replace_zero_address,
            address: leg.and_then(|leg| address(leg.interface)),
            rtcp: match self.options.rtcp {
                RtcpForm::Keep => RtcpAttribute::Rewrite,
                RtcpForm::Full => RtcpAttribute::Full,
                RtcpForm::Remove => RtcpAttribute::Remove,
            },
            remove_ice: self.options.ice == Ice::Remove,
        }
    }
}
