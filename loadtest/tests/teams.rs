//! What Microsoft Teams' Direct Routing says and sends, as its documentation has it, between it and a trunk in plain. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod secured;

use std::net::SocketAddr;
use std::time::Duration;

use ::media::srtp::{MasterKey, Mki, Protector, Suite, Unprotector};
use calls::sdp::Crypto;
use loadtest::rig::party::{Party, media};
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use secured::{ask, worked_on};
use serde_json::{Value, json};

const ID: &str = "teams";
/// What the script of `deploy/kamailio` says of SDPs for Teams, and for the other trunk.
const TO_TEAMS: [&str; 3] = ["rtcp-mux-offer", "SDES-pad", "SDES-lifetime"];
const FROM_TEAMS: [&str; 2] = ["rtcp-mux-accept", "SDES-offerer_pref:AES_CM_128_HMAC_SHA1_80"];

/// A media processor: RTP and RTCP by one port, two suites offered, the longer tag wanted.
struct Teams {
    party: Party,
    key: MasterKey,
    protector: Protector,
    unprotector: Option<Unprotector>,
    version: u32,
}

impl Teams {
    fn new(scene: &Scene) -> Self {
        let party = Party::new(&scene.trunks, Trunk::Gateway, 52_000).unwrap();
        let key = MasterKey::new(Suite::AesCm128Sha80, &[0x33; 30], Mki::default()).unwrap();
        Self { party, protector: Protector::new(&key), key, unprotector: None, version: 0 }
    }

    fn line(&self, tag: u32, suite: &str, more: &str) -> String {
        let line = Crypto { tag, key: self.key.clone(), others: Vec::new() }.write(true, false);
        line.replace("AES_CM_128_HMAC_SHA1_80", suite) + more
    }

    /// As "Direct Routing - SIP protocol" has an offer; an answer has one line.
    fn sdp(&mut self, direction: &str, lines: &[String]) -> String {
        self.version += 1;
        let (ip, port, version) = (self.party.addr().ip(), self.party.addr().port(), self.version);
        format!(
            "v=0\r\no=- 24337 {version} IN IP4 {ip}\r\ns=session\r\nc=IN IP4 {ip}\r\nb=CT:10000000\r\nt=0 0\r\n\
             m=audio {port} RTP/SAVP 104 9 103 111 18 8 0 97 101 13 118\r\nc=IN IP4 {ip}\r\na=rtcp:{rtcp}\r\n\
             a=ice-ufrag:TKeG\r\na=ice-pwd:nn9RKMGBrnBsVLCfRcGpTGgW\r\na=rtcp-mux\r\n\
             a=candidate:1 1 UDP 2130706431 {ip} {port} typ srflx raddr 10.0.136.60 rport {port}\r\n\
             a=candidate:1 2 UDP 2130705918 {ip} {rtcp} typ srflx raddr 10.0.136.60 rport {rtcp}\r\n\
             {lines}\r\na=maxptime:200\r\na=rtpmap:104 SILK/16000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
             a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na={direction}\r\n",
            rtcp = port + 1,
            lines = lines.join("\r\n"),
        )
    }

    fn offer(&mut self, direction: &str) -> String {
        let lines =
            [self.line(0, "AES_CM_128_HMAC_SHA1_32", "|2^31"), self.line(1, "AES_CM_128_HMAC_SHA1_80", "|2^31")];
        self.sdp(direction, &lines)
    }

    /// Takes what the relay protects by.
    fn hear_key(&mut self, sdp: &str) -> u32 {
        let lines = sdp.lines().filter_map(|line| line.strip_prefix("a=crypto:"));
        let mut lines =
            lines.filter(|line| line.contains("AES_CM_128_HMAC_SHA1_80 inline:") && line.ends_with("|2^31"));
        let line = Crypto::parse(lines.next().unwrap_or_else(|| panic!("{sdp}")).as_bytes()).unwrap();
        if self.unprotector.is_none() {
            self.unprotector = Some(Unprotector::new(&line.key));
        }
        line.tag
    }

    fn speak(&mut self, to: SocketAddr) -> Vec<u8> {
        let plain = self.party.next_packet();
        let sent = worked_on(&plain, |packet| self.protector.rtp(packet).unwrap());
        self.party.rtp.send_to(&sent, to).unwrap();
        plain
    }

    fn hear(&mut self) -> Vec<u8> {
        let (sent, _) = self.party.hear().unwrap().unwrap();
        worked_on(&sent, |packet| self.unprotector.as_mut().unwrap().rtp(packet).unwrap())
    }
}

/// A call of the two, set up by either.
struct Trunked {
    teams: Teams,
    pbx: Party,
    for_teams: SocketAddr,
    for_pbx: SocketAddr,
}

fn command(name: &str, sdp: &str, flags: &[&str]) -> Value {
    json!({"command": name, "call-id": ID, "sdp": sdp, "flags": flags, "ICE": "remove", "replace": ["origin"]})
}

impl Trunked {
    /// Teams offers.
    fn offer_from_teams(&mut self, scene: &mut Scene, direction: &str, is_first: bool) {
        let mut offer = command("offer", &self.teams.offer(direction), &FROM_TEAMS);
        (offer["from-tag"], offer["transport-protocol"]) = (json!("t"), json!("RTP/AVP"));
        offer["direction"] = json!(["gateway", "pbx1"]);
        if !is_first {
            offer["to-tag"] = json!("p");
        }
        let offered = ask(scene, &offer);
        let sdp = offered["sdp"].as_str().unwrap();
        assert!(!sdp.contains("crypto") && !sdp.contains("SAVP") && !sdp.contains("ice-"), "{sdp}");
        let opposite = match direction {
            "sendonly" => "recvonly",
            other => other,
        };
        let mut answer = command("answer", &self.pbx.sdp().replace("a=sendrecv", &format!("a={opposite}")), &[]);
        (answer["from-tag"], answer["to-tag"]) = (json!("t"), json!("p"));
        let answered = ask(scene, &answer);
        let sdp = answered["sdp"].as_str().unwrap();
        assert!(
            sdp.contains("RTP/SAVP") && sdp.contains("a=rtcp-mux") && sdp.matches("a=crypto").count() == 1,
            "{sdp}"
        );
        assert!(sdp.contains(&format!("a={opposite}")), "{sdp}");
        (self.for_pbx, self.for_teams) = (media(&offered).unwrap(), media(&answered).unwrap());
    }

    fn talk(&mut self, when: &str) {
        for _ in 0..5 {
            let said = self.teams.speak(self.for_teams);
            assert_eq!(self.pbx.hear().unwrap().map(|(heard, _)| heard), Some(said), "{when}");
            let said = self.pbx.speak(self.for_pbx).unwrap();
            assert_eq!(self.teams.hear(), said, "{when}");
        }
    }
}

fn trunked(scene: &mut Scene) -> Trunked {
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let pbx = Party::new(&scene.trunks, Trunk::Pbx1, 4000).unwrap();
    Trunked { teams: Teams::new(scene), pbx, for_teams: nowhere, for_pbx: nowhere }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_call_of_teams_is_held_resumed_and_refreshed_after_27_minutes_with_packets_counted_anew() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let mut call = trunked(&mut scene);
    call.offer_from_teams(&mut scene, "sendrecv", true);
    let answer = ask(&mut scene, &json!({"command": "query", "call-id": ID}));
    assert!(answer.to_string().contains(r#""crypto suite":"AES_CM_128_HMAC_SHA1_80""#), "the longer tag: {answer}");
    // The tag of the line that was taken.
    let mut lifetime = command("answer", &call.pbx.sdp(), &["SDES-lifetime"]);
    (lifetime["from-tag"], lifetime["to-tag"]) = (json!("t"), json!("p"));
    let answered = ask(&mut scene, &lifetime);
    assert_eq!(call.teams.hear_key(answered["sdp"].as_str().unwrap()), 1);
    call.talk("at first");
    // RTCP comes, and goes, by the port of RTP.
    let report = [&[0x80, 200, 0, 6][..], &[7; 24]].concat();
    let sealed = worked_on(&report, |packet| call.teams.protector.rtcp(packet).unwrap());
    call.teams.party.rtp.send_to(&sealed, call.for_teams).unwrap();
    assert_eq!(call.pbx.hear_rtcp().unwrap().unwrap().0, report);
    call.pbx.rtcp.send_to(&report, SocketAddr::new(call.for_pbx.ip(), call.for_pbx.port() + 1)).unwrap();
    let (sealed, _) = call.teams.party.hear().unwrap().unwrap();
    let opened = worked_on(&sealed, |packet| call.teams.unprotector.as_mut().unwrap().rtcp(packet).unwrap());
    assert_eq!(opened, report);
    // Half an hour of packets: their numbers have wrapped once.
    for sequence in [30_000, 60_000, 65_533] {
        call.teams.party.set_sequence(sequence);
        call.pbx.set_sequence(sequence);
        call.talk("through a turn");
    }
    for direction in ["inactive", "sendrecv"] {
        call.offer_from_teams(&mut scene, direction, false);
    }
    call.talk("resumed");
    // The session is refreshed: the same key, and Teams counts its packets anew, while the relay's go on.
    call.offer_from_teams(&mut scene, "sendrecv", false);
    call.teams.protector = Protector::new(&call.teams.key);
    call.talk("refreshed, and counted anew");
    call.offer_from_teams(&mut scene, "sendrecv", false);
    call.talk("refreshed, and counted on");
    // Workers tell their counts after they have sent: these are past that.
    std::thread::sleep(Duration::from_millis(500));
    let lost = ask(&mut scene, &json!({"command": "statistics"}))["statistics"]["reasons"]["workers"].clone();
    assert!(lost.is_object() && lost["srtp-forged"].is_null() && lost["srtp-replayed"].is_null(), "{lost}");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_call_to_teams_is_answered_with_a_key_that_has_a_name() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let mut call = trunked(&mut scene);
    let mut offer = command("offer", &call.pbx.sdp(), &TO_TEAMS);
    (offer["from-tag"], offer["transport-protocol"]) = (json!("p"), json!("RTP/SAVP"));
    offer["direction"] = json!(["pbx1", "gateway"]);
    let offered = ask(&mut scene, &offer);
    let sdp = offered["sdp"].as_str().unwrap();
    assert!(sdp.contains("RTP/SAVP") && sdp.contains("a=rtcp-mux"), "{sdp}");
    let tag = call.teams.hear_key(sdp);
    // `|2^31|1:1`: each of its packets bears the name of the key.
    call.teams.key = MasterKey::new(Suite::AesCm128Sha80, &[0x44; 30], Mki::new(1, 1).unwrap()).unwrap();
    call.teams.protector = Protector::new(&call.teams.key);
    let line = call.teams.line(tag, "AES_CM_128_HMAC_SHA1_80", "").replace("|1:1", "|2^31|1:1");
    let sdp = call.teams.sdp("sendrecv", &[line]);
    let mut answer = command("answer", &sdp, &[]);
    (answer["from-tag"], answer["to-tag"]) = (json!("p"), json!("t"));
    let answered = ask(&mut scene, &answer);
    let text = answered["sdp"].as_str().unwrap();
    assert!(text.contains("RTP/AVP") && !text.contains("crypto") && !text.contains("rtcp-mux"), "{text}");
    (call.for_teams, call.for_pbx) = (media(&offered).unwrap(), media(&answered).unwrap());
    call.talk("by a key with a name");
}
