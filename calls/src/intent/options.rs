//! What an offer or an answer says besides who and what.

use std::net::IpAddr;

use border::{Family, Learning};
use media::srtp::Suite;
use serde::{Deserialize, Serialize};

pub use crate::sdp::{AttributeEdit, Codecs, Level, Profile, Steady};

/// What to do about `a=rtcp` lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RtcpForm {
    /// Keep the form that they have.
    #[default]
    Keep,
    /// With address, and in every section.
    Full,
    /// None.
    Remove,
}

/// Whether RTP and RTCP share a port (RFC 5761), as the proxy wants it. Where it says nothing, the parties agree among themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mux {
    /// Whether the party that gets the offer is offered a shared port; `None`: if the one that makes the offer does.
    pub offer: Option<bool>,
    /// Whether the offer of the one is accepted; `None`: if the other accepts it.
    pub accept: Option<bool>,
    /// The party that gets the offer is not told of a port of its own for RTCP.
    pub require: bool,
}

/// What becomes of the attributes of ICE (RFC 8839).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ice {
    /// They go: candidates lead past the relay.
    #[default]
    Remove,
    /// They stay as they are: the script wants the parties' own candidates to be tried.
    Pass,
}

/// Whether an answer is the last one of its party, as far as the proxy says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub enum Finality {
    /// It is not: the party rings, or somebody says that it cannot be reached.
    Provisional,
    /// Nobody has said.
    #[default]
    Unknown,
    /// It is.
    Final,
}

/// What tells that an offer under a tag that nobody knows is a known party's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AliasKey {
    /// Its description is, to the byte.
    Sdp,
    /// The addresses and ports of its description are.
    Endpoint,
}

/// Who hears itself instead of the other party.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Echo {
    /// Nobody, and nobody hears the other one either.
    Nobody,
    /// The party that gets the description.
    Receiver,
    /// The party whose description it is.
    Sender,
    /// Both.
    Both,
}

/// How keys are offered and taken (SDES, RFC 4568).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sdes {
    /// Only these suites, where there are any.
    pub only: Vec<Suite>,
    /// None of these.
    pub refused: Vec<Suite>,
    /// Keys are written as the standard has it: padded.
    pub pad: bool,
    /// They are written with how long they are good.
    pub lifetime: bool,
    /// Each party has keys of its own, also where both have SRTP.
    pub recrypt: bool,
    /// These are offered first, in this order.
    pub order: Vec<Suite>,
    /// Of those that a party offers these are taken first, in this order.
    pub preferred: Vec<Suite>,
    /// A party that is offered plain RTP is offered keys, too, and may do without (OSRTP, RFC 8643).
    pub may_offer: bool,
    /// A party that offers plain RTP with keys is given what it would rather have, whatever the other one can.
    pub may_accept: bool,
}

impl Sdes {
    /// Whether a suite may be used.
    pub fn allows(&self, suite: Suite) -> bool {
        (self.only.is_empty() || self.only.contains(&suite)) && !self.refused.contains(&suite)
    }

    /// What is offered, in order.
    pub fn offered(&self) -> Vec<Suite> {
        let others = Suite::ALL.into_iter().filter(|suite| !self.order.contains(suite));
        self.order.iter().copied().chain(others).filter(|suite| self.allows(*suite)).collect()
    }

    /// How gladly a suite is taken of an offer: the less the better. Those that are equal are taken in the order of whoever offers them.
    pub fn rank(&self, suite: Suite) -> usize {
        self.preferred.iter().position(|preferred| *preferred == suite).unwrap_or(self.preferred.len())
    }
}

/// What an offer or an answer says besides who and what.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Where the SIP message came from.
    pub received_from: Option<IpAddr>,
    /// The party's media comes from where its signalling came from, whatever its description says.
    pub sip_source_address: bool,
    /// The address that the party that gets the description is to see, instead of the interface's.
    pub media_address: Option<IpAddr>,
    /// The name of the interface for the party whose description this is.
    pub from_interface: Option<Vec<u8>>,
    /// The name of the interface for the party that gets the description.
    pub to_interface: Option<Vec<u8>>,
    /// The family of the addresses that the other party gets to see.
    pub address_family: Option<Family>,
    /// How the call's peers are learned, from now on.
    pub learning: Option<Learning>,
    /// The party sends from elsewhere than where it receives.
    pub asymmetric: bool,
    /// Once learned, drop what comes from elsewhere.
    pub strict_source: bool,
    /// Once learned, follow the party when its media comes from elsewhere.
    pub media_handover: bool,
    /// Also write our address into the `o=` line.
    pub replace_origin: bool,
    /// Also replace `0.0.0.0` in `c=` lines.
    pub replace_zero_address: bool,
    /// What stays the same for the party that gets the description.
    pub steady: Steady,
    /// What to do about `a=rtcp`.
    pub rtcp: RtcpForm,
    /// Whether RTP and RTCP share a port.
    pub mux: Mux,
    /// What to do about ICE.
    pub ice: Ice,
    /// The profile that the party that gets the offer is to see; `None`: as it came.
    pub profile: Option<Profile>,
    /// How keys are offered and taken.
    pub sdes: Sdes,
    /// Type of service of the call's packets, from now on.
    pub tos: Option<u8>,
    /// The codecs that the other party gets to see.
    pub codecs: Codecs,
    /// Attributes that are added, removed and replaced at the very end.
    pub attributes: Vec<AttributeEdit>,
    /// The media that the other party does not get to see, by their type.
    pub media_remove: Vec<Vec<u8>>,
    /// Give media sections an identification (RFC 5888) that have none.
    pub generate_mid: bool,
    /// Mark the description, and leave alone what is marked already.
    pub loop_protect: bool,
    /// The name of the party whose description this is.
    pub label: Option<Vec<u8>>,
    /// The name of the party that gets it.
    pub to_label: Option<Vec<u8>>,
    /// Seconds until a deleted call ends, for this call.
    pub delete_delay: Option<u32>,
    /// The header extensions (RFC 8285) that the other party does not get to see, by their URI; `all` are all.
    pub extmaps: Vec<Vec<u8>>,
    /// What tells that an offer under a tag that nobody knows is a known party's; `None`: nothing does.
    pub alias_key: Option<AliasKey>,
    /// Who hears itself, from now on.
    pub echo: Option<Echo>,
    /// Whether the answer is the last one.
    pub finality: Finality,
    /// What is asked for that needs a part which does not exist yet, as it was written.
    pub unbuilt: Vec<String>,
}
