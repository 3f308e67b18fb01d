use border::Passes;

use super::*;
use crate::intent::Echo;

#[test]
fn a_name_that_several_branches_have_blocks_all_of_them() {
    let mut rig = Rig::new();
    for branch in ["x", "y"] {
        let named = Options { to_label: Some(b"callee".to_vec()), ..across() };
        rig.sdp(on_branch(branch, offer_with("a", None, &audio("192.0.2.10", 4000), named)));
    }
    rig.sdp(on_branch("y", answer("a", "b", &audio("198.51.100.10", 5000))));
    rig.run(block(Party::Label(b"callee".to_vec()), true));
    assert!(rig.at("198.51.100.1:30002").blocked);
    rig.end();
}

#[test]
fn a_party_may_hear_itself() {
    for (echo, caller, callee) in [
        (Echo::Receiver, None, Some(true)),
        (Echo::Sender, Some(true), None),
        (Echo::Both, Some(true), Some(true)),
        (Echo::Nobody, None, None),
    ] {
        let mut rig = Rig::new();
        rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), Options { echo: Some(echo), ..across() }));
        rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
        for (side, hears) in [("192.0.2.1", caller), ("198.51.100.1", callee)] {
            for port in [30000, 30001] {
                let local = format!("{side}:{port}");
                let spec = rig.at(&local);
                assert_eq!(
                    (spec.partner() == rig.slot_of(&local), spec.blocked),
                    (hears.is_some(), hears.is_none()),
                    "{echo:?}"
                );
            }
        }
        rig.end();
    }
}

#[test]
fn the_media_of_all_parties_is_blocked_and_comes_back() {
    let mut rig = Rig::new();
    rig.call();
    assert_eq!(rig.run(block(Party::All, true)).0, Reply::Ok(Dict::new()));
    assert!(rig.installed.values().all(|spec| spec.blocked));
    rig.run(block(Party::All, false));
    assert!(rig.installed.values().all(|spec| !spec.blocked));
}

#[test]
fn one_party_is_found_by_its_tag_its_label_or_its_address() {
    for party in [Party::Tag(b"b".to_vec()), Party::Label(b"B".to_vec()), Party::Address([198, 51, 100, 10].into())] {
        let mut rig = Rig::new();
        let labels = Options { label: Some(b"A".to_vec()), to_label: Some(b"B".to_vec()), ..across() };
        rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), labels));
        rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
        rig.run(block(party, true));
        assert!(rig.at("198.51.100.1:30000").blocked && !rig.at("192.0.2.1:30000").blocked);
        rig.sdp(offer("a", Some("b"), &audio("192.0.2.10", 4002)));
        assert!(rig.at("198.51.100.1:30000").blocked, "until it is said otherwise");
    }
}

#[test]
fn a_party_that_is_not_there_is_an_error_with_the_text_of_the_contract() {
    let mut rig = Rig::new();
    assert_eq!(rig.error(block(Party::All, true)), "Unknown call-ID");
    rig.call();
    for (party, text) in [
        (Party::Tag(b"x".to_vec()), "From-tag given, but no such tag exists"),
        (Party::Label(b"x".to_vec()), "No monologue matching the given label"),
        (Party::Address([9, 9, 9, 9].into()), "Failed to match address to any tag"),
    ] {
        assert_eq!(rig.error(block(party, true)), text);
    }
}

#[test]
fn a_party_that_comes_later_is_blocked_too() {
    let mut rig = Rig::new();
    rig.call();
    rig.run(block(Party::All, true));
    rig.sdp(answer("a", "b2", &audio("198.51.100.20", 6000)));
    assert!(rig.installed.values().all(|spec| spec.blocked));
}

#[test]
fn a_blocked_call_may_be_silent_for_long() {
    let mut rig = Rig::new();
    rig.call();
    rig.run(block(Party::Tag(b"a".to_vec()), true));
    rig.wait(600);
    assert_eq!(rig.tick(), []);
    rig.run(block(Party::Tag(b"a".to_vec()), false));
    assert_eq!(rig.tick().len(), 1, "what it does not see is no sign of life");
}

#[test]
fn the_media_of_a_party_is_silenced_wherever_it_goes_and_its_reports_are_not() {
    let mut rig = Rig::new();
    rig.call();
    let silence = |party, is_on| treat(Treatment::Silence, party, Towards::Anywhere, is_on);
    let is_silenced = |rig: &Rig| {
        ["192.0.2.1:30000", "198.51.100.1:30000", "192.0.2.1:30001"]
            .map(|at| rig.at(at).sinks[0].passes == Passes::Silence)
    };
    rig.run(silence(Party::Tag(b"a".to_vec()), true));
    assert_eq!(is_silenced(&rig), [true, false, false]);
    assert!(!rig.at("192.0.2.1:30000").blocked);
    rig.run(silence(Party::All, true));
    assert_eq!(is_silenced(&rig), [true, true, false]);
    rig.run(silence(Party::All, false));
    assert_eq!(is_silenced(&rig), [true, false, false], "what was said of the one holds");
    let Intent::Treat(treat) = silence(Party::All, false) else { panic!("no treatment") };
    rig.run(Intent::Treat(Treat { forgets_parties: true, ..treat }));
    assert_eq!(is_silenced(&rig), [false; 3], "also of the one");
}

#[test]
fn what_is_encrypted_cannot_be_silenced_and_is_blocked_instead() {
    let mut rig = Rig::new();
    let sdp = |address, port| session(address, &[&format!("audio {port} RTP/SAVP 8")]);
    rig.sdp(offer("a", None, &sdp("192.0.2.10", 4000)));
    rig.sdp(answer("a", "b", &sdp("198.51.100.10", 5000)));
    rig.run(treat(Treatment::Silence, Party::Tag(b"a".to_vec()), Towards::Anywhere, true));
    assert_eq!(passes(&rig), [Passes::Nothing, Passes::All, Passes::All], "but not its reports");
}

/// What is passed on of what both parties say, and of the first one's reports.
fn passes(rig: &Rig) -> [Passes; 3] {
    ["192.0.2.1:30000", "198.51.100.1:30000", "192.0.2.1:30001"].map(|at| rig.at(at).sinks[0].passes)
}

#[test]
fn a_call_of_which_no_flow_passes_lives_as_long_as_its_parties_send() {
    let sdp = |address, port| session(address, &[&format!("audio {port} RTP/SAVP 8")]);
    let everything = |treatment, towards| treat(treatment, Party::Tag(b"a".to_vec()), towards, true);
    for command in [
        treat(Treatment::Silence, Party::All, Towards::Anywhere, true),
        everything(Treatment::Block, Towards::Tag(b"b".to_vec())),
        everything(Treatment::Silence, Towards::Dialogue),
    ] {
        let mut rig = Rig::new();
        rig.sdp(offer("a", None, &sdp("192.0.2.10", 4000)));
        rig.sdp(answer("a", "b", &sdp("198.51.100.10", 5000)));
        rig.run(command);
        let slot = rig.slot_of("192.0.2.1:30000").unwrap();
        for _ in 0..20 {
            rig.wait(10);
            let totals = SourceTotals { last_slow: Some(rig.now), last_fast: None, ..query::totals() };
            rig.meter.0.insert(slot, totals);
            assert_eq!(rig.tick(), []);
        }
        assert!(rig.at("192.0.2.1:30000").partner().is_some(), "the two still belong together");
        rig.end();
    }
}

#[test]
fn what_is_said_of_all_leaves_what_was_said_of_a_flow() {
    let mut rig = Rig::new();
    rig.call();
    rig.run(treat(Treatment::Block, Party::Tag(b"a".to_vec()), Towards::Tag(b"b".to_vec()), true));
    rig.run(block(Party::All, true));
    rig.run(block(Party::All, false));
    assert_eq!(passes(&rig), [Passes::Nothing, Passes::All, Passes::Nothing]);
    rig.end();
}

#[test]
fn one_flow_is_blocked_and_the_others_are_not() {
    for towards in [Towards::Tag(b"b".to_vec()), Towards::Label(b"B".to_vec()), Towards::Dialogue, Towards::Every] {
        let mut rig = Rig::new();
        let labels = Options { to_label: Some(b"B".to_vec()), ..across() };
        rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), labels));
        rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
        let flow = |is_on| treat(Treatment::Block, Party::Tag(b"a".to_vec()), towards.clone(), is_on);
        rig.run(flow(true));
        assert_eq!(passes(&rig), [Passes::Nothing, Passes::All, Passes::Nothing], "{towards:?}");
        rig.run(flow(false));
        assert_eq!(passes(&rig), [Passes::All; 3]);
        rig.end();
    }
}

#[test]
fn a_flow_that_is_not_there_has_the_errors_of_the_contract() {
    let mut rig = Rig::new();
    rig.call();
    rig.sdp(offer("c", None, &audio("192.0.2.30", 7000)));
    for (towards, text) in [
        (Towards::Tag(b"x".to_vec()), "Media flow not found (to-tag not found)"),
        (Towards::Label(b"x".to_vec()), "Media flow not found (to-label not found)"),
        (Towards::Tag(b"c".to_vec()), "Media flow not found (to-tag not subscribed)"),
        (Towards::Copies, "No eligible media subscriptions found"),
    ] {
        for treatment in [Treatment::Block, Treatment::Silence] {
            let intent = treat(treatment, Party::Tag(b"a".to_vec()), towards.clone(), true);
            assert_eq!(rig.error(intent), text);
        }
    }
}

#[test]
fn forwarding_is_noted_and_it_is_said_that_nobody_records() {
    let mut rig = Rig::new();
    rig.call();
    let forward = |is_on| treat(Treatment::Forward, Party::Tag(b"a".to_vec()), Towards::Anywhere, is_on);
    let warning = Reply::Warning("Forwarding is noted, but there is no recording yet".into());
    assert_eq!(rig.run(forward(true)), (warning, Vec::new()));
    let flags = |rig: &mut Rig| {
        let Reply::Ok(dict) = rig.run(Intent::Query { call_id: b"call".to_vec() }).0 else { panic!("no reply") };
        let media = find(&dict, &["tags", "a", "medias"]).items()[0].as_dict().unwrap().clone();
        find(&media, &["flags"]).items().iter().any(|flag| text(flag) == "forwarding")
    };
    assert!(flags(&mut rig));
    assert_eq!(rig.run(forward(false)), (Reply::Ok(Dict::new()), Vec::new()));
    assert!(!flags(&mut rig));
}
