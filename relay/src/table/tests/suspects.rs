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
    let mut a = spec("192.0.2.1:30000", Some("192.0.2.20:4000"), B);
    a.party.signaller = signaller.map(|host| host.parse().unwrap());
    let b = spec("198.51.100.1:30002", Some("198.51.100.20:6000"), A);
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
fn who_knocked_while_no_call_had_the_port_teaches_nothing() {
    for (knockers, refused, taken) in [(&[7][..], vec![NAT], vec![OTHER]), (&[7, 8], vec![NAT, OTHER], vec![])] {
        let table = table();
        for last in knockers {
            let knocker = std::net::Ipv4Addr::new(203, 0, 113, *last);
            table.slot(A).unwrap().knock(flow::Addr4::from(knocker).fold());
        }
        set_up(&table, None);
        assert_eq!(table.totals(A).unwrap().ssrc, None, "a knocker is no source");
        for source in refused {
            assert_eq!(learn(&table, A, source, &rtp(1, 7)), Err(Reason::Stranger), "{source}");
        }
        for source in taken {
            learn(&table, A, source, &rtp(1, 7)).unwrap();
        }
        learn(&table, A, "192.0.2.20:4000", &rtp(1, 9)).unwrap();
    }
}
