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
    assert_eq!((ports_in(&sdp), ops.len()), (vec!["30000", "30002"], 4));
    assert_eq!(rig.peer("198.51.100.1:30000").unwrap(), "198.51.100.10:5000", "audio stays as it is");
    assert_eq!(rig.peer("198.51.100.1:30002").unwrap(), "198.51.100.10:4002", "early video is not lost");
    let (sdp, ops) = rig.sdp(answer("b", "a", &both("192.0.2.10")));
    assert_eq!(ports_in(&sdp), ["30000", "30002"]);
    // The callee's audio came from port 5000 before, and the caller's video had no address.
    assert_eq!(ops.len(), 4);
    assert_eq!(rig.at("192.0.2.1:30002").clock_khz, 90);
    rig.end();
}

#[test]
fn a_media_that_was_rejected_has_other_ports_when_it_comes_back() {
    let mut rig = Rig::new();
    let both = session("192.0.2.10", &["audio 4000 RTP/AVP 8", "video 4002 RTP/AVP 31"]);
    rig.sdp(offer("a", None, &both));
    let (sdp, ops) =
        rig.sdp(answer("a", "b", &session("198.51.100.10", &["audio 5000 RTP/AVP 8", "video 0 RTP/AVP 31"])));
    assert_eq!(ports_in(&sdp), ["30000", "0"]);
    assert_eq!(ops.iter().filter(|op| matches!(op, FlowOp::Remove(_))).count(), 4);
    assert_eq!(rig.installed.len(), 4);
    // The same offer again must not bring back what was rejected, nor show the callee where the caller is.
    for _ in 0..2 {
        let (sdp, _) = rig.sdp(offer("a", Some("b"), &both));
        assert_eq!(ports_in(&sdp), ["30000", "30004"]);
        assert!(rig.slot_of("198.51.100.1:30002").is_none() && rig.slot_of("198.51.100.1:30004").is_some());
    }
    // Now it is accepted.
    let (sdp, _) =
        rig.sdp(answer("a", "b", &session("198.51.100.10", &["audio 5000 RTP/AVP 8", "video 5002 RTP/AVP 31"])));
    assert_eq!((ports_in(&sdp), rig.installed.len(), rig.calls.ports().used()), (vec!["30000", "30004"], 8, 4));
    rig.end();
}

#[test]
fn a_media_that_is_disabled_loses_its_streams_until_it_comes_back() {
    let mut rig = Rig::new();
    rig.call();
    let (sdp, _) = rig.sdp(offer("a", Some("b"), &session("192.0.2.10", &["audio 0 RTP/AVP 8"])));
    assert!(sdp.contains("c=IN IP4 203.0.113.1"), "nothing is relayed, and still nobody sees where the caller is");
    assert_eq!((ports_in(&sdp), rig.installed.len()), (vec!["0"], 4));
    rig.sdp(answer("a", "b", &session("198.51.100.10", &["audio 0 RTP/AVP 8"])));
    assert_eq!(rig.installed.len(), 0);
    let (sdp, _) = rig.sdp(offer("a", Some("b"), &audio("192.0.2.10", 4000)));
    assert_eq!(ports_in(&sdp), ["30002"], "late packets of before go nowhere");
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!((rig.installed.len(), rig.calls.ports().used()), (4, 2));
    rig.end();
}

#[test]
fn a_line_that_becomes_another_media_has_other_ports_and_keeps_the_old_ones_until_the_answer() {
    for (kind, streams) in [("video {} RTP/AVP 31", 4), ("image {} udptl t38", 2), ("application {} UDP/BFCP *", 2)] {
        let line = |address, port: u16| session(address, &[&kind.replace("{}", &port.to_string())]);
        let mut rig = Rig::new();
        rig.call();
        let before = rig.installed.clone();
        let new = line("198.51.100.10", 5000);
        for _ in 0..2 {
            let (sdp, _) = rig.sdp(offer("b", Some("a"), &new));
            assert_eq!(ports_in(&sdp), ["30002"], "{kind}");
            assert!(before.iter().all(|(slot, spec)| rig.installed.get(slot) == Some(spec)), "it may be refused");
            assert_eq!(rig.peer("198.51.100.1:30002").unwrap(), "198.51.100.10:5000");
            assert_eq!(rig.peer("192.0.2.1:30002"), None, "early packets are carried from wherever they come");
        }
        // It is refused, and the party offers what was before.
        let (sdp, _) = rig.sdp(offer("b", Some("a"), &audio("198.51.100.10", 5000)));
        assert_eq!((ports_in(&sdp), rig.installed.clone(), rig.calls.ports().used()), (vec!["30000"], before, 2));
        rig.sdp(offer("b", Some("a"), &new));
        let (sdp, _) = rig.sdp(answer("b", "a", &line("192.0.2.10", 4010)));
        assert_eq!((rig.installed.len(), rig.calls.ports().used()), (streams, 2), "{sdp}");
        let port = ports_in(&sdp)[0].to_owned();
        assert_eq!(rig.peer(&format!("192.0.2.1:{port}")).unwrap(), "192.0.2.10:4010");
        rig.end();
    }
}

#[test]
fn an_answer_has_as_many_media_as_the_offer() {
    let both = |address: &str| session(address, &["audio 4000 RTP/AVP 8", "video 4002 RTP/AVP 31"]);
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &both("192.0.2.10")));
    let (sdp, ops) = rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!(ports_in(&sdp), ["30000", "0"], "what it lacks is rejected");
    assert!(sdp.ends_with("m=video 0 RTP/AVP 0\r\n"), "{sdp}");
    assert_eq!(ops.iter().filter(|op| matches!(op, FlowOp::Remove(_))).count(), 4);
    assert_eq!(rig.installed.len(), 4);
    rig.end();
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    let (sdp, _) = rig.sdp(answer("a", "b", &both("198.51.100.10")));
    assert_eq!((ports_in(&sdp).len(), sdp.contains("video")), (1, false), "what is too much goes");
    assert_eq!((rig.installed.len(), rig.calls.ports().used()), (4, 2));
    rig.end();
}

#[test]
fn an_answer_of_a_party_that_was_offered_nothing_is_taken_as_it_is() {
    // The callee asks for an offer by a re-INVITE without one, and the script calls what the caller says an answer.
    let mut rig = Rig::new();
    rig.call();
    let (sdp, _) = rig.sdp(answer("b", "a", &audio("192.0.2.10", 4002)));
    assert!(sdp.contains("m=audio 30000 "), "{sdp}");
    assert_eq!(rig.peer("192.0.2.1:30000").unwrap(), "192.0.2.10:4002");
    rig.end();
}

#[test]
fn datagrams_of_any_kind_are_relayed() {
    for transport in ["UDP/BFCP", "UDP/DTLS/SCTP", "udp", "DTLS/SCTP", "UDP/TLS/BFCP"] {
        let line = |address: &str, port: u16| session(address, &[&format!("application {port} {transport} *")]);
        let mut rig = Rig::new();
        let (sdp, _) = rig.sdp(offer("a", None, &line("192.0.2.10", 4000)));
        assert!(sdp.contains("c=IN IP4 203.0.113.1\r\n") && ports_in(&sdp) == ["30000"], "{sdp}");
        let (sdp, _) = rig.sdp(answer("a", "b", &line("198.51.100.10", 5000)));
        assert!(sdp.contains("c=IN IP4 192.0.2.1\r\n") && ports_in(&sdp) == ["30000"], "{sdp}");
        assert_eq!((rig.installed.len(), rig.at("192.0.2.1:30000").content), (2, border::Content::Datagrams));
        rig.end();
    }
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
    assert!(sdp.contains("c=IN IP4 203.0.113.1\r\n") && sdp.ends_with("a=sendonly\r\n"), "{sdp}");
    rig.sdp(offer("a", Some("b"), &audio("192.0.2.10", 4000)));
    let (_, ops) = rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!((ops.len(), rig.peer("192.0.2.1:30000").unwrap()), (2, "192.0.2.10:4000".to_owned()));
}

#[test]
fn a_party_that_will_say_later_where_it_is_is_neither_on_hold_nor_anywhere() {
    let mut rig = Rig::new();
    let trickle = session("0.0.0.0", &["audio 9 RTP/AVP 8\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=ice-options:trickle"]);
    let (sdp, _) = rig.sdp(offer("a", None, &trickle));
    assert!(
        sdp.contains("c=IN IP4 203.0.113.1\r\n") && sdp.contains("m=audio 30000 ") && !sdp.contains("ice"),
        "{sdp}"
    );
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!((rig.peer("192.0.2.1:30000"), rig.installed.len()), (None, 4));
    let quiet = rig.calls.calls.values().all(|entry| entry.call.is_quiet());
    assert!(!quiet, "silence is not what it asked for");
    rig.end();
}

#[test]
fn hold_and_rejection_in_the_other_family_are_told_in_that_of_the_receiver() {
    let interfaces = ["pbx/2001:db8::1", "gateway/198.51.100.1"];
    let mut rig = Rig::on(&interfaces, at_once(), 30099);
    let both =
        |address: &str| session(address, &["audio 4000 RTP/AVP 8", "video 0 RTP/AVP 31\r\nc=IN IP6 2001:db8::10"]);
    let (sdp, _) = rig.sdp(offer("a", None, &both("2001:db8::10")));
    assert!(sdp.lines().filter(|line| line.starts_with("c=")).all(|line| line == "c=IN IP4 198.51.100.1"), "{sdp}");
    rig.sdp(answer("a", "b", &session("198.51.100.10", &["audio 5000 RTP/AVP 8", "video 0 RTP/AVP 31"])));
    let (sdp, _) = rig.sdp(offer("a", Some("b"), &both("::")));
    let lines: Vec<_> = sdp.lines().filter(|line| line.starts_with("c=")).collect();
    assert_eq!(lines, ["c=IN IP4 0.0.0.0", "c=IN IP4 198.51.100.1"], "{sdp}");
    rig.end();
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
