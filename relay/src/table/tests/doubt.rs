//! A fast path whose packets a party says it does not hear.

use super::*;

/// A receiver report of a party about source 7.
fn receiver_report(highest: u32) -> Vec<u8> {
    let words = [0x81c9_0007, 99, 7, 0, highest, 0, 0, 0];
    words.into_iter().flat_map(u32::to_be_bytes).collect()
}

/// A call of which each party's media goes by the fast path, and whose RTCP is read.
fn call_with_reports() -> FlowTable {
    let table = call();
    let rtcp = |local, peer, other| StreamSpec { component: Component::Rtcp, ..spec(local, Some(peer), other) };
    let ops = [
        FlowOp::Install(A_RTCP, rtcp("192.0.2.1:30001", "192.0.2.10:4001", B_RTCP)),
        FlowOp::Install(B_RTCP, rtcp("198.51.100.1:30003", "198.51.100.10:6001", A_RTCP)),
    ];
    table.apply(&ops, Instant::now());
    learn(&table, A, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
    learn(&table, B, "198.51.100.10:6000", &rtp(1, 7)).unwrap();
    table
}

/// 250 packets of a party by the fast path.
fn send_fast(table: &FlowTable, index: SlotIndex, first: u16) {
    let timing = table.timings.get(index.0 as usize).unwrap();
    for sequence in first..first + 250 {
        let fields = flow::rtp::parse(&rtp(sequence, 7)).unwrap();
        table.slot(index).unwrap().count_rtp(172, &fields, || Some(timing), || 0);
    }
}

#[test]
fn a_party_that_hears_nothing_of_the_fast_path_is_served_by_the_slow_one_and_nobody_else_is() {
    for (sender, receiver, other) in [(A, (B_RTCP, "198.51.100.10:6001"), B), (B, (A_RTCP, "192.0.2.10:4001"), A)] {
        let table = call_with_reports();
        let is_active = |slot| programmed(&table, slot).is_active();
        for report in 0..3 {
            assert!(is_active(sender));
            learn(&table, receiver.0, receiver.1, &receiver_report(5)).unwrap();
            send_fast(&table, sender, 2 + report * 250);
        }
        learn(&table, receiver.0, receiver.1, &receiver_report(5)).unwrap();
        assert!(!is_active(sender) && is_active(other));
        assert_eq!(table.totals(sender).unwrap().path, Path::Slow(Reason::DeviceLoses));
        // Whatever is programmed or learned meanwhile.
        table.apply(&[FlowOp::Install(sender, table_spec(&table, sender))], Instant::now());
        assert!(!is_active(sender) && is_active(other));
    }
}

#[test]
fn a_party_that_hears_the_fast_path_stays_there() {
    let table = call_with_reports();
    for report in 0..6 {
        send_fast(&table, A, 2 + report * 250);
        learn(&table, B_RTCP, "198.51.100.10:6001", &receiver_report(u32::from(report) * 250)).unwrap();
    }
    assert!(programmed(&table, A).is_active());
}

fn table_spec(table: &FlowTable, index: SlotIndex) -> StreamSpec {
    stream(&table.lock(), index).unwrap().spec.clone()
}
