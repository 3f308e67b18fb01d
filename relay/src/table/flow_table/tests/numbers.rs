//! The numbers of next hops that slots hold, and what a route is like: never two in one, and none kept for ever.

use super::*;

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
