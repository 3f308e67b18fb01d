//! A SIP party that the tests play themselves: a socket at a far end, the call it is in, and its media.
//!
//! It is no telephone: it sends what it is told to, and waits for what it is told to expect. It repeats nothing, because
//! nothing is lost between namespaces, and what others repeat it takes once.

mod dialog;
mod message;

use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

pub use message::Message;

use super::daemon::NgClient;
use super::party::{Call, Party};
use super::process::wait_until;
use super::trunks::{Trunk, Trunks};
use dialog::Dialog;

/// How long a message may be under way.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often the clock is looked at while waiting for one.
const TICK: Duration = Duration::from_millis(100);
/// The port of SIP, at both ends.
const SIP_PORT: u16 = 5060;
/// The RTP port of a party that does not choose.
const MEDIA_PORT: u16 = 4000;

/// Makes Call-IDs, tags and branches differ.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// One party. It is in one call at a time, the one that it made or was invited to last.
#[derive(Debug)]
pub struct Agent {
    /// Its media.
    pub party: Party,
    socket: UdpSocket,
    addr: SocketAddr,
    proxy: SocketAddr,
    /// Its SIP address.
    contact: String,
    dialog: Dialog,
    /// The INVITE that it sent last: the way back that it named, and the call as it was.
    sent: Option<(String, Dialog)>,
    /// The number of the INVITE that it got last.
    invited: Option<u32>,
    /// Where it was told last to send audio.
    told: Option<SocketAddr>,
    /// The version of its description.
    version: u32,
    /// All that has arrived.
    seen: HashSet<Vec<u8>>,
    /// What has arrived and nobody has asked for yet.
    waiting: Vec<Message>,
}

impl Agent {
    /// A party at the far end of a trunk, at the ports that are usual.
    ///
    /// # Errors
    /// When a port is taken.
    pub fn new(trunks: &Trunks, trunk: Trunk) -> anyhow::Result<Self> {
        Self::at(trunks, trunk, SIP_PORT, MEDIA_PORT)
    }

    /// The same at other ports, for SIP and for RTP.
    ///
    /// # Errors
    /// When a port is taken.
    pub fn at(trunks: &Trunks, trunk: Trunk, sip_port: u16, media_port: u16) -> anyhow::Result<Self> {
        let addr = SocketAddr::new(trunk.far().into(), sip_port);
        let socket = trunks.far(trunk).udp(addr)?;
        socket.set_read_timeout(Some(TICK))?;
        Ok(Self {
            party: Party::at(trunks, trunk, SocketAddr::new(trunks.media(trunk), media_port))?,
            socket,
            addr,
            proxy: SocketAddr::new(trunk.near().into(), SIP_PORT),
            contact: format!("sip:{}@{addr}", trunk.number()),
            dialog: Dialog::default(),
            sent: None,
            invited: None,
            told: None,
            version: 0,
            seen: HashSet::new(),
            waiting: Vec::new(),
        })
    }

    /// The Call-ID of its call.
    pub fn call_id(&self) -> &str {
        &self.dialog.call_id
    }

    /// Where it was told last to send audio.
    ///
    /// # Errors
    /// When it was not told.
    pub fn told(&self) -> anyhow::Result<SocketAddr> {
        self.told.with_context(|| format!("nobody told {} where to send audio", self.addr))
    }

    /// Its session description, newer than the one before.
    pub fn sdp(&mut self) -> String {
        self.version += 1;
        self.party.sdp().replacen("o=- 1 1 ", &format!("o=- 1 {} ", self.version), 1)
    }

    /// Begins a call to a number. Without a body the other party is to make the offer.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn invite(&mut self, number: &str, body: &str) -> anyhow::Result<()> {
        let call_id = format!("{}@{}", fresh(), self.addr.ip());
        let local = format!("<{}>;tag={}", self.contact, fresh());
        self.dialog = Dialog::begin(call_id, local, format!("sip:{number}@{}", self.proxy));
        self.told = None;
        self.request("INVITE", "", body)
    }

    /// Sends its INVITE on a second branch, to another number, as a proxy does that forks.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn fork(&mut self, number: &str, body: &str) -> anyhow::Result<()> {
        self.dialog.target = format!("sip:{number}@{}", self.proxy);
        self.send_request("INVITE", "", body)
    }

    /// Sends a request within its call, with further headers (whole lines) and a body.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn request(&mut self, method: &str, more: &str, body: &str) -> anyhow::Result<()> {
        self.dialog.sequence += 1;
        self.send_request(method, more, body)
    }

    /// Acknowledges the 200 to its INVITE. The body is the answer where the 200 had the offer.
    ///
    /// # Errors
    /// When it has sent no INVITE, or the socket fails.
    pub fn ack(&mut self, body: &str) -> anyhow::Result<()> {
        let (_, invite) = self.sent.as_ref().context("no INVITE to acknowledge")?;
        self.dialog.is_confirmed = true;
        // Other requests may have been sent since.
        let dialog = Dialog { sequence: invite.sequence, ..self.dialog.clone() };
        self.send(&dialog.request("ACK", &self.via(), "", body))
    }

    /// Cancels its INVITE.
    ///
    /// # Errors
    /// When it has sent none, or the socket fails.
    pub fn cancel(&self) -> anyhow::Result<()> {
        let (via, invite) = self.sent.as_ref().context("no INVITE to cancel")?;
        self.send(&invite.request("CANCEL", via, "", ""))
    }

    /// Responds to a request, with further headers (whole lines) and a body.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn reply(&self, request: &Message, status: u16, more: &str, body: &str) -> anyhow::Result<()> {
        let to = if request.has_to_tag() { request.header("To") } else { self.dialog.local.as_str() };
        let more = format!("Contact: <{}>\r\n{more}", self.contact);
        self.send(&request.response(status, to, &more, body))
    }

    /// Waits for a request, and takes in what it says.
    ///
    /// # Errors
    /// When it does not come in time; with what came instead.
    pub fn hear(&mut self, method: &str) -> anyhow::Result<Message> {
        let invited = self.invited;
        let message = self.wait(method, |message| {
            // The proxy acknowledges what was no 200, and that may be an INVITE before the last one.
            let is_of_last = method != "ACK" || message.sequence() == invited;
            message.status().is_none() && message.method() == method && is_of_last
        })?;
        if method == "INVITE" {
            self.invited = message.sequence();
            if !message.has_to_tag() {
                self.dialog = Dialog::invited(&message, &fresh());
                self.told = None;
            }
        }
        self.dialog.retarget(&message);
        self.note(&message);
        Ok(message)
    }

    /// Waits for a response to a request of its own, and takes in what it says.
    ///
    /// # Errors
    /// When it does not come in time; with what came instead.
    pub fn hear_status(&mut self, method: &str, status: u16) -> anyhow::Result<Message> {
        let what = format!("{status} to {method}");
        let message = self.wait(&what, |message| message.status() == Some(status) && message.method() == method)?;
        if method == "INVITE" && status < 300 {
            self.dialog.follow(&message);
        }
        self.note(&message);
        Ok(message)
    }

    /// Calls another, who accepts; both have offered and answered then.
    ///
    /// # Errors
    /// When a message does not arrive.
    pub fn connect(&mut self, number: &str, callee: &mut Self) -> anyhow::Result<()> {
        let (offer, answer) = (self.sdp(), callee.sdp());
        self.invite(number, &offer)?;
        let invite = callee.hear("INVITE")?;
        callee.reply(&invite, 180, "", "")?;
        self.hear_status("INVITE", 180)?;
        self.accepted_by(callee, &invite, &answer)?;
        Ok(())
    }

    /// Has another accept the INVITE that it got from this one; the 200 as it arrives here.
    ///
    /// # Errors
    /// When a message does not arrive.
    pub fn accepted_by(&mut self, callee: &mut Self, invite: &Message, body: &str) -> anyhow::Result<Message> {
        callee.reply(invite, 200, "", body)?;
        let accepted = self.hear_status("INVITE", 200)?;
        self.ack("")?;
        callee.hear("ACK")?;
        Ok(accepted)
    }

    /// Makes a new offer within the call, by INVITE or UPDATE, which the other accepts: the offer as it arrives there, and
    /// the answer as it arrives here.
    ///
    /// # Errors
    /// When a message does not arrive.
    pub fn renegotiate(
        &mut self,
        method: &str,
        offer: &str,
        other: &mut Self,
        answer: &str,
    ) -> anyhow::Result<(Message, Message)> {
        self.request(method, "", offer)?;
        let offered = other.hear(method)?;
        if method == "INVITE" {
            return Ok((offered.clone(), self.accepted_by(other, &offered, answer)?));
        }
        other.reply(&offered, 200, "", answer)?;
        let answered = self.hear_status(method, 200)?;
        Ok((offered, answered))
    }

    /// Ends the call.
    ///
    /// # Errors
    /// When a message does not arrive.
    pub fn hang_up(&mut self, other: &mut Self) -> anyhow::Result<()> {
        self.request("BYE", "", "")?;
        let bye = other.hear("BYE")?;
        other.reply(&bye, 200, "", "")?;
        self.hear_status("BYE", 200)?;
        Ok(())
    }

    /// Has both speak in turns to where they were told to, so many packets each.
    ///
    /// # Errors
    /// When one does not hear what the other said, or hears it from elsewhere than it was told.
    pub fn converse(&mut self, other: &mut Self, packets: u32) -> anyhow::Result<()> {
        let call = Call { id: self.dialog.call_id.clone(), for_caller: self.told()?, for_callee: other.told()? };
        call.converse(&mut self.party, &mut other.party, packets)
            .with_context(|| format!("{} as the caller, {} as the callee", self.addr, other.addr))
    }

    /// Whether what it says next reaches another.
    ///
    /// # Errors
    /// When it was not told where to send audio, or a socket fails.
    pub fn is_heard_by(&mut self, other: &Self) -> anyhow::Result<bool> {
        let to = self.told()?;
        let sent = self.party.speak(to)?;
        Ok(other.party.hear()?.is_some_and(|(heard, _)| heard == sent))
    }

    /// Waits until the relay knows nothing of its call.
    ///
    /// # Errors
    /// When it still does after a while; with what it knows.
    pub fn wait_until_forgotten(&self, ng: &mut NgClient) -> anyhow::Result<()> {
        let query = json!({"command": "query", "call-id": self.dialog.call_id});
        let mut last = Value::Null;
        let waited = wait_until("the relay has forgotten the call", PATIENCE, || {
            last = ng.request(&query).unwrap_or_default();
            last.get("error-reason").and_then(Value::as_str) == Some("Unknown call-id")
        });
        waited.with_context(|| last.to_string())
    }

    fn send_request(&mut self, method: &str, more: &str, body: &str) -> anyhow::Result<()> {
        let via = self.via();
        let more = match method {
            "BYE" | "PRACK" => more.to_owned(),
            _ => format!("Contact: <{}>\r\n{more}", self.contact),
        };
        self.send(&self.dialog.request(method, &via, &more, body))?;
        if method == "INVITE" {
            self.sent = Some((via, self.dialog.clone()));
        }
        Ok(())
    }

    /// The way back for the responses to a new request.
    fn via(&self) -> String {
        format!("SIP/2.0/UDP {};branch=z9hG4bK-{}", self.addr, fresh())
    }

    /// What it sends goes to the proxy, which is the next hop of every request and of every response.
    fn send(&self, text: &str) -> anyhow::Result<()> {
        self.socket.send_to(text.as_bytes(), self.proxy)?;
        Ok(())
    }

    fn wait(&mut self, what: &str, is_it: impl Fn(&Message) -> bool) -> anyhow::Result<Message> {
        let start = Instant::now();
        loop {
            if let Some(place) = self.waiting.iter().position(&is_it) {
                return Ok(self.waiting.remove(place));
            }
            if start.elapsed() > PATIENCE {
                let came: Vec<_> = self.waiting.iter().map(Message::first_line).collect();
                bail!("{} waited in vain for {what}; there was {came:?}", self.addr);
            }
            self.receive()?;
        }
    }

    /// Takes the next datagram, if one comes. A failed INVITE is acknowledged at once, as part of its transaction
    /// (RFC 3261 section 17.1.1.3).
    fn receive(&mut self) -> anyhow::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        match self.socket.recv(&mut buffer) {
            Ok(len) => buffer.truncate(len),
            // It is waited for anew; a machine that was held for a while interrupts.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        let Some(message) = Message::parse(&buffer) else { return Ok(()) };
        if message.status() == Some(100) || !self.seen.insert(buffer) {
            return Ok(());
        }
        if message.method() == "INVITE" && message.status().is_some_and(|status| status >= 300) {
            let (_, invite) = self.sent.as_ref().context("a response to an INVITE that was not sent")?;
            let sequence = message.sequence().unwrap_or(invite.sequence);
            let failed = Dialog { remote: message.header("To").to_owned(), sequence, ..invite.clone() };
            self.send(&failed.request("ACK", message.header("Via"), "", ""))?;
        }
        self.waiting.push(message);
        Ok(())
    }

    /// Remembers where the other party wants audio, unless it wants none.
    fn note(&mut self, message: &Message) {
        let media = message.media("audio").filter(|media| media.port() != 0 && !media.ip().is_unspecified());
        self.told = media.or(self.told);
    }
}

/// A name that nothing else has in this run.
fn fresh() -> String {
    format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}
