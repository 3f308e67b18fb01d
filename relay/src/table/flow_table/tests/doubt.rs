//! A fast path whose packets a party says it does not hear.

use super::*;
use crate::table::listener::Listener;
use crate::table::reader::{Heard, Rtcp};

/// A receiver report of a party about source 7.
fn receiver_report(highest: u32) -> Vec<u8> {
    let words = [0x81c9_0007, 99, 7, 0, highest, 0, 0, 0];
    words.into_iter().flat_map(u32::to_be_bytes).collect()
}

/// A call of which each party's media goes by the fast path, and whose RTCP is read.
struct Read {
    table: FlowTable,
    listener: Listener,
}

impl Read {
    fn new() -> Self {
        let (reader, told) = Reader::new(2 * flow::local::SLOTS_PER_LOCAL as usize);
        let listener = Listener::new(told);
        let table = call_on(table_read_by(true, Some(reader)));
        let rtcp = |local, peer, other| SourceSpec { component: Component::Rtcp, ..spec(local, Some(peer), other) };
        let ops = [
            FlowOp::Install(A_RTCP, rtcp("192.0.2.1:30001", "192.0.2.10:4001", B_RTCP)),
            FlowOp::Install(B_RTCP, rtcp("198.51.100.1:30003", "198.51.100.10:6001", A_RTCP)),
        ];
        table.apply(&ops, Instant::now());
        learn(&table, A, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
        learn(&table, B, "198.51.100.10:6000", &rtp(1, 7)).unwrap();
        Self { table, listener }
    }

    /// A party's report passes a worker, and is read.
    fn report(&mut self, (slot, source): (SlotIndex, &str), report: &[u8]) {
        if !programmed(&self.table, slot).is_active() {
            learn(&self.table, slot, source, report).unwrap();
        }
        let (sender, datagram) = (source.parse().unwrap(), bytes::Bytes::copy_from_slice(report));
        self.table.reader().unwrap().hear(vec![Heard { slot, sender, datagram, at: Instant::now() }]);
        self.listener.drain(&self.table);
    }
}

const FROM_A: (SlotIndex, &str) = (A_RTCP, "192.0.2.10:4001");
const FROM_B: (SlotIndex, &str) = (B_RTCP, "198.51.100.10:6001");

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
    for (sender, receiver, other) in [(A, FROM_B, B), (B, FROM_A, A)] {
        let mut call = Read::new();
        let is_fast = |call: &Read, slot| programmed(&call.table, slot).is_fast();
        for report in 0..3 {
            assert!(is_fast(&call, sender));
            call.report(receiver, &receiver_report(5));
            send_fast(&call.table, sender, 2 + report * 250);
        }
        call.report(receiver, &receiver_report(5));
        assert!(!is_fast(&call, sender) && is_fast(&call, other));
        let told = std::iter::from_fn(|| call.table.shape.events.take())
            .filter(|event| matches!(event, Event::Doubted { .. }));
        assert_eq!(told.collect::<Vec<_>>(), [Event::Doubted { call: 1, slot: sender, is_doubted: true }]);
        assert!(programmed(&call.table, sender).is_active(), "a worker asks nobody");
        assert_eq!(call.table.totals(sender).unwrap().path, Path::Slow(Reason::DeviceLoses));
        // Whatever is programmed or learned meanwhile.
        let spec = call.table.lock().get(sender).unwrap().spec.clone();
        call.table.apply(&[FlowOp::Install(sender, spec)], Instant::now());
        assert!(!is_fast(&call, sender) && is_fast(&call, other));
    }
}

#[test]
fn a_party_that_talks_with_another_one_is_believed_anew() {
    let mut call = Read::new();
    let mut first = 2;
    for _ in 0..2 {
        // It hears nothing, also not on trial.
        for _ in 0..4 {
            call.report(FROM_B, &receiver_report(5));
            send_fast(&call.table, A, first);
            first += 250;
        }
        assert!(!programmed(&call.table, A).is_fast());
        // Another one's media comes and goes.
        for (slot, other) in [(A, B), (B_RTCP, A_RTCP)] {
            let spec = call.table.lock().get(slot).unwrap().spec.clone();
            for party in [SlotIndex::new(0, other.port() + 8), other] {
                call.table.apply(
                    &[FlowOp::Install(
                        slot,
                        SourceSpec { sinks: smallvec::smallvec![Sink::dialogue(party)], ..spec.clone() },
                    )],
                    Instant::now(),
                );
            }
        }
        call.listener.drain(&call.table);
        assert!(programmed(&call.table, A).is_fast());
    }
}

#[test]
fn what_was_heard_of_who_had_the_port_before_is_not_read() {
    let mut call = Read::new();
    let before = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    let datagram = bytes::Bytes::copy_from_slice(&receiver_report(250));
    call.table.reader().unwrap().hear(vec![Heard {
        slot: B_RTCP,
        sender: FROM_B.1.parse().unwrap(),
        datagram,
        at: before,
    }]);
    call.listener.drain(&call.table);
    assert_eq!(call.table.totals(B_RTCP).unwrap().quality.len(), 0);
}

#[test]
fn what_is_read_is_given_to_whoever_exports_it_with_its_call_and_ends() {
    let mut call = Read::new();
    let exported = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&exported);
    call.table.reader().unwrap().export(move |rtcp| kept.lock().unwrap().push(rtcp));
    call.report(FROM_B, &receiver_report(250));
    call.report(FROM_A, &receiver_report(1));
    let told_of_a = exported.lock().unwrap().len();
    for _ in 0..20 {
        call.report(FROM_A, &receiver_report(1));
    }
    let exported = exported.lock().unwrap();
    let (of_flood, first) = (&exported[told_of_a..], exported.iter().take(2).flatten().cloned());
    let exported: Vec<Rtcp> = first.collect();
    assert!((9..=12).contains(&of_flood.iter().flatten().count()), "a source has a few at once");
    let told: Vec<_> = exported.iter().map(|rtcp| (rtcp.call, rtcp.from.to_string(), rtcp.to.to_string())).collect();
    assert_eq!(
        told,
        [
            (1, "198.51.100.10:6001".to_owned(), "198.51.100.1:30003".to_owned()),
            (1, "192.0.2.10:4001".to_owned(), "192.0.2.1:30001".to_owned())
        ]
    );
    assert_eq!(exported[0].datagram, receiver_report(250));
}

#[test]
fn a_party_that_hears_the_fast_path_stays_there() {
    let mut call = Read::new();
    for report in 0..6 {
        send_fast(&call.table, A, 2 + report * 250);
        call.report(FROM_B, &receiver_report(u32::from(report) * 250));
    }
    assert!(programmed(&call.table, A).is_fast());
}

#[test]
fn a_party_that_hears_nothing_because_it_is_spared_is_not_in_doubt() {
    let mut call = Read::new();
    let spec = call.table.lock().get(A).unwrap().spec.clone();
    call.table.apply(&[FlowOp::Install(A, SourceSpec { blocked: true, ..spec.clone() })], Instant::now());
    for report in 0..6 {
        call.report(FROM_B, &receiver_report(5));
        send_fast(&call.table, A, 2 + report * 250);
    }
    call.table.apply(&[FlowOp::Install(A, spec)], Instant::now());
    assert!(programmed(&call.table, A).is_fast());
}

#[test]
fn what_a_party_reports_is_told_by_its_source_and_ends_with_it() {
    let mut call = Read::new();
    send_fast(&call.table, A, 2);
    let qualities = |call: &Read| call.table.totals(B_RTCP).unwrap().quality.len();
    assert_eq!(qualities(&call), 0);
    call.report(FROM_B, &receiver_report(250));
    assert_eq!(qualities(&call), 1);
    // The party is joined with another one.
    let spec = call.table.lock().get(B_RTCP).unwrap().spec.clone();
    let other = SourceSpec { sinks: smallvec::smallvec![Sink::dialogue(SlotIndex::new(0, 30011))], ..spec.clone() };
    call.table.apply(&[FlowOp::Install(B_RTCP, other)], Instant::now());
    assert_eq!(qualities(&call), 1, "it is the same party's");
    call.table.apply(&[FlowOp::Remove(B_RTCP)], Instant::now());
    call.table.apply(&[FlowOp::Install(B_RTCP, spec)], Instant::now());
    call.listener.drain(&call.table);
    assert_eq!(qualities(&call), 0, "and this is another one");
}
