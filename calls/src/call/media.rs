//! One media of a leg: what its party says of it, the ports that it has, and what holds while there is a newer offer.

use std::net::SocketAddr;

use border::PortPair;
use serde::{Deserialize, Serialize};

use super::security::Security;
use super::signalled::Signalled;
use crate::sdp::Formats;

/// One `m=` line of a leg.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Media {
    /// The ports that the party sends to.
    pub pair: Option<PortPair>,
    /// Ports of the other family that the party was told of before it said that it is in this one: it may send there all the same.
    pub told: Option<PortPair>,
    /// What the party says about it.
    pub said: Signalled,
    /// What was agreed on before, while an offer to change it has no answer: it stays in force until there is one, for the other party may
    /// refuse (RFC 3264 8).
    pub agreed: Option<Agreed>,
    /// RTP and RTCP share a port towards the party (RFC 5761). Holds until the next answer.
    pub mux: bool,
    /// Who was offered that last. An offer may have several answers: of forks, or one before and one after the ringing.
    pub offered: Offered,
    /// The clock rate in use, in kHz: that of the answer once there is one.
    pub clock_khz: u16,
    /// The codec in use: that of the answer once there is one.
    #[serde(with = "serde_bytes")]
    pub codec: Vec<u8>,
    /// What it may be, as the party has written it: for whoever gets copies.
    pub formats: Formats,
    /// How often the party, which sends, has said again what holds for it. With each time, also where it is the same, it may send from elsewhere.
    pub renewals: u32,
    /// How it is protected towards the party; `None`: it is not, or by keys that are the parties' alone.
    pub security: Option<Security>,
}

/// What is in force while there is a newer offer.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Agreed {
    pub said: Signalled,
    pub formats: Formats,
    pub pair: Option<PortPair>,
    pub security: Option<Security>,
}

/// A media as one description has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub said: &'a Signalled,
    pub pair: PortPair,
    pub mux: bool,
    pub clock_khz: u16,
    pub renewals: u32,
    pub security: Option<&'a Security>,
}

/// What was offered about sharing a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) enum Offered {
    /// Nothing.
    #[default]
    Nothing,
    /// By the party.
    By,
    /// To the party.
    To,
}

impl Media {
    /// Whether the party is offered to share a port.
    pub(super) const fn is_offered_mux(&self) -> bool {
        matches!(self.offered, Offered::To)
    }

    /// What holds for the media now.
    pub(super) fn in_force(&self) -> &Signalled {
        self.agreed.as_ref().map_or(&self.said, |agreed| &agreed.said)
    }

    /// How it is protected now.
    pub(super) fn security_in_force(&self) -> Option<&Security> {
        self.agreed.as_ref().map_or(self.security.as_ref(), |agreed| agreed.security.as_ref())
    }

    /// What it may be now.
    pub(super) fn formats_in_force(&self) -> &Formats {
        self.agreed.as_ref().map_or(&self.formats, |agreed| &agreed.formats)
    }

    /// The media as it is now, where it has ports.
    pub(super) fn now(&self) -> Option<View<'_>> {
        // One that was moved to another interface has only its ports there.
        let pair = self.agreed.as_ref().and_then(|agreed| agreed.pair).or(self.pair)?;
        Some(View { said: self.in_force(), mux: self.mux, security: self.security_in_force(), ..self.view(pair) })
    }

    /// The media as it is to be, where that has other ports than now.
    pub(super) fn next(&self) -> Option<View<'_>> {
        let agreed = self.agreed.as_ref().filter(|agreed| agreed.pair.is_some() || !agreed.said.open)?;
        let pair = self.pair.filter(|pair| agreed.pair != Some(*pair))?;
        Some(self.view(pair))
    }

    fn view(&self, pair: PortPair) -> View<'_> {
        View {
            said: &self.said,
            pair,
            mux: false,
            clock_khz: self.clock_khz,
            renewals: self.renewals,
            security: self.security.as_ref(),
        }
    }

    /// All ports that the media has.
    pub(super) fn pairs(&self) -> impl Iterator<Item = PortPair> {
        let agreed = self.agreed.as_ref().and_then(|agreed| agreed.pair);
        self.pair.into_iter().chain(self.told).chain(agreed)
    }

    /// Gives up the ports, if the line is to be another media's, or comes back after it was rejected. `suits`: whether ports are
    /// of the family of an address.
    pub(super) fn turn_line(
        &mut self,
        said: &Signalled,
        was_open: bool,
        is_offerer: bool,
        suits: impl Fn(PortPair, SocketAddr) -> bool,
    ) {
        let is_same = |old: &Signalled| old.kind.eq_ignore_ascii_case(&said.kind) && old.has_rtcp == said.has_rtcp;
        match &self.agreed {
            Some(agreed) if was_open && is_same(&agreed.said) => {
                // On hold a party is in no family.
                let at = if is_offerer { said.rtp } else { self.said.rtp };
                let is_right = agreed.pair.is_some_and(|pair| at.is_none_or(|at| suits(pair, at)));
                if is_right || !is_same(&self.said) {
                    self.pair = agreed.pair.or(self.pair);
                }
            }
            Some(agreed) if self.pair == agreed.pair && said.open => self.pair = None,
            Some(_) | None if !is_same(&self.said) && said.open => self.pair = None,
            Some(_) | None => {}
        }
    }

    /// Takes what the party says, and tells whether that is new.
    pub(super) fn hear(&mut self, said: &Signalled) -> bool {
        let is_new = self.said != *said;
        if is_new {
            self.said.clone_from(said);
        }
        is_new
    }
}
