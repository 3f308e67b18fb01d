//! What holds whatever comes.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use flow::{Epoch, Knockers};

use super::*;

const SOURCES: [&str; 6] = [SIGNALLED, SAME_HOST, SAME_PORT, ELSEWHERE, ELSEWHERE_TOO, "[2001:db8::10]:4000"];

#[derive(Clone, Debug)]
enum Event {
    Wait(u64),
    Packet { source: SocketAddr, matter: Matter },
    Open,
    FollowRtp(IpAddr),
    Signal(Signalled),
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
    (source(), matter()).prop_map(|(source, matter)| Event::Packet { source, matter })
}

fn matter() -> impl Strategy<Value = Matter> {
    prop_oneof![8 => Just(Matter::Media), 1 => Just(Matter::SignOfLife), 1 => Just(Matter::Noise)]
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
        1 => signalled().prop_map(Event::Signal),
    ]
}

fn signalled() -> impl Strategy<Value = Signalled> {
    let flags = (prop::bool::weighted(0.2), 0..3_u32);
    (learning(), successor(), prop::option::of(source()), prop::option::of(source()), flags).prop_map(
        |(learning, successor, at, signaller, (is_asymmetric, renewals))| Signalled {
            at,
            signaller: signaller.map(|signaller| signaller.ip()),
            is_direct: at.is_some() && at.map(|at| at.ip()) == signaller.map(|signaller| signaller.ip()),
            is_asymmetric,
            renewals,
            learning,
            successor,
        },
    )
}

fn suspects() -> impl Strategy<Value = Suspects> {
    (prop::option::of(source()), prop::option::of(source())).prop_map(|(former, knocker)| {
        let knock = |knocker: SocketAddr| Knockers::default().with(knocker.ip().into(), Epoch::FIRST);
        Suspects::new(former.map(|former| former.ip()), knocker.map_or(Knockers::default(), knock), Epoch::FIRST)
    })
}

fn peer() -> impl Strategy<Value = Peer> {
    (select(vec![Component::Rtp, Component::Rtcp]), signalled(), suspects())
        .prop_map(|(component, signalled, suspects)| Peer::new(component, signalled, suspects))
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

fn admit(rig: &mut Rig, source: SocketAddr, matter: Matter) -> Result<Admission, Reason> {
    rig.peer.admit(source, matter, None, rig.now)
}

fn run(rig: &mut Rig, event: &Event) {
    match event {
        Event::Wait(milliseconds) => rig.wait(*milliseconds),
        Event::Packet { source, matter } => {
            let _ = admit(rig, *source, *matter);
        }
        Event::Open => rig.peer.open(rig.now),
        Event::FollowRtp(host) => rig.peer.follow_rtp(*host),
        Event::Signal(signalled) => rig.peer.signal(*signalled, rig.now),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_a_slot_does_without_a_look_is_what_would_be_decided(mut rig in rig(), source in source()) {
        rig.peer.open(rig.now);
        let before = rig.peer.standing();
        if rig.peer.signalled.learning == Learning::Off {
            prop_assert_eq!((before.confirmed, before.is_settled), (rig.peer.signalled.at, true));
        }
        if before.confirmed.is_some() {
            prop_assert!(before.remote == before.confirmed || before.remote == rig.peer.signalled.at);
        }
        let admission = admit(&mut rig, source, Matter::Media);
        let after = rig.peer.standing();
        if before.confirmed == Some(source) {
            prop_assert_eq!((admission, after), (PEER, before));
        } else if before.watched == Some(source) {
            prop_assert_eq!((admission, after.remote), (PEER, before.remote));
        } else if before.is_settled {
            prop_assert!(admission.is_err());
            prop_assert_eq!(after, before);
        }
        if admission != PEER {
            prop_assert_eq!(after.remote, before.remote);
        }
    }

    /// To be told later when a watched peer was heard last is as good as to see each of its packets.
    #[test]
    fn what_is_caught_up_with_is_what_packets_would_have_taught(
        mut rig in rig(), waits in vec(1..400_u64, 1..20), later in vec((source(), 1..800_u64), 0..6),
    ) {
        rig.peer.open(rig.now);
        let Some(watched) = rig.peer.standing().watched else { return Ok(()) };
        let mut told = Rig { peer: rig.peer.clone(), now: rig.now };
        for wait in waits {
            rig.wait(wait);
            let _ = admit(&mut rig, watched, Matter::Media);
        }
        told.now = rig.now;
        told.peer.catch_up(rig.now);
        prop_assert_eq!(told.peer.standing(), rig.peer.standing());
        for (source, wait) in later {
            rig.wait(wait);
            told.wait(wait);
            prop_assert_eq!(admit(&mut told, source, Matter::Media), admit(&mut rig, source, Matter::Media));
            prop_assert_eq!(told.peer.standing(), rig.peer.standing());
        }
    }

    #[test]
    fn the_signalled_address_is_always_heard(mut rig in rig(), matter in matter()) {
        rig.peer.open(rig.now);
        let Some(signalled) = rig.peer.signalled.at.filter(|_| !rig.peer.signalled.is_asymmetric) else { return Ok(()) };
        let rtp_host = Some("192.0.2.99".parse().unwrap());
        let admission = rig.peer.admit(signalled, matter, rtp_host, rig.now);
        prop_assert_eq!((admission, rig.peer.standing().confirmed), (PEER, Some(signalled)));
    }

    #[test]
    fn noise_changes_nothing_unless_it_is_the_partys(mut rig in rig(), noisy in source()) {
        rig.peer.open(rig.now);
        let (before, heard) = (rig.peer.standing(), rig.peer.heard());
        let _ = admit(&mut rig, noisy, Matter::Noise);
        if rig.peer.signalled.at != Some(noisy) && heard != Some(noisy) {
            prop_assert_eq!(rig.peer.standing(), before);
        }
    }

    /// Whatever comes, unless the call is open to handover.
    #[test]
    fn the_peer_never_becomes_one_that_is_farther_until_it_is_signalled_anew(
        mut rig in rig(), packets in vec((source(), 0..5000_u64), 1..60),
    ) {
        rig.peer.open(rig.now);
        if rig.peer.signalled.successor == Successor::Anyone || rig.peer.signalled.learning == Learning::Off {
            return Ok(());
        }
        for (source, milliseconds) in packets {
            rig.wait(milliseconds);
            // Time is noticed without packets, too.
            rig.peer.advance(rig.now);
            // Who was signalled elsewhere has no place to keep.
            let stays = |heard: &SocketAddr| !rig.peer.has_left(*heard, rig.now);
            let before = rig.peer.heard().filter(stays).map(|heard| rig.peer.nearness(heard));
            let admission = admit(&mut rig, source, Matter::Media);
            let after = rig.peer.heard().map(|heard| rig.peer.nearness(heard));
            prop_assert!(after >= before, "{before:?} {after:?}");
            let has_left = rig.peer.moved_from.is_some_and(|moved| moved.source == source);
            if before.is_some_and(|before| rig.peer.nearness(source) < before) && !has_left {
                prop_assert!(admission.is_err(), "and is not heard");
            }
        }
    }

    /// The party sends from its own address, or through a NAT from the host of its signalling. Whoever else sends whatever, whenever, it keeps
    /// its call as soon as it has sent one packet, and what is for it goes nowhere else from then on.
    #[test]
    fn a_party_that_the_signalling_names_cannot_be_robbed(
        learning in select(LEARNING.to_vec()), strict in any::<bool>(), is_direct in any::<bool>(),
        before in vec((select(vec![ELSEWHERE_TOO, "198.51.100.66:9", "[2001:db8::66]:7"]), 0..4000_u64), 0..30),
        after in vec((select(vec![ELSEWHERE_TOO, "198.51.100.66:9", "[2001:db8::66]:7"]), 0..4000_u64), 0..30),
    ) {
        let successor = if strict { Successor::Nobody } else { Successor::Signalled };
        let mut rig = Rig::with(learning, successor).signaller("203.0.113.7");
        let party = if is_direct { SIGNALLED } else { ELSEWHERE };
        for (source, milliseconds) in before {
            rig.wait(milliseconds);
            let _ = rig.hear(source);
        }
        prop_assert_eq!(rig.hear(party), PEER);
        for (source, milliseconds) in after {
            rig.wait(milliseconds);
            prop_assert_eq!(rig.hear(source), STRANGER);
            prop_assert_eq!(rig.remote(), party);
        }
        prop_assert_eq!(rig.hear(party), PEER);
    }

    /// A party that follows the rules is heard, and hears, whatever its NAT does when it is described again.
    #[test]
    fn a_party_that_moves_when_it_is_described_again_is_heard_at_once_and_hears_soon(
        learning in select(LEARNING.to_vec()),
        moves in vec((select(vec![ELSEWHERE, ELSEWHERE_TOO, SAME_PORT]), 0..20_000_u64), 1..6),
    ) {
        let mut rig = Rig::new(learning);
        for (source, milliseconds) in moves {
            rig.signal(Some(SIGNALLED));
            for _ in 0..30 {
                rig.wait(20);
                prop_assert!(rig.hear(source).is_ok());
            }
            prop_assert_eq!(rig.remote(), source);
            rig.hear_for(milliseconds, source);
        }
    }
}
