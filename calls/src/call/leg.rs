//! Legs and their medias.

use std::net::IpAddr;
use std::time::SystemTime;

use border::{Exhausted, Family, InterfaceId, Interfaces, PortPair, Successor};
use serde::{Deserialize, Serialize};

use super::lease::Lease;
use super::media::{Agreed, Media, Offered};
use super::moment::Moment;
use super::security::Security;
use super::signalled::Signalled;
use crate::intent::{Finality, Mux, Options};
use crate::sdp::{Formats, Profile, Told};

/// The number of a leg within its call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) struct LegId(pub u32);

/// What becomes of a party's media instead of going to the other one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Mirror {
    /// It comes back.
    Echo,
    /// It goes nowhere.
    Silence,
}

/// One party of a call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Leg {
    /// The party's tag; None until it has answered.
    #[serde(with = "serde_bytes")]
    pub tag: Option<Vec<u8>>,
    /// Other tags that it has used.
    pub aliases: Vec<Vec<u8>>,
    /// A number that its last description has, and hardly another one.
    pub digest: u64,
    /// An offer without a tag has come for it again: the next tag that answers is its own.
    pub is_sought: bool,
    /// The branch on which the party was offered the call.
    #[serde(with = "serde_bytes")]
    pub via_branch: Option<Vec<u8>>,
    /// When the leg came to be.
    pub created: SystemTime,
    /// The interface that the party talks to.
    pub interface: InterfaceId,
    /// The party it talks with.
    pub other: Option<LegId>,
    /// Whether a description of the party has come.
    pub has_spoken: bool,
    /// Whether it has answered, or its offer was answered, for good: as far as is known.
    pub finality: Finality,
    /// The number of its last answer.
    pub answer: u32,
    /// Whether there was an answer to the party, or by it.
    has_agreed: bool,
    /// The party has said again what holds for it, perhaps the same, and has no answer yet.
    renews: bool,
    /// It calls somebody, and no offer within a dialogue has come for it since: several whom it calls may be heard.
    pub is_calling: bool,
    /// When it ends, if that has been said.
    pub ends: Option<Moment>,
    /// The party's name in scripts that address parties by names.
    #[serde(with = "serde_bytes")]
    pub label: Option<Vec<u8>>,
    /// What the party sends does not go to the other one. Holds once said.
    pub echo: Option<Mirror>,
    /// Whether the wish of the other party to share a port was accepted in the offer to this one (RFC 5761); `None`: if this one accepts it.
    pub accepts_mux: Option<bool>,
    /// The profile of RTP that the party is to see, where a command has said so.
    pub profile: Option<Profile>,
    /// The medias that the party does not get to see: their numbers, and how it would reject them.
    pub hidden: Vec<(usize, Vec<u8>)>,
    /// What the party has been told of its session, where that is to stay the same.
    pub told: Option<Box<Told>>,
    /// The host that the party's last description came from, where the proxy has told.
    pub signaller: Option<IpAddr>,
    /// The party sends from elsewhere than where it receives. Holds once said.
    pub asymmetric: bool,
    /// The party may not move once learned. Holds once said.
    pub strict_source: bool,
    /// The party may move without being signalled. Holds once said.
    pub media_handover: bool,
    /// It has been offered something since its last answer for good.
    pub is_asked: bool,
    /// How many `m=` lines the last offer to the party had; `None` where it has made one itself since.
    pub offered: Option<usize>,
    /// One per `m=` line.
    pub medias: Vec<Media>,
}

impl Leg {
    pub(super) const fn new(interface: InterfaceId, created: SystemTime) -> Self {
        Self {
            tag: None,
            aliases: Vec::new(),
            digest: 0,
            is_sought: false,
            via_branch: None,
            created,
            interface,
            other: None,
            has_spoken: false,
            finality: Finality::Provisional,
            answer: 0,
            has_agreed: false,
            renews: false,
            is_calling: false,
            ends: None,
            label: None,
            echo: None,
            accepts_mux: None,
            profile: None,
            hidden: Vec::new(),
            told: None,
            signaller: None,
            asymmetric: false,
            strict_source: false,
            media_handover: false,
            is_asked: false,
            offered: None,
            medias: Vec::new(),
        }
    }

    /// A leg for another party that got the same offer. It was told of the same ports.
    pub(super) fn fork(&self, created: SystemTime) -> Self {
        let medias = self.medias.iter().map(|media| Media {
            pair: media.pair,
            told: media.told,
            offered: media.offered,
            clock_khz: media.clock_khz,
            security: media.security.as_ref().map(Security::forked),
            said: media.said.awaited(),
            ..Media::default()
        });
        Self {
            via_branch: self.via_branch.clone(),
            other: self.other,
            medias: medias.collect(),
            accepts_mux: self.accepts_mux,
            profile: self.profile,
            hidden: self.hidden.clone(),
            told: self.told.clone(),
            offered: self.offered,
            label: self.label.clone(),
            echo: self.echo,
            ..Self::new(self.interface, created)
        }
    }

    /// Holds what is agreed on in force until the next answer to the party, whose offer this is, or by it.
    pub(super) fn hold_agreement(&mut self, is_offerer: bool) {
        self.renews |= is_offerer;
        for media in &mut self.medias {
            if media.agreed.is_none() {
                media.agreed = Some(Agreed {
                    said: media.said.clone(),
                    formats: media.formats.clone(),
                    pair: media.pair,
                    security: media.security.clone(),
                });
            }
        }
    }

    /// What was said last is agreed on.
    pub(super) fn agree(&mut self, finality: Finality) {
        if self.has_spoken {
            self.finality = self.finality.max(finality);
        }
        self.has_agreed |= self.has_spoken;
        let renews = std::mem::take(&mut self.renews);
        for media in &mut self.medias {
            media.agreed = None;
            // Who only listens has nothing to show, and its place is anybody's who sends.
            media.renewals = media.renewals.wrapping_add(u32::from(renews && media.said.sends()));
        }
    }

    /// The party answers: not for the first time, perhaps.
    pub(super) const fn answer(&mut self) {
        self.renews = self.has_spoken;
    }

    /// Takes what the party says, and tells which medias it says something new about. Lines that are gone are closed.
    pub(super) fn hear(&mut self, said: &[Signalled], options: &Options) -> Vec<bool> {
        self.has_spoken = true;
        self.signaller = options.received_from.map(|host| host.to_canonical()).or(self.signaller);
        self.asymmetric |= options.asymmetric;
        self.strict_source |= options.strict_source;
        self.media_handover |= options.media_handover;
        if options.label.is_some() {
            self.label.clone_from(&options.label);
        }
        self.reserve(said.len());
        for media in self.medias.iter_mut().skip(said.len()) {
            media.said.open = false;
        }
        self.medias.iter_mut().zip(said).map(|(media, said)| media.hear(said)).collect()
    }

    /// Hides the medias of an offer that the party is not to see; what it has not seen once it never sees, or the lines would change places.
    pub(super) fn hide(&mut self, said: &[Signalled], sdp: &[u8], options: &Options) {
        if options.media_remove.is_empty() {
            return;
        }
        let is_listed = |kind: &[u8]| {
            let is_other = !matches!(kind, b"audio" | b"video");
            options.media_remove.iter().any(|listed| listed == kind || (is_other && listed == b"other"))
        };
        for (at, (said, line)) in said.iter().zip(crate::sdp::rejections(sdp)).enumerate() {
            let is_hidden = self.hidden.iter().any(|(hidden, _)| *hidden == at);
            if !is_hidden && is_listed(&said.kind.to_ascii_lowercase()) {
                self.hidden.push((at, line));
            }
        }
        self.hidden.sort();
    }

    /// Expects an answer to what the other party said. What it said that is not new has been answered.
    pub(super) fn expect(&mut self, said: &[Signalled], is_new: &[bool]) {
        self.offered = Some(said.len());
        self.is_asked = true;
        self.reserve(said.len());
        for ((media, said), is_new) in self.medias.iter_mut().zip(said).zip(is_new) {
            // What it said of another media that the line was before says nothing of this one.
            if !self.has_spoken || media.pair.is_none() {
                media.said = said.awaited();
            } else if *is_new {
                media.said.open = said.open;
                media.said.has_rtcp = said.has_rtcp;
                media.said.kind.clone_from(&said.kind);
                media.said.protocol.clone_from(&said.protocol);
                media.said.transport.clone_from(&said.transport);
            }
        }
    }

    /// Who may take the party's place once it has been learned. Of two contrary wishes, the one that lets nobody in has the last word.
    pub(super) const fn successor(&self) -> Successor {
        match (self.strict_source, self.media_handover) {
            (true, _) => Successor::Nobody,
            (false, true) => Successor::Anyone,
            (false, false) => Successor::Signalled,
        }
    }

    /// Gives up the ports of medias whose lines are to be others', or come back after they were rejected: what was sent to the old ones must not
    /// come out at the new ones. What an offer has that is not agreed on yet has ports of its own, and what is agreed on keeps its own.
    pub(super) fn turn_lines(
        &mut self,
        said: &[Signalled],
        was_open: &[bool],
        is_offerer: bool,
        interfaces: &Interfaces,
    ) {
        self.reserve(said.len());
        let has_agreed = self.has_agreed;
        let was_open = was_open.iter().copied().chain(std::iter::repeat(false));
        for ((media, said), was_open) in self.medias.iter_mut().zip(said).zip(was_open) {
            // Before there was an answer nothing was rejected.
            media.turn_line(said, was_open || !has_agreed, is_offerer, |pair, at| {
                interfaces.family(pair.interface) == Some(Family::of(at.ip()))
            });
        }
    }

    /// Makes sure that the medias have ports that shall be relayed, in the family that the party uses for each.
    pub(super) fn take_ports(
        &mut self,
        relayed: &[bool],
        interfaces: &Interfaces,
        lease: &mut Lease<'_>,
    ) -> Result<(), Exhausted> {
        self.reserve(relayed.len());
        for (media, _) in self.medias.iter_mut().zip(relayed).filter(|(_, is_relayed)| **is_relayed) {
            let family = media.said.rtp.map(|rtp| Family::of(rtp.ip()));
            let wanted = family.and_then(|family| interfaces.in_family(self.interface, family));
            match (media.pair, wanted) {
                (None, wanted) => media.pair = Some(lease.allocate(wanted.unwrap_or(self.interface))?),
                (Some(pair), Some(wanted)) if interfaces.family(pair.interface) != interfaces.family(wanted) => {
                    let is_wanted = |told: &PortPair| interfaces.family(told.interface) == interfaces.family(wanted);
                    media.pair = match media.told.filter(is_wanted) {
                        Some(told) => Some(told),
                        None => Some(lease.allocate(wanted)?),
                    };
                    media.told = Some(pair);
                }
                (Some(_), _) => {}
            }
        }
        Ok(())
    }

    /// Puts the leg on another interface. Its ports there are new.
    pub(super) fn move_to(&mut self, interface: InterfaceId) {
        if self.interface != interface {
            self.interface = interface;
            for media in &mut self.medias {
                (media.pair, media.told) = (None, None);
                if let Some(agreed) = &mut media.agreed {
                    agreed.pair = None;
                }
            }
        }
    }

    /// Takes what each of the party's medias may be, for whoever gets copies.
    pub(super) fn hear_formats(&mut self, formats: Vec<Formats>) {
        for (media, formats) in self.medias.iter_mut().zip(formats) {
            media.formats = formats;
        }
    }

    /// Sets the clock rates of an answer, which choose among those of the offer.
    pub(super) fn set_clocks(&mut self, said: &[Signalled]) {
        for (media, said) in self.medias.iter_mut().zip(said).filter(|(_, said)| said.clock_khz != 0) {
            media.clock_khz = said.clock_khz;
            media.codec.clone_from(&said.codec);
        }
    }

    /// Sets the clock rates of an offer where none is known: what was agreed on holds until the next answer.
    pub(super) fn expect_clocks(&mut self, said: &[Signalled]) {
        for (media, said) in self.medias.iter_mut().zip(said).filter(|(media, _)| media.clock_khz == 0) {
            media.clock_khz = said.clock_khz;
            media.codec.clone_from(&said.codec);
        }
    }

    /// The party's answer with as many sections as it was offered, where it has more or fewer.
    pub(super) fn fitted(&self, answer: &[u8]) -> Option<Vec<u8>> {
        let offered = self.offered.filter(|offered| crate::sdp::sections(answer) != *offered)?;
        let rejections = self.medias.iter().map(|media| crate::sdp::rejected(&media.said.kind, &media.said.transport));
        Some(crate::sdp::fit(answer, offered, rejections))
    }

    /// Whether an answer comes too late: a provisional one that was overtaken by the last one.
    pub(super) fn has_overtaken(&self, finality: Finality) -> bool {
        finality == Finality::Provisional && self.finality == Finality::Final && !self.is_asked
    }

    /// Whether it has answered for good, as far as is known.
    pub(super) fn has_answered(&self) -> bool {
        self.finality > Finality::Provisional
    }

    /// Takes the party's offers to share a port, or their absence.
    pub(super) fn hear_mux(&mut self, said: &[Signalled]) {
        for (media, said) in self.medias.iter_mut().zip(said) {
            media.offered = if said.mux { Offered::By } else { Offered::Nothing };
        }
    }

    /// Offers the party to share a port, or not.
    pub(super) fn offer_mux(&mut self, said: &[Signalled], mux: Mux) {
        self.accepts_mux = mux.accept;
        for (media, said) in self.medias.iter_mut().zip(said) {
            let is_offered = said.open && said.has_rtcp && mux.offer.unwrap_or(said.mux);
            media.offered = if is_offered { Offered::To } else { Offered::Nothing };
        }
    }

    /// Decides which of the party's medias share a port, now that there is an answer, which may be its own. `accepts`: what the party that answers
    /// was to accept.
    pub(super) fn agree_mux(&mut self, answer: &[Signalled], accepts: Option<bool>) {
        for (media, answer) in self.medias.iter_mut().zip(answer) {
            media.mux = match media.offered {
                Offered::Nothing => false,
                Offered::To => answer.mux,
                Offered::By => accepts.unwrap_or(answer.mux),
            };
        }
    }

    /// Makes room. A media that comes to others of which an agreement is held is not agreed on.
    fn reserve(&mut self, medias: usize) {
        let is_held = self.medias.iter().any(|media| media.agreed.is_some());
        let media = || Media { agreed: is_held.then(Agreed::default), ..Media::default() };
        if self.medias.len() < medias {
            self.medias.resize_with(medias, media);
        }
    }
}
