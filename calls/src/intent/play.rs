//! Playing: a party is to hear a recording.

use std::sync::Arc;
use std::time::Duration;

use media::Recording;

use super::Party;

/// What is to be heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sound {
    /// What is in a file of this host. Somebody has to read it first.
    File(Vec<u8>),
    /// What was in a file that could not be read, for this reason.
    Unreadable(String),
    /// This.
    Recording(Arc<Recording>),
}

/// Parties of a call are to hear something beside whom they talk with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Play {
    /// The Call-ID.
    pub call_id: Vec<u8>,
    /// Who is to hear it.
    pub party: Party,
    /// What.
    pub sound: Sound,
    /// Where in it to begin.
    pub start: Duration,
    /// How often it is played: once, where neither this nor how long was said.
    pub times: Option<u32>,
    /// For how long it is repeated at most.
    pub longest: Option<Duration>,
    /// The number under which it was noted that it waits for its file.
    pub ticket: Option<u64>,
}

/// Parties are to hear nothing more of what is played to them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StopPlaying {
    /// The Call-ID.
    pub call_id: Vec<u8>,
    /// Who.
    pub party: Party,
}
