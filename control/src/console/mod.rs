//! The daemon's own socket, for whoever operates it: requests and replies as lines of JSON, see `docs/console.md`.
//!
//! ```text
//! command line -> client -> [control.sock] -> listener -> answer -> daemon (calls, relay)
//!                                                         \-> orders (drain, settings)
//! ```

mod answer;
mod capture;
mod client;
mod listener;

use serde::{Deserialize, Serialize};

pub use client::{Client, ClientError};
pub use listener::{Console, console};

/// The version of the protocol. What is added changes it not.
pub const VERSION: u32 = 1;

/// What the daemon is asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Are you there?
    Ping,
    /// How is the relay as a whole doing?
    Stats,
    /// Which calls are there? An item for each.
    List {
        /// At most so many; all without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<usize>,
        /// Only those with which something is wrong.
        #[serde(default)]
        troubled: bool,
        /// Only those on one of these paths; on any when there are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        path: Vec<OnPath>,
    },
    /// Everything about a call.
    Show {
        /// Its Call-ID.
        call_id: String,
    },
    /// Copies of a call's packets: an item for each, until it ends, or for so long.
    Capture {
        /// Its Call-ID.
        call_id: String,
        /// As they are behind SRTP, and not as they are on the wire.
        #[serde(default)]
        plain: bool,
        /// For so many seconds.
        seconds: u64,
    },
    /// End a call, whatever its proxy thinks of it.
    Terminate {
        /// Its Call-ID.
        call_id: String,
    },
    /// End all calls.
    TerminateAll,
    /// Take no new calls, and end with the last one.
    Drain,
    /// Which settings may be changed under way, and what they are: an object.
    Settings,
    /// Change one of them, until the daemon is started again or reads its configuration anew.
    Set {
        /// The key, as in the configuration.
        key: String,
        /// The value, as in the configuration; `null` for what is meant without it.
        value: serde_json::Value,
    },
}

/// The path of a call as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OnPath {
    /// All of it is forwarded by the XDP program.
    Fast,
    /// All of it is carried by workers.
    Slow,
    /// Some of it each.
    Mixed,
    /// No packet is expected.
    None,
}

impl OnPath {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Fast, Self::Slow, Self::Mixed, Self::None];

    /// As a call's summary has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Slow => "slow",
            Self::Mixed => "mixed",
            Self::None => "none",
        }
    }
}

/// What an item of a capture is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Captured {
    /// A packet.
    Packet {
        /// When it was seen, in seconds since 1970.
        at: f64,
        /// The IP packet, in base64.
        packet: String,
    },
    /// Nothing was seen for a while; so many were lost since the beginning, because whoever reads was too slow.
    Lost(u64),
}

/// A line of the daemon's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer<T> {
    /// One of several.
    Item(T),
    /// The last line of a reply.
    Result(T),
    /// The same, and it was not done, for this reason.
    Error(String),
}

/// A request with the version of the protocol that it is of.
#[derive(Serialize)]
struct Versioned<'a> {
    version: u32,
    #[serde(flatten)]
    request: &'a Request,
}

impl Request {
    /// The request in a line.
    ///
    /// # Errors
    /// When it is none; in words for whoever has sent it.
    pub fn read(line: &[u8]) -> Result<Self, String> {
        let mut value: serde_json::Value =
            serde_json::from_slice(line).map_err(|error| format!("no line of JSON: {error}"))?;
        let object = value.as_object_mut().ok_or("no JSON object: want {\"version\": 1, \"command\": ...}")?;
        match object.remove("version") {
            None => {}
            Some(version) if version == serde_json::json!(VERSION) => {}
            Some(version) => return Err(format!("version {version} is not known here: this is version {VERSION}")),
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    /// The line of a request.
    fn line(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string(&Versioned { version: VERSION, request: self })? + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written() {
        for request in [
            Request::Ping,
            Request::List { limit: Some(3), troubled: true, path: vec![OnPath::Slow, OnPath::Mixed] },
            Request::Show { call_id: "a\"b".to_owned() },
            Request::Set { key: "max-sessions".to_owned(), value: 7.into() },
        ] {
            assert_eq!(Request::read(request.line().unwrap().as_bytes()), Ok(request));
        }
        assert_eq!(
            Request::read(br#"{"command":"list"}"#),
            Ok(Request::List { limit: None, troubled: false, path: Vec::new() })
        );
    }

    #[test]
    fn what_is_no_request_is_told_in_words() {
        for (line, expected) in [
            (&b"hello"[..], "no line of JSON"),
            (b"[1]", "no JSON object"),
            (br#"{"version":2,"command":"ping"}"#, "version 2 is not known here"),
            (br#"{"command":"reboot"}"#, "unknown variant `reboot`"),
            (br#"{"command":"show"}"#, "missing field `call_id`"),
            (br#"{"command":"show","call_id":"a","colour":1}"#, "unknown field `colour`"),
            (br#"{"command":"list","path":["direct"]}"#, "unknown variant `direct`"),
            (b"", "no line of JSON"),
        ] {
            let error = Request::read(line).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
