//! Who takes the place of a learned peer.

use super::*;

#[test]
fn with_strict_source_nobody_succeeds_a_learned_peer_who_is_not_nearer() {
    for learning in LEARNING {
        let mut rig = Rig::with(learning, Successor::Nobody);
        rig.hear(ELSEWHERE).unwrap();
        rig.wait(3000);
        rig.hear(ELSEWHERE).unwrap();
        for source in [SAME_PORT, ELSEWHERE_TOO] {
            assert_eq!(rig.hear(source), STRANGER);
        }
        assert_eq!(rig.confirmed(), ELSEWHERE);
        assert_eq!((rig.hear(SIGNALLED), rig.confirmed().as_str()), (PEER, SIGNALLED), "it is where it said");
    }
}

#[test]
fn strict_source_is_for_after_the_learning() {
    for learning in [Learning::Delayed, Learning::Heuristic] {
        let mut rig = Rig::with(learning, Successor::Nobody);
        rig.hear(ELSEWHERE).unwrap();
        assert!(!rig.is_settled());
        rig.wait(2000);
        assert_eq!(rig.hear(SIGNALLED), PEER);
        assert_eq!((rig.confirmed().as_str(), rig.is_settled()), (SIGNALLED, true));
    }
}

#[test]
fn with_media_handover_anyone_who_sends_media_succeeds_a_learned_peer() {
    for learning in LEARNING {
        let mut rig = Rig::with(learning, Successor::Anyone);
        rig.hear(SIGNALLED).unwrap();
        for source in [ELSEWHERE, SAME_HOST, ELSEWHERE_TOO, SIGNALLED] {
            assert!(!rig.is_settled(), "{learning:?}");
            assert_eq!(rig.hear(source), PEER);
            assert_eq!((rig.remote().as_str(), rig.confirmed().as_str()), (source, source));
        }
    }
}

#[test]
fn media_handover_does_not_bring_back_the_address_that_the_party_was_signalled_away_from() {
    let mut rig = Rig::with(Learning::Heuristic, Successor::Anyone);
    rig.hear(SIGNALLED).unwrap();
    rig.signal(Some(ELSEWHERE));
    rig.hear(ELSEWHERE).unwrap();
    assert_eq!(rig.hear(SIGNALLED), STRANGER);
    rig.wait(5000);
    assert_eq!(rig.hear(SIGNALLED), PEER);
}

#[test]
fn strictness_may_come_and_go_with_the_signalling() {
    let mut rig = Rig::new(Learning::Immediate);
    rig.hear(ELSEWHERE).unwrap();
    rig.set(Learning::Immediate, Successor::Nobody);
    assert_eq!((rig.confirmed().as_str(), rig.hear(ELSEWHERE_TOO)), (ELSEWHERE, STRANGER));
    rig.set(Learning::Immediate, Successor::Anyone);
    assert_eq!((rig.is_settled(), rig.hear(ELSEWHERE_TOO)), (false, PEER));
}
