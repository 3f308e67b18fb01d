//! SRTP with a telephone that others have made (baresip), through a proxy that others have made (Kamailio), with the routing of `deploy/kamailio`.
//! `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::thread::sleep;
use std::time::{Duration, Instant};

use loadtest::rig::agent::Agent;
use loadtest::rig::baresip::Baresip;
use loadtest::rig::exchange::Exchange;
use loadtest::rig::process::wait_until;
use loadtest::rig::trunks::{Trunk, Trunks};
use serde_json::{Value, json};

/// Packets that the agent sends, each unlike the others; and as many in a row have to come back.
const SAID: usize = 100;
const IN_A_ROW: usize = 20;

fn query(exchange: &mut Exchange, call_id: &str) -> Value {
    exchange.scene.ng.request(&json!({"command": "query", "call-id": call_id})).unwrap()
}

/// Says something for two seconds; what has come back meanwhile.
fn echo(agent: &mut Agent) -> (Vec<Vec<u8>>, Vec<u8>) {
    let to = agent.told().unwrap();
    let (mut said, mut heard) = (Vec::new(), Vec::new());
    agent.party.rtp.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let start = Instant::now();
    for number in 0..SAID as u32 + 25 {
        if number < SAID as u32 {
            let packet = agent.party.speak(to).unwrap();
            said.push(packet[12..].to_vec());
        }
        while start.elapsed() < Duration::from_millis(20) * (number + 1) {
            if let Some((packet, _)) = agent.party.hear().unwrap() {
                assert_eq!((packet.len(), packet[1] & 0x7f), (172, 8), "no PCMA of 20 ms");
                heard.extend_from_slice(&packet[12..]);
            }
        }
    }
    (said, heard)
}

/// Whether a stretch of what was said is in what was heard, to the byte.
fn comes_back(said: &[Vec<u8>], heard: &[u8]) -> bool {
    said.windows(IN_A_ROW).any(|stretch| {
        let stretch = stretch.concat();
        heard.windows(stretch.len()).any(|place| place == stretch)
    })
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio, baresip"]
fn a_telephone_with_srtp_talks_with_a_plain_trunk_to_the_byte() {
    let mut exchange = Exchange::secured(Trunks::new().unwrap(), "gateway").unwrap();
    let folder = exchange.scene.folder.path().to_owned();
    let phone = Baresip::start(&exchange.scene.trunks, Trunk::Gateway, "srtp-mand", &folder).unwrap();
    let mut agent = exchange.agent(Trunk::Pbx1).unwrap();
    let offer = agent.sdp();
    agent.invite(Trunk::Gateway.number(), &offer).unwrap();
    let accepted = agent.hear_status("INVITE", 200);
    let accepted = accepted.unwrap_or_else(|error| panic!("{error}; {}", phone.log().unwrap()));
    agent.ack("").unwrap();
    assert!(accepted.body.contains("RTP/AVP") && !accepted.body.contains("crypto"), "{}", accepted.body);
    sleep(Duration::from_millis(300));
    let (said, heard) = echo(&mut agent);
    assert!(comes_back(&said, &heard), "{} bytes heard; {}", heard.len(), phone.log().unwrap());
    let call_id = agent.call_id().to_owned();
    let told = query(&mut exchange, &call_id);
    let suites = told.to_string().matches("\"crypto suite\"").count();
    assert_eq!(suites, 2, "RTP and RTCP of one party: {told}");
    agent.request("BYE", "", "").unwrap();
    agent.hear_status("BYE", 200).unwrap();
    wait_until("the call is over", Duration::from_secs(3), || query(&mut exchange, &call_id)["result"] == "error")
        .unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio, baresip"]
fn a_telephone_that_may_do_without_srtp_has_it_as_callee_and_as_caller() {
    let number = Trunk::Pbx1.number();
    for (encryption, is_caller, suites) in [("srtp", false, 2), ("", false, 0), ("srtp", true, 2), ("", true, 0)] {
        let mut exchange = Exchange::opportunistic(Trunks::new().unwrap(), "gateway").unwrap();
        let folder = exchange.scene.folder.path().to_owned();
        let mut agent = exchange.agent(Trunk::Pbx1).unwrap();
        let (trunks, offer) = (&exchange.scene.trunks, agent.sdp());
        let phone = if is_caller {
            let phone = Baresip::call(trunks, Trunk::Gateway, encryption, &folder, number).unwrap();
            let invite = agent.hear("INVITE").unwrap();
            assert!(invite.body.contains("RTP/AVP") && !invite.body.contains("crypto"), "{}", invite.body);
            agent.reply(&invite, 200, "", &offer).unwrap();
            agent.hear("ACK").unwrap();
            phone
        } else {
            let phone = Baresip::start(trunks, Trunk::Gateway, encryption, &folder).unwrap();
            agent.invite(Trunk::Gateway.number(), &offer).unwrap();
            let accepted = agent.hear_status("INVITE", 200).unwrap();
            assert!(accepted.body.contains("RTP/AVP") && !accepted.body.contains("crypto"), "{}", accepted.body);
            agent.ack("").unwrap();
            phone
        };
        sleep(Duration::from_millis(300));
        let (said, heard) = echo(&mut agent);
        let told = query(&mut exchange, agent.call_id()).to_string();
        assert_eq!(told.matches("\"crypto suite\"").count(), suites, "{encryption} {is_caller}: {told}");
        assert!(comes_back(&said, &heard), "{encryption} {is_caller}: {}; {}", heard.len(), phone.log().unwrap());
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio, baresip"]
fn two_telephones_with_srtp_talk_by_the_fast_path() {
    let mut exchange = Exchange::deployed(Trunks::new().unwrap()).unwrap();
    let (folder, trunks) = (exchange.scene.folder.path().to_owned(), &exchange.scene.trunks);
    let callee = Baresip::start(trunks, Trunk::Gateway, "srtp-mand", &folder).unwrap();
    let number = Trunk::Gateway.number();
    let caller = Baresip::call(trunks, Trunk::Pbx1, "srtp-mand", &folder, number).unwrap();
    let mut told = Value::Null;
    let talking = wait_until("both are on the fast path", Duration::from_secs(10), || {
        let list = exchange.scene.ng.request(&json!({"command": "list"})).unwrap();
        let Some(call_id) = list["calls"][0].as_str() else { return false };
        told = query(&mut exchange, call_id);
        let text = told.to_string();
        text.matches("\"path\":\"fast\"").count() >= 2
            && text.matches("passthrough").count() == 2
            && told["totals"]["RTP"]["packets"].as_i64().is_some_and(|packets| packets > 200)
    });
    assert!(talking.is_ok(), "{told}; {}; {}", caller.log().unwrap(), callee.log().unwrap());
    for log in [caller.log().unwrap(), callee.log().unwrap()] {
        // Of RTCP its first packet of all, which opens ways through NATs, is in plain.
        assert!(!log.contains("failed to decrypt RTP packet"), "{log}");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_trunk_that_is_to_have_srtp_gets_away_with_nothing_less() {
    let exchange = Exchange::secured(Trunks::new().unwrap(), "gateway").unwrap();
    let (mut pbx, mut gateway) = (exchange.agent(Trunk::Pbx1).unwrap(), exchange.agent(Trunk::Gateway).unwrap());
    let plain = gateway.sdp();
    gateway.invite(Trunk::Pbx1.number(), &plain).unwrap();
    gateway.hear_status("INVITE", 488).unwrap();
    // An answer in plain has no media, neither by the relay nor past it.
    let offer = pbx.sdp();
    pbx.invite(Trunk::Gateway.number(), &offer).unwrap();
    let invite = gateway.hear("INVITE").unwrap();
    assert!(invite.body.contains("RTP/SAVP") && invite.body.contains("a=crypto"), "{}", invite.body);
    let plain = gateway.sdp();
    gateway.reply(&invite, 200, "", &plain).unwrap();
    let accepted = pbx.hear_status("INVITE", 200).unwrap();
    assert_eq!(accepted.body, "");
}
