//! From a dictionary of the NG protocol to what the proxy wants.

mod editing;
mod flag_string;
mod message;
mod unbuilt;
mod values;
mod words;

use super::value::canonical;
use super::{Dict, Value};
use crate::intent::{Intent, LIST_LIMIT, Treatment};
use media::WavError;
use message::Message;

/// Why a dictionary is no command that can be carried out. The texts are those of the contract where it has one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
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
    /// Nothing that could be played is named.
    #[error("No media file specified")]
    NoSound,
    /// What is to be played is none of what is played here.
    #[error("Failed to start media playback from blob: {0}")]
    Blob(#[from] WavError),
    /// Nobody is named who is to hear something.
    #[error("No participant party specified")]
    NoParticipant,
    /// A name is longer than any proxy's, and would be kept for as long as the call lasts.
    #[error("{0} is longer than {MAX_NAME} bytes")]
    TooLong(&'static str),
    /// The limit of a list is not a number.
    #[error("Invalid limit: not a positive number")]
    Limit,
}

/// The longest Call-ID, tag, branch or label.
const MAX_NAME: usize = 255;

/// The other commands of the protocol. They may come, and the reply says that it is us who cannot.
const UNSUPPORTED: [&str; 15] = [
    "start recording",
    "stop recording",
    "pause recording",
    "block DTMF",
    "unblock DTMF",
    "play DTMF",
    "publish",
    "connect",
    "mesh",
    "create",
    "create answer",
    "inject start",
    "inject stop",
    "transform",
    "cli",
];

/// The intent of a dictionary, and which of its words we do not know, each as `<kind> <word>`. Such words are no
/// error: proxies pass on whatever stands in their scripts. The caller should tell the operator once.
///
/// # Errors
/// When there is no command, or not one that is supported, or a key is missing that it needs.
pub fn decode(dict: &Dict<'_>) -> Result<(Intent, Vec<String>), DecodeError> {
    let name = dict.get("command").and_then(Value::as_text).ok_or(DecodeError::NoCommand)?;
    let name = canonical(&name);
    let (message, unknown) = Message::read(dict);
    if let Some(name) = message.overlong() {
        return Err(DecodeError::TooLong(name));
    }
    let intent = match name.as_slice() {
        b"ping" => Intent::Ping,
        b"statistics" => Intent::Statistics,
        b"offer" => Intent::Offer(Box::new(message.offer()?)),
        b"answer" => Intent::Answer(Box::new(message.answer()?)),
        b"delete" => Intent::Delete(message.delete()?),
        b"query" => Intent::Query { call_id: message.call_id.ok_or(DecodeError::NoCallId)? },
        b"block-media" => Intent::Treat(message.treat(Treatment::Block, true)?),
        b"unblock-media" => Intent::Treat(message.treat(Treatment::Block, false)?),
        b"silence-media" => Intent::Treat(message.treat(Treatment::Silence, true)?),
        b"unsilence-media" => Intent::Treat(message.treat(Treatment::Silence, false)?),
        b"start-forwarding" => Intent::Treat(message.treat(Treatment::Forward, true)?),
        b"stop-forwarding" => Intent::Treat(message.treat(Treatment::Forward, false)?),
        b"subscribe-request" => Intent::Subscribe(Box::new(message.subscribe()?)),
        b"subscribe-answer" => Intent::SubscribeAnswer(Box::new(message.subscribe_answer()?)),
        b"unsubscribe" => Intent::Unsubscribe(message.unsubscribe()?),
        b"play-media" => Intent::Play(Box::new(message.play()?)),
        b"stop-media" => Intent::StopPlaying(message.stop_playing()?),
        b"list" => Intent::List { limit: message.limit.unwrap_or(Ok(LIST_LIMIT))? },
        name => return Err(unsupported(name)),
    };
    Ok((intent, unknown))
}

fn unsupported(name: &[u8]) -> DecodeError {
    let known = UNSUPPORTED.into_iter().find(|known| canonical(known.as_bytes()) == name);
    known.map_or(DecodeError::Unrecognized, DecodeError::Unsupported)
}

#[cfg(test)]
mod tests;
