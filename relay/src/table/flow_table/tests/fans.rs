//! Sources with several sinks, and parties that several sources feed.

use border::{Edge, Passes};
use flow::HopId;

use super::*;

const RECORDER: SlotIndex = SlotIndex::new(0, 30020);
/// A party that rings, and is heard by who called it.
const RINGING: SlotIndex = SlotIndex::new(0, 30022);

fn copy(party: SlotIndex) -> Sink {
    Sink { edge: Edge::Copy, ..Sink::dialogue(party) }
}

/// A call that both parties speak in, with a recorder beside it that nobody feeds.
fn recorded() -> FlowTable {
    let table = call();
    let recorder = SourceSpec { sinks: Sinks::new(), ..spec("198.51.100.1:30020", Some("198.51.100.20:7000"), A) };
    table.apply(&[FlowOp::Install(RECORDER, recorder)], Instant::now());
    learn(&table, A, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
    learn(&table, B, "198.51.100.10:6000", &rtp(1, 8)).unwrap();
    table
}

fn feed(table: &FlowTable, index: SlotIndex, sinks: &[Sink]) {
    let mut spec = table.lock().get(index).unwrap().spec.clone();
    spec.sinks = sinks.into();
    table.apply(&[FlowOp::Install(index, spec)], Instant::now());
}

/// Where a slot with several sinks sends what it gets.
fn targets(table: &FlowTable, index: SlotIndex) -> Vec<SocketAddr> {
    let fan = table.fan(index).unwrap();
    fan.outlets.iter().map(|outlet| SocketAddr::new(outlet.bearing.to, outlet.ports[1].get())).collect()
}

#[test]
fn a_source_with_two_sinks_is_a_workers_and_with_one_again_the_fast_paths() {
    let table = recorded();
    assert!(programmed(&table, A).is_fast());
    feed(&table, A, &[Sink::dialogue(B), copy(RECORDER)]);
    let rule = programmed(&table, A);
    assert!(rule.is_active() && !rule.is_fast() && !rule.is_single());
    assert_eq!(targets(&table, A), [addr("198.51.100.10:6000"), addr("198.51.100.20:7000")]);
    let totals = table.totals(A).unwrap();
    assert_eq!((totals.path, totals.sinks.len()), (Path::Slow(Reason::Fan), 2));
    assert!(programmed(&table, B).is_fast(), "whoever is not copied stays");
    let held = table.fan(A).unwrap();
    feed(&table, A, &[Sink::dialogue(B)]);
    assert!(held.is_superseded() && table.fan(A).is_none());
    assert!(programmed(&table, A).is_fast());
}

#[test]
fn a_sink_that_is_nowhere_keeps_the_others_on_the_fast_path() {
    let table = recorded();
    let nowhere = SlotIndex::new(0, 30030);
    for sinks in [[Sink::dialogue(B), copy(nowhere)], [copy(nowhere), Sink::dialogue(B)]] {
        feed(&table, A, &sinks);
        assert!(programmed(&table, A).is_fast());
        assert_eq!(target_of(&table, A), addr("198.51.100.10:6000"));
        assert_eq!(
            table.totals(A).unwrap().path,
            Path::Slow(Reason::NextHop),
            "as without it: nothing is resolved here"
        );
    }
    // It comes.
    let spec = SourceSpec { sinks: Sinks::new(), ..spec("198.51.100.1:30030", Some("198.51.100.30:7000"), A) };
    table.apply(&[FlowOp::Install(nowhere, spec)], Instant::now());
    assert_eq!(targets(&table, A), [addr("198.51.100.30:7000"), addr("198.51.100.10:6000")]);
    table.apply(&[FlowOp::Remove(nowhere)], Instant::now());
    assert!(programmed(&table, A).is_fast(), "and goes");
}

#[test]
fn a_sink_that_moves_is_followed_by_all_who_feed_it() {
    let table = recorded();
    feed(&table, A, &[Sink::dialogue(B), copy(RECORDER)]);
    feed(&table, B, &[Sink::dialogue(A), copy(RECORDER)]);
    let moved = SourceSpec { sinks: Sinks::new(), ..spec("198.51.100.1:30020", Some("198.51.100.21:7002"), A) };
    table.apply(&[FlowOp::Install(RECORDER, moved)], Instant::now());
    assert_eq!(targets(&table, A)[1], addr("198.51.100.21:7002"));
    assert_eq!(targets(&table, B), [addr("192.0.2.10:4000"), addr("198.51.100.21:7002")]);
}

#[test]
fn a_party_that_several_feed_is_followed_by_each_when_it_is_heard_elsewhere() {
    let table = call();
    let ringing = spec("198.51.100.1:30022", Some("198.51.100.22:6000"), A);
    let ringing =
        SourceSpec { sinks: smallvec::smallvec![Sink { edge: Edge::Inject, ..Sink::dialogue(A) }], ..ringing };
    table.apply(&[FlowOp::Install(RINGING, ringing)], Instant::now());
    learn(&table, B, "198.51.100.10:6000", &rtp(1, 8)).unwrap();
    learn(&table, RINGING, "198.51.100.22:6000", &rtp(1, 9)).unwrap();
    assert_eq!((target_of(&table, B), target_of(&table, RINGING)), (addr("192.0.2.10:4000"), addr("192.0.2.10:4000")));
    assert!(programmed(&table, B).is_fast() && programmed(&table, RINGING).is_fast());
    learn(&table, A, "203.0.113.7:1024", &rtp(1, 7)).unwrap();
    assert_eq!(
        (target_of(&table, B), target_of(&table, RINGING)),
        (addr("203.0.113.7:1024"), addr("203.0.113.7:1024"))
    );
}

#[test]
fn a_silenced_sink_is_worked_on_and_its_work_outlives_changes() {
    let table = recorded();
    feed(&table, A, &[Sink { passes: Passes::Silence, ..Sink::dialogue(B) }]);
    let rule = programmed(&table, A);
    assert!(rule.is_active() && !rule.is_fast() && rule.hop == HopId::NONE);
    assert_eq!(table.totals(A).unwrap().path, Path::Slow(Reason::Processed));
    let chain = |table: &FlowTable, at: usize| table.fan(A).unwrap().outlets[at].chain.clone().unwrap();
    let before = chain(&table, 0);
    feed(&table, A, &[copy(RECORDER), Sink { passes: Passes::Silence, ..Sink::dialogue(B) }]);
    assert!(Arc::ptr_eq(&before, &chain(&table, 1)) && table.fan(A).unwrap().outlets[0].chain.is_none());
    feed(&table, A, &[Sink::dialogue(B)]);
    assert!(programmed(&table, A).is_fast());
}

#[test]
fn every_number_of_a_route_is_given_back_whatever_the_sinks_were() {
    let table = recorded();
    let sinks = [Sink::dialogue(B), copy(RECORDER), copy(SlotIndex::new(0, 30030))];
    for some in [&sinks[..2], &sinks[1..], &sinks[..], &sinks[..1], &[][..], &sinks[1..2]] {
        feed(&table, A, some);
    }
    table.apply(&[FlowOp::Remove(A), FlowOp::Remove(B), FlowOp::Remove(RECORDER)], Instant::now());
    let requests = table.hops.take_requests();
    let wanted = requests.iter().filter(|event| matches!(event, crate::hops::Event::Want { .. })).count();
    let forgotten = requests.iter().filter(|event| matches!(event, crate::hops::Event::Forget { .. })).count();
    assert_eq!(wanted, forgotten);
    assert!(table.fan(A).is_none());
}
