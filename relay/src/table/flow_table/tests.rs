mod blocks;
mod circuits;
mod doubt;
mod fans;
mod moves;
mod mux;
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
fn without_a_fast_path_no_next_hop_is_asked_for() {
    let table = table_with(false, true);
    let a = spec("192.0.2.1:30000", Some("192.0.2.10:4000"), B);
    let b = spec("198.51.100.1:30002", Some("198.51.100.10:6000"), A);
    table.apply(&[FlowOp::Install(A, a), FlowOp::Install(B, b)], Instant::now());
    assert_eq!(table.hops.take_requests(), []);
}

#[test]
fn a_stream_whose_way_out_takes_no_redirected_frames_says_so() {
    let table = call();
    learn(&table, A, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
    let hop = programmed(&table, A).hop;
    let leaving_by = |device, port| {
        let mac = [2, 0, 0, 0, 0, 1].into();
        table.hops.cell(hop).unwrap().write(Some(Hop { to: mac, from: mac, device, port, reflects: true, mtu: 1500 }));
        table.totals(A).unwrap().path
    };
    assert_eq!(leaving_by(2, 0), Path::Fast);
    assert_eq!(leaving_by(2, NO_PORT), Path::Slow(Reason::Redirect));
    assert_eq!(leaving_by(1, NO_PORT), Path::Fast, "by the device it came in by");
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
fn a_number_that_one_call_gives_back_and_another_takes_in_one_go_is_never_in_two_slots() {
    let table = call();
    let held = programmed_after_both_speak(&table);
    let other = [SlotIndex::new(0, 30010), SlotIndex::new(0, 30012)];
    let [c, d] = other;
    let ops = [
        FlowOp::Remove(A),
        FlowOp::Remove(B),
        FlowOp::Install(c, spec("192.0.2.1:30010", Some("192.0.2.20:4000"), d)),
        FlowOp::Install(d, spec("198.51.100.1:30012", Some("198.51.100.20:6000"), c)),
    ];
    // As if the resolver wrote numbers off at once.
    table.apply(&ops[..2], Instant::now());
    held.iter().for_each(|id| table.hops.free(*id));
    assert!(![A, B].into_iter().any(|slot| programmed(&table, slot).is_active()));
    table.apply(&ops[2..], Instant::now());
    learn(&table, c, "192.0.2.20:4000", &rtp(1, 7)).unwrap();
    assert!(held.contains(&programmed(&table, c).hop));
    assert_eq!(programmed(&table, A), Rule::INACTIVE, "and not just waiting");
}

/// The next hops of both slots, once both parties were heard.
fn programmed_after_both_speak(table: &FlowTable) -> [HopId; 2] {
    learn(table, A, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
    learn(table, B, "198.51.100.10:6000", &rtp(1, 8)).unwrap();
    [A, B].map(|slot| programmed(table, slot).hop)
}

#[test]
fn a_slot_is_inactive_before_its_number_is_anothers() {
    // Without a resolver a number is free, and the next one's, as soon as it is released.
    let table = call_on(table_with(false, true));
    let [a_hop, _] = programmed_after_both_speak(&table);
    let [c, d] = [SlotIndex::new(0, 30010), SlotIndex::new(0, 30012)];
    let stop = std::sync::atomic::AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut wrong = 0;
            while !stop.load(Ordering::Relaxed) {
                let Some(rule) = table.slot(A).unwrap().read().filter(Rule::is_active) else { continue };
                let to = table.hops.cell(rule.hop).unwrap().bearing().to;
                let is_still = table.slot(A).unwrap().read() == Some(rule);
                wrong += u32::from(is_still && to.to_string() == "198.51.100.20");
            }
            wrong
        });
        for _ in 0..500 {
            let ops = [
                FlowOp::Remove(A),
                FlowOp::Remove(B),
                FlowOp::Install(c, spec("192.0.2.1:30010", Some("192.0.2.20:4000"), d)),
                FlowOp::Install(d, spec("198.51.100.1:30012", Some("198.51.100.20:6000"), c)),
            ];
            table.apply(&ops, Instant::now());
            let back = [
                FlowOp::Remove(c),
                FlowOp::Remove(d),
                FlowOp::Install(A, spec("192.0.2.1:30000", Some("192.0.2.10:4000"), B)),
                FlowOp::Install(B, spec("198.51.100.1:30002", Some("198.51.100.10:6000"), A)),
            ];
            table.apply(&back, Instant::now());
            learn(&table, A, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert_eq!(seen, 0, "packets of one call for the other's host");
    assert_ne!(a_hop, HopId::NONE);
}

#[test]
fn a_slot_that_got_no_number_gets_one_when_there_is_one() {
    let hops = NextHops::new(Mapped::anonymous(2).unwrap(), false).unwrap();
    let mut table = table_with(false, true);
    table.hops = hops;
    let table = call_on(table);
    learn(&table, A, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
    learn(&table, B, "198.51.100.10:6000", &rtp(1, 8)).unwrap();
    let without = [A, B].into_iter().find(|slot| !programmed(&table, *slot).is_active()).unwrap();
    let with = if without == A { B } else { A };
    assert!(programmed(&table, with).is_active(), "there is one number");
    // The one that has it is not needed any more.
    let held = table.lock().get_mut(with).unwrap().sinks[0].route.take().unwrap();
    table.hops.release(held.0, held.1);
    table.sweep(Instant::now(), 0, 1);
    assert!(programmed(&table, without).is_active());
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
fn next_hops_are_given_back() {
    let table = call();
    assert_eq!(table.hops.take_requests().len(), 2);
    table.apply(&[FlowOp::Remove(A), FlowOp::Remove(B)], Instant::now());
    assert_eq!(table.hops.take_requests().len(), 2);
}

#[test]
fn an_ipv6_peer_is_known_by_the_way_towards_it() {
    let table = table();
    let (a_peer, b_peer) = ("[2001:db8:1::a]:4000", "[2001:db8:2::a]:6000");
    let a = spec("[2001:db8:1::1]:30000", Some(a_peer), B);
    let b = spec("[2001:db8:2::1]:30002", Some(b_peer), A);
    table.apply(&[FlowOp::Install(A, a), FlowOp::Install(B, b)], Instant::now());
    learn(&table, A, a_peer, &rtp(1, 7)).unwrap();
    learn(&table, B, b_peer, &rtp(1, 8)).unwrap();
    let (a, b) = (programmed(&table, A), programmed(&table, B));
    assert_eq!(target_of(&table, A), addr(b_peer));
    assert_eq!((a.peer6(), b.peer6()), (b.hop, a.hop), "the way towards a party is the other's way out");
    table.apply(&[FlowOp::Remove(A), FlowOp::Remove(B)], Instant::now());
    let requests = table.hops.take_requests();
    let forgotten = requests.iter().filter(|event| matches!(event, crate::hops::Event::Forget { .. })).count();
    assert_eq!((requests.len(), forgotten), (4, 2), "each way is wanted once and given back once");
}

#[test]
fn a_stream_to_the_other_family_is_carried_by_the_slow_path_and_says_so() {
    let table = table();
    let a = spec("192.0.2.1:30000", Some("192.0.2.10:4000"), B);
    let b = spec("[2001:db8:2::1]:30002", Some("[2001:db8:2::a]:6000"), A);
    table.apply(&[FlowOp::Install(A, a), FlowOp::Install(B, b)], Instant::now());
    let departing = learn(&table, A, "192.0.2.10:4000", &rtp(1, 7)).unwrap();
    assert_eq!((departing.from, departing.to), (addr("[2001:db8:2::1]:30002"), addr("[2001:db8:2::a]:6000")));
    assert_eq!(target_of(&table, A), departing.to, "the workers need not ask");
    assert_eq!(table.totals(A).unwrap().path, Path::Slow(Reason::Family));
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
