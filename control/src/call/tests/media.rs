use super::*;

fn ports_in(sdp: &str) -> Vec<&str> {
    sdp.lines().filter_map(|line| line.strip_prefix("m=")?.split(' ').nth(1)).collect()
}

#[test]
fn each_media_has_ports_of_its_own() {
    let mut rig = Rig::new();
    let (sdp, ops) =
        rig.sdp(offer("a", None, &session("192.0.2.10", &["audio 4000 RTP/AVP 8", "video 4002 RTP/AVP 31"])));
    assert_eq!(ports_in(&sdp), ["30000", "30002"]);
    assert_eq!((ops.len(), rig.calls.ports().used()), (8, 4));
}

#[test]
fn a_media_that_appears_later_gets_ports_and_the_old_one_keeps_its_own() {
    let mut rig = Rig::new();
    rig.call();
    let both = |address| session(address, &["audio 4000 RTP/AVP 8", "video 4002 RTP/AVP 31"]);
    let (sdp, ops) = rig.sdp(offer("b", Some("a"), &both("198.51.100.10")));
    assert_eq!((ports_in(&sdp), ops), (vec!["30000", "30002"], vec![]));
    let (sdp, ops) = rig.sdp(answer("b", "a", &both("192.0.2.10")));
    assert_eq!(ports_in(&sdp), ["30000", "30002"]);
    // Four new streams, and the callee's audio came from port 5000 before.
    assert_eq!(ops.len(), 6);
    assert_eq!(rig.at("192.0.2.1:30002").clock_khz, 90);
    rig.end();
}

#[test]
fn a_rejected_media_loses_its_streams_but_keeps_its_ports() {
    let mut rig = Rig::new();
    let both = session("192.0.2.10", &["audio 4000 RTP/AVP 8", "video 4002 RTP/AVP 31"]);
    rig.sdp(offer("a", None, &both));
    let (sdp, ops) =
        rig.sdp(answer("a", "b", &session("198.51.100.10", &["audio 5000 RTP/AVP 8", "video 0 RTP/AVP 31"])));
    assert_eq!(ports_in(&sdp), ["30000", "0"]);
    assert_eq!(ops.iter().filter(|op| matches!(op, FlowOp::Remove(_))).count(), 4);
    assert_eq!((rig.installed.len(), rig.calls.ports().used()), (4, 4));
    // The same offer again must not bring back what was rejected, nor show the callee where the caller is.
    let (sdp, ops) = rig.sdp(offer("a", Some("b"), &both));
    assert_eq!((ports_in(&sdp), ops), (vec!["30000", "30002"], vec![]));
    // Now it is accepted.
    let (sdp, ops) =
        rig.sdp(answer("a", "b", &session("198.51.100.10", &["audio 5000 RTP/AVP 8", "video 5002 RTP/AVP 31"])));
    assert_eq!((ports_in(&sdp), ops.len()), (vec!["30000", "30002"], 4));
    rig.end();
}

#[test]
fn a_media_that_is_disabled_loses_its_streams_until_it_comes_back() {
    let mut rig = Rig::new();
    rig.call();
    let (sdp, _) = rig.sdp(offer("a", Some("b"), &session("192.0.2.10", &["audio 0 RTP/AVP 8"])));
    assert!(sdp.contains("c=IN IP4 192.0.2.10"), "nothing is relayed, so nothing is changed");
    assert_eq!((ports_in(&sdp), rig.installed.len()), (vec!["0"], 4));
    rig.sdp(answer("a", "b", &session("198.51.100.10", &["audio 0 RTP/AVP 8"])));
    assert_eq!(rig.installed.len(), 0);
    let (sdp, _) = rig.sdp(offer("a", Some("b"), &audio("192.0.2.10", 4000)));
    assert_eq!(ports_in(&sdp), ["30000"]);
    let (_, ops) = rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!(ops.len(), 4);
    rig.end();
}

#[test]
fn an_answer_with_fewer_media_rejects_the_rest() {
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &session("192.0.2.10", &["audio 4000 RTP/AVP 8", "video 4002 RTP/AVP 31"])));
    let (sdp, ops) = rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!(ports_in(&sdp), ["30000"]);
    assert_eq!(ops.iter().filter(|op| matches!(op, FlowOp::Remove(_))).count(), 4);
    assert_eq!(rig.installed.len(), 4);
    rig.end();
}

#[test]
fn an_answer_with_more_media_relays_only_what_was_offered() {
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    let (sdp, _) =
        rig.sdp(answer("a", "b", &session("198.51.100.10", &["audio 5000 RTP/AVP 8", "video 5002 RTP/AVP 31"])));
    assert_eq!(ports_in(&sdp), ["30000", "5002"]);
    assert_eq!((rig.installed.len(), rig.calls.ports().used()), (4, 2));
    rig.end();
}

#[test]
fn a_transport_that_we_do_not_know_is_left_alone() {
    let mut rig = Rig::new();
    let text = session("192.0.2.10", &["audio 4000 RTP/AVP 8", "message 9 TCP/MSRP *"]);
    let (sdp, _) = rig.sdp(offer("a", None, &text));
    assert_eq!(ports_in(&sdp), ["30000", "9"]);
    assert!(sdp.ends_with("m=message 9 TCP/MSRP *\r\nc=IN IP4 192.0.2.10\r\n"), "{sdp}");
    assert_eq!(rig.calls.ports().used(), 2);
}

#[test]
fn fax_takes_the_place_of_audio_on_the_same_ports_without_rtcp() {
    let mut rig = Rig::new();
    rig.call();
    let fax = |address, port: u16| session(address, &[&format!("image {port} udptl t38")]);
    let (sdp, ops) = rig.sdp(offer("b", Some("a"), &fax("198.51.100.10", 5000)));
    assert_eq!((ports_in(&sdp), ops), (vec!["30000"], vec![]));
    let (_, ops) = rig.sdp(answer("b", "a", &fax("192.0.2.10", 4010)));
    assert_eq!(ops.iter().filter(|op| matches!(op, FlowOp::Remove(_))).count(), 2, "no RTCP any more: {ops:?}");
    assert_eq!((rig.installed.len(), rig.at("192.0.2.1:30000").clock_khz), (2, 0));
    assert_eq!(rig.peer("192.0.2.1:30000").unwrap(), "192.0.2.10:4010");
    rig.sdp(offer("a", Some("b"), &audio("192.0.2.10", 4000)));
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!((rig.installed.len(), rig.at("192.0.2.1:30000").clock_khz), (4, 8));
}

#[test]
fn a_party_on_hold_keeps_its_streams_but_gets_nothing() {
    let mut rig = Rig::new();
    rig.call();
    let (sdp, _) = rig.sdp(offer("a", Some("b"), &audio("0.0.0.0", 4000)));
    assert!(sdp.contains("c=IN IP4 0.0.0.0\r\n") && sdp.contains("m=audio 30000 "), "{sdp}");
    let (_, ops) = rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!((ops.len(), rig.installed.len()), (2, 4));
    assert_eq!(rig.peer("192.0.2.1:30000"), None);
    assert_eq!(rig.peer("198.51.100.1:30000").unwrap(), "198.51.100.10:5000");
    let zero = Options { replace_zero_address: true, ..Options::default() };
    let (sdp, _) = rig.sdp(offer_with("a", Some("b"), &audio("0.0.0.0", 4000), zero));
    assert!(sdp.contains("c=IN IP4 203.0.113.1\r\n"), "{sdp}");
    rig.sdp(offer("a", Some("b"), &audio("192.0.2.10", 4000)));
    let (_, ops) = rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!((ops.len(), rig.peer("192.0.2.1:30000").unwrap()), (2, "192.0.2.10:4000".to_owned()));
}

#[test]
fn the_clock_is_that_of_the_answer_and_a_new_offer_does_not_disturb_it() {
    let mut rig = Rig::new();
    let opus = session("192.0.2.10", &["audio 4000 RTP/AVP 96 8\r\na=rtpmap:96 opus/48000/2"]);
    rig.sdp(offer("a", None, &opus));
    assert!(rig.at("192.0.2.1:30000").clock_khz == 48);
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!((rig.at("192.0.2.1:30000").clock_khz, rig.at("198.51.100.1:30000").clock_khz), (8, 8));
    assert_eq!(rig.sdp(offer("a", Some("b"), &opus)).1, []);
}

#[test]
fn rtcp_may_be_elsewhere() {
    let mut rig = Rig::new();
    let text = audio("192.0.2.10", 4000) + "a=rtcp:4444 IN IP4 192.0.2.99\r\n";
    let (sdp, _) = rig.sdp(offer("a", None, &text));
    assert!(sdp.contains("a=rtcp:30001 IN IP4 203.0.113.1\r\n"), "{sdp}");
    assert_eq!(rig.peer("192.0.2.1:30001").unwrap(), "192.0.2.99:4444");
}

#[test]
fn a_body_of_rejected_media_needs_no_ports() {
    let mut rig = Rig::new();
    let (sdp, ops) = rig.sdp(offer("a", None, &session("192.0.2.10", &["audio 0 RTP/AVP 8"])));
    assert_eq!((ports_in(&sdp), ops, rig.calls.ports().used()), (vec!["0"], vec![], 0));
    rig.end();
}
