use border::Family;

use super::*;

/// A PBX with both families, a gateway with IPv4 and a cloud with IPv6 only.
fn rig() -> Rig {
    let interfaces = ["pbx/192.0.2.1", "pbx/2001:db8::1", "gateway/198.51.100.1", "cloud/2001:db8:c::1"];
    Rig::on(&interfaces, at_once(), 30099)
}

fn towards(interface: &str, family: Option<Family>) -> Options {
    Options {
        from_interface: Some(b"pbx".to_vec()),
        to_interface: Some(interface.into()),
        address_family: family,
        ..Options::default()
    }
}

fn offered(rig: &mut Rig, address: &str, options: Options) -> String {
    rig.sdp(offer_with("a", None, &audio(address, 4000), options)).0
}

#[test]
fn a_call_within_ipv6_stays_there() {
    let mut rig = rig();
    let sdp = offered(&mut rig, "2001:db8::10", towards("cloud", None));
    assert!(sdp.contains("c=IN IP6 2001:db8:c::1\r\n"), "{sdp}");
    let (sdp, _) = rig.sdp(answer("a", "b", &audio("2001:db8:c::10", 5000)));
    assert!(sdp.contains("c=IN IP6 2001:db8::1\r\n"), "{sdp}");
    assert_eq!(rig.peer("[2001:db8::1]:30000").unwrap(), "[2001:db8::10]:4000");
    assert_eq!(rig.peer("[2001:db8:c::1]:30000").unwrap(), "[2001:db8:c::10]:5000");
    rig.end();
}

fn both_families() -> Rig {
    let interfaces = ["pbx/192.0.2.1", "pbx/2001:db8::1", "gateway/198.51.100.1", "gateway/2001:db8:9::1"];
    Rig::on(&interfaces, at_once(), 30099)
}

const MIXED: [&str; 2] = ["audio 4000 RTP/AVP 8", "video 4002 RTP/AVP 31\r\nc=IN IP6 2001:db8::10"];

#[test]
fn each_media_is_relayed_in_the_family_of_its_party() {
    let mut rig = both_families();
    let (sdp, _) = rig.sdp(offer_with("a", None, &session("192.0.2.10", &MIXED), towards("gateway", None)));
    assert!(!sdp.contains("IP6") && sdp.contains("c=IN IP4 198.51.100.1\r\n"), "{sdp}");
    let both = session("198.51.100.10", &["audio 5000 RTP/AVP 8", "video 5002 RTP/AVP 31"]);
    let (sdp, _) = rig.sdp(answer("a", "b", &both));
    assert!(sdp.contains("c=IN IP4 192.0.2.1\r\n") && sdp.ends_with("RTP/AVP 31\r\nc=IN IP6 2001:db8::1\r\n"), "{sdp}");
    assert_eq!(rig.peer("192.0.2.1:30000").unwrap(), "192.0.2.10:4000");
    let video = rig.installed.values().find(|spec| spec.local.is_ipv6() && spec.local.port() % 2 == 0).unwrap();
    assert_eq!(video.party.at.unwrap().to_string(), "[2001:db8::10]:4002");
    assert_eq!((rig.installed.len(), rig.calls.ports().used()), (8, 4));
    // Once more, without change.
    let (_, ops) = rig.sdp(offer_with("a", Some("b"), &session("192.0.2.10", &MIXED), towards("gateway", None)));
    assert_eq!((ops, rig.calls.ports().used()), (vec![], 4));
    rig.end();
}

#[test]
fn an_answer_in_the_other_family_is_sent_to_and_heard_in_both() {
    let mut rig = both_families();
    let sdp = offered(&mut rig, "192.0.2.10", towards("gateway", None));
    assert!(sdp.contains("c=IN IP4 198.51.100.1\r\n"), "{sdp}");
    for _ in 0..2 {
        let (sdp, _) = rig.sdp(answer("a", "b", &audio("2001:db8:9::10", 5000)));
        assert!(sdp.contains("c=IN IP4 192.0.2.1\r\n"), "{sdp}");
        assert_eq!(rig.peer("[2001:db8:9::1]:30000").unwrap(), "[2001:db8:9::10]:5000");
        assert_eq!(rig.at("192.0.2.1:30000").partner(), rig.slot_of("[2001:db8:9::1]:30000"));
        // It was told of the other one, and may send there.
        assert_eq!(rig.at("198.51.100.1:30000").partner(), rig.slot_of("192.0.2.1:30000"));
        assert_eq!((rig.peer("198.51.100.1:30000"), rig.calls.ports().used()), (None, 3));
    }
    let (sdp, _) = rig.sdp(offer("a", Some("b"), &audio("192.0.2.10", 4000)));
    assert!(sdp.contains("c=IN IP6 2001:db8:9::1\r\n"), "from now on it is told what it understands: {sdp}");
    rig.end();
}

#[test]
fn a_hold_by_address_and_an_offer_in_another_family_move_nothing_before_the_answer() {
    let mut rig = both_families();
    rig.sdp(offer_with("a", None, &audio("2001:db8::10", 4000), towards("gateway", None)));
    rig.sdp(answer("a", "b", &audio("2001:db8:9::10", 5000)));
    let before = rig.installed.clone();
    for address in ["0.0.0.0", "192.0.2.10"] {
        rig.sdp(offer("a", Some("b"), &audio(address, 4000)));
        assert!(before.iter().all(|(slot, spec)| rig.installed.get(slot) == Some(spec)), "{address}");
    }
    rig.sdp(offer("a", Some("b"), &audio("0.0.0.0", 4000)));
    let (sdp, _) = rig.sdp(answer("a", "b", &audio("2001:db8:9::10", 5000)));
    assert!(sdp.contains("c=IN IP6 2001:db8::1\r\n"), "{sdp}");
    rig.end();
}

#[test]
fn an_interface_of_one_family_turns_the_call_to_it() {
    let mut rig = rig();
    let sdp = offered(&mut rig, "192.0.2.10", towards("cloud", None));
    assert!(sdp.contains("c=IN IP6 2001:db8:c::1\r\n"), "{sdp}");
    let (sdp, _) = rig.sdp(answer("a", "b", &audio("2001:db8:c::10", 5000)));
    assert!(sdp.contains("c=IN IP4 192.0.2.1\r\n"), "{sdp}");
    rig.end();
}

#[test]
fn the_proxy_may_ask_for_a_family() {
    let mut rig = rig();
    let sdp = offered(&mut rig, "192.0.2.10", towards("pbx", Some(Family::V6)));
    assert!(sdp.contains("c=IN IP6 2001:db8::1\r\n"), "{sdp}");
}

#[test]
fn internal_and_external_are_ipv4_and_ipv6_where_no_interface_has_their_name() {
    let mut rig = rig();
    let options = Options { from_interface: Some(b"internal".to_vec()), ..towards("external", None) };
    let sdp = offered(&mut rig, "192.0.2.10", options);
    assert!(sdp.contains("c=IN IP6 2001:db8::1\r\n"), "{sdp}");
}

#[test]
fn a_party_in_the_wrong_family_is_refused_and_told_why() {
    let mut rig = rig();
    let options = Options { from_interface: Some(b"gateway".to_vec()), ..towards("pbx", None) };
    let error = rig.error(offer_with("a", None, &audio("2001:db8::10", 4000), options));
    assert_eq!(
        error,
        "Media address 2001:db8::10 is IPv6, but interface \"gateway\" speaks to this party from 198.51.100.1"
    );
    offered(&mut rig, "192.0.2.10", towards("gateway", None));
    let error = rig.error(answer("a", "b", &audio("2001:db8::20", 5000)));
    assert!(error.contains("2001:db8::20 is IPv6"), "{error}");
}

#[test]
fn a_party_that_changes_its_family_gets_an_address_of_the_new_one() {
    let mut rig = rig();
    offered(&mut rig, "192.0.2.10", towards("gateway", None));
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    rig.sdp(offer_with("a", Some("b"), &audio("2001:db8::10", 4002), Options::default()));
    let (sdp, _) = rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert!(sdp.contains("c=IN IP6 2001:db8::1\r\n"), "{sdp}");
    assert_eq!(rig.peer("[2001:db8::1]:30000").unwrap(), "[2001:db8::10]:4002");
    rig.end();
}
