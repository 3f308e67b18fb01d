use super::*;
use crate::intent::Mux;

const ASKS: &str = "audio 4000 RTP/AVP 8\r\na=rtcp-mux";
const ASKS_NOT: &str = "audio 5000 RTP/AVP 8";

fn wanting(mux: Mux) -> Options {
    Options { mux, ..across() }
}

/// What each party gets to see: whether it is offered a shared port, and whether its own offer is accepted.
fn negotiate(rig: &mut Rig, caller: &str, callee: &str, mux: Mux) -> (bool, bool) {
    let (offered, _) = rig.sdp(offer_with("a", None, &session("192.0.2.10", &[caller]), wanting(mux)));
    let (answered, _) = rig.sdp(answer("a", "b", &session("198.51.100.10", &[callee])));
    (offered.contains("a=rtcp-mux\r\n"), answered.contains("a=rtcp-mux\r\n"))
}

/// Where the RTCP of a party arrives, and where the relay expects it from.
fn rtcp(rig: &Rig, interface: &str) -> (u16, u16) {
    let is_it = |spec: &&SourceSpec| spec.component == Component::Rtcp && spec.local.ip().to_string() == interface;
    let spec = rig.installed.values().find(is_it).unwrap();
    assert_eq!(spec.mux, spec.local.port().is_multiple_of(2));
    (spec.local.port(), spec.party.at.unwrap().port())
}

const PBX: &str = "192.0.2.1";
const GATEWAY: &str = "198.51.100.1";

#[test]
fn parties_that_agree_share_their_ports() {
    let mut rig = Rig::new();
    let callee = ASKS.replace("4000", "5000");
    assert_eq!(negotiate(&mut rig, ASKS, &callee, Mux::default()), (true, true));
    assert_eq!((rtcp(&rig, PBX), rtcp(&rig, GATEWAY)), ((30000, 4000), (30000, 5000)));
    rig.end();
}

#[test]
fn a_party_that_refuses_keeps_the_other_from_it_too() {
    let mut rig = Rig::new();
    assert_eq!(negotiate(&mut rig, ASKS, ASKS_NOT, Mux::default()), (true, false));
    assert_eq!((rtcp(&rig, PBX), rtcp(&rig, GATEWAY)), ((30001, 4001), (30001, 5001)));
}

#[test]
fn demux_serves_a_party_that_shares_and_one_that_does_not() {
    let mut rig = Rig::new();
    let demux = Mux { offer: Some(false), accept: Some(true), require: false };
    assert_eq!(negotiate(&mut rig, ASKS, ASKS_NOT, demux), (false, true));
    assert_eq!((rtcp(&rig, PBX), rtcp(&rig, GATEWAY)), ((30000, 4000), (30001, 5001)));
}

#[test]
fn a_shared_port_can_be_offered_to_the_callee_alone() {
    let mut rig = Rig::new();
    let offer = Mux { offer: Some(true), ..Mux::default() };
    let callee = ASKS.replace("4000", "5000");
    let (offered, answered) = negotiate(&mut rig, &ASKS_NOT.replace("5000", "4000"), &callee, offer);
    assert_eq!((offered, answered), (true, false), "nobody is told what it did not ask for");
    assert_eq!((rtcp(&rig, PBX), rtcp(&rig, GATEWAY)), ((30001, 4001), (30000, 5000)));
}

#[test]
fn a_rejected_wish_still_reaches_the_callee() {
    let mut rig = Rig::new();
    let reject = Mux { accept: Some(false), ..Mux::default() };
    let callee = ASKS.replace("4000", "5000");
    assert_eq!(negotiate(&mut rig, ASKS, &callee, reject), (true, false));
    assert_eq!((rtcp(&rig, PBX), rtcp(&rig, GATEWAY)), ((30001, 4001), (30000, 5000)));
}

#[test]
fn an_unasked_answer_shares_nothing() {
    let mut rig = Rig::new();
    let callee = ASKS.replace("4000", "5000");
    assert_eq!(negotiate(&mut rig, &ASKS_NOT.replace("5000", "4000"), &callee, Mux::default()), (false, false));
    assert_eq!((rtcp(&rig, PBX), rtcp(&rig, GATEWAY)), ((30001, 4001), (30001, 5001)));
}

#[test]
fn a_second_answer_to_an_offer_agrees_as_the_first_did() {
    let mut rig = Rig::new();
    let callee = ASKS.replace("4000", "5000");
    negotiate(&mut rig, ASKS, &callee, Mux::default());
    let (sdp, ops) = rig.sdp(answer("a", "b", &session("198.51.100.10", &[&callee])));
    assert!(sdp.contains("a=rtcp-mux\r\n"));
    assert_eq!(ops, []);
}

#[test]
fn an_offer_to_stop_sharing_changes_nothing_before_its_answer() {
    let mut rig = Rig::new();
    let callee = ASKS.replace("4000", "5000");
    negotiate(&mut rig, ASKS, &callee, Mux::default());
    rig.sdp(offer("a", Some("b"), &audio("192.0.2.10", 4000)));
    assert_eq!(rtcp(&rig, PBX), (30000, 4000));
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!((rtcp(&rig, PBX), rtcp(&rig, GATEWAY)), ((30001, 4001), (30001, 5001)));
}

#[test]
fn the_rtcp_attribute_names_the_port_that_is_shared() {
    let mut rig = Rig::new();
    let asks = format!("{ASKS}\r\na=rtcp:4001");
    let (offered, _) = rig.sdp(offer("a", None, &session("192.0.2.10", &[&asks])));
    assert!(offered.contains("a=rtcp:30001\r\n"), "the callee may not agree: {offered}");
    let callee = format!("{}\r\na=rtcp:5000", ASKS.replace("4000", "5000"));
    let (answered, _) = rig.sdp(answer("a", "b", &session("198.51.100.10", &[&callee])));
    assert!(answered.contains("a=rtcp:30000\r\n"), "{answered}");
    let require = wanting(Mux { offer: Some(true), require: true, ..Mux::default() });
    let (offered, _) = rig.sdp(offer_with("a", Some("b"), &session("192.0.2.10", &[&asks]), require));
    assert!(offered.contains("a=rtcp:30000\r\n"), "{offered}");
}
