use super::*;

/// One pair per interface.
fn narrow() -> Rig {
    Rig::with(at_once(), 30001)
}

#[test]
fn an_offer_that_finds_no_ports_gives_everything_back() {
    let mut rig = narrow();
    let two = session("192.0.2.10", &["audio 4000 RTP/AVP 8", "video 4002 RTP/AVP 31"]);
    assert_eq!(rig.error(offer("a", None, &two)), "Ran out of ports");
    assert_eq!(rig.calls.ports().used(), 0);
    assert!(rig.calls.is_empty());
}

#[test]
fn an_offer_fails_when_the_callees_interface_is_exhausted() {
    let mut rig = narrow();
    let inside = Options {
        to_interface: Some(b"gateway".to_vec()),
        from_interface: Some(b"gateway".to_vec()),
        ..Options::default()
    };
    assert_eq!(rig.error(offer_with("a", None, &audio("192.0.2.10", 4000), inside)), "Ran out of ports");
    assert_eq!(rig.calls.ports().used(), 0);
}

#[test]
fn a_call_goes_on_as_it_was_when_a_new_offer_finds_no_ports() {
    let mut rig = narrow();
    rig.call();
    let before = rig.installed.clone();
    let more = session("192.0.2.11", &["audio 4000 RTP/AVP 8", "video 4002 RTP/AVP 31"]);
    assert_eq!(rig.error(offer("a", Some("b"), &more)), "Ran out of ports");
    assert_eq!((rig.installed.clone(), rig.calls.ports().used()), (before, 2));
    rig.end();
}

#[test]
fn ports_of_an_ended_call_rest_before_the_next() {
    let mut rig = narrow();
    rig.call();
    rig.end();
    assert_eq!(rig.error(offer("a", None, &audio("192.0.2.10", 4000))), "Ran out of ports");
    rig.wait(5);
    rig.call();
}

#[test]
fn the_session_limit_is_told_as_the_client_understands_it() {
    let mut rig = Rig::with(Settings { limits: Limits { sessions: Some(1), ..Limits::default() }, ..at_once() }, 30099);
    rig.call();
    let second = || named(offer("a", None, &audio("192.0.2.10", 4000)), "second");
    assert_eq!(rig.error(second()), "Parallel session limit reached");
    let Intent::Offer(mut offer) = second() else { panic!("no offer") };
    offer.knows_load_limit = true;
    let reply = rig.run(Intent::Offer(offer)).0;
    assert_eq!(reply, Reply::LoadLimit("Parallel session limit reached".into()));
    // The call that is there goes on.
    rig.sdp(super::offer("a", Some("b"), &audio("192.0.2.10", 4000)));
    rig.end();
    rig.wait(5);
    rig.call();
}

#[test]
fn an_interface_that_does_not_exist_is_an_error_that_names_those_that_do() {
    let mut rig = Rig::new();
    let to = |name: &str| Options { to_interface: Some(name.into()), ..Options::default() };
    let error = rig.error(offer_with("a", None, &audio("192.0.2.10", 4000), to("gatway")));
    assert_eq!(error, "Interface \"gatway\" does not exist; configured: pbx, gateway");
    let (sdp, _) = rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), to("external")));
    assert!(sdp.contains("c=IN IP4 192.0.2.1\r\n"), "the first interface: {sdp}");
    // A call that has its interfaces does not care.
    rig.sdp(offer_with("a", Some("b"), &audio("192.0.2.10", 4000), to("gatway")));
}

#[test]
fn without_a_direction_both_parties_are_on_the_first_interface() {
    let mut rig = Rig::new();
    let (sdp, _) = rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), Options::default()));
    assert!(sdp.contains("c=IN IP4 192.0.2.1\r\n") && sdp.contains("m=audio 30002 "), "{sdp}");
    assert_eq!(rig.calls.ports().used(), 2);
}
