//! Peers that are watched: the workers carry their packets by the rule, and the table learns from what they note.

use flow::Moment;

use super::*;

const HEARD: [(&str, &str, &str); 2] = [
    ("192.0.2.1:30000", "203.0.113.7:1024", "203.0.113.66:9"),
    ("[2001:db8::1]:30000", "[2001:db8:7::7]:1024", "[2001:db8:6::66]:9"),
];

/// A call whose caller's peer is whoever sends when three seconds have passed, in either family; it has been heard once.
fn delayed(local: &str, source: &str, start: Instant) -> (FlowTable, SlotIndex) {
    let (table, slot) = (table(), A);
    let at = if local.starts_with('[') { "[2001:db8::10]:4000" } else { "192.0.2.10:4000" };
    let mut a = spec(local, Some(at), B);
    a.party.learning = Learning::Delayed;
    let b = spec("198.51.100.1:30002", Some("198.51.100.10:6000"), slot);
    table.apply(&[FlowOp::Install(slot, a), FlowOp::Install(B, b)], start);
    // Twice: the first one may be chance.
    for sequence in 0..2 {
        table
            .learn(slot, addr(source), &rtp(sequence, 7), start + Duration::from_millis(u64::from(sequence) * 20))
            .unwrap();
    }
    (table, slot)
}

/// A worker carries a packet of the peer, by the slot's own rule.
fn carry(table: &FlowTable, slot: SlotIndex, now: Instant) {
    assert!(programmed(table, slot).is_active(), "nobody is asked");
    table.carried(slot).unwrap().hear(Moment::of(table.clock_ns(now)));
}

#[test]
fn a_delayed_peer_is_carried_without_a_look_and_is_on_the_fast_path_when_its_time_is_over() {
    for (local, source, _) in HEARD {
        let start = Instant::now();
        let (table, slot) = delayed(local, source, start);
        for milliseconds in (40..2500).step_by(20) {
            carry(&table, slot, start + Duration::from_millis(milliseconds));
        }
        table.sweep(start + Duration::from_millis(2500), 0, 1);
        assert!(!programmed(&table, slot).is_fast() && !table.totals(slot).unwrap().confirmed);
        carry(&table, slot, start + Duration::from_millis(3100));
        table.sweep(start + Duration::from_millis(3500), 0, 1);
        let totals = table.totals(slot).unwrap();
        assert_eq!((totals.confirmed, totals.peer), (true, Some(addr(source))));
    }
}

#[test]
fn another_takes_the_place_of_a_watched_peer_only_after_its_silence() {
    for (local, source, other) in HEARD {
        let start = Instant::now();
        let (table, slot) = delayed(local, source, start);
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        for milliseconds in (40..1000).step_by(20) {
            carry(&table, slot, at(milliseconds));
            let admitted = table.learn(slot, addr(other), &rtp(1, 9), at(milliseconds + 10));
            assert!(admitted.is_ok_and(|learned| !learned.is_peer), "it is heard beside");
        }
        assert!(table.learn(slot, addr(other), &rtp(1, 9), at(1400)).is_ok_and(|learned| !learned.is_peer));
        assert!(table.learn(slot, addr(other), &rtp(1, 9), at(1510)).is_ok_and(|learned| learned.is_peer), "{other}");
        assert_eq!(table.lock().remote(slot), Some(addr(other)));
    }
}

#[test]
fn a_party_that_was_signalled_elsewhere_keeps_its_place_as_long_as_it_is_carried() {
    let table = call();
    let start = Instant::now();
    let at = |milliseconds| start + Duration::from_millis(milliseconds);
    learn(&table, A, "203.0.113.7:1024", &rtp(1, 7)).unwrap();
    table.apply(&[FlowOp::Install(A, spec("192.0.2.1:30000", Some("192.0.2.11:5000"), B))], start);
    table.learn(A, addr("203.0.113.7:1024"), &rtp(2, 7), at(20)).unwrap();
    for milliseconds in (40..1000).step_by(20) {
        carry(&table, A, at(milliseconds));
        table.sweep(at(milliseconds + 10), 0, 100_000);
    }
    assert_eq!(table.lock().remote(A), Some(addr("203.0.113.7:1024")));
    // It is silent, and what is for it goes to where it says it is.
    for milliseconds in (1000..1400).step_by(10) {
        table.sweep(at(milliseconds), 0, 100_000);
    }
    assert_eq!(table.lock().remote(A), Some(addr("192.0.2.11:5000")));
}

#[test]
fn a_watched_peer_whose_media_is_blocked_is_seen_packet_by_packet_and_keeps_its_place() {
    for (local, source, other) in HEARD {
        let start = Instant::now();
        let (table, slot) = delayed(local, source, start);
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let spec = table.lock().get(slot).unwrap().spec.clone();
        table.apply(&[FlowOp::Install(slot, SourceSpec { blocked: true, ..spec })], at(30));
        // The XDP program would drop what is blocked, and note no time.
        assert!(!programmed(&table, slot).is_active());
        for milliseconds in (40..1500).step_by(20) {
            assert_eq!(table.learn(slot, addr(source), &rtp(3, 7), at(milliseconds)).unwrap_err(), Reason::Blocked);
        }
        let _guest = table.learn(slot, addr(other), &rtp(1, 9), at(1510));
        assert_eq!(table.lock().remote(slot), Some(addr(source)));
    }
}
