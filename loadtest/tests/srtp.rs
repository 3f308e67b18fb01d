//! Parties that protect their media (SRTP by SDES), and the relay between them and others. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::time::Duration;

use ::media::srtp::{MasterKey, Mki, Protector, Suite, Unprotector};
use ::media::{Packet, TAIL_ROOM};
use calls::sdp::Crypto;
use loadtest::rig::party::{Party, media};
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use serde_json::{Value, json};

/// Every way in which workers get and send packets.
const WAYS: [(&str, &[&str]); 5] =
    [("xdp", &[]), ("uring", &[]), ("epoll", &[]), ("epoll", &["--intake=xsk"]), ("uring", &["--intake=bound"])];

/// What a party that protects its media has.
struct Secured {
    party: Party,
    line: Crypto,
    protector: Protector,
    /// Once it is known by what the relay protects.
    unprotector: Option<Unprotector>,
}

fn worked_on(bytes: &[u8], work: impl FnOnce(&mut Packet<'_>)) -> Vec<u8> {
    let mut buffer = bytes.to_vec();
    buffer.resize(bytes.len() + TAIL_ROOM, 0);
    let mut packet = Packet::new(&mut buffer, 0, bytes.len()).unwrap();
    work(&mut packet);
    packet.payload().to_vec()
}

impl Secured {
    fn new(party: Party, suite: Suite, seed: u8) -> Self {
        let material: Vec<u8> = (0..suite.key_len() + suite.salt_len()).map(|place| seed ^ place as u8).collect();
        let key = MasterKey::new(suite, &material, Mki::default()).unwrap();
        let protector = Protector::new(&key);
        Self { party, line: Crypto { tag: 1, key, others: Vec::new() }, protector, unprotector: None }
    }

    /// Its description. As an answer it takes the line of its suite, by the tag that it has in the offer.
    fn sdp(&mut self, offer: Option<&str>) -> String {
        if let Some(offer) = offer {
            self.line.tag = self.hears(offer).tag;
        }
        self.party.sdp().replace("RTP/AVP", "RTP/SAVP") + &self.line.write(false, true) + "\r\n"
    }

    /// What the relay protects by, of the same suite.
    fn hears(&mut self, sdp: &str) -> Crypto {
        let lines = sdp.lines().filter_map(|line| line.strip_prefix("a=crypto:"));
        let mut lines = lines.filter_map(|line| Crypto::parse(line.as_bytes()));
        let line = lines.find(|line| line.suite() == self.line.suite()).expect("a line of its suite");
        self.unprotector = Some(Unprotector::new(&line.key));
        line
    }

    /// Sends its next packet; returns what is in it.
    fn speak(&mut self, to: SocketAddr) -> Vec<u8> {
        let plain = self.party.next_packet();
        let sealed = worked_on(&plain, |packet| self.protector.rtp(packet).unwrap());
        self.party.rtp.send_to(&sealed, to).unwrap();
        plain
    }

    /// What is in the next packet.
    fn hear(&mut self) -> Option<(Vec<u8>, SocketAddr)> {
        let (sealed, from) = self.party.hear().unwrap()?;
        let unprotector = self.unprotector.as_mut().unwrap();
        Some((worked_on(&sealed, |packet| unprotector.rtp(packet, 1).unwrap()), from))
    }
}

/// A call of a plain party to one that protects its media.
struct Mixed {
    plain: Party,
    secured: Secured,
    for_plain: SocketAddr,
    for_secured: SocketAddr,
}

fn ask(scene: &mut Scene, command: &Value) -> Value {
    let reply = scene.ng.request(command).unwrap();
    assert_eq!(reply["result"], "ok", "{command}: {reply}");
    reply
}

impl Mixed {
    fn new(scene: &mut Scene, suite: Suite, is_ipv6: [bool; 2]) -> Self {
        let at = |trunk, port, is_ipv6| {
            if is_ipv6 { Party::new6(&scene.trunks, trunk, port) } else { Party::new(&scene.trunks, trunk, port) }
                .unwrap()
        };
        let (plain, party) = (at(Trunk::Pbx1, 4000, is_ipv6[0]), at(Trunk::Gateway, 6000, is_ipv6[1]));
        let mut secured = Secured::new(party, suite, 7);
        let offer = json!({
            "command": "offer", "call-id": "mixed", "from-tag": "a", "sdp": plain.sdp(),
            "direction": [Trunk::Pbx1.name(), Trunk::Gateway.name()], "transport-protocol": "RTP/SAVP",
            "address family": if is_ipv6[1] { "IP6" } else { "IP4" },
        });
        let offered = ask(scene, &offer);
        let sdp = secured.sdp(offered["sdp"].as_str());
        let answer = json!({"command": "answer", "call-id": "mixed", "from-tag": "a", "to-tag": "b", "sdp": sdp});
        let answered = ask(scene, &answer);
        assert!(!answered["sdp"].as_str().unwrap().contains("crypto"), "{answered}");
        Self { plain, secured, for_secured: media(&offered).unwrap(), for_plain: media(&answered).unwrap() }
    }

    /// Both say something, and each hears what the other said, and nobody on the way does.
    fn talk(&mut self, packets: u32, when: &str) {
        for _ in 0..packets {
            let said = self.plain.speak(self.for_plain).unwrap();
            assert_eq!(self.secured.hear(), Some((said, self.for_secured)), "{when}");
            let said = self.secured.speak(self.for_secured);
            assert_eq!(self.plain.hear().unwrap(), Some((said, self.for_plain)), "{when}");
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_plain_party_talks_with_a_protected_one_by_every_suite_and_every_way() {
    for (number, (engine, args)) in WAYS.into_iter().enumerate() {
        let mut scene = Scene::new(Trunks::dual_stack().unwrap(), engine, args).unwrap();
        for (place, suite) in Suite::ALL.into_iter().enumerate() {
            let is_ipv6 = [(number + place) % 2 == 0, (number + place) % 3 == 0];
            let mut call = Mixed::new(&mut scene, suite, is_ipv6);
            call.talk(3, &format!("{engine} {args:?} {} {is_ipv6:?}", suite.name()));
            let delete = json!({"command": "delete", "call-id": "mixed", "from-tag": "a"});
            let totals = ask(&mut scene, &delete);
            assert_eq!(totals["totals"]["RTP"]["packets"], 6, "{totals}");
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn who_has_no_key_is_neither_heard_nor_taken_for_the_party() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let mut call = Mixed::new(&mut scene, Suite::AesCm128Sha80, [false, false]);
    let stranger = Party::new(&scene.trunks, Trunk::Gateway, 6100).unwrap();
    let mut forger = Secured::new(stranger, Suite::AesCm128Sha80, 8);
    // Before the party, beside it, and by what it has sent.
    for when in ["before", "beside"] {
        for _ in 0..5 {
            forger.speak(call.for_secured);
        }
        call.talk(3, when);
    }
    let statistics = ask(&mut scene, &json!({"command": "statistics"}));
    let workers = &statistics["statistics"]["reasons"]["workers"];
    // Beside a party that is certain they are nobody's, and end before.
    assert_eq!(workers["srtp-forged"], 5, "{workers}");
    assert_eq!(forger.party.hear().unwrap(), None);
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_protected_call_outlives_its_daemon() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let mut call = Mixed::new(&mut scene, Suite::AesCm128Sha80, [false, false]);
    // Through a turn of their sequence numbers, which packets do not tell.
    for sequence in [65_000, 30_000, 50_000, 65_530] {
        call.plain.set_sequence(sequence);
        call.secured.party.set_sequence(sequence);
        call.talk(10, "before");
    }
    // What was counted is noted once a second.
    std::thread::sleep(Duration::from_millis(1200));
    scene.daemon.kill().unwrap();
    scene.daemon.restart().unwrap();
    call.talk(10, "after");
    wait_until("all is counted", Duration::from_secs(3), || {
        let query = scene.ng.request(&json!({"command": "query", "call-id": "mixed"})).unwrap();
        query["totals"]["RTP"]["packets"] == 100
    })
    .unwrap();
}
