//! What is blocked goes nowhere, and its party is known all the same.

use super::*;

/// A source of the call, changed.
fn change(table: &FlowTable, index: SlotIndex, change: impl FnOnce(&mut SourceSpec)) {
    let mut spec = table.lock().get(index).unwrap().spec.clone();
    change(&mut spec);
    table.apply(&[FlowOp::Install(index, spec)], Instant::now());
}

#[test]
fn what_is_blocked_has_a_whole_rule_that_says_so_and_nobody_forwards_by_it() {
    for (index, peer) in [(A, "192.0.2.10:4000"), (B, "198.51.100.10:6000")] {
        let table = call();
        learn(&table, index, peer, &rtp(1, 7)).unwrap();
        change(&table, index, |spec| spec.blocked = true);
        let rule = programmed(&table, index);
        assert!(rule.flags.has(Flags::ACTIVE.with(Flags::BLOCKED).with(Flags::SETTLED)) && !rule.is_fast());
        assert_eq!(table.totals(index).unwrap().path, Path::Slow(Reason::Blocked));
        change(&table, index, |spec| spec.blocked = false);
        assert!(programmed(&table, index).is_fast());
    }
}

#[test]
fn a_party_that_is_blocked_before_it_is_heard_is_learned_and_then_nobody_need_be_asked() {
    let table = call();
    change(&table, A, |spec| spec.blocked = true);
    assert!(!programmed(&table, A).is_active());
    assert_eq!(learn(&table, A, "203.0.113.7:1024", &rtp(1, 7)), Err(Reason::Blocked));
    assert!(programmed(&table, A).flags.has(Flags::ACTIVE.with(Flags::BLOCKED)));
    assert_eq!(peer_of(&table, A), addr("203.0.113.7:1024"));
    change(&table, A, |spec| spec.blocked = false);
    assert_eq!((peer_of(&table, A), target_of(&table, A)), (addr("203.0.113.7:1024"), addr("198.51.100.10:6000")));
}

#[test]
fn what_was_counted_while_it_was_blocked_is_errors_and_signs_of_life() {
    let table = call();
    learn(&table, A, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
    change(&table, A, |spec| spec.blocked = true);
    let carried = table.carried(A).unwrap();
    (0..5).for_each(|_| carried.count(172));
    let totals = table.totals(A).unwrap();
    assert_eq!((totals.packets(), totals.errors, totals.lost), (0, 5, 0));
    assert!(totals.last_packet().is_some());
    change(&table, A, |spec| spec.blocked = false);
    for sequence in [1000, 1001] {
        carried.count_rtp(172, &flow::rtp::parse(&rtp(sequence, 7)).unwrap(), || 0);
    }
    let totals = table.totals(A).unwrap();
    assert_eq!((totals.packets(), totals.errors, totals.lost), (2, 5, 0), "nothing is known of what went before");
}
