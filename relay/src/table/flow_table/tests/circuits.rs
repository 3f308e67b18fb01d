//! Calls that name each other's ports.

use super::*;

/// So many calls in a row: the callee of each is where the next one's caller sends to, by `address`, and that of the last one is `last`.
fn chain(calls: u16, address: &str, last: &str, component: Component) -> (FlowTable, Vec<SlotIndex>) {
    let table = table();
    let port = |call: u16| 30010 + 4 * call + u16::from(component == Component::Rtcp);
    let mut callers = Vec::new();
    for call in 0..calls {
        let (a, b) = (SlotIndex::new(0, port(call)), SlotIndex::new(1, port(call)));
        let to = if call + 1 == calls { last.to_owned() } else { format!("{address}:{}", port(call + 1)) };
        let spec = |local: String, peer: &str, other| SourceSpec { component, ..spec(&local, Some(peer), other) };
        let ops = [
            FlowOp::Install(a, spec(format!("192.0.2.1:{}", port(call)), "192.0.2.10:4000", b)),
            FlowOp::Install(b, spec(format!("198.51.100.1:{}", port(call)), &to, a)),
        ];
        table.apply(&ops, Instant::now());
        callers.push(a);
    }
    (table, callers)
}

#[test]
fn a_ring_of_any_length_is_refused_when_it_is_programmed() {
    for component in [Component::Rtp, Component::Rtcp] {
        let first = if component == Component::Rtp { "192.0.2.1:30010" } else { "192.0.2.1:30011" };
        for calls in 1..=8 {
            for address in ["192.0.2.1", "203.0.113.200"] {
                let (table, callers) = chain(calls, address, first, component);
                // Each of them, whichever was programmed when: the ring is where it is closed, and there no packet passes.
                let refused = callers.iter().any(|slot| table.totals(*slot).unwrap().path == Path::Slow(Reason::Ring));
                assert!(refused, "{calls} calls by {address}");
                let last = *callers.last().unwrap();
                assert_eq!(learn(&table, last, "192.0.2.10:4000", &rtp(1, 7)), Err(Reason::Ring));
            }
        }
    }
}

#[test]
fn a_call_that_passes_the_relay_several_times_is_no_ring() {
    let (table, callers) = chain(5, "192.0.2.1", "198.51.100.10:6000", Component::Rtp);
    for slot in callers {
        learn(&table, slot, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
    }
}

#[test]
fn a_ring_that_is_opened_carries_again() {
    let (table, callers) = chain(2, "192.0.2.1", "192.0.2.1:30010", Component::Rtp);
    let last = *callers.last().unwrap();
    assert_eq!(table.totals(last).unwrap().path, Path::Slow(Reason::Ring));
    let callee = SlotIndex::new(1, 30014);
    let moved = spec("198.51.100.1:30014", Some("198.51.100.10:6000"), last);
    table.apply(&[FlowOp::Install(callee, moved)], Instant::now());
    learn(&table, last, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
}
