mod moves;
mod random;
mod successors;

use super::*;

/// What the party's description says.
const SIGNALLED: &str = "192.0.2.10:4000";
/// The same host, another port.
const SAME_HOST: &str = "192.0.2.10:4444";
/// Another host, the same port: a NAT that kept it.
const SAME_PORT: &str = "203.0.113.7:4000";
/// Neither.
const ELSEWHERE: &str = "203.0.113.7:1024";
const ELSEWHERE_TOO: &str = "203.0.113.8:1025";

const LEARNING: [Learning; 3] = [Learning::Immediate, Learning::Delayed, Learning::Heuristic];
const SUCCESSORS: [Successor; 3] = [Successor::Signalled, Successor::Nobody, Successor::Anyone];

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A peer, and the time.
#[derive(Debug)]
struct Rig {
    peer: Peer,
    now: Instant,
}

impl Rig {
    /// An RTP stream of a party at [`SIGNALLED`], of a call that was answered.
    fn new(learning: Learning) -> Self {
        Self::with(learning, Successor::default())
    }

    fn with(learning: Learning, successor: Successor) -> Self {
        let mut rig = Self::ringing(learning, successor);
        rig.peer.open(rig.now);
        rig
    }

    /// The same, but the other party is not known yet.
    fn ringing(learning: Learning, successor: Successor) -> Self {
        let peer = Peer::new(Component::Rtp, learning, successor, Some(addr(SIGNALLED)));
        Self { peer, now: Instant::now() }
    }

    fn rtcp() -> Self {
        let mut rig = Self::new(Learning::Heuristic);
        rig.peer.component = Component::Rtcp;
        rig
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
    }

    /// A media packet.
    fn hear(&mut self, source: &str) -> Result<Admission, Reason> {
        self.peer.admit(addr(source), true, None, self.now)
    }

    /// Another packet.
    fn noise(&mut self, source: &str) -> Result<Admission, Reason> {
        self.peer.admit(addr(source), false, None, self.now)
    }

    /// A packet every 20 ms.
    fn hear_for(&mut self, milliseconds: u64, source: &str) {
        for _ in 0..milliseconds / 20 {
            self.wait(20);
            assert!(self.hear(source).is_ok());
        }
    }

    fn signal(&mut self, signalled: Option<&str>) {
        let (learning, successor) = (self.peer.learning, self.peer.successor);
        self.peer.signal(learning, successor, signalled.map(addr), self.now);
    }

    fn set(&mut self, learning: Learning, successor: Successor) {
        let signalled = self.peer.signalled;
        self.peer.signal(learning, successor, signalled, self.now);
    }

    fn remote(&self) -> String {
        self.peer.standing().remote.map_or_else(String::new, |remote| remote.to_string())
    }

    fn confirmed(&self) -> String {
        self.peer.standing().confirmed.map_or_else(String::new, |confirmed| confirmed.to_string())
    }

    fn is_settled(&self) -> bool {
        self.peer.standing().is_settled
    }
}

const PEER: Result<Admission, Reason> = Ok(Admission::Peer);
const GUEST: Result<Admission, Reason> = Ok(Admission::Guest);
const STRANGER: Result<Admission, Reason> = Err(Reason::Stranger);

#[test]
fn packets_go_to_the_signalled_address_before_anything_is_learned() {
    for learning in LEARNING {
        let rig = Rig::new(learning);
        assert_eq!((rig.remote().as_str(), rig.confirmed().as_str(), rig.is_settled()), (SIGNALLED, "", false));
    }
}

#[test]
fn without_learning_the_signalled_address_is_the_peer_and_nobody_else() {
    for successor in SUCCESSORS {
        let mut rig = Rig::with(Learning::Off, successor);
        assert_eq!((rig.confirmed().as_str(), rig.is_settled()), (SIGNALLED, true));
        for source in [SAME_HOST, SAME_PORT, ELSEWHERE] {
            assert_eq!(rig.hear(source), STRANGER);
        }
        assert_eq!((rig.hear(SIGNALLED), rig.noise(SIGNALLED)), (PEER, PEER));
        assert_eq!(rig.confirmed(), SIGNALLED);
        rig.signal(Some(ELSEWHERE));
        assert_eq!((rig.confirmed().as_str(), rig.hear(SIGNALLED)), (ELSEWHERE, STRANGER));
        rig.signal(None);
        assert_eq!((rig.remote().as_str(), rig.hear(ELSEWHERE)), ("", Err(Reason::NotLearned)));
    }
}

#[test]
fn a_packet_from_exactly_the_signalled_address_decides_at_once() {
    for learning in LEARNING {
        for successor in SUCCESSORS {
            let mut rig = Rig::with(learning, successor);
            assert_eq!(rig.noise(SIGNALLED), PEER, "whatever it is");
            assert_eq!(rig.confirmed(), SIGNALLED);
            assert_eq!(rig.is_settled(), successor != Successor::Anyone);
        }
    }
}

#[test]
fn noise_from_elsewhere_teaches_nothing() {
    for learning in LEARNING {
        let mut rig = Rig::with(learning, Successor::Anyone);
        assert_eq!(rig.noise(ELSEWHERE), Err(Reason::NotMedia));
        assert_eq!(rig.remote(), SIGNALLED);
        rig.hear(SIGNALLED).unwrap();
        assert_eq!(rig.noise(ELSEWHERE), Err(Reason::NotMedia));
        assert_eq!(rig.confirmed(), SIGNALLED);
    }
}

#[test]
fn a_first_comer_gets_and_is_heard_in_every_mode_and_gives_way_to_the_signalled_address() {
    for learning in LEARNING {
        let mut rig = Rig::new(learning);
        assert_eq!(rig.hear(ELSEWHERE), PEER);
        assert_eq!(rig.remote(), ELSEWHERE);
        rig.wait(10_000);
        assert_eq!(rig.hear(ELSEWHERE), PEER);
        assert!(!rig.is_settled());
        assert_eq!(rig.hear(SIGNALLED), PEER);
        assert_eq!((rig.confirmed().as_str(), rig.is_settled()), (SIGNALLED, true));
        assert_eq!(rig.hear(ELSEWHERE), STRANGER);
    }
}

#[test]
fn immediate_learning_takes_the_first_source_for_good() {
    let mut rig = Rig::new(Learning::Immediate);
    rig.hear(ELSEWHERE).unwrap();
    assert_eq!(rig.confirmed(), ELSEWHERE);
    for source in [SAME_HOST, SAME_PORT, ELSEWHERE_TOO] {
        assert_eq!(rig.hear(source), STRANGER);
    }
}

#[test]
fn delayed_learning_confirms_who_sends_when_the_time_has_passed() {
    let mut rig = Rig::new(Learning::Delayed);
    rig.hear(ELSEWHERE).unwrap();
    rig.hear_for(2980, ELSEWHERE);
    assert_eq!((rig.remote().as_str(), rig.confirmed().as_str()), (ELSEWHERE, ""), "the slow path carries it");
    rig.hear_for(20, ELSEWHERE);
    assert_eq!(rig.confirmed(), ELSEWHERE);
    assert_eq!(rig.hear(SAME_HOST), STRANGER);
}

#[test]
fn delayed_learning_forgets_a_stray_packet() {
    let mut rig = Rig::new(Learning::Delayed);
    rig.hear(ELSEWHERE).unwrap();
    rig.wait(100);
    assert_eq!(rig.hear(ELSEWHERE_TOO), GUEST);
    rig.wait(400);
    assert_eq!(rig.hear(ELSEWHERE_TOO), PEER);
    assert_eq!(rig.remote(), ELSEWHERE_TOO);
    assert_eq!(rig.hear(ELSEWHERE), GUEST, "and another one does no harm");
    rig.hear_for(3000, ELSEWHERE_TOO);
    assert_eq!(rig.confirmed(), ELSEWHERE_TOO);
}

#[test]
fn delayed_learning_takes_a_late_source_when_the_first_one_has_fallen_silent() {
    let mut rig = Rig::new(Learning::Delayed);
    rig.hear(ELSEWHERE).unwrap();
    rig.wait(60_000);
    rig.peer.advance(rig.now);
    assert_eq!(rig.hear(ELSEWHERE_TOO), PEER);
    assert_eq!(rig.confirmed(), ELSEWHERE_TOO);
}

#[test]
fn heuristic_learning_serves_the_first_source_at_once_and_a_nearer_one_replaces_it() {
    let mut rig = Rig::new(Learning::Heuristic);
    for source in [ELSEWHERE, SAME_PORT, SAME_HOST, SIGNALLED] {
        assert_eq!(rig.hear(source), PEER);
        assert_eq!((rig.remote().as_str(), rig.confirmed().as_str()), (source, source));
        rig.wait(500);
    }
}

#[test]
fn heuristic_learning_hears_farther_sources_while_it_decides_but_does_not_learn_them() {
    let mut rig = Rig::new(Learning::Heuristic);
    rig.hear(SAME_HOST).unwrap();
    for _ in 0..29 {
        rig.wait(100);
        assert_eq!((rig.hear(SAME_PORT), rig.hear(ELSEWHERE)), (GUEST, GUEST));
        assert_eq!(rig.confirmed(), SAME_HOST, "it stays on the fast path");
    }
    rig.wait(100);
    assert_eq!((rig.hear(SAME_PORT), rig.hear(ELSEWHERE)), (STRANGER, STRANGER));
}

#[test]
fn after_the_window_a_nearer_source_comes_too_late() {
    let mut rig = Rig::new(Learning::Heuristic);
    rig.hear(ELSEWHERE).unwrap();
    rig.wait(2999);
    rig.peer.advance(rig.now);
    assert_eq!(
        rig.peer.taught,
        Taught::Provisional(Candidate {
            source: addr(ELSEWHERE),
            since: rig.now - Duration::from_millis(2999),
            watched: None
        })
    );
    rig.wait(1);
    rig.peer.advance(rig.now);
    assert_eq!(rig.confirmed(), ELSEWHERE);
    assert_eq!(rig.hear(SAME_HOST), STRANGER);
    assert_eq!(rig.hear(SIGNALLED), PEER);
}

#[test]
fn a_better_source_does_not_begin_the_window_anew() {
    let mut rig = Rig::new(Learning::Heuristic);
    rig.hear(ELSEWHERE).unwrap();
    rig.wait(2900);
    rig.hear(SAME_PORT).unwrap();
    rig.wait(100);
    assert_eq!(rig.hear(SAME_HOST), STRANGER);
}

#[test]
fn a_rival_who_is_no_better_takes_a_silent_source_off_the_port() {
    let mut rig = Rig::new(Learning::Heuristic);
    rig.hear(ELSEWHERE).unwrap();
    rig.wait(1000);
    assert_eq!(rig.hear(ELSEWHERE_TOO), GUEST, "the first source may be busy on the fast path");
    assert_eq!(
        (rig.remote().as_str(), rig.confirmed().as_str()),
        (ELSEWHERE, ""),
        "so it is taken off it, to be heard"
    );
    rig.wait(499);
    assert_eq!(rig.hear(ELSEWHERE_TOO), GUEST);
    rig.wait(1);
    assert_eq!(rig.hear(ELSEWHERE_TOO), PEER);
    assert_eq!(rig.confirmed(), ELSEWHERE_TOO);
}

#[test]
fn a_rival_who_is_no_better_does_not_move_a_source_that_sends() {
    let mut rig = Rig::new(Learning::Heuristic);
    rig.hear(ELSEWHERE).unwrap();
    for _ in 0..149 {
        rig.wait(20);
        assert_eq!(rig.hear(ELSEWHERE_TOO), GUEST);
        assert_eq!(rig.hear(ELSEWHERE), PEER);
        assert_eq!(rig.confirmed(), ELSEWHERE);
    }
    rig.wait(20);
    assert_eq!(rig.hear(ELSEWHERE_TOO), STRANGER);
}

#[test]
fn without_a_signalled_address_the_first_source_that_goes_on_sending_is_the_peer() {
    let mut rig = Rig::new(Learning::Heuristic);
    rig.signal(None);
    assert_eq!((rig.remote().as_str(), rig.hear(SAME_HOST), rig.hear(SIGNALLED)), ("", PEER, GUEST));
    assert_eq!(rig.hear(SAME_HOST), PEER);
    rig.wait(3000);
    rig.hear(SAME_HOST).unwrap();
    assert_eq!((rig.hear(SIGNALLED), rig.is_settled()), (STRANGER, true), "nobody can claim the port");
}

#[test]
fn the_window_begins_when_packets_have_somewhere_to_go() {
    let mut rig = Rig::ringing(Learning::Heuristic, Successor::Nobody);
    rig.hear(ELSEWHERE).unwrap();
    rig.wait(20_000);
    rig.peer.advance(rig.now);
    assert!(!rig.is_settled());
    rig.peer.open(rig.now);
    assert_eq!(rig.confirmed(), "", "a stray packet while it rang is no reason to send it the call");
    rig.wait(600);
    assert_eq!(rig.hear(ELSEWHERE_TOO), PEER);
    rig.wait(2400);
    rig.peer.advance(rig.now);
    assert_eq!((rig.confirmed().as_str(), rig.is_settled()), (ELSEWHERE_TOO, true));
}

#[test]
fn a_party_that_sends_while_it_rings_is_on_the_fast_path_with_its_next_packet() {
    let mut rig = Rig::ringing(Learning::Heuristic, Successor::default());
    rig.hear_for(5000, ELSEWHERE);
    rig.peer.open(rig.now);
    rig.hear_for(20, ELSEWHERE);
    assert_eq!(rig.confirmed(), ELSEWHERE);
}

#[test]
fn rtcp_is_learned_only_from_the_host_that_the_rtp_comes_from() {
    let mut rig = Rig::rtcp();
    let host = Some(addr(ELSEWHERE).ip());
    assert_eq!(rig.peer.admit(addr(ELSEWHERE_TOO), true, host, rig.now), STRANGER);
    assert_eq!(rig.peer.admit(addr(ELSEWHERE), true, host, rig.now), PEER);
    assert_eq!(rig.confirmed(), ELSEWHERE);
    assert_eq!(rig.peer.admit(addr(SAME_HOST), true, host, rig.now), STRANGER, "nearer, but not where the RTP is");
    assert_eq!(rig.peer.admit(addr(SIGNALLED), true, host, rig.now), PEER);
}

#[test]
fn rtcp_goes_where_the_rtp_goes_unless_it_was_signalled_elsewhere() {
    let mut rig = Rig::rtcp();
    rig.hear(ELSEWHERE).unwrap();
    rig.peer.follow_rtp(addr(ELSEWHERE).ip());
    assert_eq!(rig.confirmed(), ELSEWHERE);
    rig.peer.follow_rtp(addr(ELSEWHERE_TOO).ip());
    assert_eq!((rig.confirmed().as_str(), rig.remote().as_str()), ("", SIGNALLED));
    rig.hear(SIGNALLED).unwrap();
    rig.peer.follow_rtp(addr(ELSEWHERE_TOO).ip());
    assert_eq!(rig.confirmed(), SIGNALLED);
    let mut rtp = Rig::new(Learning::Immediate);
    rtp.hear(ELSEWHERE).unwrap();
    rtp.peer.follow_rtp(addr(ELSEWHERE_TOO).ip());
    assert_eq!(rtp.confirmed(), ELSEWHERE);
}

#[test]
fn the_two_families_are_told_apart_and_learned_alike() {
    let mut rig = Rig::new(Learning::Heuristic);
    rig.signal(Some("[2001:db8::10]:4000"));
    for source in [SIGNALLED, "[2001:db8::10]:4444", "[2001:db8::10]:4000"] {
        assert_eq!(rig.hear(source), PEER);
        assert_eq!(rig.confirmed(), source);
    }
}
