use super::*;

/// A call in which A shares a port for RTP and RTCP, and B does not.
fn call() -> FlowTable {
    let table = call_on(table_with(true, false));
    let rtcp = |local, peer, mux, other| SourceSpec { component: Component::Rtcp, mux, ..spec(local, peer, other) };
    let ops = [
        FlowOp::Install(A_RTCP, rtcp("192.0.2.1:30000", Some("192.0.2.10:4000"), true, B_RTCP)),
        FlowOp::Install(B_RTCP, rtcp("198.51.100.1:30003", Some("198.51.100.10:6001"), false, A_RTCP)),
    ];
    table.apply(&ops, Instant::now());
    table
}

#[test]
fn rtcp_of_a_shared_port_has_the_peer_that_the_rtp_has() {
    let table = call();
    learn(&table, A, "203.0.113.7:1024", &rtp(1, 7)).unwrap();
    let rule = programmed(&table, A_RTCP);
    assert!(rule.is_active() && rule.flags.has(Flags::MUX));
    assert_eq!(peer_of(&table, A_RTCP), addr("203.0.113.7:1024"));
    assert_eq!(target_of(&table, A_RTCP), addr("198.51.100.10:6001"), "by the port that the other party gave");
}

#[test]
fn rtcp_towards_a_shared_port_goes_where_the_rtp_goes_and_comes_from_the_rtp_port() {
    let table = call();
    learn(&table, A, "203.0.113.7:1024", &rtp(1, 7)).unwrap();
    let rule = learn(&table, B_RTCP, "198.51.100.10:6001", &REPORT).unwrap();
    assert_eq!((rule.from, rule.to), (addr("192.0.2.1:30000"), addr("203.0.113.7:1024")));
    assert_eq!(target_of(&table, B_RTCP), addr("203.0.113.7:1024"));
}

#[test]
fn rtcp_on_a_shared_port_teaches_where_the_party_is() {
    let table = call();
    let report = [&REPORT[..], &[0; 20]].concat();
    let rule = learn(&table, A_RTCP, "203.0.113.7:1024", &report).unwrap();
    assert_eq!(rule.to, addr("198.51.100.10:6001"));
    assert_eq!(peer_of(&table, A), addr("203.0.113.7:1024"), "the port is the RTP's");
    assert!(programmed(&table, A).is_active() && programmed(&table, A_RTCP).is_active());
}

#[test]
fn a_party_that_stops_sharing_has_rtcp_of_its_own_again() {
    let table = call();
    learn(&table, A, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
    let rtcp = SourceSpec { component: Component::Rtcp, ..spec("192.0.2.1:30001", Some("192.0.2.10:4001"), B_RTCP) };
    table.apply(&[FlowOp::Install(A_RTCP, rtcp)], Instant::now());
    assert!(!programmed(&table, A_RTCP).is_active() && !programmed(&table, A_RTCP).flags.has(Flags::MUX));
    learn(&table, A_RTCP, "192.0.2.10:4001", &REPORT).unwrap();
    assert_eq!(peer_of(&table, A_RTCP), addr("192.0.2.10:4001"));
}
