use super::*;
use crate::intent::Finality;

#[test]
fn the_branch_that_answers_last_has_the_call() {
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    rig.sdp(answer("a", "b1", &audio("198.51.100.10", 5000)));
    let (sdp, ops) = rig.sdp(answer("a", "b2", &audio("198.51.100.20", 6000)));
    assert!(sdp.contains("m=audio 30000 "), "{sdp}");
    assert_eq!((ops.len(), rig.calls.ports().used()), (2, 2));
    assert_eq!(rig.peer("198.51.100.1:30000").unwrap(), "198.51.100.20:6000");
    assert!(
        matches!(rig.run(delete(Some("a"), Some("b1"))), (Reply::Ok(_), ops) if ops.is_empty()),
        "the branch that lost"
    );
    let expected = Reply::Warning("Call-ID not found or tags didn't match".into());
    assert_eq!(rig.run(delete(Some("a"), Some("b1"))).0, expected, "has gone");
    assert_eq!(rig.peer("198.51.100.1:30000").unwrap(), "198.51.100.20:6000");
    rig.run(delete(Some("a"), Some("b2")));
    assert!(rig.calls.is_empty());
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
    assert_eq!(rig.installed.len(), 8, "d may refuse");
    rig.sdp(answer("a", "d", &audio("198.51.100.30", 8000)));
    assert_eq!(rig.installed.len(), 4, "b and c talk with nobody");
    // Each keeps its own ports: d has the second pair of its interface.
    assert_eq!(rig.at("192.0.2.1:30000").partner(), rig.slot_of("198.51.100.1:30002"));
    rig.run(delete(Some("a"), None));
    assert!(rig.calls.is_empty(), "and go with the last dialogue");
    assert_eq!(rig.calls.ports().used(), 0);
}

#[test]
fn the_parties_of_one_call_are_limited() {
    let mut rig = Rig::with(at_once(), 30999);
    for number in 0..32 {
        rig.sdp(offer(&number.to_string(), None, &audio("192.0.2.10", 4000)));
    }
    assert_eq!(rig.error(offer("more", None, &audio("192.0.2.10", 4000))), "Too many tags in this call");
    assert_eq!(rig.calls.ports().used(), 64);
    rig.end();
}

#[test]
fn the_medias_of_one_call_are_limited_and_one_that_has_too_many_keeps_what_it_had() {
    let mut rig = Rig::with(at_once(), 30999);
    let many = audio("192.0.2.10", 4000) + &"m=audio 4002 RTP/AVP 0\r\n".repeat(63);
    for tag in ["a", "b"] {
        rig.sdp(offer(tag, None, &many));
    }
    assert_eq!(rig.error(offer("c", None, &many)), "Too many media in this call");
    assert_eq!(rig.calls.ports().used(), 4 * 64);
    rig.end();
}

/// A caller that two phones ring for, each on a branch of its own.
fn ringing() -> (Rig, [String; 2]) {
    let mut rig = Rig::new();
    let ports = ["x", "y"].map(|branch| {
        let (sdp, _) = rig.sdp(on_branch(branch, offer("a", None, &audio("192.0.2.10", 4000))));
        sdp.lines().find(|line| line.starts_with("m=audio")).unwrap().to_owned()
    });
    (rig, ports)
}

#[test]
fn each_branch_has_ports_of_its_own() {
    let (mut rig, [first, second]) = ringing();
    assert_ne!(first, second);
    assert_eq!(rig.calls.ports().used(), 3, "one pair for the caller");
    let (again, ops) = rig.sdp(on_branch("x", offer("a", None, &audio("192.0.2.10", 4000))));
    assert!(again.contains(&first) && ops.is_empty(), "{again}");
    rig.end();
}

#[test]
fn whichever_branch_picks_up_may_speak_at_once() {
    let (rig, _) = ringing();
    let caller = rig.slot_of("192.0.2.1:30000");
    for branch in ["198.51.100.1:30000", "198.51.100.1:30002"] {
        assert_eq!(rig.feeds(branch), caller.into_iter().collect::<Vec<_>>(), "{branch}");
    }
}

#[test]
fn every_branch_that_announces_something_is_heard_until_one_has_answered_for_good() {
    let (mut rig, _) = ringing();
    let caller: Vec<_> = rig.slot_of("192.0.2.1:30000").into_iter().collect();
    let hears = |rig: &Rig| {
        ["198.51.100.1:30000", "198.51.100.1:30002"]
            .map(|branch| rig.slot_of(branch).is_some() && rig.feeds(branch) == caller)
    };
    let early = Options { finality: Finality::Provisional, ..Options::default() };
    let answers = [("x", "b", "198.51.100.10", 5000), ("y", "c", "198.51.100.20", 6000)];
    for (branch, tag, host, port) in answers {
        rig.sdp(on_branch(branch, answer_with("a", tag, &audio(host, port), early.clone())));
        assert_eq!(hears(&rig), [true; 2], "{branch}");
    }
    assert_eq!(rig.peer("198.51.100.1:30000").unwrap(), "198.51.100.10:5000");
    assert_eq!(rig.peer("198.51.100.1:30002").unwrap(), "198.51.100.20:6000");
    let last = Options { finality: Finality::Final, ..Options::default() };
    rig.sdp(on_branch("x", answer_with("a", "b", &audio("198.51.100.10", 5000), last)));
    assert_eq!(hears(&rig), [true, false], "the other is not heard in the call");
    assert_eq!(rig.at("192.0.2.1:30000").partner(), rig.slot_of("198.51.100.1:30000"));
    rig.end();
}

#[test]
fn a_branch_that_has_been_ended_is_not_heard_while_its_end_is_waited_for() {
    let settings = Settings { delete_delay: Duration::from_secs(30), ..Settings::default() };
    let mut rig = Rig::with(settings, 30099);
    for branch in ["x", "y"] {
        rig.sdp(on_branch(branch, offer("a", None, &audio("192.0.2.10", 4000))));
    }
    rig.sdp(on_branch("x", answer("a", "b", &audio("198.51.100.10", 5000))));
    rig.sdp(on_branch("y", answer("a", "c", &audio("198.51.100.20", 6000))));
    assert_eq!(rig.at("198.51.100.1:30000").party.successor, border::Successor::Nobody, "a lost branch is guarded");
    rig.run(on_branch("x", delete(Some("a"), None)));
    assert_eq!(rig.slot_of("198.51.100.1:30000"), None);
}

#[test]
fn two_parties_of_one_branch_share_its_ports_and_the_last_one_that_answered_has_them() {
    let (mut rig, _) = ringing();
    let early = Options { finality: Finality::Provisional, ..Options::default() };
    for (tag, host) in [("b", "198.51.100.10"), ("c", "198.51.100.20")] {
        rig.sdp(on_branch("x", answer_with("a", tag, &audio(host, 5000), early.clone())));
    }
    assert_eq!(rig.peer("198.51.100.1:30000").unwrap(), "198.51.100.20:5000");
    rig.end();
}

#[test]
fn the_branch_that_answers_has_the_call_and_is_heard_with_others_that_may_have_announced_something() {
    let (mut rig, _) = ringing();
    rig.sdp(on_branch("x", answer("a", "b", &audio("198.51.100.10", 5000))));
    let caller = rig.slot_of("192.0.2.1:30000");
    assert_eq!(rig.at("192.0.2.1:30000").partner(), rig.slot_of("198.51.100.1:30000"));
    assert_eq!(rig.installed.len(), 4, "who has not answered is silent");
    rig.sdp(on_branch("y", answer("a", "c", &audio("198.51.100.20", 6000))));
    assert_eq!(rig.at("192.0.2.1:30000").partner(), rig.slot_of("198.51.100.1:30002"));
    assert_eq!(rig.feeds("198.51.100.1:30000"), caller.into_iter().collect::<Vec<_>>());
    assert_eq!(rig.feeds("192.0.2.1:30000").len(), 1, "and hears nothing itself");
    assert_eq!(rig.peer("198.51.100.1:30002").unwrap(), "198.51.100.20:6000");
    rig.end();
}

#[test]
fn a_branch_that_ends_leaves_the_others() {
    let (mut rig, _) = ringing();
    rig.sdp(on_branch("y", answer("a", "c", &audio("198.51.100.20", 6000))));
    rig.run(on_branch("x", delete(Some("a"), None)));
    assert_eq!((rig.calls.len(), rig.calls.ports().used(), rig.installed.len()), (1, 2, 4));
    rig.run(on_branch("y", delete(Some("a"), None)));
    assert!(rig.calls.is_empty(), "with the last branch");
    assert_eq!(rig.calls.ports().used(), 0);
}

#[test]
fn when_the_branch_in_the_dialogue_ends_the_one_that_has_answered_takes_its_place() {
    let (mut rig, _) = ringing();
    rig.sdp(on_branch("x", answer("a", "b", &audio("198.51.100.10", 5000))));
    rig.sdp(on_branch("y", answer("a", "c", &audio("198.51.100.20", 6000))));
    rig.run(on_branch("y", delete(Some("a"), None)));
    assert_eq!(rig.at("192.0.2.1:30000").partner(), rig.slot_of("198.51.100.1:30000"));
    rig.end();
}

#[test]
fn a_branch_that_no_offer_named_means_the_dialogue() {
    let mut rig = Rig::new();
    rig.call();
    rig.run(on_branch("z", delete(Some("a"), None)));
    assert!(rig.calls.is_empty());
}

#[test]
fn a_hang_up_of_either_party_ends_the_fork_with_all_its_branches() {
    for tag in ["a", "c"] {
        let (mut rig, _) = ringing();
        rig.sdp(on_branch("y", answer("a", "c", &audio("198.51.100.20", 6000))));
        rig.run(delete(Some(tag), None));
        assert!(rig.calls.is_empty(), "{tag}");
        assert_eq!(rig.calls.ports().used(), 0);
    }
}

/// A caller whom three phones ring for.
fn three() -> Rig {
    let mut rig = Rig::new();
    for branch in ["x", "y", "z"] {
        rig.sdp(on_branch(branch, offer("a", None, &audio("192.0.2.10", 4000))));
    }
    rig
}

#[test]
fn a_hang_up_ends_the_branches_that_nobody_can_answer_any_more() {
    for (from, to) in [("a", "b"), ("b", "a")] {
        for branch in [None, Some("y"), Some("bye")] {
            let mut rig = three();
            rig.sdp(on_branch("y", answer("a", "b", &audio("198.51.100.10", 5000))));
            let bye = delete(Some(from), Some(to));
            rig.run(branch.map_or(bye.clone(), |branch| on_branch(branch, bye)));
            assert!(rig.calls.is_empty(), "{from} {to} {branch:?}");
            assert_eq!(rig.calls.ports().used(), 0);
        }
    }
}

#[test]
fn a_branch_that_lost_is_found_by_its_tags_in_either_order() {
    for (from, to) in [("a", "lost"), ("lost", "a")] {
        let mut rig = three();
        rig.sdp(on_branch("y", answer("a", "b", &audio("198.51.100.10", 5000))));
        rig.run(on_branch("x", delete(Some(from), Some(to))));
        assert_eq!(rig.calls.ports().used(), 3, "{from}: by its branch");
        rig.run(delete(Some(from), Some(to)));
        assert_eq!(rig.calls.ports().used(), 2, "{from}: it is the only one that has not answered");
        assert_eq!(rig.installed.len(), 4);
        rig.end();
    }
}

#[test]
fn a_branch_that_was_only_announced_ends_with_the_dialogue() {
    let mut rig = three();
    rig.sdp(on_branch("x", answer_with("a", "b1", &audio("198.51.100.10", 5000), early())));
    rig.sdp(on_branch("y", answer_with("a", "b2", &audio("198.51.100.20", 6000), early())));
    rig.sdp(on_branch("y", answer("a", "b2", &audio("198.51.100.20", 6000))));
    rig.run(delete(Some("b2"), Some("a")));
    assert!(rig.calls.is_empty());
    assert_eq!(rig.calls.ports().used(), 0);
}

fn early() -> Options {
    Options { finality: Finality::Provisional, ..Options::default() }
}

fn last() -> Options {
    Options { finality: Finality::Final, ..Options::default() }
}

#[test]
fn a_branch_that_was_announced_and_fails_leaves_those_that_ring() {
    for command in [
        delete(Some("a"), Some("b1")),
        delete(Some("b1"), Some("a")),
        delete(Some("b1"), None),
        on_branch("x", delete(Some("a"), Some("b1"))),
        on_branch("x", delete(Some("a"), None)),
    ] {
        let mut rig = three();
        rig.sdp(on_branch("x", answer_with("a", "b1", &audio("198.51.100.10", 5000), early())));
        rig.run(command);
        assert_eq!(rig.calls.ports().used(), 3);
        rig.sdp(on_branch("z", answer("a", "b3", &audio("198.51.100.30", 7000))));
        rig.run(delete(Some("a"), Some("b3")));
        assert!(rig.calls.is_empty());
    }
}

#[test]
fn a_late_announcement_takes_nobodys_place_who_has_answered() {
    let mut rig = three();
    rig.sdp(on_branch("x", answer("a", "b", &audio("198.51.100.10", 5000))));
    rig.sdp(on_branch("y", answer_with("a", "c", &audio("198.51.100.20", 6000), early())));
    assert_eq!(rig.at("192.0.2.1:30000").partner(), rig.slot_of("198.51.100.1:30000"));
    rig.run(delete(Some("a"), Some("b")));
    assert!(rig.calls.is_empty());
}

#[test]
fn of_two_that_have_answered_the_one_that_is_left_talks_at_once() {
    for form in 0..3 {
        let mut rig = Rig::with(Settings { delete_delay: Duration::from_secs(30), ..Settings::default() }, 30099);
        for branch in ["x", "y", "z"] {
            rig.sdp(on_branch(branch, offer("a", None, &audio("192.0.2.10", 4000))));
        }
        rig.sdp(on_branch("z", answer_with("a", "d", &audio("198.51.100.30", 7000), early())));
        rig.sdp(on_branch("x", answer_with("a", "b", &audio("198.51.100.10", 5000), last())));
        rig.sdp(on_branch("y", answer_with("a", "c", &audio("198.51.100.20", 6000), last())));
        rig.run(match form {
            0 => delete(Some("a"), Some("c")),
            1 => delete(Some("c"), None),
            _ => on_branch("y", delete(Some("a"), None)),
        });
        let talks =
            |rig: &Rig| assert_eq!(rig.at("192.0.2.1:30000").partner(), rig.slot_of("198.51.100.1:30000"), "{form}");
        talks(&rig);
        rig.wait(31);
        rig.tick();
        talks(&rig);
        rig.run(delete(Some("b"), Some("a")));
        rig.wait(31);
        rig.tick();
        assert!(rig.calls.is_empty(), "{form}");
    }
}

#[test]
fn who_is_left_with_a_branch_that_may_be_gone_waits_for_it_no_longer_than_for_media() {
    let mut rig = three();
    let announced = audio("198.51.100.10", 5000) + "a=sendonly\r\n";
    rig.sdp(on_branch("x", answer("a", "b1", &announced)));
    rig.sdp(on_branch("y", answer("a", "b2", &audio("198.51.100.20", 6000))));
    rig.run(delete(Some("a"), Some("b2")));
    assert_eq!(rig.calls.len(), 1, "nobody has said that b1 was only announced");
    rig.wait(61);
    assert_eq!(rig.tick().len(), 1);
    assert_eq!(rig.calls.ports().used(), 0);
}

#[test]
fn the_end_of_a_branch_that_has_answered_leaves_the_others_no_longer_than_phones_ring() {
    let mut rig = three();
    rig.sdp(on_branch("z", answer("a", "b", &audio("198.51.100.10", 5000))));
    rig.run(on_branch("z", delete(Some("a"), None)));
    rig.wait(179);
    rig.tick();
    assert_eq!(rig.calls.len(), 1, "z may only have announced something");
    rig.wait(2);
    rig.tick();
    assert!(rig.calls.is_empty());
    assert_eq!(rig.calls.ports().used(), 0);
}

#[test]
fn a_transfer_that_was_refused_does_not_outlive_the_call() {
    let mut rig = Rig::new();
    rig.call();
    let inside = Options { from_interface: Some(b"gateway".to_vec()), ..Options::default() };
    rig.sdp(offer_with("c", Some("a"), &audio("198.51.100.30", 7000), inside));
    rig.run(delete(Some("a"), Some("b")));
    assert!(rig.calls.is_empty());
}

#[test]
fn a_second_answer_in_the_family_that_was_told_has_the_ports_that_were_told() {
    let interfaces = ["pbx/192.0.2.1", "pbx/2001:db8::1", "gateway/198.51.100.1", "gateway/2001:db8:9::1"];
    let mut rig = Rig::on(&interfaces, at_once(), 30099);
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    rig.sdp(answer("a", "b1", &audio("2001:db8:9::10", 5000)));
    rig.sdp(answer("a", "b2", &audio("198.51.100.20", 6000)));
    assert_eq!(rig.at("192.0.2.1:30000").partner(), rig.slot_of("198.51.100.1:30000"));
    assert_eq!(rig.peer("198.51.100.1:30000").unwrap(), "198.51.100.20:6000");
    rig.end();
}

#[test]
fn a_branch_of_several_that_ring_is_not_guessed() {
    let mut rig = three();
    rig.sdp(on_branch("y", answer("a", "b", &audio("198.51.100.10", 5000))));
    let expected = Reply::Warning("Call-ID not found or tags didn't match".into());
    assert_eq!(rig.run(delete(Some("a"), Some("lost"))).0, expected);
    rig.end();
}

#[test]
fn two_that_have_answered_are_told_apart_by_their_ends() {
    for (ended, port) in [("b", "30004"), ("c", "30002")] {
        let mut rig = three();
        rig.sdp(on_branch("y", answer_with("a", "b", &audio("198.51.100.10", 5000), last())));
        rig.sdp(on_branch("z", answer_with("a", "c", &audio("198.51.100.20", 6000), last())));
        rig.run(delete(Some(ended), Some("a")));
        assert_eq!(rig.at("192.0.2.1:30000").partner(), rig.slot_of(&format!("198.51.100.1:{port}")), "{ended}");
        rig.run(delete(Some("a"), Some(if ended == "b" { "c" } else { "b" })));
        assert!(rig.calls.is_empty(), "{ended}");
    }
}

#[test]
fn hunting_under_one_call_id_leaves_nothing_of_those_that_did_not_answer() {
    let mut rig = Rig::new();
    for (tag, port) in [("b1", 5000), ("b2", 5002), ("b3", 5004)] {
        let (sdp, _) = rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
        assert!(sdp.contains("m=audio 30000 "), "{sdp}");
        rig.sdp(answer("a", tag, &audio("198.51.100.10", port)));
        assert_eq!(rig.peer("198.51.100.1:30000").unwrap(), format!("198.51.100.10:{port}"));
    }
    assert_eq!(rig.calls.ports().used(), 2);
    rig.run(delete(Some("a"), Some("b3")));
    assert!(rig.calls.is_empty());
    assert_eq!(rig.calls.ports().used(), 0);
}

#[test]
fn a_failover_that_keeps_the_offer_leaves_nothing_of_the_destination_that_announced_something() {
    // The script does not offer again: the description that the relay made is still right.
    for bye in [delete(Some("b2"), None), delete(Some("b2"), Some("a")), delete(Some("a"), None)] {
        let mut rig = Rig::new();
        rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
        rig.sdp(answer("a", "b1", &audio("198.51.100.10", 5000)));
        rig.sdp(answer("a", "b2", &audio("198.51.100.10", 5002)));
        rig.run(bye);
        assert!(rig.calls.is_empty());
    }
}

#[test]
fn the_end_of_a_branch_that_comes_again_ends_nobody_else() {
    let mut rig = three();
    rig.sdp(on_branch("x", answer("a", "b", &audio("198.51.100.10", 5000))));
    let end = || on_branch("y", delete(Some("a"), None));
    assert!(matches!(rig.run(end()).0, Reply::Ok(_)));
    assert_eq!(rig.run(end()).0, Reply::Warning("Call-ID not found or tags didn't match".into()));
    assert_eq!(rig.at("192.0.2.1:30000").partner(), rig.slot_of("198.51.100.1:30000"));
    rig.end();
}

#[test]
fn an_announcement_that_its_own_last_answer_has_overtaken_says_nothing() {
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    rig.sdp(answer_with("a", "b", &audio("198.51.100.99", 7000), early()));
    rig.sdp(answer_with("a", "b", &audio("198.51.100.10", 5000), last()));
    let (sdp, ops) = rig.sdp(answer_with("a", "b", &audio("198.51.100.99", 7000), early()));
    assert!(sdp.contains("c=IN IP4 192.0.2.1\r\n") && ops.is_empty(), "{sdp}");
    assert_eq!(rig.peer("198.51.100.1:30000").unwrap(), "198.51.100.10:5000");
    // The first answer to another offer is none of these.
    rig.sdp(offer("a", Some("b"), &audio("192.0.2.10", 4000)));
    rig.sdp(answer_with("a", "b", &audio("198.51.100.99", 7000), early()));
    assert_eq!(rig.peer("198.51.100.1:30000").unwrap(), "198.51.100.99:7000");
    rig.end();
}

#[test]
fn hunting_on_branches_leaves_nothing_of_those_that_only_announced_something() {
    for bye in [
        delete(Some("b2"), None),
        delete(Some("a"), None),
        delete(Some("b2"), Some("a")),
        delete(Some("a"), Some("b2")),
        on_branch("bye", delete(Some("b2"), None)),
    ] {
        let mut rig = Rig::new();
        for (branch, tag, port) in [("x", "b1", 5000), ("y", "b2", 5002)] {
            rig.sdp(on_branch(branch, offer("a", None, &audio("192.0.2.10", 4000))));
            rig.sdp(on_branch(branch, answer("a", tag, &audio("198.51.100.10", port))));
        }
        rig.run(bye);
        assert!(rig.calls.is_empty());
        assert_eq!(rig.calls.ports().used(), 0);
    }
}

#[test]
fn a_hang_up_that_crosses_an_offer_is_the_end() {
    let mut rig = Rig::with(Settings { delete_delay: Duration::from_secs(5), ..Settings::default() }, 30099);
    for is_answered in [false, true] {
        rig.call();
        rig.run(delete(Some("b"), Some("a")));
        rig.sdp(offer("a", Some("b"), &audio("192.0.2.10", 4002)));
        if is_answered {
            rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
        }
        rig.wait(5);
        rig.tick();
        assert_eq!(rig.calls.len(), usize::from(is_answered), "481 says that it is over, and a 200 that it is not");
        rig.run(delete(None, None));
        rig.wait(5);
        rig.tick();
    }
    assert_eq!(rig.calls.ports().used(), 0);
}

#[test]
fn each_branch_shares_a_port_with_the_caller_as_its_own_offer_said() {
    use crate::intent::Mux;
    let mut rig = Rig::new();
    let muxed = |address: &str| audio(address, 4000) + "a=rtcp-mux\r\n";
    let demux = Mux { offer: Some(false), accept: Some(true), require: false };
    let offered = Options { mux: demux, ..across() };
    let (sdp, _) = rig.sdp(on_branch("x", offer_with("a", None, &muxed("192.0.2.10"), offered)));
    assert!(!sdp.contains("rtcp-mux"), "{sdp}");
    let (sdp, _) = rig.sdp(on_branch("y", offer("a", None, &muxed("192.0.2.10"))));
    assert!(sdp.contains("rtcp-mux"), "{sdp}");
    let (sdp, _) = rig.sdp(on_branch("x", answer("a", "b", &audio("198.51.100.10", 5000))));
    assert!(sdp.contains("rtcp-mux"), "the relay accepts for the first branch: {sdp}");
    let (sdp, _) = rig.sdp(on_branch("y", answer("a", "c", &audio("198.51.100.20", 6000))));
    assert!(!sdp.contains("rtcp-mux"), "the second one does not: {sdp}");
    rig.end();
}

#[test]
fn several_answers_to_one_offer_share_the_ports_of_it() {
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    for (tag, port) in [("b1", 5000), ("b2", 6000), ("b1", 5000)] {
        let (sdp, _) = rig.sdp(answer("a", tag, &audio("198.51.100.10", port)));
        assert!(sdp.contains("m=audio 30000 "), "{sdp}");
        assert_eq!(rig.peer("198.51.100.1:30000").unwrap(), format!("198.51.100.10:{port}"));
    }
    assert_eq!(rig.calls.ports().used(), 2);
    rig.run(delete(Some("a"), Some("b2")));
    assert_eq!((rig.calls.ports().used(), rig.installed.len()), (2, 4), "b1 still has them");
    rig.end();
}

#[test]
fn a_party_that_takes_anothers_place_does_so_with_the_answer() {
    // A transfer within one Call-ID: c calls a, who talks with b.
    let mut rig = Rig::new();
    rig.call();
    let inside = || Options { from_interface: Some(b"gateway".to_vec()), ..Options::default() };
    rig.sdp(offer_with("c", Some("a"), &audio("198.51.100.30", 7000), inside()));
    assert_eq!(rig.at("192.0.2.1:30000").partner(), rig.slot_of("198.51.100.1:30000"), "a may refuse");
    rig.sdp(answer("c", "a", &audio("192.0.2.10", 4000)));
    assert_eq!(rig.at("192.0.2.1:30000").partner(), rig.slot_of("198.51.100.1:30002"));
    rig.run(delete(Some("b"), None));
    assert_eq!(rig.at("192.0.2.1:30000").partner(), rig.slot_of("198.51.100.1:30002"), "the old party leaves");
    assert_eq!(rig.calls.ports().used(), 2);
    rig.run(delete(Some("a"), Some("c")));
    assert!(rig.calls.is_empty());
}

#[test]
fn a_branch_that_failed_under_a_tag_nobody_knows_leaves_the_others() {
    let (mut rig, _) = ringing();
    rig.run(on_branch("x", delete(Some("a"), Some("t"))));
    assert_eq!((rig.calls.ports().used(), rig.installed.len()), (2, 4), "y rings");
    rig.run(on_branch("y", delete(Some("a"), Some("u"))));
    assert!(rig.calls.is_empty());
}

#[test]
fn an_offer_that_comes_again_stays_on_the_interface_of_its_group() {
    let mut rig = Rig::on(&["pbx/192.0.2.1", "pub:1/198.51.100.1", "pub:2/198.51.100.2"], at_once(), 30099);
    let towards = || Options { to_interface: Some(b"pub".to_vec()), ..Options::default() };
    let (first, _) = rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), towards()));
    let (again, ops) = rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), towards()));
    assert_eq!((again, ops), (first, vec![]));
}
