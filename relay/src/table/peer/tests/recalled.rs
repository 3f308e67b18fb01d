//! What is written down of a peer, and read by the process that comes next.

use super::*;
use crate::table::clock::Clock;

/// The peer after another process has taken over, so much later.
fn taken_over(rig: &Rig, gap: Duration) -> Rig {
    let clock = Clock::now();
    let words = rig.peer.words(clock);
    let now = rig.now + gap;
    let peer = Peer::recall(rig.peer.component, rig.peer.signalled, Suspects::default(), &words, (clock, now));
    Rig { peer, now }
}

#[test]
fn whose_time_was_over_has_its_place_and_whose_is_not_goes_on_where_it_was() {
    for learning in LEARNING {
        for seconds in [0, 1, 2, 4, 60] {
            let mut rig = Rig::new(learning);
            let first = rig.peer.admit(addr(ELSEWHERE), Matter::Media, None, rig.now);
            assert_eq!(first, Ok(Admission::Peer));
            for _ in 0..seconds {
                rig.now += Duration::from_secs(1);
                rig.peer.advance(rig.now);
            }
            let mut next = taken_over(&rig, Duration::from_millis(100));
            let mut same = rig;
            same.now = next.now;
            let heard =
                [&mut same, &mut next].map(|rig| rig.peer.admit(addr(ELSEWHERE_TOO), Matter::Media, None, rig.now));
            // Nobody was there to hear it meanwhile: it is not silent for that.
            let is_as_it_was = heard[0] == heard[1] || heard[1] != Ok(Admission::Peer);
            assert!(is_as_it_was, "{learning:?} {seconds}: {heard:?}");
            if seconds >= 4 && learning != Learning::Delayed {
                assert_eq!(heard[1], Err(Reason::Stranger), "{learning:?} {seconds}");
            }
        }
    }
}

#[test]
fn who_was_described_again_and_listens_keeps_its_place() {
    let mut rig = Rig::new(Learning::Heuristic);
    for _ in 0..5 {
        assert!(rig.peer.admit(addr(ELSEWHERE), Matter::Media, None, rig.now).is_ok());
        rig.now += Duration::from_secs(1);
    }
    let again = Signalled { renewals: 1, ..rig.peer.signalled };
    rig.peer.signal(again, rig.now);
    rig.now += Duration::from_secs(5);
    rig.peer.advance(rig.now);
    let mut next = taken_over(&rig, Duration::from_millis(100));
    assert_eq!(next.peer.admit(addr(ELSEWHERE_TOO), Matter::Media, None, next.now), Err(Reason::Stranger));
    assert_eq!(next.peer.admit(addr(ELSEWHERE), Matter::Media, None, next.now), Ok(Admission::Peer));
}

#[test]
fn a_peer_that_is_written_down_and_read_at_once_is_the_same() {
    let mut rig = Rig::new(Learning::Delayed);
    for step in 0..8_u64 {
        let clock = Clock::now();
        let read = taken_over(&rig, Duration::ZERO).peer;
        // To a hundredth of a second.
        assert_eq!((read.standing(), read.words(clock)[0]), (rig.peer.standing(), rig.peer.words(clock)[0]), "{step}");
        rig.now += Duration::from_millis(300 * step);
        let _any = rig.peer.admit(addr(ELSEWHERE), Matter::Media, None, rig.now);
    }
}
