//! Commands: what a proxy wants, whatever protocol it said it in.

mod editing;
mod flag_string;
mod message;
mod options;
mod unbuilt;
mod words;

use std::net::IpAddr;

use crate::ng::value::canonical;
use crate::ng::{Dict, Value};
use message::Message;
pub use options::{
    AliasKey, AttributeEdit, Codecs, Echo, Finality, Ice, Level, Mux, Options, Profile, RtcpForm, Steady,
};

/// What a proxy wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
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
    /// How is the call doing?
    Query {
        /// The Call-ID.
        call_id: Vec<u8>,
    },
    /// Media of a call shall be dropped, or no longer.
    Block(Block),
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

/// Media of a call shall be dropped, or no longer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// The Call-ID.
    pub call_id: Vec<u8>,
    /// Whose media.
    pub party: Party,
    /// Dropped, or no longer.
    pub is_on: bool,
}

/// How many calls a list has when the client does not say.
pub const LIST_LIMIT: usize = 32;

/// Why a dictionary is no command that can be carried out. The texts are those of the contract where it has one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no command.
    #[error("Dictionary contains no key \"command\"")]
    NoCommand,
    /// Nobody knows this command.
    #[error("Unrecognized command")]
    Unrecognized,
    /// A command that is documented for the protocol, but not done here (yet).
    #[error("{0} is not supported by this version of Intertrunk")]
    Unsupported(&'static str),
    /// The call is not named.
    #[error("No call-id in message")]
    NoCallId,
    /// The party is not named.
    #[error("No from-tag in message")]
    NoFromTag,
    /// The other party is not named.
    #[error("No to-tag in message")]
    NoToTag,
    /// The description is missing.
    #[error("No SDP body in message")]
    NoSdp,
    /// The limit of a list is not a number.
    #[error("Invalid limit: not a positive number")]
    Limit,
}

/// The other commands of the protocol. They may come, and the reply says that it is us who cannot.
const UNSUPPORTED: [&str; 24] = [
    "start recording",
    "stop recording",
    "pause recording",
    "block DTMF",
    "unblock DTMF",
    "silence media",
    "unsilence media",
    "start forwarding",
    "stop forwarding",
    "play media",
    "stop media",
    "play DTMF",
    "publish",
    "subscribe request",
    "subscribe answer",
    "unsubscribe",
    "connect",
    "mesh",
    "create",
    "create answer",
    "inject start",
    "inject stop",
    "transform",
    "cli",
];

impl Command {
    /// The command in a dictionary, and which of its words we do not know, each as `<kind> <word>`. Such words are no
    /// error: proxies pass on whatever stands in their scripts. The caller should tell the operator once.
    ///
    /// # Errors
    /// When there is no command, or not one that is supported, or a key is missing that it needs.
    pub fn parse(dict: &Dict<'_>) -> Result<(Self, Vec<String>), CommandError> {
        let name = dict.get("command").and_then(Value::as_text).ok_or(CommandError::NoCommand)?;
        let name = canonical(&name);
        let (message, unknown) = Message::read(dict);
        let command = match name.as_slice() {
            b"ping" => Self::Ping,
            b"statistics" => Self::Statistics,
            b"offer" => Self::Offer(Box::new(message.offer()?)),
            b"answer" => Self::Answer(Box::new(message.answer()?)),
            b"delete" => Self::Delete(message.delete()?),
            b"query" => Self::Query { call_id: message.call_id.ok_or(CommandError::NoCallId)? },
            b"block-media" => Self::Block(message.block(true)?),
            b"unblock-media" => Self::Block(message.block(false)?),
            b"list" => Self::List { limit: message.limit.unwrap_or(Ok(LIST_LIMIT))? },
            name => return Err(unsupported(name)),
        };
        Ok((command, unknown))
    }
}

fn unsupported(name: &[u8]) -> CommandError {
    let known = UNSUPPORTED.into_iter().find(|known| canonical(known.as_bytes()) == name);
    known.map_or(CommandError::Unrecognized, CommandError::Unsupported)
}

#[cfg(test)]
mod tests;
