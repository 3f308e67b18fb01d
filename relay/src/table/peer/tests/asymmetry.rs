//! Parties that receive elsewhere than they send from.

use super::*;

#[test]
fn an_asymmetric_party_is_heard_from_where_it_sends_and_hears_where_it_said() {
    for source in [ELSEWHERE, SAME_HOST, SAME_PORT, SIGNALLED] {
        let mut rig = Rig::asymmetric(Successor::default());
        assert_eq!(rig.hear(source), PEER);
        rig.hear_for(4000, source);
        assert_eq!((rig.confirmed().as_str(), rig.remote().as_str()), (source, SIGNALLED));
    }
}

#[test]
fn what_an_asymmetric_party_sends_from_where_it_receives_does_not_mute_it() {
    let mut rig = Rig::asymmetric(Successor::default());
    rig.hear(SAME_HOST).unwrap();
    rig.hear_for(4000, SAME_HOST);
    let _ = (rig.keep_alive(SIGNALLED), rig.noise(SIGNALLED));
    assert_eq!((rig.hear(SAME_HOST), rig.confirmed().as_str(), rig.is_settled()), (PEER, SAME_HOST, false));
}

#[test]
fn an_asymmetric_party_with_strict_source_is_heard_from_the_host_of_its_description_only() {
    let mut rig = Rig::asymmetric(Successor::Nobody).signaller("203.0.113.7");
    for source in [ELSEWHERE, SAME_PORT, ELSEWHERE_TOO] {
        assert_eq!(rig.hear(source), STRANGER);
    }
    assert_eq!(rig.hear(SAME_HOST), PEER);
    assert_eq!((rig.confirmed().as_str(), rig.remote().as_str()), (SAME_HOST, SIGNALLED));
}

#[test]
fn an_asymmetric_party_that_is_signalled_elsewhere_hears_there_at_once() {
    let mut rig = Rig::asymmetric(Successor::default());
    rig.hear(ELSEWHERE).unwrap();
    rig.signal(Some(SAME_PORT));
    assert_eq!((rig.remote().as_str(), rig.hear(ELSEWHERE)), (SAME_PORT, PEER));
    rig.signal(None);
    assert_eq!((rig.remote().as_str(), rig.hear(ELSEWHERE)), ("", GUEST));
}

#[test]
fn rtcp_of_an_asymmetric_party_comes_from_where_its_rtp_does() {
    let mut rtp = Rig::asymmetric(Successor::default());
    rtp.hear(ELSEWHERE).unwrap();
    assert_eq!(rtp.peer.host(), Some(addr(ELSEWHERE).ip()));
}
