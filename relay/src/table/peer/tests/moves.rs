//! Parties that are signalled again: elsewhere, on hold, or for the first time.

use super::*;

#[test]
fn a_party_that_was_where_it_said_and_is_moved_hears_at_its_new_address_at_once() {
    for learning in LEARNING {
        let mut rig = Rig::new(learning);
        rig.hear(SIGNALLED).unwrap();
        rig.signal(Some(SAME_PORT));
        assert_eq!((rig.remote().as_str(), rig.confirmed().as_str()), (SAME_PORT, ""));
        rig.wait(4999);
        assert_eq!((rig.hear(SIGNALLED), rig.remote().as_str()), (GUEST, SAME_PORT));
        assert_eq!(rig.hear(SAME_PORT), PEER);
        assert_eq!(rig.hear(SIGNALLED), STRANGER);
    }
}

#[test]
fn a_party_behind_a_nat_that_is_moved_hears_where_it_was_until_it_is_heard_from_its_new_address() {
    for learning in LEARNING {
        let mut rig = Rig::new(learning);
        rig.hear(ELSEWHERE).unwrap();
        rig.signal(Some("10.0.0.7:9"));
        assert_eq!((rig.remote().as_str(), rig.confirmed().as_str()), (ELSEWHERE, ""));
        rig.hear_for(1000, ELSEWHERE);
        assert_eq!((rig.remote().as_str(), rig.confirmed().as_str()), (ELSEWHERE, ""), "watched");
        assert_eq!((rig.hear("10.0.0.7:9"), rig.remote().as_str()), (PEER, "10.0.0.7:9"));
        assert_eq!(rig.hear(ELSEWHERE), STRANGER);
    }
}

#[test]
fn a_party_that_is_moved_and_silent_hears_at_its_new_address() {
    for learning in LEARNING {
        let mut rig = Rig::new(learning);
        rig.hear(ELSEWHERE).unwrap();
        rig.signal(Some(SAME_PORT));
        rig.pass(199);
        assert_eq!(rig.remote(), ELSEWHERE);
        assert_eq!(rig.peer.next_turn(), Some(rig.now + Duration::from_millis(1)));
        rig.pass(1);
        assert_eq!(rig.remote(), SAME_PORT);
        assert_eq!((rig.hear(ELSEWHERE), rig.remote().as_str()), (PEER, ELSEWHERE), "it was only quiet");
        rig.pass(200);
        assert_eq!((rig.hear(ELSEWHERE_TOO), rig.remote().as_str()), (PEER, ELSEWHERE_TOO));
        assert_eq!((rig.hear(ELSEWHERE), rig.remote().as_str()), (PEER, ELSEWHERE), "it is nearer");
    }
}

#[test]
fn whoever_is_as_near_as_the_old_address_of_a_party_that_is_moved_takes_its_place() {
    let mut rig = Rig::new(Learning::Heuristic);
    rig.hear(ELSEWHERE).unwrap();
    rig.signal(Some("10.0.0.7:9"));
    rig.hear_for(100, ELSEWHERE);
    assert_eq!((rig.hear(ELSEWHERE_TOO), rig.remote().as_str()), (PEER, ELSEWHERE_TOO));
    assert_eq!(rig.hear(ELSEWHERE), GUEST);
    assert_eq!(rig.confirmed(), ELSEWHERE_TOO);
}

#[test]
fn a_party_that_goes_on_sending_from_its_old_address_is_learned_there_in_the_end() {
    for learning in LEARNING {
        let mut rig = Rig::new(learning);
        rig.hear(ELSEWHERE).unwrap();
        rig.signal(Some(SAME_PORT));
        rig.hear_for(5020, ELSEWHERE);
        assert_eq!((rig.remote().as_str(), rig.confirmed().as_str()), (ELSEWHERE, ELSEWHERE));
        assert_eq!((rig.hear(SAME_PORT), rig.remote().as_str()), (PEER, SAME_PORT), "unless it comes after all");
    }
}

#[test]
fn strict_source_keeps_nobody_at_an_old_address_that_is_too_far() {
    let mut rig = Rig::with(Learning::Heuristic, Successor::Nobody).signaller("192.0.2.10");
    rig.hear(SIGNALLED).unwrap();
    rig.peer.signal(
        Signalled { at: Some(addr(ELSEWHERE)), signaller: Some(addr(ELSEWHERE).ip()), ..rig.peer.signalled },
        rig.now,
    );
    assert_eq!((rig.remote().as_str(), rig.hear(SIGNALLED)), (ELSEWHERE, GUEST));
    rig.wait(5000);
    assert_eq!(rig.hear(SIGNALLED), STRANGER);
}

#[test]
fn who_is_described_again_has_to_be_heard_again_and_keeps_its_place_meanwhile() {
    for learning in LEARNING {
        let mut rig = Rig::new(learning);
        rig.hear(ELSEWHERE).unwrap();
        rig.hear_for(4000, ELSEWHERE);
        rig.signal(Some(SIGNALLED));
        assert_eq!((rig.remote().as_str(), rig.confirmed().as_str()), (ELSEWHERE, ""));
        rig.hear_for(3020, ELSEWHERE);
        assert_eq!(rig.confirmed(), ELSEWHERE);
    }
}

#[test]
fn a_source_that_is_as_near_takes_the_place_of_a_silent_one_when_the_party_is_described_again() {
    for learning in LEARNING {
        for late in [0, 2000] {
            let mut rig = Rig::new(learning);
            rig.hear(ELSEWHERE).unwrap();
            rig.hear_for(4000, ELSEWHERE);
            assert_eq!(rig.hear(ELSEWHERE_TOO), STRANGER, "before");
            rig.signal(Some(SIGNALLED));
            rig.pass(late);
            for _ in 0..26 {
                assert!(rig.hear(ELSEWHERE_TOO).is_ok(), "it is heard all the time");
                rig.pass(20);
            }
            assert_eq!(rig.remote(), ELSEWHERE_TOO, "{learning:?}");
        }
    }
}

#[test]
fn a_source_that_goes_on_keeps_its_place_when_the_party_is_described_again() {
    for learning in LEARNING {
        let mut rig = Rig::new(learning);
        rig.hear(ELSEWHERE).unwrap();
        rig.hear_for(4000, ELSEWHERE);
        rig.signal(Some(SIGNALLED));
        for _ in 0..200 {
            rig.pass(20);
            assert_eq!((rig.hear(ELSEWHERE), rig.remote().as_str()), (PEER, ELSEWHERE));
            assert_eq!(rig.hear(ELSEWHERE_TOO), STRANGER, "not even for a moment");
        }
    }
}

#[test]
fn a_party_that_is_described_again_and_listens_keeps_its_place_after_the_window() {
    let mut rig = Rig::new(Learning::Heuristic);
    rig.hear(ELSEWHERE).unwrap();
    rig.hear_for(4000, ELSEWHERE);
    rig.signal(Some(SIGNALLED));
    rig.pass(3000);
    for _ in 0..50 {
        rig.pass(100);
        assert_eq!((rig.hear(ELSEWHERE_TOO), rig.remote().as_str()), (STRANGER, ELSEWHERE));
    }
}

#[test]
fn a_party_whose_signalling_comes_from_elsewhere_than_the_old_address_is_at_the_new_one() {
    let mut rig = Rig::new(Learning::Heuristic).signaller("198.51.100.99");
    rig.hear(ELSEWHERE).unwrap();
    rig.signal(Some("203.0.113.50:4000"));
    assert_eq!((rig.remote().as_str(), rig.hear("203.0.113.9:7")), ("203.0.113.50:4000", PEER));
    let mut rig = Rig::new(Learning::Heuristic).signaller("203.0.113.7");
    rig.hear(ELSEWHERE).unwrap();
    rig.signal(Some("10.0.0.7:9"));
    rig.hear_for(6000, ELSEWHERE);
    assert_eq!((rig.remote().as_str(), rig.confirmed().as_str()), (ELSEWHERE, ELSEWHERE), "its NAT has not changed");
}

#[test]
fn who_was_heard_before_a_hold_gets_nothing_of_one_who_takes_the_call_back_elsewhere() {
    let mut rig = Rig::new(Learning::Heuristic);
    rig.hear(ELSEWHERE).unwrap();
    rig.signal(None);
    rig.wait(60_000);
    rig.signal(Some(SAME_PORT));
    assert_eq!(rig.remote(), SAME_PORT);
}

#[test]
fn nobody_farther_takes_the_place_of_a_party_that_is_described_again() {
    for learning in LEARNING {
        for source in [SIGNALLED, SAME_HOST] {
            let mut rig = Rig::new(learning);
            rig.hear(source).unwrap();
            rig.hear_for(4000, source);
            rig.signal(Some(SIGNALLED));
            for _ in 0..50 {
                rig.pass(100);
                assert_eq!((rig.hear(ELSEWHERE), rig.remote().as_str()), (STRANGER, source));
            }
        }
    }
}

#[test]
fn a_party_on_hold_gets_nothing_and_comes_back_to_where_it_was() {
    for learning in LEARNING {
        let mut rig = Rig::new(learning);
        rig.hear(ELSEWHERE).unwrap();
        rig.signal(None);
        assert_eq!((rig.remote().as_str(), rig.hear(ELSEWHERE)), ("", GUEST));
        rig.wait(60_000);
        rig.signal(Some(SIGNALLED));
        assert_eq!(rig.remote(), ELSEWHERE);
        assert_eq!(rig.confirmed(), "", "it has to be heard again");
        assert_eq!(rig.hear(ELSEWHERE), PEER);
        rig.hear_for(3000, ELSEWHERE);
        assert_eq!(rig.confirmed(), ELSEWHERE);
    }
}

#[test]
fn a_party_that_comes_back_from_hold_through_another_port_of_its_nat_is_found() {
    for learning in LEARNING {
        let mut rig = Rig::new(learning);
        rig.hear(SAME_PORT).unwrap();
        rig.signal(None);
        rig.wait(60_000);
        rig.signal(Some(SIGNALLED));
        for _ in 0..200 {
            rig.wait(20);
            assert!(rig.hear(ELSEWHERE).is_ok(), "it is heard all the time");
        }
        assert_eq!(rig.confirmed(), ELSEWHERE, "{learning:?}");
    }
}

#[test]
fn a_party_that_was_heard_at_its_signalled_address_is_certain_after_hold() {
    let mut rig = Rig::new(Learning::Heuristic);
    rig.hear(SIGNALLED).unwrap();
    rig.signal(None);
    rig.signal(Some(SIGNALLED));
    assert_eq!((rig.confirmed().as_str(), rig.is_settled()), (SIGNALLED, true));
}

#[test]
fn a_change_between_modes_that_learn_forgets_nothing_and_one_to_or_from_off_everything() {
    let mut rig = Rig::new(Learning::Immediate);
    rig.hear(ELSEWHERE).unwrap();
    rig.set(Learning::Heuristic, Successor::default());
    assert_eq!(rig.confirmed(), ELSEWHERE);
    rig.set(Learning::Off, Successor::default());
    assert_eq!((rig.confirmed().as_str(), rig.hear(ELSEWHERE)), (SIGNALLED, STRANGER));
    rig.set(Learning::Heuristic, Successor::default());
    assert_eq!((rig.confirmed().as_str(), rig.hear(ELSEWHERE), rig.remote().as_str()), ("", PEER, ELSEWHERE));
}

#[test]
fn a_party_that_is_moved_and_falls_silent_at_the_last_moment_hears_at_its_new_address() {
    for silent in [0, 100] {
        let mut rig = Rig::new(Learning::Heuristic);
        rig.hear(ELSEWHERE).unwrap();
        rig.signal(Some("10.0.0.7:9"));
        rig.hear_for(4900, ELSEWHERE);
        rig.pass(silent);
        assert_eq!(rig.remote(), ELSEWHERE);
        rig.pass(200);
        assert_eq!(rig.remote(), "10.0.0.7:9");
    }
}

#[test]
fn who_is_named_takes_the_place_of_one_that_was_signalled_elsewhere_however_late() {
    let mut rig = Rig::new(Learning::Heuristic).signaller("203.0.113.7");
    rig.hear(ELSEWHERE).unwrap();
    rig.signal(Some("10.0.0.7:9"));
    rig.hear_for(20_000, ELSEWHERE);
    assert_eq!((rig.hear(SAME_PORT), rig.remote().as_str()), (PEER, SAME_PORT));
    assert_eq!(rig.hear("198.51.100.66:9"), STRANGER);
}

#[test]
fn a_hold_does_not_bring_back_who_was_there_before_a_transfer() {
    let mut rig = Rig::new(Learning::Heuristic);
    rig.hear(SIGNALLED).unwrap();
    rig.signal(Some("10.0.0.7:9"));
    rig.signal(None);
    rig.signal(Some("10.0.0.7:9"));
    assert_eq!(rig.remote(), "10.0.0.7:9");
    rig.signal(Some("10.0.0.8:9"));
    assert_eq!((rig.hear(SIGNALLED), rig.remote().as_str()), (GUEST, "10.0.0.8:9"), "it was where it said");
}

#[test]
fn a_party_that_moved_during_a_hold_is_found_also_when_it_is_described_again() {
    let mut rig = Rig::new(Learning::Heuristic);
    rig.hear(ELSEWHERE).unwrap();
    rig.signal(None);
    rig.wait(60_000);
    rig.signal(Some(SIGNALLED));
    rig.signal(Some(SIGNALLED));
    rig.pass(60_000);
    assert_eq!((rig.hear(ELSEWHERE_TOO), rig.remote().as_str()), (PEER, ELSEWHERE_TOO));
}

#[test]
fn the_window_of_what_is_said_again_ends_in_every_mode() {
    for learning in LEARNING {
        let mut rig = Rig::new(learning);
        rig.hear(ELSEWHERE).unwrap();
        rig.hear_for(4000, ELSEWHERE);
        rig.signal(Some(SIGNALLED));
        rig.pass(10_000);
        assert_eq!((rig.hear(ELSEWHERE_TOO), rig.remote().as_str()), (STRANGER, ELSEWHERE), "{learning:?}");
    }
}

#[test]
fn who_comes_while_a_moved_party_is_quiet_gives_way_to_it_if_that_is_nearer() {
    for learning in LEARNING {
        for (before, after) in [("10.9.9.9:4", "10.9.9.8:4"), (ELSEWHERE, "10.9.9.8:4")] {
            let mut rig = Rig::new(learning);
            rig.signal(Some(before));
            let mut rig = rig.signaller("203.0.113.7");
            rig.hear(ELSEWHERE).unwrap();
            rig.hear_for(4000, ELSEWHERE);
            rig.peer.signal(Signalled { is_direct: false, ..rig.peer.signalled }, rig.now);
            rig.signal(Some(after));
            rig.pass(1000);
            rig.hear("192.0.2.66:9").unwrap();
            assert_eq!((rig.hear(ELSEWHERE), rig.remote().as_str()), (PEER, ELSEWHERE), "{learning:?} {before}");
            assert!(rig.hear("192.0.2.66:9").is_err());
            rig.hear_for(6000, ELSEWHERE);
            assert_eq!(rig.confirmed(), ELSEWHERE);
        }
    }
}
