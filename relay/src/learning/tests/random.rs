//! What holds whatever comes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const SOURCES: [&str; 6] = [SIGNALLED, SAME_HOST, SAME_PORT, ELSEWHERE, ELSEWHERE_TOO, "[2001:db8::10]:4000"];

#[derive(Clone, Debug)]
enum Event {
    Wait(u64),
    Packet { source: SocketAddr, is_media: bool },
    Open,
    FollowRtp(IpAddr),
    Signal(Learning, Successor, Option<SocketAddr>),
}

fn source() -> impl Strategy<Value = SocketAddr> {
    select(SOURCES.map(addr).to_vec())
}

fn learning() -> impl Strategy<Value = Learning> {
    select(vec![Learning::Off, Learning::Immediate, Learning::Delayed, Learning::Heuristic])
}

fn successor() -> impl Strategy<Value = Successor> {
    select(SUCCESSORS.to_vec())
}

fn packet() -> impl Strategy<Value = Event> {
    (source(), prop::bool::weighted(0.9)).prop_map(|(source, is_media)| Event::Packet { source, is_media })
}

fn wait() -> impl Strategy<Value = Event> {
    (0..1500_u64).prop_map(Event::Wait)
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => wait(),
        8 => packet(),
        1 => Just(Event::Open),
        1 => source().prop_map(|source| Event::FollowRtp(source.ip())),
        1 => (learning(), successor(), prop::option::of(source()))
            .prop_map(|(learning, successor, signalled)| Event::Signal(learning, successor, signalled)),
    ]
}

fn peer() -> impl Strategy<Value = Peer> {
    (select(vec![Component::Rtp, Component::Rtcp]), learning(), successor(), prop::option::of(source()))
        .prop_map(|(component, learning, successor, signalled)| Peer::new(component, learning, successor, signalled))
}

/// Any peer after anything.
fn rig() -> impl Strategy<Value = Rig> {
    (peer(), vec(event(), 0..40)).prop_map(|(peer, events)| {
        let mut rig = Rig { peer, now: Instant::now() };
        events.iter().for_each(|event| run(&mut rig, event));
        rig.peer.advance(rig.now);
        rig
    })
}

fn admit(rig: &mut Rig, source: SocketAddr, is_media: bool) -> Result<Admission, Reason> {
    rig.peer.admit(source, is_media, None, rig.now)
}

fn run(rig: &mut Rig, event: &Event) {
    match event {
        Event::Wait(milliseconds) => rig.wait(*milliseconds),
        Event::Packet { source, is_media } => {
            let _ = admit(rig, *source, *is_media);
        }
        Event::Open => rig.peer.open(rig.now),
        Event::FollowRtp(host) => rig.peer.follow_rtp(*host),
        Event::Signal(learning, successor, signalled) => rig.peer.signal(*learning, *successor, *signalled, rig.now),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_a_slot_does_without_a_look_is_what_would_be_decided(mut rig in rig(), source in source()) {
        let before = rig.peer.standing();
        if rig.peer.learning == Learning::Off {
            prop_assert_eq!((before.confirmed, before.is_settled), (rig.peer.signalled, true));
        }
        if before.confirmed.is_some() {
            prop_assert_eq!(before.remote, before.confirmed, "packets go to where they come from");
        }
        let admission = admit(&mut rig, source, true);
        let after = rig.peer.standing();
        if before.confirmed == Some(source) {
            prop_assert_eq!((admission, after), (PEER, before));
        } else if before.is_settled {
            prop_assert!(admission.is_err());
            prop_assert_eq!(after, before);
        }
        prop_assert_eq!(after.remote, if admission == PEER { Some(source) } else { before.remote });
        // While nothing is certain, nothing of media is lost.
        if before.confirmed.is_none() && rig.peer.learning != Learning::Off {
            prop_assert!(admission.is_ok());
        }
    }

    #[test]
    fn the_signalled_address_is_always_heard_unless_a_strict_peer_was_learned_elsewhere(
        mut rig in rig(), is_media in any::<bool>(),
    ) {
        let Some(signalled) = rig.peer.signalled else { return Ok(()) };
        let is_taken = rig.peer.successor == Successor::Nobody
            && matches!(rig.peer.taught, Taught::Learned(learned) if learned != signalled);
        let rtp_host = Some("192.0.2.99".parse().unwrap());
        let admission = rig.peer.admit(signalled, is_media, rtp_host, rig.now);
        if is_taken {
            prop_assert_eq!(admission, STRANGER);
        } else {
            prop_assert_eq!((admission, rig.peer.standing().confirmed), (PEER, Some(signalled)));
        }
    }

    #[test]
    fn noise_changes_nothing_unless_it_is_the_partys(mut rig in rig(), noisy in source()) {
        let before = rig.peer.standing();
        let _ = admit(&mut rig, noisy, false);
        if rig.peer.signalled != Some(noisy) && before.remote != Some(noisy) {
            prop_assert_eq!(rig.peer.standing(), before);
        }
    }

    #[test]
    fn within_the_window_the_peer_never_becomes_one_that_is_farther_from_the_signalled_address(
        successor in successor(), packets in vec((source(), 0..100_u64), 1..60),
    ) {
        let mut rig = Rig::with(Learning::Heuristic, successor);
        let signalled = addr(SIGNALLED);
        let nearness = |rig: &Rig| {
            rig.peer.heard().map(|heard| (heard.ip() == signalled.ip(), heard.port() == signalled.port()))
        };
        let mut began = None;
        for (source, milliseconds) in packets {
            rig.wait(milliseconds);
            let before = nearness(&rig);
            if before == Some((true, true)) || began.is_some_and(|began| rig.now.duration_since(began) >= WINDOW) {
                break;
            }
            prop_assert!(admit(&mut rig, source, true).is_ok(), "no audio is lost meanwhile");
            began = began.or(Some(rig.now));
            prop_assert!(nearness(&rig) >= before);
        }
    }

    #[test]
    fn once_learned_with_strict_source_the_peer_changes_only_by_signalling(
        learning in select(LEARNING.to_vec()), events in vec(prop_oneof![packet(), wait()], 0..60),
    ) {
        let mut rig = Rig::with(learning, Successor::Nobody);
        let mut learned = None;
        for event in &events {
            run(&mut rig, event);
            rig.peer.advance(rig.now);
            if learned.is_some() {
                prop_assert_eq!(rig.peer.standing().confirmed, learned);
            }
            if rig.is_settled() {
                learned = rig.peer.standing().confirmed;
            }
        }
    }
}
