//! Intents: what a proxy wants, whatever dialect it said it in.

mod options;
mod play;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use options::{
    AliasKey, AttributeEdit, Codecs, Echo, Finality, Ice, Level, Mux, Options, Profile, RtcpForm, Sdes, Steady,
};

pub use play::{Play, Sound, StopPlaying};

/// What a proxy wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Intent {
    /// Are you there?
    Ping,
    /// How the relay as a whole is doing.
    Statistics,
    /// A party offers media: here is its description, give me the one for the other party.
    Offer(Box<Offer>),
    /// The other party answers.
    Answer(Box<Answer>),
    /// The call, or one dialogue of it, is over.
    Delete(Delete),
    /// The operator ends the call at once, whatever the proxy thinks of it.
    Terminate {
        /// The Call-ID.
        call_id: Vec<u8>,
    },
    /// How is the call doing?
    Query {
        /// The Call-ID.
        call_id: Vec<u8>,
    },
    /// Media of a call shall be treated in a way, or no longer.
    Treat(Treat),
    /// Somebody is to get a copy of what parties of a call say: here is a tag, perhaps; give me a description to offer.
    Subscribe(Box<Subscribe>),
    /// Whoever is to get the copy says where.
    SubscribeAnswer(Box<SubscribeAnswer>),
    /// And wants it no longer.
    Unsubscribe(Unsubscribe),
    /// Parties of a call are to hear a recording.
    Play(Box<Play>),
    /// And no longer.
    StopPlaying(StopPlaying),
    /// Which calls are there?
    List {
        /// At most so many.
        limit: usize,
    },
}

/// An offer of media.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// The Call-ID.
    pub call_id: Vec<u8>,
    /// The tag of the party that offers.
    pub from_tag: Vec<u8>,
    /// The tag of the party it is offered to, once that is known.
    pub to_tag: Option<Vec<u8>>,
    /// The branch of a forked call.
    pub via_branch: Option<Vec<u8>>,
    /// The description as the party wrote it.
    pub sdp: Vec<u8>,
    /// Everything else.
    pub options: Options,
    /// Whether the client knows the result `load limit`.
    pub knows_load_limit: bool,
}

/// An answer to an offer. The tags stay those of the offer: the description is that of the party of `to_tag`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The Call-ID.
    pub call_id: Vec<u8>,
    /// The tag of the party that made the offer.
    pub from_tag: Vec<u8>,
    /// The tag of the party that answers.
    pub to_tag: Vec<u8>,
    /// The branch of a forked call.
    pub via_branch: Option<Vec<u8>>,
    /// The description as the party wrote it.
    pub sdp: Vec<u8>,
    /// Everything else.
    pub options: Options,
}

/// The end of a call, or of one of its dialogues.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delete {
    /// The Call-ID.
    pub call_id: Vec<u8>,
    /// The tag of a party; without it the whole call ends.
    pub from_tag: Option<Vec<u8>>,
    /// The tag of the party it talks to.
    pub to_tag: Option<Vec<u8>>,
    /// The branch of a forked call that ends.
    pub via_branch: Option<Vec<u8>>,
    /// Seconds until the end: until then packets that are still under way arrive, and a command for the call keeps it.
    pub delay: Option<u32>,
    /// Whether the reply may do without statistics.
    pub fast: bool,
    /// Whether an unknown call is an error and not only worth a warning.
    pub fatal: bool,
}

/// Whose media a command is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Party {
    /// That of all parties.
    All,
    /// That of the party of a tag.
    Tag(Vec<u8>),
    /// That of the party of a name.
    Label(Vec<u8>),
    /// That of the party at an address, as it says itself.
    Address(IpAddr),
}

/// What is done with media.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Treatment {
    /// It goes nowhere.
    Block,
    /// Silence goes in its place.
    Silence,
    /// It is handed to a recording daemon, where one is.
    Forward,
}

/// Which of the flows from a party a command is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Towards {
    /// All that it sends, wherever that goes now or later.
    #[default]
    Anywhere,
    /// The one to the party, or the receiver of copies, of a tag.
    Tag(Vec<u8>),
    /// The one to the party of a name.
    Label(Vec<u8>),
    /// Those to whom it talks with.
    Dialogue,
    /// Those to receivers of copies.
    Copies,
    /// Every one that there is.
    Every,
}

/// Media of a call shall be treated in a way, or no longer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Treat {
    /// The Call-ID.
    pub call_id: Vec<u8>,
    /// Whose media.
    pub party: Party,
    /// Where that goes.
    pub towards: Towards,
    /// How.
    pub treatment: Treatment,
    /// From now on, or no longer.
    pub is_on: bool,
    /// Where all parties are meant and it is no longer so: what was said of single ones is over, too.
    pub forgets_parties: bool,
}

/// Somebody is to get a copy of what parties of a call say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscribe {
    /// The Call-ID.
    pub call_id: Vec<u8>,
    /// Whose media.
    pub parties: Vec<Party>,
    /// The tag of the receiver; one of ours where there is none. One that is known gets these copies instead of those before.
    pub to_tag: Option<Vec<u8>>,
    /// The receiver is a recorder that wants to know which media is whose (RFC 7866).
    pub is_siprec: bool,
    /// It is to get nothing for now.
    pub is_paused: bool,
    /// Everything else.
    pub options: Options,
}

/// The receiver of copies answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubscribeAnswer {
    /// The Call-ID.
    pub call_id: Vec<u8>,
    /// The tag of the receiver.
    pub to_tag: Vec<u8>,
    /// The description as the receiver wrote it.
    pub sdp: Vec<u8>,
    /// Everything else.
    pub options: Options,
}

/// The end of copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unsubscribe {
    /// The Call-ID.
    pub call_id: Vec<u8>,
    /// The tag of the receiver.
    pub to_tag: Vec<u8>,
    /// The tag of the party whose media is not to be copied any more; without it, nobody's.
    pub from_tag: Option<Vec<u8>>,
}

/// How many calls a list has when the client does not say.
pub const LIST_LIMIT: usize = 32;
