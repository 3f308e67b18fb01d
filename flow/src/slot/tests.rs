use super::*;

pub(crate) fn path() -> Path {
    let endpoint = |text: &str| text.parse().unwrap();
    Path {
        peer: endpoint("192.0.2.10:4000"),
        local: endpoint("192.0.2.1:30000"),
        from: endpoint("198.51.100.1:30002"),
        to: endpoint("198.51.100.10:6000"),
    }
}

fn rule() -> Rule {
    Rule { flags: Flags::ACTIVE.with(Flags::RTP), hop: HopId(9), ssrc: 77, ..Rule::new(&path(), HopId::NONE) }
}

#[test]
fn an_all_zero_slot_is_inactive() {
    assert_eq!(Slot::default().read(), Some(Rule::INACTIVE));
}

#[test]
fn a_rule_is_read_as_it_was_programmed() {
    let slot = Slot::default();
    slot.program(rule());
    let read = slot.read().unwrap();
    assert_eq!(read, rule());
    assert_eq!(read.peer4(), std::net::Ipv4Addr::new(192, 0, 2, 10).into());
    assert_eq!((read.peer_port.get(), read.ports.map(Be16::get)), (4000, [30002, 6000]));
}

#[test]
fn an_ipv6_peer_is_known_by_the_next_hop_towards_it() {
    let mut path = path();
    path.peer.set_ip("2001:db8::10".parse().unwrap());
    assert_eq!(Rule::new(&path, HopId(5)).peer6(), HopId(5));
}

#[test]
fn a_rule_that_was_replaced_by_an_equal_one_is_not_the_same_rule() {
    let slot = Slot::default();
    slot.program(rule());
    let state = slot.state();
    assert!(slot.still(state));
    slot.program(rule());
    assert!(!slot.still(state));
}

#[test]
fn programming_does_not_touch_the_counters() {
    let (slot, timing) = (Slot::default(), Timing::default());
    slot.count(100);
    slot.program(rule());
    assert_eq!(slot.counters(&timing).volume.since(Volume(0)), (1, 100));
}

#[test]
fn a_slot_without_a_call_remembers_the_last_two_knockers_of_two_epochs() {
    for hosts in [["192.0.2.66", "192.0.2.67", "192.0.2.68"], ["2001:db8::66", "2001:db8::67", "2001:db8::68"]] {
        let [one, two, three]: [IpAddr; 3] = hosts.map(|host| host.parse().unwrap());
        let (slot, first) = (Slot::default(), Epoch::FIRST);
        let knock = |host: IpAddr, epoch| slot.knock(slot.state(), host.into(), epoch);
        assert!(!slot.knockers().may_be(one, first));
        knock(one, first);
        knock(one, first);
        assert!(slot.knockers().may_be(one, first) && !slot.knockers().may_be(two, first));
        knock(two, first);
        assert!([one, two].into_iter().all(|host| slot.knockers().may_be(host, first)));
        knock(three, first);
        assert!([two, three].into_iter().all(|host| slot.knockers().may_be(host, first)), "the last two");
        assert!(!slot.knockers().may_be(one, first));
        assert!(slot.knockers().may_be(two, first.next()) && !slot.knockers().may_be(two, first.next().next()));
        knock(one, first.next());
        assert!(slot.knockers().may_be(one, first.next()) && !slot.knockers().may_be(two, first.next()));
        slot.program(Rule::INACTIVE);
        assert_eq!(slot.knockers(), Knockers::default());
    }
}

#[test]
fn a_knock_that_comes_while_a_call_gets_the_slot_is_no_source_of_it() {
    let slot = Slot::default();
    let state = slot.state();
    slot.program(Rule::waiting(Flags::CALL, 0));
    slot.knock(state, IpAddr::from([192, 0, 2, 66]).into(), Epoch::FIRST);
    assert_eq!(slot.ssrc(), 0);
}

#[test]
fn epochs_are_never_zero_and_come_round() {
    let mut epoch = Epoch::FIRST;
    for _ in 0..300 {
        assert_eq!(Epoch::from_word(epoch.word()), epoch);
        assert_ne!(epoch.word(), 0);
        epoch = epoch.next();
    }
    assert_eq!(Epoch::from_word(0), Epoch::FIRST);
}

#[test]
fn the_first_source_is_noted_and_every_other_counted() {
    let (slot, timing) = (Slot::default(), Timing::default());
    for (ssrc, changes) in [(5, 0), (6, 1), (5, 2), (0, 3), (0, 3), (5, 4)] {
        slot.note_ssrc(&RtpFields { sequence: Sequence(100), timestamp: 0, ssrc }, Some(&timing));
        assert_eq!((slot.ssrc(), slot.counters(&timing).changes), (noted(ssrc), changes));
    }
    assert_eq!(slot.counters(&timing).highest, Sequence(99));
}

#[test]
fn a_source_that_came_to_the_fast_path_first_begins_anew_with_the_worker_and_nobody_has_changed() {
    let (slot, timing) = (Slot::default(), Timing::default());
    let (carried, order) = (Carried::default(), Order::default());
    slot.program(Rule::waiting(Flags::CALL, 0));
    let packet = |ssrc, sequence| RtpFields { sequence: Sequence(sequence), timestamp: 0, ssrc };
    let by_worker = |packet: RtpFields| {
        slot.note_carried_ssrc(&packet, Some(&timing), (&carried, &order));
        carried.count_rtp(172, &packet, || 0);
    };
    by_worker(packet(5, 1000));
    slot.note_ssrc(&packet(6, 950), Some(&timing));
    by_worker(packet(6, 951));
    let counters = carried.read();
    assert_eq!((counters.highest, counters.late, counters.changes), (Sequence(951), 0, 0));
    assert_eq!(slot.counters(&timing).changes, 1);
}

#[test]
fn a_worker_notes_sources_as_the_fast_path_does() {
    let (slot, timing) = (Slot::default(), Timing::default());
    let (carried, order) = (Carried::default(), Order::default());
    slot.note_carried_ssrc(
        &RtpFields { sequence: Sequence(100), timestamp: 0, ssrc: 5 },
        Some(&timing),
        (&carried, &order),
    );
    assert_eq!(slot.ssrc(), 0, "of no call");
    slot.program(Rule::waiting(Flags::CALL, 0));
    for (ssrc, changes) in [(5, 0), (5, 0), (6, 1), (5, 2), (0, 3), (0, 3), (5, 4)] {
        slot.note_carried_ssrc(
            &RtpFields { sequence: Sequence(100), timestamp: 0, ssrc },
            Some(&timing),
            (&carried, &order),
        );
        assert_eq!((slot.ssrc(), carried.read().changes, carried.read().highest), (noted(ssrc), changes, Sequence(99)));
    }
    assert_eq!(slot.counters(&timing).highest, Sequence(99), "for the fast path, too");
}
#[test]
fn packets_of_two_sources_are_never_compared_whichever_path_the_change_came_by() {
    // Four seconds lie between the two sources' clocks: of two packets that were compared there would be jitter.
    let packet = |ssrc, number: u16| RtpFields {
        sequence: Sequence(number),
        timestamp: u32::from(number) * 160 + 32_000 * (ssrc - 1),
        ssrc,
    };
    let clock = |number: u16| u64::from(number) * 20_000_000;
    for first in 1..140 {
        let (slot, timing) = (Slot::default(), Timing::default());
        let (carried, order) = (Carried::default(), Order::default());
        slot.program(Rule::waiting(Flags::CALL, 0));
        slot.restart(&timing, Sequence(0), 8);
        carried.restart(Sequence(0), 8);
        let by_fast = |ssrc, number| {
            let packet = packet(ssrc, number);
            if slot.ssrc() != ssrc {
                slot.note_ssrc(&packet, Some(&timing));
            }
            slot.count_rtp(172, &packet, || Some(&timing), || clock(number));
        };
        let by_worker = |ssrc, number| {
            slot.note_carried_ssrc(&packet(ssrc, number), Some(&timing), (&carried, &order));
            carried.count_rtp(172, &packet(ssrc, number), || clock(number));
        };
        for number in 1..=first {
            by_fast(1, number);
            by_worker(1, number);
        }
        // One path sees the change, and then the other has its packets, and the other way round.
        by_worker(2, first + 1);
        by_fast(2, first + 2);
        by_fast(1, first + 3);
        by_worker(1, first + 4);
        for (path, counters) in [("fast", slot.counters(&timing)), ("slow", carried.read())] {
            assert!(counters.jitter.unwrap_or(0) < 16, "{path} path after {first}: {:?}", counters.jitter);
        }
    }
}
