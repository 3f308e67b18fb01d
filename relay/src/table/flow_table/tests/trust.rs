//! Parties where none may be.

use super::*;

const REFUSED: [&str; 8] = [
    "127.0.0.1:4000",
    "0.0.0.0:4000",
    "224.0.0.1:4000",
    "255.255.255.255:4000",
    "169.254.1.1:4000",
    "[::1]:4000",
    "[ff02::1]:4000",
    "[fe80::1]:4000",
];

#[test]
fn nothing_goes_to_a_party_that_says_it_is_where_none_may_be() {
    for refused in REFUSED {
        for (one, other) in [(A, B), (A_RTCP, B_RTCP)] {
            let table = table();
            let component = if one == A { Component::Rtp } else { Component::Rtcp };
            let a = SourceSpec { component, ..spec("192.0.2.1:30000", Some("192.0.2.10:4000"), other) };
            let b = SourceSpec { component, ..spec("198.51.100.1:30002", Some(refused), one) };
            table.apply(&[FlowOp::Install(one, a), FlowOp::Install(other, b.clone())], Instant::now());
            assert_eq!(table.totals(one).unwrap().path, Path::Slow(Reason::Untrusted), "{refused}");
            assert_eq!(learn(&table, one, "192.0.2.10:4000", &rtp(1, 7)), Err(Reason::NoDestination));
            // The same by a new description.
            let mut good = b.clone();
            good.party.at = Some(addr("198.51.100.10:6000"));
            table.apply(&[FlowOp::Install(other, good)], Instant::now());
            learn(&table, one, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
            table.apply(&[FlowOp::Install(other, b)], Instant::now());
            assert_eq!(learn(&table, one, "192.0.2.10:4000", &rtp(2, 7)), Err(Reason::Untrusted));
        }
    }
}

#[test]
fn nobody_is_learned_where_none_may_be() {
    for refused in REFUSED {
        for learning in [Learning::Immediate, Learning::Delayed, Learning::Heuristic] {
            let table = call_with(learning, Successor::Anyone);
            assert_eq!(learn(&table, A, refused, &rtp(1, 7)), Err(Reason::Untrusted), "{refused}");
            assert_eq!(table.totals(A).unwrap().peer, Some(addr("192.0.2.10:4000")));
        }
    }
}

#[test]
fn a_party_on_this_host_is_one_like_any_other() {
    let table = table();
    let a = spec("192.0.2.1:30000", Some("192.0.2.1:4000"), B);
    let b = spec("198.51.100.1:30002", Some("198.51.100.10:6000"), A);
    table.apply(&[FlowOp::Install(A, a), FlowOp::Install(B, b)], Instant::now());
    learn(&table, A, "192.0.2.1:4000", &rtp(1, 7)).unwrap();
    assert!(
        programmed(&table, A).is_active() && !programmed(&table, A).is_fast(),
        "a worker carries it, and asks nobody"
    );
    assert_eq!(table.totals(A).unwrap().path, Path::Slow(Reason::Hairpin));
    learn(&table, B, "198.51.100.10:6000", &rtp(1, 8)).unwrap();
    assert_eq!(target_of(&table, B), addr("192.0.2.1:4000"));
}
