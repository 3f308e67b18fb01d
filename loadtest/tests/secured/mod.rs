//! Parties that protect their media (SRTP by SDES), and calls of such and others.
#![allow(dead_code, reason = "each of the tests that share this needs a part of it")]

use std::net::SocketAddr;

use ::media::srtp::{MasterKey, Mki, Protector, Suite, Unprotector};
use ::media::{Packet, TAIL_ROOM};
use calls::sdp::Crypto;
use loadtest::rig::party::{Party, media};
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use serde_json::{Value, json};

/// Every way in which workers get and send packets.
pub(crate) const WAYS: [(&str, &[&str]); 5] =
    [("xdp", &[]), ("uring", &[]), ("epoll", &[]), ("epoll", &["--intake=xsk"]), ("uring", &["--intake=bound"])];

/// How a phone offers its media.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// In plain; keys that it is offered it leaves.
    Plain,
    /// Protected or not at all.
    Secured(Suite),
    /// Protected if the other one can (RFC 8643).
    Opportunistic(Suite),
}

impl Wish {
    const fn suite(self) -> Option<Suite> {
        match self {
            Self::Plain => None,
            Self::Secured(suite) | Self::Opportunistic(suite) => Some(suite),
        }
    }
}

/// A party with keys of its own.
pub(crate) struct Phone {
    pub(crate) party: Party,
    pub(crate) wish: Wish,
    /// By what it protects.
    line: Option<Crypto>,
    protector: Option<Protector>,
    /// Once it is agreed on; by the key of whoever sends to it.
    heard: Option<MasterKey>,
    unprotector: Option<Unprotector>,
    /// `sendrecv`, `inactive` and so on.
    pub(crate) direction: &'static str,
}

pub(crate) fn worked_on(bytes: &[u8], work: impl FnOnce(&mut Packet<'_>)) -> Vec<u8> {
    let mut buffer = bytes.to_vec();
    buffer.resize(bytes.len() + TAIL_ROOM, 0);
    let mut packet = Packet::new(&mut buffer, 0, bytes.len()).unwrap();
    work(&mut packet);
    packet.payload().to_vec()
}

fn lines(sdp: &str) -> impl Iterator<Item = Crypto> {
    let lines = sdp.lines().filter_map(|line| line.strip_prefix("a=crypto:"));
    lines.filter_map(|line| Crypto::parse(line.as_bytes()))
}

impl Phone {
    pub(crate) fn new(party: Party, wish: Wish, seed: u8) -> Self {
        let mut phone =
            Self { party, wish, line: None, protector: None, heard: None, unprotector: None, direction: "sendrecv" };
        phone.renew(seed);
        phone
    }

    /// Takes another key, from its next description on.
    pub(crate) fn renew(&mut self, seed: u8) {
        self.line = self.wish.suite().map(|suite| {
            let material: Vec<u8> = (0..suite.key_len() + suite.salt_len()).map(|place| seed ^ place as u8).collect();
            let key = MasterKey::new(suite, &material, Mki::default()).unwrap();
            Crypto { tag: self.line.as_ref().map_or(1, |line| line.tag), key, others: Vec::new() }
        });
        self.protector = None;
    }

    /// Counts its packets anew by the same key, as Teams' media processors do.
    pub(crate) fn begin_anew(&mut self) {
        self.protector = self.line.as_ref().map(|line| Protector::new(&line.key));
    }

    fn sdp(&self, has_keys: bool) -> String {
        let sdp = self.party.sdp().replace("a=sendrecv", &format!("a={}", self.direction));
        let sdp = if matches!(self.wish, Wish::Secured(_)) { sdp.replace("RTP/AVP", "RTP/SAVP") } else { sdp };
        let line = self.line.as_ref().filter(|_| has_keys).map(|line| line.write(false, true) + "\r\n");
        sdp + &line.unwrap_or_default()
    }

    /// Its offer.
    pub(crate) fn offer(&self) -> String {
        self.sdp(true)
    }

    /// Its answer to an offer: the line of its suite, if there is one.
    pub(crate) fn answer(&mut self, offer: &str) -> String {
        let found = lines(offer).find(|line| Some(line.suite()) == self.wish.suite());
        if let (Some(found), Some(line)) = (&found, &mut self.line) {
            line.tag = found.tag;
        }
        self.agree(found.as_ref());
        self.sdp(found.is_some())
    }

    /// Takes the answer to its offer.
    pub(crate) fn hear_answer(&mut self, answer: &str) {
        let tag = self.line.as_ref().map(|line| line.tag);
        self.agree(lines(answer).find(|line| Some(line.tag) == tag).as_ref());
    }

    /// What has not changed goes on.
    fn agree(&mut self, theirs: Option<&Crypto>) {
        assert!(theirs.is_some() || !matches!(self.wish, Wish::Secured(_)), "no key for who wants one");
        match (theirs, &self.line) {
            (Some(theirs), Some(line)) => {
                if self.protector.is_none() {
                    self.protector = Some(Protector::new(&line.key));
                }
                if self.heard.as_ref() != Some(&theirs.key) {
                    self.unprotector = Some(Unprotector::new(&theirs.key));
                    self.heard = Some(theirs.key.clone());
                }
            }
            (None | Some(_), _) => (self.protector, self.unprotector, self.heard) = (None, None, None),
        }
    }

    /// Whether keys are agreed on.
    pub(crate) const fn is_secured(&self) -> bool {
        self.protector.is_some()
    }

    /// Sends its next packet; returns what is in it.
    pub(crate) fn speak(&mut self, to: SocketAddr) -> Vec<u8> {
        let plain = self.party.next_packet();
        let sent = match &mut self.protector {
            Some(protector) => worked_on(&plain, |packet| protector.rtp(packet).unwrap()),
            None => plain.clone(),
        };
        self.party.rtp.send_to(&sent, to).unwrap();
        plain
    }

    /// What is in the next packet.
    pub(crate) fn hear(&mut self) -> Option<(Vec<u8>, SocketAddr)> {
        let (sent, from) = self.party.hear().unwrap()?;
        Some(match &mut self.unprotector {
            Some(unprotector) => (worked_on(&sent, |packet| unprotector.rtp(packet).unwrap()), from),
            None => (sent, from),
        })
    }

    /// Sends a report.
    pub(crate) fn report(&mut self, report: &[u8], to: SocketAddr) {
        let sent = match &mut self.protector {
            Some(protector) => worked_on(report, |packet| protector.rtcp(packet).unwrap()),
            None => report.to_vec(),
        };
        self.party.rtcp.send_to(&sent, SocketAddr::new(to.ip(), to.port() + 1)).unwrap();
    }

    /// What is in the next report.
    pub(crate) fn hear_report(&mut self) -> Option<Vec<u8>> {
        let (sent, _) = self.party.hear_rtcp().unwrap()?;
        Some(match &mut self.unprotector {
            Some(unprotector) => worked_on(&sent, |packet| unprotector.rtcp(packet).unwrap()),
            None => sent,
        })
    }
}

pub(crate) fn ask(scene: &mut Scene, command: &Value) -> Value {
    let reply = scene.ng.request(command).unwrap();
    assert_eq!(reply["result"], "ok", "{command}: {reply}");
    reply
}

/// A call of two phones: the first one calls from the first PBX, the other one is behind the gateway.
pub(crate) struct Call {
    pub(crate) phones: [Phone; 2],
    /// Where each of them sends to.
    pub(crate) at: [SocketAddr; 2],
}

const TAGS: [&str; 2] = ["a", "b"];
pub(crate) const ID: &str = "secured";

impl Call {
    pub(crate) fn parties(trunks: &Trunks, is_ipv6: [bool; 2]) -> [Party; 2] {
        [(Trunk::Pbx1, 4000, is_ipv6[0]), (Trunk::Gateway, 6000, is_ipv6[1])].map(|(trunk, port, is_ipv6)| {
            if is_ipv6 { Party::new6(trunks, trunk, port) } else { Party::new(trunks, trunk, port) }.unwrap()
        })
    }

    /// Sets it up, with what the script says of the offer.
    pub(crate) fn new(scene: &mut Scene, wishes: [Wish; 2], is_ipv6: [bool; 2], options: &Value) -> Self {
        let [caller, callee] = Self::parties(&scene.trunks, is_ipv6);
        let phones = [Phone::new(caller, wishes[0], 7), Phone::new(callee, wishes[1], 9)];
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut call = Self { phones, at: [nowhere; 2] };
        let mut options = options.clone();
        options["address family"] = json!(if is_ipv6[1] { "IP6" } else { "IP4" });
        options["direction"] = json!([Trunk::Pbx1.name(), Trunk::Gateway.name()]);
        call.negotiate(scene, 0, &options);
        call
    }

    /// One of them offers, the other one answers.
    pub(crate) fn negotiate(&mut self, scene: &mut Scene, from: usize, options: &Value) {
        let to = 1 - from;
        let mut offer = options.clone();
        offer["command"] = json!("offer");
        (offer["call-id"], offer["from-tag"]) = (json!(ID), json!(TAGS[from]));
        if self.at[0].port() != 0 {
            offer["to-tag"] = json!(TAGS[to]);
        }
        offer["sdp"] = json!(self.phones[from].offer());
        let offered = ask(scene, &offer);
        let sdp = self.phones[to].answer(offered["sdp"].as_str().unwrap());
        let answered = ask(
            scene,
            &json!({"command": "answer", "call-id": ID, "from-tag": TAGS[from], "to-tag": TAGS[to], "sdp": sdp}),
        );
        self.phones[from].hear_answer(answered["sdp"].as_str().unwrap());
        if let (Ok(for_answerer), Ok(for_offerer)) = (media(&offered), media(&answered)) {
            (self.at[to], self.at[from]) = (for_answerer, for_offerer);
        }
    }

    /// Both say something, and each hears what the other said.
    pub(crate) fn talk(&mut self, packets: u32, when: &str) {
        for _ in 0..packets {
            for from in [0, 1] {
                let (to, at) = (1 - from, self.at);
                let said = self.phones[from].speak(at[from]);
                assert_eq!(self.phones[to].hear(), Some((said, at[to])), "{when}, from {}", TAGS[from]);
            }
        }
    }

    /// Each reports, and the other one hears the report.
    pub(crate) fn report(&mut self, when: &str) {
        for from in [0, 1] {
            let (to, at) = (1 - from, self.at);
            let report = [&[0x80, 200, 0, 6][..], &[from as u8 + 1; 24]].concat();
            self.phones[from].report(&report, at[from]);
            assert_eq!(self.phones[to].hear_report(), Some(report), "{when}, from {}", TAGS[from]);
        }
    }

    pub(crate) fn end(self, scene: &mut Scene) -> Value {
        ask(scene, &json!({"command": "delete", "call-id": ID, "from-tag": "a"}))
    }
}
