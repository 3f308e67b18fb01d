//! Parties that listen, and only keep their NAT open.

use super::*;

#[test]
fn a_listener_behind_a_nat_is_found_by_its_keep_alives() {
    for learning in LEARNING {
        let mut rig = Rig::new(learning);
        assert_eq!((rig.keep_alive(ELSEWHERE), rig.remote().as_str()), (PEER, ELSEWHERE));
        assert_eq!(rig.confirmed(), "", "its first media is to be seen");
        rig.pass(20_000);
        let mut stray = Rig { peer: rig.peer.clone(), ..rig };
        assert_eq!((stray.hear(ELSEWHERE_TOO), stray.remote().as_str()), (PEER, ELSEWHERE_TOO), "once is chance");
        assert_eq!((rig.keep_alive(ELSEWHERE), rig.remote().as_str()), (PEER, ELSEWHERE));
        assert_eq!(rig.confirmed(), ELSEWHERE);
        assert_eq!(rig.hear(ELSEWHERE_TOO), STRANGER, "later");
    }
}

#[test]
fn who_sends_media_takes_the_place_of_one_that_has_only_shown_that_it_lives() {
    for learning in [Learning::Delayed, Learning::Heuristic] {
        let mut rig = Rig::new(learning);
        rig.keep_alive(ELSEWHERE).unwrap();
        rig.wait(1000);
        assert_eq!((rig.hear(ELSEWHERE_TOO), rig.remote().as_str()), (PEER, ELSEWHERE_TOO));
        assert_eq!(rig.keep_alive(ELSEWHERE), Err(Reason::NotMedia));
    }
}

#[test]
fn a_keep_alive_moves_nobody_who_has_sent_media() {
    for learning in LEARNING {
        let mut rig = Rig::new(learning);
        rig.hear(ELSEWHERE).unwrap();
        for source in [ELSEWHERE_TOO, SAME_HOST] {
            assert_eq!((rig.keep_alive(source), rig.remote().as_str()), (Err(Reason::NotMedia), ELSEWHERE));
        }
        assert_eq!((rig.keep_alive(SIGNALLED), rig.remote().as_str()), (PEER, SIGNALLED), "but the party itself");
    }
}

#[test]
fn a_nearer_keep_alive_takes_the_place_of_another() {
    let mut rig = Rig::new(Learning::Heuristic);
    rig.keep_alive(ELSEWHERE).unwrap();
    assert_eq!(rig.keep_alive(ELSEWHERE_TOO), Err(Reason::NotMedia), "one that is as near does not");
    assert_eq!((rig.keep_alive(SAME_HOST), rig.remote().as_str()), (PEER, SAME_HOST));
}

#[test]
fn who_has_kept_its_nat_open_and_then_speaks_cannot_be_robbed() {
    for learning in LEARNING {
        let mut rig = Rig::new(learning);
        rig.keep_alive(ELSEWHERE).unwrap();
        assert_eq!(rig.hear(ELSEWHERE), PEER);
        rig.hear_for(4000, ELSEWHERE);
        assert_eq!(rig.confirmed(), ELSEWHERE);
        rig.pass(60_000);
        if learning != Learning::Delayed {
            assert_eq!((rig.hear(ELSEWHERE_TOO), rig.remote().as_str()), (STRANGER, ELSEWHERE));
        }
    }
}

#[test]
fn a_stray_sign_of_life_is_no_more_after_another_description() {
    let mut rig = Rig::new(Learning::Heuristic);
    rig.keep_alive(ELSEWHERE).unwrap();
    rig.signal(Some(SIGNALLED));
    rig.pass(10_000);
    assert_eq!((rig.hear(ELSEWHERE_TOO), rig.remote().as_str()), (PEER, ELSEWHERE_TOO));
}

#[test]
fn strict_source_holds_for_keep_alives() {
    let mut rig = Rig::with(Learning::Heuristic, Successor::Nobody).signaller("203.0.113.7");
    assert_eq!(rig.keep_alive(ELSEWHERE_TOO), STRANGER);
    assert_eq!(rig.keep_alive(ELSEWHERE), PEER);
}
