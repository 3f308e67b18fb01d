//! Who was on a port before the call had it.

use super::*;

const NAT: &str = "203.0.113.7:1024";
const OTHER: &str = "203.0.113.99:4000";

/// The call ends, and there is another one at its ports.
fn again(table: &FlowTable, signaller: Option<&str>) {
    table.apply(&[FlowOp::Remove(A), FlowOp::Remove(B)], Instant::now());
    set_up(table, signaller);
}

fn set_up(table: &FlowTable, signaller: Option<&str>) {
    let mut a = SourceSpec { call: 2, ..spec("192.0.2.1:30000", Some("192.0.2.20:4000"), B) };
    a.party.signaller = signaller.map(|host| host.parse().unwrap());
    let b = SourceSpec { call: 2, ..spec("198.51.100.1:30002", Some("198.51.100.20:6000"), A) };
    table.apply(&[FlowOp::Install(A, a), FlowOp::Install(B, b)], Instant::now());
}

#[test]
fn the_phone_of_an_ended_call_teaches_the_next_one_nothing() {
    let table = call();
    learn(&table, A, NAT, &rtp(1, 7)).unwrap();
    again(&table, None);
    assert_eq!(learn(&table, A, NAT, &rtp(2, 7)), Err(Reason::Stranger));
    assert_eq!(learn(&table, A, "203.0.113.7:1025", &rtp(2, 7)), Err(Reason::Stranger), "from another port");
    learn(&table, A, OTHER, &rtp(1, 9)).unwrap();
    assert_eq!(peer_of(&table, A), addr(OTHER));
}

#[test]
fn a_party_in_whose_name_a_stranger_knocked_is_heard_after_five_seconds_and_the_phone_of_an_ended_call_never_is() {
    for is_former in [false, true] {
        let table = if is_former { call() } else { table() };
        if is_former {
            learn(&table, A, NAT, &rtp(1, 7)).unwrap();
            table.apply(&[FlowOp::Remove(A), FlowOp::Remove(B)], Instant::now());
        }
        let slot = table.slot(A).unwrap();
        slot.knock(slot.state(), addr(NAT).ip().into(), table.epoch());
        set_up(&table, None);
        let start = Instant::now();
        let heard = |packet: u16| {
            let now = start + Duration::from_millis(20) * u32::from(packet);
            table.learn(A, addr(NAT), &rtp(packet, 7), now).is_ok()
        };
        let first = (0..600).find(|packet| heard(*packet));
        assert_eq!(first, (!is_former).then_some(250));
    }
}

#[test]
fn the_same_phone_is_heard_when_the_next_calls_signalling_names_its_host() {
    let table = call();
    learn(&table, A, NAT, &rtp(1, 7)).unwrap();
    again(&table, Some("203.0.113.7"));
    learn(&table, A, NAT, &rtp(2, 7)).unwrap();
    assert_eq!(peer_of(&table, A), addr(NAT));
    let table = call();
    learn(&table, A, "192.0.2.20:5000", &rtp(1, 7)).unwrap();
    again(&table, None);
    learn(&table, A, "192.0.2.20:5000", &rtp(2, 7)).unwrap();
}

#[test]
fn who_knocked_while_no_call_had_the_port_teaches_nothing_for_an_epoch_or_two() {
    for epochs in 0..3 {
        let table = table();
        let knock = |host: &str| {
            let slot = table.slot(A).unwrap();
            slot.knock(slot.state(), host.parse::<std::net::IpAddr>().unwrap().into(), table.epoch());
        };
        ["203.0.113.7", "203.0.113.8"].into_iter().for_each(knock);
        for _ in 0..epochs {
            table.next_epoch();
        }
        set_up(&table, None);
        assert_eq!(table.totals(A).unwrap().ssrc, None, "a knocker is no source");
        for source in [NAT, "203.0.113.8:4000"] {
            assert_eq!(learn(&table, A, source, &rtp(1, 7)).is_err(), epochs < 2, "{source} {epochs}");
        }
        learn(&table, A, "192.0.2.20:4000", &rtp(1, 9)).unwrap();
    }
}

#[test]
fn who_has_not_knocked_is_no_suspect_of_however_many_did() {
    let table = table();
    for last in 7..60 {
        let slot = table.slot(A).unwrap();
        slot.knock(slot.state(), std::net::IpAddr::from([203, 0, 113, last]).into(), table.epoch());
    }
    set_up(&table, None);
    learn(&table, A, OTHER, &rtp(1, 7)).unwrap();
}

#[test]
fn a_party_is_forgotten_some_minutes_after_its_call() {
    let table = call();
    learn(&table, A, NAT, &rtp(1, 7)).unwrap();
    table.apply(&[FlowOp::Remove(A), FlowOp::Remove(B)], Instant::now());
    let a = SourceSpec { call: 2, ..spec("192.0.2.1:30000", Some("192.0.2.20:4000"), B) };
    let b = SourceSpec { call: 2, ..spec("198.51.100.1:30002", Some("198.51.100.20:6000"), A) };
    let later = Instant::now() + Duration::from_secs(300);
    table.apply(&[FlowOp::Install(A, a), FlowOp::Install(B, b)], later);
    table.learn(A, addr(NAT), &rtp(2, 7), later).unwrap();
}

#[test]
fn a_media_that_is_dropped_and_taken_up_again_in_one_call_hears_its_party_again() {
    let table = call();
    learn(&table, A, NAT, &rtp(1, 7)).unwrap();
    table.apply(&[FlowOp::Remove(A), FlowOp::Remove(B)], Instant::now());
    let slot = table.slot(A).unwrap();
    slot.knock(slot.state(), addr(NAT).ip().into(), table.epoch());
    let a = spec("192.0.2.1:30000", Some("192.0.2.10:4000"), B);
    let b = spec("198.51.100.1:30002", Some("198.51.100.10:6000"), A);
    table.apply(&[FlowOp::Install(A, a), FlowOp::Install(B, b)], Instant::now());
    learn(&table, A, NAT, &rtp(2, 7)).unwrap();
    assert_eq!(peer_of(&table, A), addr(NAT));
}

#[test]
fn a_party_is_learned_while_it_is_blocked_and_while_the_other_one_is_on_hold() {
    for is_blocked in [true, false] {
        let table = call();
        let a = SourceSpec { blocked: is_blocked, ..spec("192.0.2.1:30000", Some("192.0.2.10:4000"), B) };
        let mut b = spec("198.51.100.1:30002", Some("198.51.100.10:6000"), A);
        if !is_blocked {
            b.party.at = None;
        }
        table.apply(&[FlowOp::Install(A, a), FlowOp::Install(B, b)], Instant::now());
        let reason = if is_blocked { Reason::Blocked } else { Reason::NoDestination };
        assert_eq!(learn(&table, A, NAT, &rtp(1, 7)), Err(reason));
        assert_eq!(table.lock().remote(A), Some(addr(NAT)), "what is for it goes there");
    }
}
