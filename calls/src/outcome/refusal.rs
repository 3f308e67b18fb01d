//! Why a command is not carried out.

use std::net::IpAddr;

use border::{Exhausted, Family, Untrusted};

use crate::sdp;

/// Why a command is not carried out. The texts are those of the contract where it has one: proxies compare them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no call of this Call-ID.
    #[error("Unknown call-id")]
    UnknownCall,
    /// The call has no party that made the offer.
    #[error("Unknown from-tag")]
    UnknownFromTag,
    /// The call, or the tags of it, were not found by a delete that insists.
    #[error("Call-ID not found or tags didn't match")]
    NoMatch,
    /// A party cannot talk to itself.
    #[error("from-tag and to-tag are the same")]
    SameTags,
    /// Who gets copies of a call is no party of it.
    #[error("The tag is that of a receiver of copies: unsubscribe it first")]
    TagOfReceiver,
    /// A call of very many parties.
    #[error("Too many tags in this call")]
    TooManyLegs,
    /// A call of very many medias: what it asks for is many calls' ports.
    #[error("Too many media in this call")]
    TooManyMedia,
    /// The description cannot be read.
    #[error("Failed to parse SDP")]
    Sdp(#[source] sdp::Error),
    /// Nothing that the description may be protected by is known here, or an answer is to no offer.
    #[error("No supported crypto suite in SDP")]
    NoCrypto,
    /// The description does not say where to send media.
    #[error("Incomplete SDP specification")]
    IncompleteSdp,
    /// The party is in one family, and what it is to talk to in the other.
    #[error(
        "Media address {addr} is {theirs}, but interface \"{interface}\" speaks to this party from {local}",
        theirs = Family::of(*.addr).name(),
    )]
    Family {
        /// Where the party says it is.
        addr: IpAddr,
        /// The relay's address that the party is to talk to.
        local: IpAddr,
        /// The name of its interface.
        interface: String,
    },
    /// The party says it is where none may be.
    #[error("Media address {addr} of interface \"{interface}\" is refused: {why}")]
    Untrusted {
        /// Where the party says it is.
        addr: IpAddr,
        /// The name of the interface that it talks to.
        interface: String,
        /// Why it may not be there.
        why: Untrusted,
    },
    /// The proxy's script and the relay's configuration do not agree.
    #[error("Interface \"{name}\" does not exist; configured: {configured}")]
    UnknownInterface {
        /// The name that the proxy sent.
        name: String,
        /// The names that there are.
        configured: String,
    },
    /// There are as many calls as the operator allows.
    #[error("Parallel session limit reached")]
    SessionLimit,
    /// The host's load average is as high as the operator allows.
    #[error("Load limit exceeded")]
    Load,
    /// The host's processors are as busy as the operator allows.
    #[error("CPU usage limit exceeded")]
    Cpu,
    /// The relay carries as much as the operator allows.
    #[error("Bandwidth limit exceeded")]
    Bandwidth,
    /// The command asks for what does not exist yet, and the operator wants that to be an error.
    #[error("{0} is not supported by this version of Intertrunk")]
    Unbuilt(String),
    /// There is no call of this Call-ID; some commands spell it so.
    #[error("Unknown call-ID")]
    UnknownCallId,
    /// The party that a command names by its tag is not one of the call's.
    #[error("From-tag given, but no such tag exists")]
    NoSuchTag,
    /// The party that a command names by its address is not one of the call's.
    #[error("Failed to match address to any tag")]
    NoSuchAddress,
    /// A command that is about the media of some parties names none that there is.
    #[error("No medias found (no monologues matched)")]
    NoMedia,
    /// None of the medias can be copied: they are encrypted, or no RTP.
    #[error("Failed to request subscription")]
    NothingToCopy,
    /// Nobody of this tag gets copies.
    #[error("To-tag not found")]
    NoSuchSubscriber,
    /// Nobody of this tag has media that could be copied.
    #[error("From-tag not found")]
    NoSuchSource,
    /// The answer of a receiver of copies does not fit what it was offered.
    #[error("Failed to process subscription answer")]
    SubscriptionAnswer,
    /// There is no party of this tag that media flows to.
    #[error("Media flow not found (to-tag not found)")]
    NoFlowToTag,
    /// There is no party of this name that media flows to.
    #[error("Media flow not found (to-label not found)")]
    NoFlowToLabel,
    /// No media flows from the one party to the other.
    #[error("Media flow not found (to-tag not subscribed)")]
    NoFlow,
    /// No media flows from the party to any of those that are meant.
    #[error("No eligible media subscriptions found")]
    NoFlows,
    /// The party that a command names by its label is not one of the call's.
    #[error("No monologue matching the given label")]
    NoSuchLabel,
    /// A recording that cannot be played.
    #[error("Failed to start media playback from file: {0}")]
    Unplayable(String),
    /// Nothing can be played to those who are meant.
    #[error("Failed to start media playback: no party takes PCMU or PCMA, unencrypted")]
    NotPlayable,
    /// A recording was read for parties that are to hear something else by now, or are gone.
    #[error("Failed to start media playback: a later command has taken its place")]
    Overtaken,
    /// The interface has no free ports.
    #[error(transparent)]
    Ports(#[from] Exhausted),
}

impl Refusal {
    /// Whether another relay may well do it: there is too much to do here.
    pub(crate) const fn is_load(&self) -> bool {
        matches!(self, Self::SessionLimit | Self::Load | Self::Cpu | Self::Bandwidth)
    }
}
