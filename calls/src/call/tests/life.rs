use border::Learning;

use super::*;

#[test]
fn an_offer_reserves_both_sides_and_names_that_of_the_callee() {
    let mut rig = Rig::new();
    let (sdp, ops) = rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    assert!(sdp.contains("c=IN IP4 203.0.113.1\r\n") && sdp.contains("m=audio 30000 RTP/AVP 8\r\n"), "{sdp}");
    assert!(sdp.contains("o=- 1 1 IN IP4 192.0.2.10\r\n"), "the origin stays: {sdp}");
    assert_eq!(ops.len(), 4);
    assert_eq!(rig.calls.ports().used(), 2);
    // Early media of the callee is relayed from here on.
    assert_eq!(rig.peer("198.51.100.1:30000"), None);
    assert_eq!(rig.peer("192.0.2.1:30000").unwrap(), "192.0.2.10:4000");
}

#[test]
fn an_answer_names_the_side_of_the_caller_and_completes_the_streams() {
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    let (sdp, ops) = rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert!(sdp.contains("c=IN IP4 192.0.2.1\r\n") && sdp.contains("m=audio 30000 RTP/AVP 8\r\n"), "{sdp}");
    assert_eq!(ops.len(), 2, "only the callee's streams change: {ops:?}");
    let rtp = rig.at("198.51.100.1:30000");
    assert_eq!((rtp.component, rtp.clock_khz), (Component::Rtp, 8));
    assert_eq!(rtp.party.at.unwrap().to_string(), "198.51.100.10:5000");
    assert_eq!(rig.installed.get(&rtp.partner().unwrap()).unwrap().local.to_string(), "192.0.2.1:30000");
    let rtcp = rig.at("192.0.2.1:30001");
    assert_eq!((rtcp.component, rtcp.clock_khz), (Component::Rtcp, 0));
    assert_eq!(rtcp.party.at.unwrap().to_string(), "192.0.2.10:4001");
    assert_eq!(rig.installed.get(&rtcp.partner().unwrap()).unwrap().local.to_string(), "198.51.100.1:30001");
}

#[test]
fn commands_that_come_twice_change_nothing_and_get_the_same_reply() {
    let mut rig = Rig::new();
    let (first, _) = rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    assert_eq!(rig.sdp(offer("a", None, &audio("192.0.2.10", 4000))), (first.clone(), vec![]));
    let (second, _) = rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!(rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000))), (second, vec![]));
    assert_eq!(rig.sdp(offer("a", None, &audio("192.0.2.10", 4000))), (first.clone(), vec![]));
    assert_eq!(rig.sdp(offer("a", Some("b"), &audio("192.0.2.10", 4000))), (first, vec![]));
}

#[test]
fn a_new_offer_of_the_caller_updates_in_place_once_it_is_answered() {
    let mut rig = Rig::new();
    rig.call();
    let (sdp, ops) = rig.sdp(offer("a", Some("b"), &audio("192.0.2.11", 4100)));
    assert!(sdp.contains("m=audio 30000 "), "{sdp}");
    assert_eq!(ops, [], "it may be refused");
    let (_, ops) = rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!((ops.len(), rig.calls.ports().used()), (2, 2));
    assert_eq!(rig.peer("192.0.2.1:30001").unwrap(), "192.0.2.11:4101");
}

#[test]
fn an_offer_of_the_callee_has_the_roles_of_its_tags() {
    let mut rig = Rig::new();
    rig.call();
    // The direction is that of the first offer, or this one would put both parties on the wrong interface.
    let (sdp, ops) = rig.sdp(offer("b", Some("a"), &audio("198.51.100.20", 5200)));
    assert!(sdp.contains("c=IN IP4 192.0.2.1\r\n") && sdp.contains("m=audio 30000 "), "{sdp}");
    assert_eq!(ops, []);
    let (sdp, ops) = rig.sdp(answer("b", "a", &audio("192.0.2.10", 4000)));
    assert!(sdp.contains("c=IN IP4 203.0.113.1\r\n"), "{sdp}");
    assert_eq!((ops.len(), rig.calls.ports().used()), (2, 2));
    assert_eq!(rig.peer("198.51.100.1:30000").unwrap(), "198.51.100.20:5200");
}

#[test]
fn an_offer_that_is_refused_changes_nothing_and_the_next_one_may_be_answered() {
    let mut rig = Rig::new();
    rig.call();
    let fax = session("192.0.2.10", &["audio 0 RTP/AVP 8", "image 4010 udptl t38"]);
    // The other party says 488, of which the proxy tells us nothing.
    let before = rig.installed.clone();
    rig.sdp(offer("a", Some("b"), &fax));
    assert!(before.iter().all(|(slot, spec)| rig.installed.get(slot) == Some(spec)));
    rig.sdp(offer("a", Some("b"), &audio("192.0.2.12", 4200)));
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!((rig.installed.len(), rig.peer("192.0.2.1:30000").unwrap()), (4, "192.0.2.12:4200".to_owned()));
    rig.end();
}

#[test]
fn a_party_that_says_it_is_where_the_call_arrives_is_nowhere() {
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &audio("198.51.100.1", 30000)));
    rig.sdp(answer("a", "b", &audio("192.0.2.1", 30000)));
    assert_eq!((rig.peer("192.0.2.1:30000"), rig.peer("198.51.100.1:30000")), (None, None));
}

#[test]
fn a_delete_that_names_only_a_party_that_never_answered_ends_the_call() {
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    rig.run(delete(None, Some("busy")));
    assert!(rig.calls.is_empty());
}

#[test]
fn an_offer_of_the_callee_without_to_tag_moves_nobody() {
    let mut rig = Rig::new();
    rig.call();
    let (sdp, _) = rig.sdp(offer("b", None, &audio("198.51.100.10", 5000)));
    assert!(sdp.contains("c=IN IP4 192.0.2.1\r\n"), "{sdp}");
}

#[test]
fn a_late_offer_begins_with_both_tags() {
    let mut rig = Rig::new();
    let options = Options {
        from_interface: Some(b"gateway".to_vec()),
        to_interface: Some(b"pbx".to_vec()),
        ..Options::default()
    };
    let (sdp, _) = rig.sdp(offer_with("b", Some("a"), &audio("198.51.100.10", 5000), options));
    assert!(sdp.contains("c=IN IP4 192.0.2.1\r\n"), "{sdp}");
    let (sdp, _) = rig.sdp(answer("b", "a", &audio("192.0.2.10", 4000)));
    assert!(sdp.contains("c=IN IP4 203.0.113.1\r\n"), "{sdp}");
    assert_eq!(rig.peer("192.0.2.1:30000").unwrap(), "192.0.2.10:4000");
}

#[test]
fn an_offer_of_a_callee_that_has_not_answered_names_it() {
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    rig.sdp(offer("b", Some("a"), &audio("198.51.100.10", 5000)));
    assert_eq!(rig.peer("198.51.100.1:30000").unwrap(), "198.51.100.10:5000");
    assert_eq!(rig.calls.ports().used(), 2);
}

#[test]
fn a_delete_of_the_call_removes_everything() {
    for (from, to) in [(None, None), (Some("a"), None), (Some("b"), None), (Some("b"), Some("a")), (None, Some("b"))] {
        let mut rig = Rig::new();
        rig.call();
        let (reply, ops) = rig.run(delete(from, to));
        assert!(matches!(reply, Reply::Ok(_)), "{reply:?}");
        assert_eq!(ops.len(), 4);
        assert!(rig.calls.is_empty() && rig.installed.is_empty());
        assert_eq!(rig.calls.ports().used(), 0);
    }
}

#[test]
fn a_delete_before_the_answer_may_name_any_callee() {
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    rig.run(delete(Some("a"), Some("unheard")));
    assert!(rig.calls.is_empty());
}

#[test]
fn a_delete_that_matches_nothing_is_a_warning() {
    let expected = Reply::Warning("Call-ID not found or tags didn't match".into());
    let mut rig = Rig::new();
    assert_eq!(rig.run(delete(None, None)), (expected.clone(), vec![]));
    rig.call();
    for (from, to) in [(Some("x"), None), (Some("a"), Some("x")), (Some("x"), Some("a")), (None, Some("x"))] {
        assert_eq!(rig.run(delete(from, to)), (expected.clone(), vec![]));
    }
    assert_eq!(rig.calls.len(), 1);
}

#[test]
fn a_delete_that_insists_gets_an_error() {
    let Intent::Delete(gone) = delete(None, None) else { panic!("no delete") };
    let error = Rig::new().error(Intent::Delete(Delete { fatal: true, ..gone }));
    assert_eq!(error, "Call-ID not found or tags didn't match");
}

#[test]
fn an_answer_or_a_query_of_an_unknown_call_is_an_error() {
    let mut rig = Rig::new();
    assert_eq!(rig.error(answer("a", "b", &audio("192.0.2.10", 4000))), "Unknown call-id");
    assert_eq!(rig.error(Intent::Query { call_id: b"call".to_vec() }), "Unknown call-id");
    rig.call();
    assert_eq!(rig.error(answer("x", "b", &audio("192.0.2.10", 4000))), "Unknown from-tag");
}

#[test]
fn a_party_cannot_call_itself() {
    let mut rig = Rig::new();
    assert_eq!(rig.error(offer("a", Some("a"), &audio("192.0.2.10", 4000))), "from-tag and to-tag are the same");
    rig.call();
    assert_eq!(rig.error(answer("a", "a", &audio("192.0.2.10", 4000))), "from-tag and to-tag are the same");
}

#[test]
fn a_description_that_cannot_be_used_changes_nothing() {
    let mut rig = Rig::new();
    for (sdp, text) in [
        ("v=0\r\n".to_owned(), "Failed to parse SDP"),
        ("m=audio x RTP/AVP 0\r\n".to_owned(), "Failed to parse SDP"),
        ("m=audio 4000 RTP/AVP 0\r\n".to_owned(), "Incomplete SDP specification"),
        (
            "c=IN IP6 2001:db8::1\r\nm=audio 4000 RTP/AVP 0\r\n".to_owned(),
            "Media address 2001:db8::1 is IPv6, but interface \"pbx\" speaks to this party from 192.0.2.1",
        ),
    ] {
        assert_eq!(rig.error(offer("a", None, &sdp)), text);
        assert!(rig.calls.is_empty());
    }
    rig.call();
    let before = rig.installed.clone();
    assert_eq!(rig.error(answer("a", "b", "c=IN IP6 2001:db8::1\r\nm=audio 4 RTP/AVP 0\r\n")).len(), 97);
    assert_eq!(rig.installed, before);
}

#[test]
fn learning_and_type_of_service_come_from_settings_and_commands() {
    let mut rig = Rig::with(Settings { tos: Some(16), ..at_once() }, 30099);
    rig.call();
    assert!(rig.installed.values().all(|spec| spec.tos == Some(16) && spec.party.learning == Learning::Heuristic));
    let options = Options { tos: Some(184), asymmetric: true, ..across() };
    rig.sdp(offer_with("a", Some("b"), &audio("192.0.2.10", 4000), options));
    assert!(rig.installed.values().all(|spec| spec.tos == Some(184)));
    assert!(rig.at("192.0.2.1:30000").party.is_asymmetric && !rig.at("198.51.100.1:30000").party.is_asymmetric);
    rig.sdp(offer("a", Some("b"), &audio("192.0.2.10", 4000)));
    assert!(rig.at("192.0.2.1:30000").party.is_asymmetric, "holds once said");
    let options = Options { learning: Some(Learning::Off), ..Options::default() };
    rig.sdp(answer_with("a", "b", &audio("198.51.100.10", 5000), options));
    assert!(rig.installed.values().all(|spec| spec.party.learning == Learning::Off && spec.tos == Some(184)));
}

#[test]
fn the_description_is_edited_as_the_flags_say() {
    let mut rig = Rig::new();
    let options = Options { replace_origin: true, rtcp: crate::intent::RtcpForm::Full, ..across() };
    let text = audio("192.0.2.10", 4000) + "a=candidate:1 1 UDP 1 192.0.2.10 4000 typ host\r\na=rtcp-mux\r\n";
    let (sdp, _) = rig.sdp(offer_with("a", None, &text, options));
    assert!(
        sdp.contains("o=- 1 1 IN IP4 203.0.113.1\r\n") && sdp.contains("a=rtcp:30001 IN IP4 203.0.113.1\r\n"),
        "{sdp}"
    );
    assert!(!sdp.contains("candidate") && sdp.contains("a=rtcp-mux\r\n"), "{sdp}");
}

#[test]
fn the_source_of_the_signalling_may_be_the_party() {
    let mut rig = Rig::new();
    let options =
        Options { sip_source_address: true, received_from: Some("203.0.113.77".parse().unwrap()), ..across() };
    rig.sdp(offer_with("a", None, &audio("10.0.0.5", 4000), options));
    assert_eq!(rig.peer("192.0.2.1:30000").unwrap(), "203.0.113.77:4000");
}

#[test]
fn calls_are_listed_up_to_the_limit() {
    let mut rig = Rig::new();
    for name in ["one", "two", "three"] {
        rig.run(named(offer("a", None, &audio("192.0.2.10", 4000)), name));
    }
    let mut count = |limit| {
        let (Reply::Ok(dict), _) = rig.run(Intent::List { limit }) else { panic!("no list") };
        find(&dict, &["calls"]).items().len()
    };
    assert_eq!((count(2), count(32)), (2, 3));
}

#[test]
fn a_party_may_be_known_by_what_it_says_instead_of_its_tag() {
    use crate::intent::AliasKey;
    let other = audio("192.0.2.10", 4000) + "a=x\r\n";
    for (key, sdp, is_known) in [
        (Some(AliasKey::Endpoint), other.clone(), true),
        (Some(AliasKey::Endpoint), audio("192.0.2.10", 4002), false),
        (Some(AliasKey::Sdp), audio("192.0.2.10", 4000), true),
        (Some(AliasKey::Sdp), other, false),
        (None, audio("192.0.2.10", 4000), false),
    ] {
        let mut rig = Rig::new();
        rig.call();
        for _ in 0..2 {
            rig.sdp(offer_with("a2", Some("b"), &sdp, Options { alias_key: key, ..across() }));
            assert_eq!(rig.calls.ports().used() == 2, is_known, "{key:?}");
        }
        rig.sdp(answer("a2", "b", &audio("198.51.100.10", 5000)));
        assert_eq!(rig.installed.len(), 4);
        if is_known {
            rig.run(delete(Some("a"), Some("b")));
            assert!(rig.calls.is_empty(), "its first tag is its own, too");
        } else {
            rig.end();
        }
    }
}

#[test]
fn two_calls_do_not_touch_each_other() {
    let mut rig = Rig::new();
    rig.call();
    let one = rig.installed.clone();
    rig.run(named(offer("a", None, &audio("192.0.2.10", 4200)), "other"));
    assert_eq!(rig.installed.len(), 8);
    rig.run(named(delete(None, None), "other"));
    assert_eq!(rig.installed, one);
}
