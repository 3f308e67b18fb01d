//! Outcomes: what came of an intent, in nobody's words. A dialect says it in its own; metrics, command line and dashboard read the same.

mod account;
mod ended;
mod histogram;
mod refusal;
mod totals;

use std::time::Duration;

pub use account::{
    CallAccount, DescriptionAccount, DescriptionKind, MediaAccount, PartyAccount, Protection, Relation, SinkAccount,
    SourceAccount,
};
pub use ended::EndedCall;
pub use histogram::Histogram;
pub use refusal::Refusal;
pub use totals::{Answered, End, Ended, Lasted, Load, MinuteAccount, PortAccount, QualityAccount, RelayAccount};

/// What came of an intent.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// Here I am.
    Alive,
    /// Done.
    Done,
    /// Done as far as can be: what it was about needs a part that does not exist yet.
    DoneInPart(&'static str),
    /// A description, changed, for the other party.
    Description(Vec<u8>),
    /// How a call is doing.
    Call(Box<CallAccount>),
    /// A call, or a part of it, ends; with its account, where that was asked for.
    Ended(Option<Box<CallAccount>>),
    /// There was nothing to end.
    NothingToEnd,
    /// How the relay as a whole is doing.
    Relay(Box<RelayAccount>),
    /// The Call-IDs of calls.
    Calls(Vec<Vec<u8>>),
    /// Who is to get copies, and a description to offer it.
    Subscribed(Box<Subscribed>),
    /// Parties hear a recording, which is so long.
    Playing(Duration),
    /// They hear it no longer; it had come to here.
    StoppedPlaying(Duration),
    /// Not done.
    Refused(Refusal),
    /// Not done because there is too much to do, told to a client that knows this result: it tries the next relay.
    Overloaded(Refusal),
}

/// Who is to get copies of what parties say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscribed {
    /// The tag of the receiver.
    pub to_tag: Vec<u8>,
    /// The description to offer it.
    pub sdp: Vec<u8>,
    /// The medias of the description, in their order.
    pub medias: Vec<Copied>,
    /// The receiver wants to know which media is whose (RFC 7866).
    pub is_siprec: bool,
}

/// A media that is copied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copied {
    /// The tag of the party whose media it is.
    pub tag: Vec<u8>,
    /// The party's name.
    pub party_label: Option<Vec<u8>>,
    /// Its number among the party's medias, from one.
    pub index: usize,
    /// `audio`, `video`.
    pub kind: Vec<u8>,
    /// What it is called in the description (RFC 4574), to a recorder.
    pub label: Option<String>,
    /// Which way the party wants it to flow.
    pub direction: crate::sdp::Direction,
}
