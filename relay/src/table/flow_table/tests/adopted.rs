//! Tables that go on where another one was killed.

use std::net::IpAddr;

use flow::rtp::parse;

use super::*;
use crate::table::Left;
use crate::table::rig::Memory;

/// A call over both families, with RTCP that takes the fast path.
struct Scene {
    folder: tempfile::TempDir,
    wanted: Vec<FlowOp>,
    /// The slots, and from where each hears its party.
    flows: Vec<(SlotIndex, &'static str)>,
}

const C: SlotIndex = SlotIndex::new(2, 30010);

fn addrs() -> Vec<IpAddr> {
    ["192.0.2.1", "198.51.100.1", "2001:db8::1"].map(|addr| addr.parse().unwrap()).to_vec()
}

impl Scene {
    /// Two calls: within IPv4, and within IPv6.
    fn new() -> Self {
        let rtcp = |local, peer, other| SourceSpec { component: Component::Rtcp, ..spec(local, peer, other) };
        let second = SlotIndex::new(2, 30012);
        let six = |local: &str, peer, other, component| {
            let call = SourceSpec { call: 2, component, ..spec(local, Some(peer), other) };
            SourceSpec { tos: Some(184), ..call }
        };
        let wanted = vec![
            FlowOp::Install(A, spec("192.0.2.1:30000", Some("192.0.2.10:4000"), B)),
            // Behind a NAT that its description does not know of.
            FlowOp::Install(B, spec("198.51.100.1:30002", Some("10.0.0.7:6000"), A)),
            FlowOp::Install(A_RTCP, rtcp("192.0.2.1:30001", Some("192.0.2.10:4001"), B_RTCP)),
            FlowOp::Install(B_RTCP, rtcp("198.51.100.1:30003", Some("10.0.0.7:6001"), A_RTCP)),
            FlowOp::Install(C, six("[2001:db8::1]:30010", "[2001:db8::10]:4000", second, Component::Rtp)),
            FlowOp::Install(second, six("[2001:db8::1]:30012", "[2001:db8::20]:4000", C, Component::Rtp)),
        ];
        let flows = vec![
            (A, "192.0.2.10:4000"),
            (B, "203.0.113.9:7000"),
            (A_RTCP, "192.0.2.10:4001"),
            (B_RTCP, "203.0.113.9:7001"),
            (C, "[2001:db8::10]:4000"),
            (second, "[2001:db8::20]:4000"),
        ];
        Self { folder: tempfile::tempdir().unwrap(), wanted, flows }
    }

    /// The table of the process that comes next.
    fn table(&self, has_rules: bool) -> FlowTable {
        Self::on(Memory::kept_in(self.folder.path(), &addrs(), has_rules))
    }

    fn on(memory: Memory) -> FlowTable {
        let events = Arc::new(Events::new(|| {}));
        rig::on(memory, &addrs(), true, None, Announcer::default(), events)
    }

    /// The table of the first process, in which all have been heard.
    fn talking(&self) -> FlowTable {
        let table = self.table(true);
        let now = Instant::now();
        table.apply(&self.wanted, now);
        for (ssrc, (index, source)) in (1..).zip(&self.flows) {
            let is_rtp = !index.is_odd();
            let payload = if is_rtp { rtp(100, ssrc) } else { REPORT.to_vec() };
            for time in [0, 4] {
                learn_at(&table, *index, source, &payload, now + Duration::from_secs(time)).unwrap();
            }
        }
        resolve(&table);
        table
    }

    /// XDP forwards some packets of each flow, whether or not there is a process.
    fn forward(table: &FlowTable, flows: &[(SlotIndex, &str)], numbers: std::ops::Range<u16>) {
        for (ssrc, (index, _)) in (1..).zip(flows).filter(|(_, (index, _))| !index.is_odd()) {
            for number in numbers.clone() {
                let fields = parse(&rtp(number, ssrc)).unwrap();
                table.slot(*index).unwrap().count_rtp(172, &fields, || None, || 0);
            }
        }
    }
}

/// Every route has a next hop, as the resolver writes it.
fn resolve(table: &FlowTable) {
    let hop = Hop { to: [2; 6].into(), from: [4; 6].into(), device: 3, port: 1, reflects: true, mtu: 1500 };
    for request in table.hops().take_requests() {
        if let crate::hops::Event::Want { id, known, .. } = request {
            assert_eq!(known, None);
            table.hops().cell(id).unwrap().write(Some(hop));
        }
    }
}

#[test]
fn whoever_comes_next_touches_no_rule_that_is_right_and_counts_on() {
    let scene = Scene::new();
    let first = scene.talking();
    Scene::forward(&first, &scene.flows, 100..150);
    first.sweep(Instant::now(), 0, 1);
    Scene::forward(&first, &scene.flows, 150..160);
    let states: Vec<_> = scene.flows.iter().map(|(index, _)| first.slot(*index).unwrap().state()).collect();
    let rules: Vec<_> = scene.flows.iter().map(|(index, _)| programmed(&first, *index)).collect();
    assert!(rules.iter().all(Rule::is_fast), "{rules:?}");
    // Killed: nobody has folded what came last, and more comes.
    std::mem::forget(first);
    let second = scene.table(true);
    Scene::forward(&second, &scene.flows, 160..170);
    second.adopt(&scene.wanted, Left::Rules, Instant::now());
    for (((index, source), state), rule) in scene.flows.iter().zip(states).zip(rules) {
        assert_eq!((second.slot(*index).unwrap().state(), programmed(&second, *index)), (state, rule), "{source}");
        let totals = second.totals(*index).unwrap();
        assert_eq!((totals.peer, totals.confirmed, totals.path), (Some(addr(source)), true, Path::Fast));
        if !index.is_odd() {
            assert_eq!((totals.fast_packets, totals.lost, totals.late, totals.ssrc_changes), (70, 0, 0, 0), "{source}");
            assert!(totals.last_fast.is_some() && totals.ssrc.is_some());
        }
    }
    let known = |event: &crate::hops::Event| matches!(event, crate::hops::Event::Want { known: Some(_), .. });
    let requests = second.hops().take_requests();
    assert!(!requests.is_empty() && requests.iter().all(known), "{requests:?}");
    // And it is a table like any other.
    second.apply(&scene.flows.iter().map(|(index, _)| FlowOp::Remove(*index)).collect::<Vec<_>>(), Instant::now());
    assert!(scene.flows.iter().all(|(index, _)| programmed(&second, *index) == Rule::INACTIVE));
}

#[test]
fn where_the_rules_are_lost_they_are_made_anew_of_what_was_noted() {
    let scene = Scene::new();
    let first = scene.talking();
    Scene::forward(&first, &scene.flows, 100..150);
    first.sweep(Instant::now(), 0, 1);
    let (rule, counted) = (programmed(&first, B), first.totals(B).unwrap().fast_packets);
    drop(first);
    let second = scene.table(false);
    second.adopt(&scene.wanted, Left::Nothing, Instant::now());
    assert_eq!((programmed(&second, B).peer4(), peer_of(&second, B)), (rule.peer4(), addr("203.0.113.9:7000")));
    resolve(&second);
    Scene::forward(&second, &scene.flows, 150..160);
    let totals = second.totals(B).unwrap();
    assert_eq!((totals.fast_packets, totals.lost), (counted + 10, 0));
}

#[test]
fn whoever_comes_back_after_a_version_that_failed_counts_nothing_twice() {
    let scene = Scene::new();
    let first = scene.talking();
    Scene::forward(&first, &scene.flows, 100..150);
    first.sweep(Instant::now(), 0, 1);
    let counted = first.totals(B).unwrap().packets();
    assert!(counted >= 50);
    std::mem::forget(first);
    let other = Scene::on(Memory::kept_with(scene.folder.path(), &addrs(), false, "other maps"));
    other.adopt(&scene.wanted, Left::Nothing, Instant::now());
    std::mem::forget(other);
    let second = scene.table(true);
    second.adopt(&scene.wanted, Left::Rules, Instant::now());
    second.sweep(Instant::now(), 0, 1);
    assert_eq!(second.totals(B).unwrap().packets(), counted);
    Scene::forward(&second, &scene.flows, 150..160);
    assert_eq!(second.totals(B).unwrap().packets(), counted + 10);
}

#[test]
fn what_nobody_wants_any_more_forwards_nothing_and_its_numbers_are_free() {
    let scene = Scene::new();
    std::mem::forget(scene.talking());
    let second = scene.table(true);
    second.adopt(&scene.wanted[4..], Left::Rules, Instant::now());
    for (index, _) in &scene.flows[..4] {
        assert_eq!((programmed(&second, *index), second.totals(*index)), (Rule::INACTIVE, None));
    }
    assert!(programmed(&second, C).is_fast());
    let resolved = (1..256).filter(|number| second.hops().hop(HopId(*number)).is_some()).count();
    assert_eq!(resolved, 2, "the two ways of the call that is left");
}

#[test]
fn what_was_signalled_and_never_reached_the_table_is_obeyed() {
    let scene = Scene::new();
    std::mem::forget(scene.talking());
    let second = scene.table(true);
    let mut wanted = scene.wanted.clone();
    let FlowOp::Install(_, spec) = &mut wanted[0] else { panic!("another operation") };
    spec.party.at = Some(addr("192.0.2.99:4000"));
    second.adopt(&wanted, Left::Rules, Instant::now());
    assert_eq!(target_of(&second, B), addr("192.0.2.99:4000"), "it was heard at its own address, and has moved");
    // A call that was on record, and of which the table had not been told.
    let third = scene.table(true);
    let mut other = scene.wanted.clone();
    let FlowOp::Install(_, spec) = &mut other[1] else { panic!("another operation") };
    spec.call = 77;
    third.adopt(&other, Left::Rules, Instant::now());
    let totals = third.totals(B).unwrap();
    assert_eq!((totals.packets(), totals.confirmed), (0, false), "nothing of another call is this one's");
    assert!(!programmed(&third, B).is_active());
}

#[test]
fn what_xdp_carries_of_calls_on_no_record_goes_on_until_nobody_sends_any_more() {
    let scene = Scene::new();
    std::mem::forget(scene.talking());
    let second = scene.table(true);
    let start = Instant::now();
    let rules: Vec<_> = scene.flows.iter().map(|(index, _)| programmed(&second, *index)).collect();
    second.adopt(&scene.wanted[4..], Left::Orphans, start);
    let now: Vec<_> = scene.flows.iter().map(|(index, _)| programmed(&second, *index)).collect();
    assert_eq!(now, rules);
    let mut pairs: Vec<_> = scene.flows[..4].iter().map(|(index, _)| *index).filter(|index| !index.is_odd()).collect();
    pairs.sort_unstable();
    assert_eq!(second.orphans(start), pairs);
    // One of two speaks: both have their ports.
    let second_of = |seconds| start + Duration::from_secs(seconds);
    Scene::forward(&second, &scene.flows[..1], 100..110);
    assert_eq!(second.orphans(second_of(50)), pairs);
    assert_eq!(second.orphans(second_of(109)), pairs);
    assert_eq!(second.orphans(second_of(110)), []);
    for (index, _) in &scene.flows[..4] {
        assert_eq!(programmed(&second, *index), Rule::INACTIVE);
    }
    assert!(programmed(&second, C).is_fast(), "the call that is on record");
    let requests = second.hops().take_requests();
    assert!(requests.iter().any(|request| matches!(request, crate::hops::Event::Forget { .. })), "{requests:?}");
}

#[test]
fn where_nothing_is_noted_the_rule_tells_who_was_heard() {
    let scene = Scene::new();
    let first = scene.talking();
    let rules: Vec<_> = scene.flows.iter().map(|(index, _)| programmed(&first, *index)).collect();
    drop(first);
    std::fs::remove_file(scene.folder.path().join("notes")).unwrap();
    let second = scene.table(true);
    second.adopt(&scene.wanted, Left::Rules, Instant::now());
    for ((index, source), rule) in scene.flows.iter().zip(rules) {
        let totals = second.totals(*index).unwrap();
        assert_eq!((totals.peer, totals.confirmed), (Some(addr(source)), true), "{source}");
        assert_eq!(programmed(&second, *index), rule);
    }
}
