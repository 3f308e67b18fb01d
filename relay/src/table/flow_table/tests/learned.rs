//! What packets teach of where parties are, and what signalling makes of it.

use super::*;

#[test]
fn a_peer_behind_a_nat_is_learned_and_gets_what_the_other_side_sends() {
    let table = call();
    learn(&table, A, "203.0.113.7:1024", &rtp(1, 7)).unwrap();
    let rule = learn(&table, B, "198.51.100.10:6000", &rtp(1, 8)).unwrap();
    assert_eq!(rule.to, addr("203.0.113.7:1024"));
    assert_eq!(target_of(&table, B), addr("203.0.113.7:1024"));
}

#[test]
fn once_the_peer_is_learned_others_are_strangers() {
    let table = call();
    learn(&table, A, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
    assert_eq!(learn(&table, A, "192.0.2.66:4000", &rtp(2, 7)), Err(Reason::Stranger));
    assert_eq!(peer_of(&table, A), addr("192.0.2.10:4000"));
}

#[test]
fn noise_from_elsewhere_teaches_nothing() {
    let table = call();
    for noise in [&b"OPTIONS sip:x"[..], &[0; 20], &[0xff; 40], &[0x16; 40]] {
        assert_eq!(learn(&table, A, "203.0.113.66:9", noise), Err(Reason::NotMedia));
    }
    assert!(!table.totals(A).unwrap().confirmed);
}

#[test]
fn a_listener_behind_a_nat_is_found_by_what_keeps_it_open() {
    let stun = [&[0, 0x11, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[0; 12]].concat();
    for payload in [&b""[..], b"x", &[0; 12], &stun] {
        let table = call();
        learn(&table, A, "203.0.113.66:9", payload).unwrap();
        learn(&table, B, "198.51.100.10:6000", &rtp(1, 8)).unwrap();
        assert_eq!(target_of(&table, B), addr("203.0.113.66:9"));
    }
}

#[test]
fn fax_and_other_datagrams_are_learned_by_any_packet() {
    let table = call();
    let mut a = spec("192.0.2.1:30000", Some("192.0.2.10:4000"), B);
    a.content = Content::Datagrams;
    table.apply(&[FlowOp::Install(A, a)], Instant::now());
    learn(&table, A, "203.0.113.66:9", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]).unwrap();
    assert_eq!(table.totals(A).unwrap().peer, Some(addr("203.0.113.66:9")));
}

#[test]
fn a_first_comer_gives_way_to_the_party_that_was_signalled() {
    let table = call();
    learn(&table, A, "203.0.113.66:9", &rtp(1, 66)).unwrap();
    learn(&table, A, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
    assert_eq!(peer_of(&table, A), addr("192.0.2.10:4000"));
    assert_eq!(learn(&table, A, "203.0.113.66:9", &rtp(2, 66)), Err(Reason::Stranger));
}

#[test]
fn what_a_first_comer_has_lost_is_not_the_partys_loss() {
    // Also where the party goes by the number that the other one has taken, and where the proxy has named it.
    for (ssrc, is_direct) in [(7, false), (66, false), (7, true)] {
        let table = call();
        let mut a = spec("192.0.2.1:30000", Some("192.0.2.10:4000"), B);
        (a.party.signaller, a.party.is_direct) = (is_direct.then(|| addr("192.0.2.10:4000").ip()), is_direct);
        table.apply(&[FlowOp::Install(A, a)], Instant::now());
        let carry = |source, sequence, ssrc| {
            learn(&table, A, source, &rtp(sequence, ssrc)).unwrap();
            let fields = flow::rtp::parse(&rtp(sequence, ssrc)).unwrap();
            table.carried(A).unwrap().count_rtp(172, &fields, || 0);
            let totals = table.totals(A).unwrap();
            (totals.slow_packets, totals.lost, totals.late, totals.ssrc_changes)
        };
        for sequence in [100, 3050, 5900] {
            carry("203.0.113.66:9", sequence, 66);
        }
        assert_eq!(carry("203.0.113.66:9", 5890, 66), (4, 5797, 1, 0));
        carry("192.0.2.10:4000", 10, ssrc);
        carry("192.0.2.10:4000", 11, ssrc);
        assert_eq!(carry("192.0.2.10:4000", 13, ssrc), (7, 1, 0, 0), "{ssrc} {is_direct}");
    }
}

#[test]
fn rtcp_is_learned_only_from_the_host_that_the_rtp_comes_from() {
    let table = call_with_rtcp();
    assert_eq!(learn(&table, A_RTCP, "203.0.113.66:9", &REPORT), Err(Reason::Stranger));
    learn(&table, A_RTCP, "192.0.2.10:4005", &REPORT).unwrap();
    assert_eq!(peer_of(&table, A_RTCP), addr("192.0.2.10:4005"));
}

#[test]
fn rtcp_that_was_learned_from_another_host_than_the_rtp_comes_from_now_is_forgotten() {
    let table = call_with_rtcp();
    learn(&table, A, "203.0.113.66:9", &rtp(1, 66)).unwrap();
    learn(&table, A_RTCP, "203.0.113.66:10", &REPORT).unwrap();
    assert!(programmed(&table, A_RTCP).is_active());
    learn(&table, A, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
    assert!(!programmed(&table, A_RTCP).is_active());
    assert_eq!(learn(&table, A_RTCP, "203.0.113.66:10", &REPORT), Err(Reason::Stranger));
}

#[test]
fn a_party_that_is_moved_is_heard_from_its_old_address_and_learned_at_its_new_one() {
    let table = call();
    learn(&table, A, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
    let moved = spec("192.0.2.1:30000", Some("192.0.2.11:5000"), B);
    table.apply(&[FlowOp::Install(A, moved)], Instant::now());
    // It has not got the answer yet.
    assert!(learn(&table, A, "192.0.2.10:4000", &rtp(2, 7)).is_ok());
    assert!(!programmed(&table, A).is_active());
    learn(&table, A, "192.0.2.11:5000", &rtp(3, 7)).unwrap();
    assert_eq!(peer_of(&table, A), addr("192.0.2.11:5000"));
    assert_eq!(learn(&table, A, "192.0.2.10:4000", &rtp(4, 7)), Err(Reason::Stranger));
}

#[test]
fn delayed_learning_keeps_a_stream_off_the_fast_path_until_it_is_over_and_loses_nothing() {
    let table = call_with(Learning::Delayed, Successor::default());
    let start = Instant::now();
    let at = |milliseconds| start + Duration::from_millis(milliseconds);
    let source = addr("203.0.113.7:1024");
    for sequence in 0..150 {
        let rule = learn_at(&table, A, "203.0.113.7:1024", &rtp(sequence, 7), at(20 * u64::from(sequence))).unwrap();
        assert_eq!(rule.to, addr("198.51.100.10:6000"));
        assert!(!programmed(&table, A).is_fast());
    }
    assert_eq!(table.totals(A).unwrap().path, Path::Slow(Reason::NotLearned));
    learn(&table, B, "198.51.100.10:6000", &rtp(1, 8)).unwrap();
    assert_eq!(target_of(&table, B), source, "the party hears the other one all the time");
    table.learn(A, source, &rtp(150, 7), at(3000)).unwrap();
    assert_eq!(peer_of(&table, A), source);
}

#[test]
fn a_source_that_is_nearer_to_the_signalled_address_reprograms_both_slots() {
    let table = call();
    learn(&table, B, "198.51.100.10:6000", &rtp(1, 8)).unwrap();
    for source in ["203.0.113.66:9", "192.0.2.10:1024", "192.0.2.10:4000"] {
        learn(&table, A, source, &rtp(1, 7)).unwrap();
        assert_eq!(peer_of(&table, A), addr(source));
        assert_eq!(target_of(&table, B), addr(source));
    }
}

#[test]
fn a_guest_is_sent_on_but_is_not_accounted_as_the_peer() {
    let table = call();
    learn(&table, A, "203.0.113.7:1024", &rtp(1, 7)).unwrap();
    learn(&table, A, "203.0.113.66:9", &rtp(998, 66)).unwrap();
    let before = programmed(&table, A);
    let rule = learn(&table, A, "203.0.113.66:9", &rtp(999, 66)).unwrap();
    assert_eq!(rule.to, addr("198.51.100.10:6000"));
    assert_eq!(programmed(&table, A), before);
}

#[test]
fn what_comes_from_farther_than_the_peer_is_a_strangers() {
    let table = call();
    learn(&table, A, "192.0.2.10:1024", &rtp(1, 7)).unwrap();
    assert_eq!(learn(&table, A, "203.0.113.66:9", &rtp(1, 66)), Err(Reason::Stranger));
}

#[test]
fn the_sweep_ends_the_learning_and_the_party_at_its_own_address_takes_its_place_all_the_same() {
    let table = call_with(Learning::Heuristic, Successor::Nobody);
    let flags = || programmed(&table, A).flags;
    learn(&table, A, "203.0.113.7:1024", &rtp(1, 7)).unwrap();
    table.sweep(Instant::now() + Duration::from_secs(3), 0, 1);
    assert!(flags().has(Flags::ACTIVE) && !flags().has(Flags::SETTLED));
    assert_eq!(learn(&table, A, "203.0.113.66:9", &rtp(2, 66)), Err(Reason::Stranger));
    learn(&table, A, "192.0.2.10:4000", &rtp(3, 7)).unwrap();
    assert!(flags().has(Flags::ACTIVE.with(Flags::SETTLED)));
    assert_eq!(peer_of(&table, A), addr("192.0.2.10:4000"));
}

#[test]
fn media_handover_moves_both_directions_to_the_new_source() {
    let table = call_with(Learning::Heuristic, Successor::Anyone);
    learn(&table, A, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
    learn(&table, B, "198.51.100.10:6000", &rtp(1, 8)).unwrap();
    assert!(!programmed(&table, A).flags.has(Flags::SETTLED));
    learn(&table, A, "203.0.113.7:1024", &rtp(500, 9)).unwrap();
    assert_eq!(peer_of(&table, A), addr("203.0.113.7:1024"));
    assert_eq!(programmed(&table, A).ssrc, 9_u32.to_be());
    assert_eq!(target_of(&table, B), addr("203.0.113.7:1024"));
}

#[test]
fn a_packet_before_the_other_side_is_known_has_nowhere_to_go_and_teaches_nothing() {
    let table = table();
    let b = spec("198.51.100.1:30002", None, A);
    let a = spec("192.0.2.1:30000", Some("192.0.2.10:4000"), B);
    table.apply(&[FlowOp::Install(A, a), FlowOp::Install(B, b.clone())], Instant::now());
    for source in ["192.0.2.10:4000", "203.0.113.66:9"] {
        assert_eq!(learn(&table, A, source, &rtp(1, 7)), Err(Reason::NoDestination));
    }
    let mut answered = b;
    answered.party.at = Some(addr("198.51.100.10:6000"));
    table.apply(&[FlowOp::Install(B, answered)], Instant::now());
    assert!(!programmed(&table, A).is_active());
    learn(&table, A, "192.0.2.10:4000", &rtp(2, 7)).unwrap();
    assert_eq!(peer_of(&table, A), addr("192.0.2.10:4000"));
}

#[test]
fn a_party_that_has_not_answered_is_heard_and_what_is_for_it_waits_for_its_answer() {
    let table = table();
    let a = spec("192.0.2.1:30000", Some("192.0.2.10:4000"), B);
    let b = spec("198.51.100.1:30002", None, A);
    table.apply(&[FlowOp::Install(A, a), FlowOp::Install(B, b.clone())], Instant::now());
    let early = learn(&table, B, "203.0.113.66:9", &rtp(1, 8)).unwrap();
    assert_eq!(early.to, addr("192.0.2.10:4000"), "early media");
    assert_eq!(table.lock().remote(B), None, "but nobody gets what the caller says");
    let mut answered = b;
    answered.party.at = Some(addr("198.51.100.10:6000"));
    table.apply(&[FlowOp::Install(B, answered)], Instant::now());
    assert_eq!(table.lock().remote(B), Some(addr("198.51.100.10:6000")));
}

#[test]
fn the_same_signalling_again_keeps_what_was_learned() {
    let table = call();
    learn(&table, A, "203.0.113.7:1024", &rtp(1, 7)).unwrap();
    let again = spec("192.0.2.1:30000", Some("192.0.2.10:4000"), B);
    table.apply(&[FlowOp::Install(A, again)], Instant::now());
    assert_eq!(peer_of(&table, A), addr("203.0.113.7:1024"));
}

#[test]
fn a_new_signalled_address_is_learned_anew() {
    let table = call();
    learn(&table, A, "203.0.113.7:1024", &rtp(1, 7)).unwrap();
    let moved = spec("192.0.2.1:30000", Some("192.0.2.11:5000"), B);
    table.apply(&[FlowOp::Install(A, moved)], Instant::now());
    assert!(!programmed(&table, A).is_active());
    learn(&table, B, "198.51.100.10:6000", &rtp(1, 8)).unwrap();
    assert_eq!(target_of(&table, B), addr("203.0.113.7:1024"), "its NAT may not have changed");
    table.sweep(Instant::now() + Duration::from_millis(200), 0, 100_000);
    assert_eq!(target_of(&table, B), addr("192.0.2.11:5000"), "nothing comes from there any more");
}

#[test]
fn what_is_for_an_ipv6_party_goes_to_where_it_is_heard_through_its_nat() {
    let table = table();
    let a = spec("[2001:db8:1::1]:30000", Some("[2001:db8:1::a]:4000"), B);
    let mut b = spec("[2001:db8:2::1]:30002", Some("[fd00::5]:4000"), A);
    b.party.signaller = Some("2001:db8:2::a".parse().unwrap());
    table.apply(&[FlowOp::Install(A, a), FlowOp::Install(B, b)], Instant::now());
    learn(&table, A, "[2001:db8:1::a]:4000", &rtp(1, 7)).unwrap();
    assert_eq!(target_of(&table, A), addr("[fd00::5]:4000"));
    learn(&table, B, "[2001:db8:2::a]:5000", &rtp(1, 8)).unwrap();
    assert_eq!(target_of(&table, A), addr("[2001:db8:2::a]:5000"));
}
