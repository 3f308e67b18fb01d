//! Parties that are signalled again: elsewhere, on hold, or for the first time.

use super::*;

#[test]
fn a_party_that_is_moved_is_heard_from_its_old_address_until_it_is_heard_from_the_new_one() {
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
fn the_old_address_of_a_party_that_is_moved_never_counts_as_near_to_its_new_one() {
    let mut rig = Rig::new(Learning::Heuristic);
    rig.hear(SIGNALLED).unwrap();
    rig.signal(Some(SAME_HOST));
    rig.hear(ELSEWHERE).unwrap();
    assert_eq!(rig.hear(SIGNALLED), GUEST);
    assert_eq!(rig.confirmed(), ELSEWHERE);
}

#[test]
fn a_party_that_goes_on_sending_from_its_old_address_is_learned_there_in_the_end() {
    for learning in LEARNING {
        let mut rig = Rig::new(learning);
        rig.hear(ELSEWHERE).unwrap();
        rig.signal(Some(SAME_PORT));
        rig.wait(5000);
        assert_eq!((rig.hear(ELSEWHERE), rig.remote().as_str()), (PEER, ELSEWHERE));
    }
}

#[test]
fn the_same_signalling_again_keeps_what_was_learned() {
    for learning in LEARNING {
        let mut rig = Rig::new(learning);
        rig.hear(ELSEWHERE).unwrap();
        let before = rig.peer.clone();
        rig.signal(Some(SIGNALLED));
        assert_eq!(rig.peer, before);
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
