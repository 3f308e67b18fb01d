//! One message in, one message out.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use border::{FlowOp, Meter};
use bytes::Bytes;
use media::Recording;

use super::cookies::Cookies;
use super::decode::decode;
use super::encode::{encode, error};
use super::frame::Frame;
use super::ledger::{Ledger, Proxy};
use super::noticed::Noticed;
use super::value::canonical;
use crate::call::Calls;
use crate::intent::{Intent, Sound};
use crate::outcome::Outcome;

/// The longest reply that fits a datagram, and the buffer of every client.
const MAX_REPLY: usize = 60_000;

/// What the protocol remembers from one message to the next.
///
/// The caller sends the reply after it has told the relay the flow operations: the party may send media at once.
#[derive(Debug)]
pub struct Exchange {
    cookies: Cookies,
    noticed: Noticed,
    ledger: Ledger,
    /// A file that was read for the next message.
    loaded: Option<Loaded>,
    /// The file that the last message would have needed.
    lacked: Option<Vec<u8>>,
}

/// A file that somebody has read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its path.
    pub file: Vec<u8>,
    /// What is in it, or why it cannot be played.
    pub recording: Result<Arc<Recording>, String>,
}

impl Default for Exchange {
    fn default() -> Self {
        Self::new()
    }
}

impl Exchange {
    /// Nothing remembered yet.
    pub fn new() -> Self {
        Self { cookies: Cookies::new(), noticed: Noticed::new(), ledger: Ledger::default(), loaded: None, lacked: None }
    }

    /// The reply to a datagram, and what the relay has to do. None for a datagram that cannot be replied to.
    ///
    /// A datagram whose cookie came before is a retransmission: it gets the same reply again, and nothing is done.
    pub fn datagram(
        &mut self,
        bytes: &[u8],
        proxy: Proxy,
        calls: &mut Calls,
        now: Instant,
        wall: SystemTime,
        meter: &dyn Meter,
    ) -> Option<(Bytes, Vec<FlowOp>)> {
        let frame = Frame::datagram(bytes)?;
        let cookie = frame.cookie.unwrap_or_default();
        if let Some(reply) = self.cookies.find(cookie, frame.payload, now) {
            return Some((reply.clone(), Vec::new()));
        }
        let (reply, ops) = self.message(&frame, proxy, calls, now, wall, meter);
        // What could not be done yet comes again.
        if self.lacked.is_none() {
            self.cookies.keep(cookie, frame.payload, reply.clone(), now);
        }
        Some((reply, ops))
    }

    /// Has a file at hand for the next message, or none.
    pub fn lay_out(&mut self, loaded: Option<Loaded>) {
        self.loaded = loaded;
    }

    /// The file that the last message lacked: nothing has been done, its reply is void, and it is to come again when somebody has read that.
    pub fn lacks(&mut self) -> Option<Vec<u8>> {
        self.lacked.take()
    }

    /// The last message has taken so long to be carried out.
    pub fn took(&mut self, took: Duration) {
        self.ledger.took(took);
    }

    /// The reply to a message of a stream, where nothing is sent twice.
    pub fn message(
        &mut self,
        frame: &Frame<'_>,
        proxy: Proxy,
        calls: &mut Calls,
        now: Instant,
        wall: SystemTime,
        meter: &dyn Meter,
    ) -> (Bytes, Vec<FlowOp>) {
        let read = frame.dictionary();
        let name = read.as_ref().ok().and_then(|dict| Some(canonical(&dict.get("command")?.as_text()?)));
        let intent = match &read {
            Ok(dict) => decode(dict).map_err(|why| error(&why.to_string())),
            Err(why) => Err(error(&why.to_string())),
        };
        let (told, ops) = match intent {
            Ok((mut intent, unknown)) => {
                if let Intent::Play(play) = &mut intent
                    && let Sound::File(file) = &play.sound
                {
                    match self.loaded.take().filter(|loaded| loaded.file == *file) {
                        Some(Loaded { recording: Ok(recording), .. }) => play.sound = Sound::Recording(recording),
                        Some(Loaded { recording: Err(why), .. }) => play.sound = Sound::Unreadable(why),
                        None => {
                            self.lacked = Some(file.clone());
                            return (frame.reply(&error("The file is not read yet")).into(), Vec::new());
                        }
                    }
                }
                for word in unknown.iter().filter(|word| self.noticed.first_time(word)) {
                    tracing::warn!("not supported, ignored from now on: {word}");
                }
                let (outcome, ops) = calls.handle(intent, now, wall, meter);
                (Ok(outcome), ops)
            }
            Err(dict) => (Err(dict), Vec::new()),
        };
        let is_error = matches!(told, Err(_) | Ok(Outcome::Refused(_)));
        self.ledger.enter(proxy, &name.unwrap_or_default(), is_error);
        let mut dict = told.map_or_else(|error| error, |outcome| encode(&outcome, &self.ledger));
        let mut bytes = frame.reply(&dict);
        if bytes.len() > MAX_REPLY {
            // A reply that cannot be sent would make the proxy give the relay up. What a script needs stays.
            tracing::warn!(len = bytes.len(), "a reply is too long for a datagram; its details are left out");
            dict.remove("tags");
            dict.remove("SSRC");
            dict.push(&b"warning"[..], "Reply too long, details left out");
            bytes = frame.reply(&dict);
        }
        if bytes.len() > MAX_REPLY {
            bytes = frame.reply(&error("Reply too long"));
        }
        (bytes.into(), ops)
    }
}
