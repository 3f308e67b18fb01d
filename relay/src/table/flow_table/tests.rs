mod adopted;
mod blocks;
mod circuits;
mod doubt;
mod fans;
mod learned;
mod moves;
mod mux;
mod numbers;
mod robbery;
mod suspects;
mod trust;
mod watched;

use std::net::SocketAddr;
use std::time::Duration;

use border::{Component, Content, Learning, Path, Sink, Sinks, Successor};
use flow::Hop;

use flow::HopId;
use flow::slot::Flags;

use super::*;
use crate::hops::NO_PORT;
use crate::table::fan::Outlet;
use crate::table::learn::Departing;
use crate::table::rig;

const A: SlotIndex = SlotIndex::new(0, 30000);
const B: SlotIndex = SlotIndex::new(0, 30002);
/// The RTCP of both.
const A_RTCP: SlotIndex = A.sibling();
const B_RTCP: SlotIndex = B.sibling();

fn table_with(has_fast_path: bool, reads_rtcp: bool) -> FlowTable {
    let slots = 2 * flow::local::SLOTS_PER_LOCAL as usize;
    table_read_by(has_fast_path, reads_rtcp.then(|| Reader::new(slots).0))
}

fn table_read_by(has_fast_path: bool, reader: Option<Reader>) -> FlowTable {
    let addrs = ["192.0.2.1", "198.51.100.1"].map(|addr| addr.parse().unwrap());
    rig::table(&addrs, has_fast_path, reader)
}

/// A table as users have it.
fn table() -> FlowTable {
    table_with(true, true)
}

fn programmed(table: &FlowTable, index: SlotIndex) -> Rule {
    table.slot(index).unwrap().read().unwrap()
}

/// Whom an IPv4 slot takes for its peer.
fn peer_of(table: &FlowTable, index: SlotIndex) -> SocketAddr {
    let rule = programmed(table, index);
    SocketAddr::new(std::net::IpAddr::V4(rule.peer4().into()), rule.peer_port.get())
}

/// Where a slot sends what it gets.
fn target_of(table: &FlowTable, index: SlotIndex) -> SocketAddr {
    let Departing { bearing, ports, .. } = table.departing(&programmed(table, index)).unwrap();
    SocketAddr::new(bearing.to, ports[1].get())
}

/// From where to where a packet goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Way {
    from: SocketAddr,
    to: SocketAddr,
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn spec(local: &str, peer: Option<&str>, other: SlotIndex) -> SourceSpec {
    SourceSpec {
        call: 1,
        component: Component::Rtp,
        local: addr(local),
        party: Signalled { at: peer.map(addr), ..Signalled::default() },
        mux: false,
        sinks: smallvec::smallvec![Sink::dialogue(other)],
        tos: None,
        clock_khz: 8,
        blocked: false,
        content: Content::Rtp,
        announcement: None,
        security: None,
    }
}

/// A call whose two parties were signalled.
fn call() -> FlowTable {
    call_on(table())
}

fn call_on(table: FlowTable) -> FlowTable {
    let a = spec("192.0.2.1:30000", Some("192.0.2.10:4000"), B);
    let b = spec("198.51.100.1:30002", Some("198.51.100.10:6000"), A);
    table.apply(&[FlowOp::Install(A, a), FlowOp::Install(B, b)], Instant::now());
    table
}

/// An RTCP sender report, as far as anybody looks.
const REPORT: [u8; 8] = [0x80, 200, 0, 1, 1, 2, 3, 4];

/// The same, with RTCP, of which A has not said where it expects any, and that takes the fast path.
fn call_with_rtcp() -> FlowTable {
    let table = call_on(table_with(true, false));
    let rtcp = |local, peer, other| SourceSpec { component: Component::Rtcp, ..spec(local, peer, other) };
    let ops = [
        FlowOp::Install(A_RTCP, rtcp("192.0.2.1:30001", None, B_RTCP)),
        FlowOp::Install(B_RTCP, rtcp("198.51.100.1:30003", Some("198.51.100.10:6001"), A_RTCP)),
    ];
    table.apply(&ops, Instant::now());
    table
}

/// The call, with A learned in this way.
fn call_with(learning: Learning, successor: Successor) -> FlowTable {
    let table = call();
    let mut a = spec("192.0.2.1:30000", Some("192.0.2.10:4000"), B);
    (a.party.learning, a.party.successor) = (learning, successor);
    table.apply(&[FlowOp::Install(A, a)], Instant::now());
    table
}

fn rtp(sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend(ssrc.to_be_bytes());
    packet.resize(172, 0xd5);
    packet
}

/// Where a packet goes that the table is asked about, of a source with one sink.
fn learn(table: &FlowTable, index: SlotIndex, source: &str, payload: &[u8]) -> Result<Way, Reason> {
    learn_at(table, index, source, payload, Instant::now())
}

fn learn_at(table: &FlowTable, index: SlotIndex, source: &str, payload: &[u8], now: Instant) -> Result<Way, Reason> {
    let outlets = table.learn(index, addr(source), payload, now)?.outlets;
    let [Outlet { bearing, ports: [from, to], .. }] = outlets.as_slice() else { panic!("one sink, not {outlets:?}") };
    Ok(Way { from: SocketAddr::new(bearing.from, from.get()), to: SocketAddr::new(bearing.to, to.get()) })
}

#[test]
fn no_slot_is_active_before_its_first_packet() {
    let table = call();
    assert!(!programmed(&table, A).is_active());
    assert_eq!(table.totals(A).unwrap().path, Path::Slow(Reason::NotLearned));
}

#[test]
fn the_first_packet_is_sent_on_and_makes_its_slot_active() {
    let table = call();
    let rule = learn(&table, A, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
    assert_eq!(rule.to, addr("198.51.100.10:6000"));
    assert_eq!(rule.from, addr("198.51.100.1:30002"));
    assert!(programmed(&table, A).is_active());
    assert_eq!(peer_of(&table, A), addr("192.0.2.10:4000"));
    assert!(!programmed(&table, B).is_active(), "the other side has not been heard");
}

#[test]
fn a_slot_without_a_call_is_told_from_one_that_waits() {
    let table = call();
    assert!(programmed(&table, A).flags.has(Flags::CALL));
    table.apply(&[FlowOp::Remove(A)], Instant::now());
    assert!(!programmed(&table, A).flags.has(Flags::CALL));
}

#[test]
fn removing_one_side_stops_the_other_from_sending_there() {
    let table = call();
    learn(&table, B, "198.51.100.10:6000", &rtp(1, 8)).unwrap();
    assert!(programmed(&table, B).is_active());
    table.apply(&[FlowOp::Remove(A)], Instant::now());
    assert!(!programmed(&table, B).is_active());
}

#[test]
fn trusted_signalling_is_active_before_the_first_packet_and_strangers_stay_strangers() {
    let table = call_with(Learning::Off, Successor::default());
    assert!(programmed(&table, A).is_active());
    assert_eq!(learn(&table, A, "192.0.2.66:4000", &rtp(2, 7)), Err(Reason::Stranger));
}

#[test]
fn rtcp_that_is_read_is_a_workers_and_encrypted_rtcp_is_not_read() {
    for content in [Content::Rtp, Content::SecuredRtp] {
        let table = call();
        let rtcp =
            |local, peer, other| SourceSpec { component: Component::Rtcp, content, ..spec(local, Some(peer), other) };
        let ops = [
            FlowOp::Install(A_RTCP, rtcp("192.0.2.1:30001", "192.0.2.10:4001", B_RTCP)),
            FlowOp::Install(B_RTCP, rtcp("198.51.100.1:30003", "198.51.100.10:6001", A_RTCP)),
        ];
        table.apply(&ops, Instant::now());
        learn(&table, A_RTCP, "192.0.2.10:4001", &REPORT).unwrap();
        let rule = programmed(&table, A_RTCP);
        assert!(rule.is_active(), "nobody need be asked");
        assert_eq!(rule.is_fast(), content == Content::SecuredRtp);
    }
}

#[test]
fn a_removed_stream_forwards_nothing_and_neither_does_its_other_side() {
    let table = call();
    learn(&table, A, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
    learn(&table, B, "198.51.100.10:6000", &rtp(1, 8)).unwrap();
    table.apply(&[FlowOp::Remove(A), FlowOp::Remove(B)], Instant::now());
    assert!(!programmed(&table, A).is_active() && !programmed(&table, B).is_active());
    assert_eq!(learn(&table, A, "192.0.2.10:4000", &rtp(2, 7)), Err(Reason::NoCall));
    assert!(table.totals(A).is_none());
}

#[test]
fn a_new_source_is_programmed_and_too_many_lift_the_bond() {
    let table = call();
    for ssrc in 1..=3 {
        learn(&table, A, "192.0.2.10:4000", &rtp(1, ssrc)).unwrap();
        let rule = programmed(&table, A);
        assert_eq!((rule.ssrc, rule.flags.has(Flags::ANY_SSRC)), (ssrc.to_be(), false));
    }
    learn(&table, A, "192.0.2.10:4000", &rtp(1, 4)).unwrap();
    assert!(programmed(&table, A).flags.has(Flags::ANY_SSRC));
}

#[test]
fn loss_is_exact_from_the_first_packet_on() {
    let table = call();
    learn(&table, A, "192.0.2.10:4000", &rtp(500, 7)).unwrap();
    let fields = |sequence| flow::rtp::parse(&rtp(sequence, 7)).unwrap();
    table.carried(A).unwrap().count_rtp(172, &fields(500), || 0);
    for sequence in [501, 502, 504] {
        table.slot(A).unwrap().count_rtp(172, &fields(sequence), || None, || 0);
    }
    let totals = table.totals(A).unwrap();
    assert_eq!((totals.slow_packets, totals.fast_packets, totals.lost, totals.late), (1, 3, 1, 0));
    assert_eq!(totals.ssrc, Some(7));
}

#[test]
fn the_source_of_a_trusted_stream_is_told_although_the_daemon_saw_no_packet() {
    let table = call_with(Learning::Off, Successor::default());
    let slot = table.slot(A).unwrap();
    assert_eq!(table.totals(A).unwrap().ssrc, None);
    slot.note_ssrc(&flow::rtp::parse(&rtp(1, 7)).unwrap(), table.timings.first());
    assert_eq!(table.totals(A).unwrap().ssrc, Some(7));
    let spec = table.lock().get(A).unwrap().spec.clone();
    table.apply(&[FlowOp::Install(A, SourceSpec { tos: Some(184), ..spec })], Instant::now());
    assert_eq!(table.totals(A).unwrap().ssrc, Some(7), "and is not forgotten when the slot is programmed anew");
}
