//! One message in, one message out.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use border::{FlowOp, Meter};
use bytes::Bytes;
use media::Recording;

use super::cookies::{Answered, Cookies};
use super::decode::decode;
use super::encode::{encode, error};
use super::frame::Frame;
use super::ledger::{Ledger, Proxy, ProxyAccount, TransportAccount};
use super::noticed::Noticed;
use super::value::canonical;
use crate::call::Calls;
use crate::intent::{Intent, Sound};
use crate::outcome::{Outcome, Refusal};

/// How long a message waits for its file at most, and how many do: more than whoever reads files allows.
const WAIT: Duration = Duration::from_secs(5);
const MAX_WAITING: usize = 1024;

/// The longest reply that fits a datagram, and the buffer of every client.
const MAX_REPLY: usize = 60_000;

/// What tells a message that waits from all others.
fn fingerprint(cookie: &[u8], payload: &[u8], proxy: Proxy) -> u64 {
    let mut hasher = DefaultHasher::new();
    (cookie, payload, proxy).hash(&mut hasher);
    hasher.finish()
}

/// What the protocol remembers from one message to the next.
///
/// The caller sends the reply after it has told the relay the flow operations: the party may send media at once.
#[derive(Debug)]
pub struct Exchange {
    cookies: Cookies,
    noticed: Noticed,
    /// Descriptions that could not be read.
    unreadable: u64,
    ledger: Ledger,
    /// A file that was read for the next message.
    loaded: Option<Loaded>,
    /// The file that the last message would have needed.
    lacked: Option<Lacked>,
    /// What the last message was answered.
    answered: Option<Answered>,
    /// Messages that wait for a file, by what tells them apart, and since when.
    waiting: Vec<(u64, Instant)>,
}

/// A file that somebody is to read for a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lacked {
    /// Its path.
    pub file: Vec<u8>,
    /// The number under which its message waits for it.
    pub ticket: u64,
}

/// A file that somebody has read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Which.
    pub lacked: Lacked,
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
        Self {
            cookies: Cookies::new(),
            noticed: Noticed::new(),
            unreadable: 0,
            ledger: Ledger::default(),
            loaded: None,
            lacked: None,
            answered: None,
            waiting: Vec::new(),
        }
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
        self.waiting.retain(|(_, since)| now.saturating_duration_since(*since) < WAIT);
        // Nearly always nothing waits, and nobody need look at the whole message for that.
        let print = || fingerprint(cookie, frame.payload, proxy);
        let place = match self.waiting.is_empty() {
            true => None,
            false => {
                let print = print();
                self.waiting.iter().position(|(waiting, _)| *waiting == print)
            }
        };
        match (place, &self.loaded) {
            // It is under way, and will have its reply.
            (Some(_), None) => return None,
            (Some(place), Some(_)) => drop(self.waiting.swap_remove(place)),
            (None, _) => {}
        }
        let (reply, ops) = self.message(&frame, proxy, calls, now, wall, meter);
        // What could not be done yet comes again.
        if self.lacked.is_none() {
            self.answered = Some(self.cookies.keep(cookie, frame.payload, reply.clone(), now));
        } else if self.waiting.len() < MAX_WAITING {
            self.waiting.push((print(), now));
        }
        Some((reply, ops))
    }

    /// The reply to the last message, where it may come again; once.
    pub fn take_answered(&mut self) -> Option<Answered> {
        self.answered.take()
    }

    /// A message was answered so by another daemon, at that time.
    pub fn recall(&mut self, answered: Answered, since: Instant) {
        self.cookies.recall(answered, since);
    }

    /// Has a file at hand for the next message, or none.
    pub fn lay_out(&mut self, loaded: Option<Loaded>) {
        self.loaded = loaded;
    }

    /// The file that the last message lacked: nothing has been done, its reply is void, and it is to come again when somebody has read that.
    pub fn lacks(&mut self) -> Option<Lacked> {
        self.lacked.take()
    }

    /// The last message has taken so long to be carried out.
    pub fn took(&mut self, took: Duration) {
        self.ledger.took(took);
    }

    /// What proxies have asked for since the start.
    pub fn proxies(&self) -> Vec<ProxyAccount> {
        self.ledger.accounts()
    }

    /// The same by the way that it came.
    pub fn transports(&self) -> Vec<TransportAccount> {
        self.ledger.transports()
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
                    match self.loaded.take().filter(|loaded| loaded.lacked.file == *file) {
                        Some(Loaded { lacked, recording }) => {
                            play.ticket = Some(lacked.ticket);
                            play.sound = recording.map_or_else(Sound::Unreadable, Sound::Recording);
                        }
                        // Where nobody could hear it, it is carried out without, to say so.
                        None => {
                            if let Ok(ticket) = calls.await_recording(play) {
                                self.lacked = Some(Lacked { file: file.clone(), ticket });
                                return (frame.reply(&error("The file is not read yet")).into(), Vec::new());
                            }
                        }
                    }
                }
                for word in unknown.iter().filter(|word| self.noticed.first_time(word)) {
                    tracing::warn!(call_id = %frame.call_id().escape_ascii(), "not supported, ignored from now on: {word}");
                }
                let (outcome, ops) = calls.handle(intent, now, wall, meter);
                if let Outcome::Refused(Refusal::Sdp(error)) = &outcome {
                    self.unreadable += 1;
                    // Whoever may place calls may send descriptions without end.
                    if self.unreadable.is_power_of_two() {
                        let (call_id, unreadable) = (frame.call_id(), self.unreadable);
                        tracing::warn!(call_id = %call_id.escape_ascii(), %error, unreadable, "a description could not be read");
                    }
                }
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
            tracing::warn!(call_id = %frame.call_id().escape_ascii(), len = bytes.len(), "a reply is too long for a datagram; its details are left out");
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

#[cfg(test)]
mod tests {
    use border::{Interfaces, NoTraffic, Ports};

    use super::*;
    use crate::call::Settings;
    use crate::ng::Transport;

    struct Rig {
        exchange: Exchange,
        calls: Calls,
        now: Instant,
    }

    impl Rig {
        /// A call whose caller has offered something.
        fn new() -> Self {
            let interfaces = Interfaces::new(vec!["pbx/192.0.2.1".parse().unwrap()]).unwrap();
            let ports = Ports::of(&interfaces, (30000, 30099)).unwrap();
            let now = Instant::now();
            let calls = Calls::new(interfaces, ports, Settings::default(), b"mark".to_vec(), now);
            let mut rig = Self { exchange: Exchange::new(), calls, now };
            let sdp = r"v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";
            let offer = format!(r#"1 {{"command": "offer", "call-id": "c", "from-tag": "a", "sdp": "{sdp}"}}"#);
            assert!(rig.ask(&offer).unwrap().contains(r#""result":"ok""#));
            rig
        }

        fn ask(&mut self, datagram: &str) -> Option<String> {
            let (calls, wall) = (&mut self.calls, SystemTime::UNIX_EPOCH);
            let reply = self.exchange.datagram(
                datagram.as_bytes(),
                Proxy::unix(Transport::Unix),
                calls,
                self.now,
                wall,
                &NoTraffic,
            );
            reply.map(|(reply, _)| String::from_utf8(reply.to_vec()).unwrap())
        }
    }

    const PLAY: &str = r#"2 {"command": "play media", "call-id": "c", "from-tag": "a", "file": "/a.wav"}"#;

    #[test]
    fn a_message_that_waits_for_its_file_is_carried_out_once_however_often_it_comes() {
        let mut rig = Rig::new();
        assert!(rig.ask(PLAY).is_some());
        let lacked = rig.exchange.lacks().unwrap();
        assert_eq!((lacked.file.as_slice(), rig.exchange.lacks()), (&b"/a.wav"[..], None));
        // Sent again meanwhile, it has no reply yet.
        assert_eq!((rig.ask(PLAY), rig.exchange.lacks()), (None, None));
        rig.exchange.lay_out(Some(Loaded { lacked, recording: Ok(Arc::new(Recording::new(&[0; 80]))) }));
        let reply = rig.ask(PLAY).unwrap();
        assert!(reply.contains(r#""duration":10"#), "{reply}");
        rig.exchange.lay_out(None);
        assert_eq!((rig.ask(PLAY), rig.exchange.lacks()), (Some(reply), None), "sent again, it has the same");
    }

    #[test]
    fn a_message_that_never_got_its_file_may_come_again() {
        let mut rig = Rig::new();
        rig.ask(PLAY);
        assert!(rig.exchange.lacks().is_some());
        rig.now += WAIT;
        assert!(rig.ask(PLAY).is_some() && rig.exchange.lacks().is_some());
    }

    #[test]
    fn no_file_is_read_for_whom_nobody_knows() {
        let mut rig = Rig::new();
        for play in [PLAY.replace(r#""c""#, r#""x""#), PLAY.replace(r#""a""#, r#""x""#)] {
            let reply = rig.ask(&play).unwrap();
            assert!(rig.exchange.lacks().is_none() && reply.contains(r#""result":"error""#), "{reply}");
            rig.exchange = Exchange::new();
        }
    }
}
