use border::{Learning, Successor};

use super::*;

#[test]
fn the_mode_of_a_call_comes_before_the_configured_one() {
    for learning in [Learning::Off, Learning::Immediate, Learning::Delayed, Learning::Heuristic] {
        let mut rig = Rig::with(Settings { learning, ..at_once() }, 30099);
        rig.call();
        assert!(rig.installed.values().all(|spec| spec.party.learning == learning));
        let options = Options { learning: Some(Learning::Delayed), ..across() };
        rig.sdp(offer_with("a", Some("b"), &audio("192.0.2.10", 4000), options));
        assert!(rig.installed.values().all(|spec| spec.party.learning == Learning::Delayed));
    }
}

#[test]
fn who_may_succeed_a_learned_party_is_said_of_each_party_and_holds() {
    let mut rig = Rig::new();
    let options = Options { media_handover: true, ..across() };
    rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), options));
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    for port in ["30000", "30001"] {
        assert_eq!(rig.at(&format!("192.0.2.1:{port}")).party.successor, Successor::Anyone);
        assert_eq!(rig.at(&format!("198.51.100.1:{port}")).party.successor, Successor::Signalled);
    }
    let options = Options { strict_source: true, ..Options::default() };
    rig.sdp(offer("a", Some("b"), &audio("192.0.2.10", 4000)));
    rig.sdp(answer_with("a", "b", &audio("198.51.100.10", 5000), options.clone()));
    assert_eq!(rig.at("192.0.2.1:30000").party.successor, Successor::Anyone);
    assert_eq!(rig.at("198.51.100.1:30000").party.successor, Successor::Nobody);
    let options = Options { strict_source: true, ..across() };
    rig.sdp(offer_with("a", Some("b"), &audio("192.0.2.10", 4000), options));
    assert_eq!(rig.at("192.0.2.1:30000").party.successor, Successor::Nobody, "strictness has the last word");
}

#[test]
fn who_says_the_same_again_may_have_moved_when_it_is_agreed_on() {
    let mut rig = Rig::new();
    let renewals = |rig: &Rig| {
        ["192.0.2.1:30000", "192.0.2.1:30001", "198.51.100.1:30000", "198.51.100.1:30001"]
            .map(|local| rig.at(local).party.renewals)
    };
    rig.call();
    assert_eq!(renewals(&rig), [0; 4]);
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!(renewals(&rig), [0, 0, 1, 1], "after the ringing");
    rig.sdp(offer("a", Some("b"), &audio("192.0.2.10", 4000)));
    assert_eq!(renewals(&rig), [0, 0, 1, 1], "it may be refused");
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!(renewals(&rig), [1, 1, 2, 2]);
    rig.sdp(offer("b", Some("a"), &audio("198.51.100.10", 5000)));
    rig.sdp(answer("b", "a", &audio("192.0.2.10", 4000)));
    assert_eq!(renewals(&rig), [2, 2, 3, 3]);
    rig.sdp(offer("b", Some("a"), &(audio("198.51.100.10", 5000) + "a=sendonly\r\n")));
    rig.sdp(answer("b", "a", &(audio("192.0.2.10", 4000) + "a=recvonly\r\n")));
    assert_eq!(renewals(&rig), [2, 2, 4, 4], "who listens has nothing to show");
    rig.end();
}

#[test]
fn a_query_tells_who_may_succeed_a_party() {
    let mut rig = Rig::new();
    let options = Options { strict_source: true, media_handover: true, asymmetric: true, ..across() };
    rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), options));
    let (Reply::Ok(dict), _) = rig.run(Intent::Query { call_id: b"call".to_vec() }) else { panic!("no reply") };
    let media = find(&dict, &["tags", "a", "medias"]).items().first().unwrap().as_dict().unwrap();
    let flags: Vec<_> = find(media, &["flags"]).items().iter().map(text).collect();
    assert_eq!(flags, ["initialized", "send", "recv", "asymmetric", "strict source", "media handover"]);
}
