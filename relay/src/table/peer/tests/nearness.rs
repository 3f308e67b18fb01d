//! The host that signalled: nearer than anybody else, farther than the host of the description.

use flow::{Epoch, Knockers};

use super::*;

/// The host of a NAT, where the signalling comes from.
const NAT: &str = "203.0.113.7";
/// Its party, through the NAT, and somebody else.
const PARTY: &str = ELSEWHERE;
const ATTACKER: &str = ELSEWHERE_TOO;

#[test]
fn whoever_is_first_gives_way_to_the_host_that_signalled_and_never_gets_the_call_back() {
    for learning in LEARNING {
        for successor in [Successor::Signalled, Successor::Nobody] {
            for late in [0, 100, 2900, 60_000] {
                let mut rig = Rig::with(learning, successor).signaller(NAT);
                let first = rig.hear(ATTACKER);
                assert_eq!(first.is_ok(), successor != Successor::Nobody, "strict: a farther source is never heard");
                rig.wait(late);
                let _ = rig.hear(ATTACKER);
                assert_eq!((rig.hear(PARTY), rig.remote().as_str()), (PEER, PARTY), "{learning:?} {late}");
                for _ in 0..200 {
                    rig.wait(20);
                    assert_eq!(rig.hear(ATTACKER), STRANGER);
                    assert_eq!((rig.hear(PARTY), rig.remote().as_str()), (PEER, PARTY));
                }
                // It pauses, as one who listens does.
                rig.wait(10_000);
                assert_eq!((rig.hear(ATTACKER), rig.remote().as_str()), (STRANGER, PARTY));
            }
        }
    }
}

#[test]
fn who_sprays_from_before_the_answer_on_gets_nothing_of_a_party_that_is_where_it_says() {
    for learning in LEARNING {
        for successor in [Successor::Signalled, Successor::Nobody] {
            let mut rig = Rig::ringing(learning, successor).signaller("192.0.2.10");
            for milliseconds in 0..5000 {
                rig.wait(1);
                if milliseconds == 1000 {
                    rig.peer.open(rig.now);
                }
                let _ = rig.hear(ATTACKER);
                assert_eq!(rig.remote(), SIGNALLED, "the party has said nothing yet, and what is for it goes to it");
            }
            assert_eq!((rig.hear(SIGNALLED), rig.is_settled()), (PEER, true));
            assert_eq!(rig.hear(ATTACKER), STRANGER);
        }
    }
}

#[test]
fn a_direct_party_that_sends_from_another_of_its_addresses_is_heard_and_gets_its_media_where_it_said() {
    for learning in LEARNING {
        let mut rig = Rig::new(learning).signaller("192.0.2.10");
        rig.hear_for(4000, "192.0.2.77:4000");
        assert_eq!((rig.remote().as_str(), rig.confirmed().as_str()), (SIGNALLED, "192.0.2.77:4000"));
    }
}

#[test]
fn a_strict_party_behind_a_nat_is_heard_from_its_host_and_from_that_of_its_signalling_only() {
    for learning in LEARNING {
        let mut rig = Rig::with(learning, Successor::Nobody).signaller(NAT);
        for _ in 0..3 {
            assert_eq!(rig.hear(ATTACKER), STRANGER);
            assert_eq!(rig.hear(PARTY), PEER);
            rig.wait(2000);
        }
        assert_eq!(rig.hear(SAME_HOST), PEER);
    }
}

#[test]
fn a_strict_party_of_which_only_the_description_is_known_is_found_behind_its_nat_all_the_same() {
    let mut rig = Rig::with(Learning::Heuristic, Successor::Nobody);
    assert_eq!((rig.hear(PARTY), rig.remote().as_str()), (PEER, PARTY));
}

#[test]
fn suspects_are_heard_only_where_the_signalling_names_them() {
    for learning in LEARNING {
        let suspects = [
            Suspects::new(Some(addr(PARTY).ip()), Knockers::default(), Epoch::FIRST),
            Suspects::new(None, Knockers::default().with(addr(PARTY).ip().into(), Epoch::FIRST), Epoch::FIRST),
        ];
        for suspects in suspects {
            let mut rig = Rig::new(learning);
            rig.peer.suspects = suspects;
            assert_eq!(rig.hear(PARTY), STRANGER);
            let mut rig = rig.signaller(NAT);
            assert_eq!((rig.hear(PARTY), rig.remote().as_str()), (PEER, PARTY));
            assert_eq!(rig.hear(SIGNALLED), PEER);
        }
    }
}

#[test]
fn both_families_know_the_host_that_signalled() {
    let mut rig = Rig::new(Learning::Heuristic).signaller("2001:db8::7");
    rig.signal(Some("[fd00::10]:4000"));
    for source in ["[2001:db8::66]:9", "[2001:db8::7]:1024", "[fd00::10]:5000", "[fd00::10]:4000"] {
        assert_eq!((rig.hear(source), rig.remote().as_str()), (PEER, source));
    }
    assert_eq!(rig.hear("[2001:db8::7]:1024"), STRANGER);
}

#[test]
fn rtcp_of_the_host_that_signalled_wins_as_rtp_does() {
    let mut rig = Rig::rtcp().signaller(NAT);
    let host = Some(addr(PARTY).ip());
    assert_eq!(rig.peer.admit(addr(ATTACKER), Matter::Media, host, rig.now), STRANGER);
    assert_eq!(rig.peer.admit(addr(PARTY), Matter::Media, host, rig.now), PEER);
}
