//! Why a command is not carried out.

use std::net::IpAddr;

use relay::{Exhausted, Family};

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
    /// A call of very many parties.
    #[error("Too many tags in this call")]
    TooManyLegs,
    /// The description cannot be read.
    #[error("Failed to parse SDP")]
    Sdp(#[source] sdp::Error),
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
    /// The interface has no free ports.
    #[error(transparent)]
    Ports(#[from] Exhausted),
}
