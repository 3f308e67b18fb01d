use super::*;

#[test]
fn the_branch_that_answers_last_has_the_call() {
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    rig.sdp(answer("a", "b1", &audio("198.51.100.10", 5000)));
    let (sdp, ops) = rig.sdp(answer("a", "b2", &audio("198.51.100.20", 6000)));
    assert!(sdp.contains("m=audio 30000 "), "{sdp}");
    assert_eq!((ops.len(), rig.calls.ports().used()), (2, 2));
    assert_eq!(rig.peer("198.51.100.1:30000").unwrap(), "198.51.100.20:6000");
    let expected = Reply::Warning("Call-ID not found or tags didn't match");
    assert_eq!(rig.run(delete(Some("a"), Some("b1"))).0, expected, "the branch that lost");
    rig.end();
}

#[test]
fn the_next_destination_may_be_on_another_interface() {
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    rig.sdp(answer("a", "b1", &audio("198.51.100.10", 5000)));
    let inside = Options { to_interface: Some(b"pbx".to_vec()), ..across() };
    let (sdp, _) = rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), inside.clone()));
    assert!(sdp.contains("c=IN IP4 192.0.2.1\r\n") && sdp.contains("m=audio 30002 "), "{sdp}");
    assert_eq!((rig.installed.len(), rig.calls.ports().used()), (4, 2));
    assert_eq!(rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), inside)).1, []);
    rig.sdp(answer("a", "b2", &audio("192.0.2.20", 6000)));
    assert_eq!(rig.peer("192.0.2.1:30002").unwrap(), "192.0.2.20:6000");
    rig.end();
}

#[test]
fn two_dialogues_of_one_call_id_live_side_by_side() {
    // A PBX in the middle that keeps the Call-ID: the same call passes the relay twice.
    let mut rig = Rig::new();
    rig.call();
    rig.sdp(offer("c", None, &audio("192.0.2.30", 7000)));
    rig.sdp(answer("c", "d", &audio("198.51.100.30", 8000)));
    assert_eq!((rig.installed.len(), rig.calls.ports().used(), rig.calls.len()), (8, 4, 1));
    let (reply, ops) = rig.run(delete(Some("d"), Some("c")));
    assert!(matches!(reply, Reply::Ok(_)));
    assert_eq!((ops.len(), rig.installed.len(), rig.calls.ports().used(), rig.calls.len()), (4, 4, 2, 1));
    rig.run(delete(Some("a"), None));
    assert!(rig.calls.is_empty());
}

#[test]
fn parties_of_two_dialogues_may_be_joined() {
    let mut rig = Rig::new();
    rig.call();
    rig.sdp(offer("c", None, &audio("192.0.2.30", 7000)));
    rig.sdp(answer("c", "d", &audio("198.51.100.30", 8000)));
    rig.sdp(offer("a", Some("d"), &audio("192.0.2.10", 4000)));
    assert_eq!(rig.installed.len(), 4, "b and c talk with nobody");
    // Each keeps its own ports: d has the second pair of its interface.
    assert_eq!(rig.at("192.0.2.1:30000").other, rig.slot_of("198.51.100.1:30002"));
    rig.run(delete(Some("a"), None));
    assert!(rig.calls.is_empty(), "and go with the last dialogue");
    assert_eq!(rig.calls.ports().used(), 0);
}

#[test]
fn the_parties_of_one_call_are_limited() {
    let mut rig = Rig::with(Settings::default(), 30999);
    for number in 0..32 {
        rig.sdp(offer(&number.to_string(), None, &audio("192.0.2.10", 4000)));
    }
    assert_eq!(rig.error(offer("more", None, &audio("192.0.2.10", 4000))), "Too many tags in this call");
    assert_eq!(rig.calls.ports().used(), 64);
    rig.end();
}
