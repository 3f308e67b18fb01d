mod asymmetry;
mod keep_alives;
mod moves;
mod nearness;
mod random;
mod recalled;
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
    /// An RTP source of a party at [`SIGNALLED`], of a call that was answered.
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
        let signalled = Signalled { at: Some(addr(SIGNALLED)), learning, successor, ..Signalled::default() };
        let peer = Peer::new(Component::Rtp, signalled, Suspects::default());
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
        self.peer.admit(addr(source), Matter::Media, None, self.now)
    }

    /// A packet that says nothing.
    fn noise(&mut self, source: &str) -> Result<Admission, Reason> {
        self.peer.admit(addr(source), Matter::Noise, None, self.now)
    }

    /// A packet that keeps a NAT open.
    fn keep_alive(&mut self, source: &str) -> Result<Admission, Reason> {
        self.peer.admit(addr(source), Matter::SignOfLife, None, self.now)
    }

    /// A packet every 20 ms.
    fn hear_for(&mut self, milliseconds: u64, source: &str) {
        for _ in 0..milliseconds / 20 {
            self.wait(20);
            assert!(self.hear(source).is_ok());
        }
    }

    /// A description of the party comes.
    fn signal(&mut self, at: Option<&str>) {
        let renewals = self.peer.signalled.renewals + 1;
        self.peer.signal(Signalled { at: at.map(addr), renewals, ..self.peer.signalled }, self.now);
    }

    /// Time passes, and is noticed.
    fn pass(&mut self, milliseconds: u64) {
        self.wait(milliseconds);
        self.peer.advance(self.now);
    }

    /// The party receives elsewhere than it sends from.
    fn asymmetric(successor: Successor) -> Self {
        let mut rig = Self::with(Learning::Heuristic, successor);
        rig.peer.signal(Signalled { is_asymmetric: true, ..rig.peer.signalled }, rig.now);
        rig
    }

    fn set(&mut self, learning: Learning, successor: Successor) {
        self.peer.signal(Signalled { learning, successor, ..self.peer.signalled }, self.now);
    }

    /// The signalling came from this host.
    fn signaller(mut self, host: &str) -> Self {
        let host = host.parse().unwrap();
        let is_direct = self.peer.signalled.at.is_some_and(|at| at.ip() == host);
        self.peer.signal(Signalled { signaller: Some(host), is_direct, ..self.peer.signalled }, self.now);
        self
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
fn immediate_learning_takes_the_first_source_until_a_nearer_one_comes() {
    let mut rig = Rig::new(Learning::Immediate);
    rig.hear(ELSEWHERE).unwrap();
    assert_eq!(rig.confirmed(), ELSEWHERE);
    for source in [SAME_PORT, ELSEWHERE_TOO] {
        assert_eq!(rig.hear(source), STRANGER);
    }
    assert_eq!(rig.hear(SAME_HOST), PEER, "unless a nearer one comes");
    assert_eq!(rig.hear(ELSEWHERE), STRANGER);
}

#[test]
fn delayed_learning_confirms_who_sends_when_the_time_has_passed() {
    let mut rig = Rig::new(Learning::Delayed);
    rig.hear(ELSEWHERE).unwrap();
    rig.hear_for(2980, ELSEWHERE);
    assert_eq!((rig.remote().as_str(), rig.confirmed().as_str()), (ELSEWHERE, ""), "the slow path carries it");
    rig.hear_for(20, ELSEWHERE);
    assert_eq!(rig.confirmed(), ELSEWHERE);
    assert_eq!(rig.hear(ELSEWHERE_TOO), STRANGER);
    assert_eq!(rig.hear(SAME_HOST), PEER);
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
    for source in [ELSEWHERE, SAME_HOST, SIGNALLED] {
        assert_eq!(rig.hear(source), PEER);
        assert_eq!((rig.remote().as_str(), rig.confirmed().as_str()), (source, source));
        rig.wait(500);
    }
}

#[test]
fn farther_sources_than_the_peer_are_not_heard_in_any_mode() {
    for learning in LEARNING {
        let mut rig = Rig::new(learning);
        rig.hear(SAME_HOST).unwrap();
        for _ in 0..40 {
            rig.wait(100);
            assert_eq!((rig.hear(SAME_PORT), rig.hear(ELSEWHERE)), (STRANGER, STRANGER));
            assert_eq!((rig.hear(SAME_HOST), rig.remote().as_str()), (PEER, SAME_HOST));
        }
    }
}

#[test]
fn a_nearer_source_never_comes_too_late() {
    for learning in LEARNING {
        for successor in SUCCESSORS {
            let mut rig = Rig::with(learning, successor);
            rig.hear(ELSEWHERE).unwrap();
            rig.wait(60_000);
            rig.hear(ELSEWHERE).unwrap();
            assert_eq!((rig.hear(SAME_HOST), rig.remote().as_str()), (PEER, SAME_HOST));
            assert_eq!((rig.hear(SIGNALLED), rig.remote().as_str()), (PEER, SIGNALLED));
        }
    }
}

#[test]
fn the_window_of_a_provisional_peer_is_over_after_three_seconds() {
    let mut rig = Rig::new(Learning::Heuristic);
    rig.hear(ELSEWHERE).unwrap();
    rig.wait(2999);
    rig.peer.advance(rig.now);
    assert!(matches!(rig.peer.taught, Taught::Provisional(Candidate { watched: None, .. })));
    rig.wait(1);
    rig.peer.advance(rig.now);
    assert_eq!(rig.peer.taught, Taught::Learned(addr(ELSEWHERE)));
    assert_eq!(rig.hear(ELSEWHERE_TOO), STRANGER);
}

#[test]
fn a_better_source_does_not_begin_the_window_anew() {
    let mut rig = Rig::new(Learning::Heuristic);
    rig.hear(ELSEWHERE).unwrap();
    rig.wait(2900);
    rig.hear(SAME_HOST).unwrap();
    rig.wait(100);
    assert_eq!(rig.hear("192.0.2.10:4445"), STRANGER);
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
fn a_party_that_has_not_said_where_it_is_is_heard_and_not_learned() {
    for learning in LEARNING {
        let mut rig = Rig::new(learning);
        rig.peer.signalled_last = None;
        rig.peer.signalled.at = None;
        for source in [SAME_HOST, ELSEWHERE] {
            assert_eq!((rig.hear(source), rig.remote().as_str(), rig.confirmed().as_str()), (GUEST, "", ""));
        }
        rig.signal(Some(SIGNALLED));
        assert_eq!((rig.remote().as_str(), rig.hear(SIGNALLED)), (SIGNALLED, PEER));
    }
}

#[test]
fn nothing_is_learned_before_packets_have_somewhere_to_go() {
    for learning in LEARNING {
        for successor in SUCCESSORS {
            let mut rig = Rig::ringing(learning, successor);
            for source in [ELSEWHERE, SAME_HOST, SIGNALLED] {
                assert_eq!(rig.hear(source), Err(Reason::NoDestination));
            }
            rig.wait(20_000);
            rig.peer.open(rig.now);
            assert_eq!((rig.remote().as_str(), rig.confirmed().as_str()), (SIGNALLED, ""));
            assert_eq!((rig.hear(SIGNALLED), rig.confirmed().as_str()), (PEER, SIGNALLED));
        }
    }
}

#[test]
fn a_party_that_sends_while_it_rings_is_on_the_fast_path_with_the_packet_after_the_answer() {
    let mut rig = Rig::ringing(Learning::Heuristic, Successor::default());
    for _ in 0..50 {
        rig.wait(20);
        assert!(rig.hear(ELSEWHERE).is_err());
    }
    rig.peer.open(rig.now);
    rig.hear_for(20, ELSEWHERE);
    assert_eq!(rig.confirmed(), ELSEWHERE);
}

#[test]
fn rtcp_is_learned_only_from_the_host_that_the_rtp_comes_from() {
    let mut rig = Rig::rtcp();
    let host = Some(addr(ELSEWHERE).ip());
    assert_eq!(rig.peer.admit(addr(ELSEWHERE_TOO), Matter::Media, host, rig.now), STRANGER);
    assert_eq!(rig.peer.admit(addr(ELSEWHERE), Matter::Media, host, rig.now), PEER);
    assert_eq!(rig.confirmed(), ELSEWHERE);
    assert_eq!(
        rig.peer.admit(addr(SAME_HOST), Matter::Media, host, rig.now),
        STRANGER,
        "nearer, but not where the RTP is"
    );
    assert_eq!(rig.peer.admit(addr(SIGNALLED), Matter::Media, host, rig.now), PEER);
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

#[test]
fn a_party_that_turns_out_to_send_from_where_it_receives_is_certain_with_its_next_packet() {
    for learning in [Learning::Immediate, Learning::Delayed, Learning::Heuristic] {
        let mut rig = Rig::asymmetric(Successor::Signalled);
        rig.set(learning, Successor::Signalled);
        let at = rig.peer.signalled.at.unwrap();
        assert_eq!(rig.peer.admit(at, Matter::Media, None, rig.now), Ok(Admission::Peer));
        rig.peer.signal(Signalled { is_asymmetric: false, ..rig.peer.signalled }, rig.now);
        assert_eq!(rig.peer.admit(at, Matter::Media, None, rig.now), Ok(Admission::Peer));
        let standing = rig.peer.standing();
        assert_eq!((standing.confirmed, standing.is_settled), (Some(at), true));
    }
}
