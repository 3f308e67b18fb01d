use border::{Edge, Learning, Passes};

use super::*;
use crate::intent::{Finality, Subscribe, SubscribeAnswer, Unsubscribe};

fn tags(tags: &[&str]) -> Vec<Party> {
    tags.iter().map(|tag| Party::Tag(tag.as_bytes().to_vec())).collect()
}

fn subscribe_as(to_tag: Option<&str>, parties: Vec<Party>, is_siprec: bool) -> Intent {
    let options = Options { to_interface: Some(b"gateway".to_vec()), ..Options::default() };
    let to_tag = to_tag.map(|tag| tag.as_bytes().to_vec());
    let call_id = b"call".to_vec();
    Intent::Subscribe(Box::new(Subscribe { call_id, parties, to_tag, is_siprec, is_paused: false, options }))
}

/// The same, and nothing is to come for now.
fn pause(parties: Vec<Party>) -> Intent {
    let Intent::Subscribe(asked) = subscribe(parties) else { panic!("another intent") };
    Intent::Subscribe(Box::new(Subscribe { is_paused: true, ..*asked }))
}

pub(super) fn subscribe(parties: Vec<Party>) -> Intent {
    subscribe_as(Some("rec"), parties, false)
}

fn accept(sdp: &str) -> Intent {
    let (call_id, to_tag) = (b"call".to_vec(), b"rec".to_vec());
    Intent::SubscribeAnswer(Box::new(SubscribeAnswer { call_id, to_tag, sdp: sdp.into(), options: Options::default() }))
}

fn unsubscribe(from: Option<&str>) -> Intent {
    let from_tag = from.map(|tag| tag.as_bytes().to_vec());
    Intent::Unsubscribe(Unsubscribe { call_id: b"call".to_vec(), to_tag: b"rec".to_vec(), from_tag })
}

/// Two medias of a recorder.
fn recorder() -> String {
    session("198.51.100.20", &["audio 7000 RTP/AVP 8", "audio 7002 RTP/AVP 8"])
}

/// Where copies of what arrives at a local endpoint go.
fn copies(rig: &Rig, local: &str) -> Vec<String> {
    let copies = rig.at(local).sinks.iter().filter(|sink| sink.edge == Edge::Copy && sink.passes != Passes::Nothing);
    copies.map(|sink| rig.installed[&sink.party].party.at.unwrap().to_string()).collect()
}

/// A call of two parties, and a recorder of both that has answered.
fn recorded() -> Rig {
    let mut rig = Rig::new();
    rig.call();
    rig.sdp(subscribe(tags(&["a", "b"])));
    rig.run(accept(&recorder()));
    rig
}

#[test]
fn a_recorder_is_offered_every_media_and_gets_it_once_it_has_answered() {
    let mut rig = Rig::new();
    rig.call();
    let before = rig.installed.clone();
    let (sdp, ops) = rig.sdp(subscribe(tags(&["a", "b"])));
    assert_eq!((ops, sdp.matches("m=audio ").count(), sdp.matches("a=sendonly").count()), (vec![], 2, 2));
    assert!(sdp.contains("m=audio 30002 RTP/AVP 8\r\n") && sdp.contains("c=IN IP4 203.0.113.1\r\n"), "{sdp}");
    assert_eq!(rig.run(accept(&recorder())).0, Reply::Ok(Dict::new()));
    for (party, to) in [("192.0.2.1", 7000), ("198.51.100.1", 7002)] {
        assert_eq!(copies(&rig, &format!("{party}:30000")), [format!("198.51.100.20:{to}")]);
        assert_eq!(copies(&rig, &format!("{party}:30001")), [format!("198.51.100.20:{}", to + 1)]);
        assert!(rig.at(&format!("{party}:30000")).partner().is_some(), "and talks on");
    }
    assert_eq!(rig.run(unsubscribe(None)).0, Reply::Ok(Dict::new()));
    assert_eq!(rig.installed, before);
    rig.end();
}

#[test]
fn a_receiver_that_is_offered_the_same_again_goes_on_getting_copies_whether_or_not_it_answers_again() {
    let mut rig = recorded();
    let before = rig.installed.clone();
    // A receiver that has offered something itself has answered before the proxy asks for ours.
    assert_eq!(rig.run(accept(&recorder())).0, Reply::Ok(Dict::new()));
    let (sdp, ops) = rig.sdp(subscribe(tags(&["a", "b"])));
    assert_eq!((ops, sdp.matches("a=sendonly").count()), (vec![], 2));
    assert_eq!(rig.installed, before);
    rig.run(accept(&recorder()));
    assert_eq!(rig.installed, before);
    rig.end();
}

#[test]
fn a_receiver_that_is_paused_gets_nothing_until_it_is_offered_something_again() {
    let mut rig = Rig::new();
    rig.call();
    let alone = rig.installed.clone();
    rig.sdp(subscribe(tags(&["a", "b"])));
    rig.run(accept(&recorder()));
    let copied = rig.installed.clone();
    for answers in [true, false] {
        let (sdp, _) = rig.sdp(pause(tags(&["a", "b"])));
        assert_eq!((sdp.matches("a=inactive").count(), sdp.matches("a=sendonly").count()), (2, 0), "{sdp}");
        assert_eq!(rig.installed, alone);
        if answers {
            rig.run(accept(&recorder()));
            assert_eq!(rig.installed, alone);
        }
        let (sdp, _) = rig.sdp(subscribe(tags(&["a", "b"])));
        assert_eq!(sdp.matches("a=sendonly").count(), 2, "{sdp}");
        assert_eq!(rig.installed, copied);
    }
    rig.end();
}

#[test]
fn copies_go_nowhere_but_to_where_the_answer_says_and_what_comes_back_is_blocked() {
    let rig = recorded();
    for port in [30002, 30003, 30004, 30005] {
        let spec = rig.at(&format!("198.51.100.1:{port}"));
        assert_eq!((spec.party.learning, spec.blocked, spec.sinks.len()), (Learning::Off, true, 0));
    }
}

#[test]
fn the_reply_names_the_parties_and_to_a_recorder_each_media() {
    let mut rig = Rig::new();
    let label = Options { label: Some(b"A".to_vec()), ..across() };
    rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), label));
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    let (Reply::Ok(dict), _) = rig.run(subscribe(tags(&["a"]))) else { panic!("no reply") };
    assert_eq!((text(find(&dict, &["from-tag"])), text(find(&dict, &["to-tag"]))), ("a".into(), "rec".into()));
    assert!(dict.get("tag-medias").is_none());
    let (Reply::Ok(dict), _) = rig.run(subscribe_as(None, vec![Party::All], true)) else { panic!("no reply") };
    let from: Vec<_> = find(&dict, &["from-tags"]).items().iter().map(text).collect();
    assert_eq!((from, dict.get("from-tag")), (vec!["a".to_owned(), "b".to_owned()], None));
    assert!(text(find(&dict, &["to-tag"])).len() > 16, "one of ours");
    let sdp = text(find(&dict, &["sdp"]));
    assert!(sdp.contains("a=label:0\r\n") && sdp.contains("a=label:1\r\n"), "{sdp}");
    let label = find(&dict, &["media-labels", "0"]).as_dict().unwrap();
    assert_eq!((text(find(label, &["tag"])), text(find(label, &["label"]))), ("a".into(), "A".into()));
    assert_eq!((text(find(label, &["mode"])), text(find(label, &["type"]))), ("sendrecv".into(), "audio".into()));
    let second = find(&dict, &["tag-medias"]).items()[1].as_dict().unwrap();
    let media = find(second, &["medias"]).items()[0].as_dict().unwrap();
    assert_eq!((text(find(second, &["tag"])), text(find(media, &["label"]))), ("b".into(), "1".into()));
}

#[test]
fn what_cannot_be_copied_is_refused_with_the_texts_of_the_contract_and_takes_no_ports() {
    let mut rig = Rig::new();
    assert_eq!(rig.error(subscribe(tags(&["a"]))), "Unknown call-ID");
    rig.call();
    let used = rig.calls.ports().used();
    for (parties, text) in [
        (vec![], "No medias found (no monologues matched)"),
        (tags(&["x", "y"]), "No medias found (no monologues matched)"),
        (tags(&["x"]), "From-tag given, but no such tag exists"),
        (vec![Party::Label(b"x".to_vec())], "No monologue matching the given label"),
        (vec![Party::Address([9, 9, 9, 9].into())], "Failed to match address to any tag"),
    ] {
        assert_eq!(rig.error(subscribe(parties)), text);
    }
    for intent in [accept(&recorder()), unsubscribe(None)] {
        assert_eq!(rig.error(intent), "To-tag not found");
    }
    assert_eq!(rig.calls.ports().used(), used);
}

#[test]
fn encrypted_media_is_not_copied() {
    let mut rig = Rig::new();
    let sdp = |address, port| session(address, &[&format!("audio {port} RTP/SAVP 8")]);
    rig.sdp(offer("a", None, &sdp("192.0.2.10", 4000)));
    rig.sdp(answer("a", "b", &sdp("198.51.100.10", 5000)));
    assert_eq!(rig.error(subscribe(tags(&["a"]))), "Failed to request subscription");
}

#[test]
fn an_answer_that_does_not_fit_changes_nothing() {
    let mut rig = Rig::new();
    rig.call();
    rig.sdp(subscribe(tags(&["a", "b"])));
    for sdp in [
        audio("198.51.100.20", 7000),
        session("198.51.100.20", &["audio 7000 RTP/AVP 8", "video 7002 RTP/AVP 31"]),
        session("2001:db8::20", &["audio 7000 RTP/AVP 8", "audio 7002 RTP/AVP 8"]),
        session("198.51.100.20", &["audio 7000 RTP/AVP 8", "audio 7002 udptl t38"]),
    ] {
        assert_eq!(rig.error(accept(&sdp)), "Failed to process subscription answer", "{sdp}");
    }
    assert_eq!(rig.error(accept("v=0")), "Failed to parse SDP");
    let loopback = session("127.0.0.1", &["audio 7000 RTP/AVP 8", "audio 7002 RTP/AVP 8"]);
    assert!(rig.error(accept(&loopback)).starts_with("Media address 127.0.0.1"));
    assert_eq!(rig.installed.len(), 4);
    rig.end();
}

#[test]
fn a_media_that_the_recorder_rejects_or_holds_is_not_copied() {
    let mut rig = Rig::new();
    rig.call();
    rig.sdp(subscribe(tags(&["a", "b"])));
    rig.run(accept(&session("198.51.100.20", &["audio 0 RTP/AVP 8", "audio 7002 RTP/AVP 8"])));
    assert!(copies(&rig, "192.0.2.1:30000").is_empty());
    assert_eq!(copies(&rig, "198.51.100.1:30000").len(), 1);
    rig.end();
}

#[test]
fn the_same_offer_twice_has_the_same_ports_and_another_set_of_parties_replaces_the_first() {
    let mut rig = recorded();
    let used = rig.calls.ports().used();
    let (again, _) = rig.sdp(subscribe(tags(&["a", "b"])));
    assert!(again.contains("m=audio 30002 ") && again.contains("m=audio 30004 "), "{again}");
    assert_eq!((rig.calls.ports().used(), copies(&rig, "192.0.2.1:30000").len()), (used, 1), "what was answered holds");
    rig.sdp(subscribe(tags(&["b"])));
    rig.run(accept(&audio("198.51.100.20", 7000)));
    assert_eq!((copies(&rig, "192.0.2.1:30000").len(), copies(&rig, "198.51.100.1:30000").len()), (0, 1));
    assert_eq!(rig.calls.ports().used(), used - 1);
    rig.end();
}

#[test]
fn one_party_may_be_left_out_again_and_with_the_last_one_the_recorder_goes() {
    let mut rig = recorded();
    assert_eq!(rig.error(unsubscribe(Some("x"))), "From-tag not found");
    rig.run(unsubscribe(Some("a")));
    assert_eq!((copies(&rig, "192.0.2.1:30000").len(), copies(&rig, "198.51.100.1:30000").len()), (0, 1));
    rig.run(unsubscribe(Some("b")));
    assert_eq!((rig.installed.len(), rig.calls.ports().used()), (4, 2));
    assert_eq!(rig.error(unsubscribe(None)), "To-tag not found");
}

#[test]
fn two_recorders_do_not_know_of_each_other() {
    let mut rig = recorded();
    rig.sdp(subscribe_as(Some("rec2"), tags(&["a"]), false));
    let (call_id, to_tag) = (b"call".to_vec(), b"rec2".to_vec());
    let sdp = audio("198.51.100.30", 8000).into();
    rig.run(Intent::SubscribeAnswer(Box::new(SubscribeAnswer { call_id, to_tag, sdp, options: Options::default() })));
    assert_eq!(copies(&rig, "192.0.2.1:30000"), ["198.51.100.20:7000", "198.51.100.30:8000"]);
    rig.run(unsubscribe(None));
    assert_eq!(copies(&rig, "192.0.2.1:30000"), ["198.51.100.30:8000"]);
    rig.end();
}

#[test]
fn copies_of_a_party_go_on_when_it_talks_with_another() {
    let mut rig = recorded();
    let inside = Options { to_interface: Some(b"pbx".to_vec()), ..across() };
    // A second party takes the place of the first, on another interface.
    rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), inside));
    rig.sdp(answer("a", "c", &audio("192.0.2.20", 6000)));
    assert_eq!(copies(&rig, "192.0.2.1:30000"), ["198.51.100.20:7000"]);
    rig.end();
}

#[test]
fn a_recorder_prolongs_no_call_and_is_gone_with_it() {
    let mut rig = recorded();
    let slot = rig.slot_of("198.51.100.1:30003").unwrap();
    for _ in 0..7 {
        rig.wait(10);
        let totals = SourceTotals { last_slow: Some(rig.now), last_fast: Some(rig.now), ..query::totals() };
        rig.meter.0.insert(slot, totals);
        rig.tick();
    }
    assert!(rig.calls.is_empty() && rig.installed.is_empty());
    assert_eq!(rig.calls.ports().used(), 0);
}

#[test]
fn flows_to_a_recorder_are_treated_apart() {
    let mut rig = recorded();
    let flow = |treatment, towards, is_on| treat(treatment, Party::Tag(b"a".to_vec()), towards, is_on);
    rig.run(flow(Treatment::Block, Towards::Copies, true));
    assert!(copies(&rig, "192.0.2.1:30000").is_empty() && rig.at("192.0.2.1:30000").partner().is_some());
    rig.run(flow(Treatment::Block, Towards::Every, false));
    rig.run(flow(Treatment::Silence, Towards::Tag(b"rec".to_vec()), true));
    let silenced: Vec<_> = rig.at("192.0.2.1:30000").sinks.iter().map(|sink| sink.passes == Passes::Silence).collect();
    assert_eq!(silenced, [false, true]);
    rig.run(flow(Treatment::Block, Towards::Dialogue, true));
    let passes: Vec<_> = rig.at("192.0.2.1:30000").sinks.iter().map(|sink| sink.passes).collect();
    assert_eq!(passes, [Passes::Nothing, Passes::Silence], "the recorder still gets something");
    rig.run(unsubscribe(None));
    assert_eq!(rig.at("192.0.2.1:30000").sinks.len(), 1);
    rig.end();
}

#[test]
fn a_party_that_is_named_as_receiver_is_none() {
    let mut rig = Rig::new();
    rig.call();
    let (Reply::Ok(dict), _) = rig.run(subscribe_as(Some("b"), tags(&["a"]), false)) else { panic!("no reply") };
    let to_tag = text(dict.get("to-tag").unwrap());
    assert!(!["a", "b"].contains(&to_tag.as_str()), "{to_tag}");
    rig.end();
}

#[test]
fn of_the_parties_of_a_fork_that_share_ports_each_is_copied_only_while_it_speaks() {
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    let early = Options { finality: Finality::Provisional, ..Options::default() };
    rig.sdp(answer_with("a", "b1", &audio("198.51.100.10", 5000), early));
    rig.sdp(subscribe(tags(&["b1"])));
    rig.run(accept(&session("198.51.100.20", &["audio 7000 RTP/AVP 8"])));
    assert_eq!(copies(&rig, "198.51.100.1:30000"), ["198.51.100.20:7000"]);
    rig.sdp(answer("a", "b2", &audio("198.51.100.11", 5000)));
    assert_eq!(copies(&rig, "198.51.100.1:30000"), Vec::<String>::new(), "nobody asked for the other one");
    rig.sdp(subscribe(tags(&["b1", "b2"])));
    rig.run(accept(&recorder()));
    assert_eq!(copies(&rig, "198.51.100.1:30000"), ["198.51.100.20:7002"], "its own line");
    rig.end();
}

#[test]
fn what_is_said_for_a_recorder_changes_nothing_of_the_call() {
    let mut rig = Rig::new();
    rig.call();
    let before = rig.installed.clone();
    let options =
        Options { learning: Some(Learning::Off), tos: Some(184), delete_delay: Some(9), ..Options::default() };
    let (call_id, to_tag) = (b"call".to_vec(), b"rec".to_vec());
    let Intent::Subscribe(asked) = subscribe(tags(&["a"])) else { panic!("no request") };
    rig.sdp(Intent::Subscribe(Box::new(Subscribe { options: options.clone(), ..*asked })));
    let sdp = session("198.51.100.20", &["audio 7000 RTP/AVP 8"]).into();
    rig.run(Intent::SubscribeAnswer(Box::new(SubscribeAnswer { call_id, to_tag, sdp, options })));
    for (slot, spec) in &before {
        assert_eq!((rig.installed[slot].party, rig.installed[slot].tos), (spec.party, spec.tos));
    }
    rig.end();
}

#[test]
fn the_end_of_a_recorder_by_its_tag_is_the_end_of_its_copies_and_of_nothing_else() {
    for (from, to) in [(Some("rec"), None), (None, Some("rec")), (Some("a"), Some("rec")), (Some("rec"), Some("a"))] {
        let mut rig = recorded();
        rig.run(delete(from, to));
        assert_eq!(copies(&rig, "192.0.2.1:30000"), Vec::<String>::new());
        assert_eq!((rig.calls.len(), rig.calls.ports().used()), (1, 2), "{from:?} {to:?}");
        rig.end();
    }
}

#[test]
fn a_receiver_becomes_no_party_by_its_tag() {
    let mut rig = recorded();
    let before = rig.installed.clone();
    let text = "The tag is that of a receiver of copies: unsubscribe it first";
    for command in [
        offer("rec", None, &audio("192.0.2.10", 4000)),
        offer("a", Some("rec"), &audio("192.0.2.10", 4000)),
        answer("a", "rec", &audio("198.51.100.10", 5000)),
        answer("rec", "b", &audio("198.51.100.10", 5000)),
    ] {
        assert_eq!(rig.error(command), text);
    }
    assert_eq!(rig.installed, before);
    rig.end();
}

#[test]
fn a_line_that_becomes_another_media_is_not_copied_as_the_old_one() {
    let mut rig = recorded();
    let video = |address, port| session(address, &[&format!("video {port} RTP/AVP 96")]);
    rig.sdp(offer("a", Some("b"), &video("192.0.2.10", 4000)));
    rig.sdp(answer("a", "b", &video("198.51.100.10", 5000)));
    assert!(rig.installed.values().flat_map(|spec| &spec.sinks).all(|sink| sink.edge != Edge::Copy));
    rig.sdp(subscribe(tags(&["a", "b"])));
    rig.run(accept(&session("198.51.100.20", &["video 7000 RTP/AVP 96", "video 7002 RTP/AVP 96"])));
    let copied = rig.installed.values().flat_map(|spec| &spec.sinks).filter(|sink| sink.edge == Edge::Copy).count();
    assert_eq!(copied, 4, "both, with their reports");
    rig.end();
}

#[test]
fn a_recorder_that_wants_its_copies_encrypted_is_refused() {
    let mut rig = Rig::new();
    rig.call();
    rig.sdp(subscribe(tags(&["a"])));
    let error = rig.error(accept(&session("198.51.100.20", &["audio 7000 RTP/SAVP 8"])));
    assert_eq!(error, "Failed to process subscription answer");
    rig.end();
}

#[test]
fn a_query_shows_who_hears_whom_and_where_it_goes() {
    let mut rig = recorded();
    let (Reply::Ok(dict), _) = rig.run(Intent::Query { call_id: b"call".to_vec() }) else { panic!("no reply") };
    let relations = |tag: &str, key: &str| -> Vec<(String, String)> {
        let relations = find(&dict, &["tags", tag, key]).items().iter().map(|one| one.as_dict().unwrap());
        relations.map(|one| (text(find(one, &["tag"])), text(find(one, &["type"])))).collect()
    };
    let (talk, copy) = ("offer/answer".to_owned(), "pub/sub".to_owned());
    assert_eq!(relations("a", "subscribers"), [("b".into(), talk.clone()), ("rec".into(), copy.clone())]);
    assert_eq!(relations("a", "subscriptions"), [("b".into(), talk)]);
    assert_eq!(relations("rec", "subscriptions"), [("a".into(), copy.clone()), ("b".into(), copy)]);
    let media = find(&dict, &["tags", "a", "medias"]).items()[0].as_dict().unwrap();
    let stream = find(media, &["streams"]).items()[0].as_dict().unwrap();
    let sinks: Vec<_> = find(stream, &["sinks"]).items().iter().map(|sink| sink.as_dict().unwrap()).collect();
    let of = |key: &str| sinks.iter().map(|sink| text(find(sink, &[key]))).collect::<Vec<_>>();
    assert_eq!((of("edge"), of("tag")), (vec!["dialogue".into(), "copy".into()], vec!["b".to_owned(), "rec".into()]));
}
