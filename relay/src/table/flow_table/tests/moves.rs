//! Parties that are described again, that receive elsewhere than they send from, or that only listen, as the slots see it: both families, RTP and
//! RTCP.

use super::*;

/// Where everybody is: the relay's ports for A and B, what A and B say, the NAT that A is behind, and what A says later.
struct Places {
    locals: [&'static str; 4],
    a: [&'static str; 2],
    b: [&'static str; 2],
    nat: [&'static str; 2],
    later: [&'static str; 2],
}

const V4: Places = Places {
    locals: ["192.0.2.1:30000", "192.0.2.1:30001", "198.51.100.1:30002", "198.51.100.1:30003"],
    a: ["10.0.0.5:4000", "10.0.0.5:4001"],
    b: ["198.51.100.10:6000", "198.51.100.10:6001"],
    nat: ["203.0.113.7:1024", "203.0.113.7:1025"],
    later: ["10.0.0.9:4000", "10.0.0.9:4001"],
};

const V6: Places = Places {
    locals: ["[2001:db8:1::1]:30000", "[2001:db8:1::1]:30001", "[2001:db8:2::1]:30002", "[2001:db8:2::1]:30003"],
    a: ["[fd00::5]:4000", "[fd00::5]:4001"],
    b: ["[2001:db8:2::a]:6000", "[2001:db8:2::a]:6001"],
    nat: ["[2001:db8:7::7]:1024", "[2001:db8:7::7]:1025"],
    later: ["[fd00::9]:4000", "[fd00::9]:4001"],
};

/// The sources of A, which says that it is there.
fn party(places: &Places, at: [&str; 2], change: impl Fn(&mut Signalled)) -> [FlowOp; 2] {
    let [rtp, rtcp, ..] = places.locals;
    [(A, rtp, at[0], B, Component::Rtp), (A_RTCP, rtcp, at[1], B_RTCP, Component::Rtcp)].map(
        |(slot, local, at, other, component)| {
            let mut spec = SourceSpec { component, ..spec(local, Some(at), other) };
            change(&mut spec.party);
            FlowOp::Install(slot, spec)
        },
    )
}

/// A call whose parties have both spoken, A through its NAT; RTCP is not read, so that its slots say where it goes.
fn call(places: &Places, change: impl Fn(&mut Signalled)) -> FlowTable {
    let table = table_with(true, false);
    let [.., rtp, rtcp] = places.locals;
    let rtcp = SourceSpec { component: Component::Rtcp, ..spec(rtcp, Some(places.b[1]), A_RTCP) };
    let b = [FlowOp::Install(B, spec(rtp, Some(places.b[0]), A)), FlowOp::Install(B_RTCP, rtcp)];
    table.apply(&[&party(places, places.a, change)[..], &b].concat(), Instant::now());
    learn(&table, B, places.b[0], &rtp_of_b()).unwrap();
    learn(&table, B_RTCP, places.b[1], &REPORT).unwrap();
    table
}

fn rtp_of_b() -> Vec<u8> {
    rtp(1, 8)
}

/// A's media and reports come through its NAT.
fn speak(table: &FlowTable, places: &Places) {
    learn(table, A, places.nat[0], &rtp(1, 7)).unwrap();
    learn(table, A_RTCP, places.nat[1], &REPORT).unwrap();
}

/// Where what is for A goes.
fn hears(table: &FlowTable) -> [String; 2] {
    [B, B_RTCP].map(|slot| target_of(table, slot).to_string())
}

fn is_active(table: &FlowTable) -> [bool; 2] {
    [A, A_RTCP].map(|slot| programmed(table, slot).is_active())
}

#[test]
fn who_is_described_again_has_to_be_heard_again_and_hears_meanwhile() {
    for places in [V4, V6] {
        let table = call(&places, |_| {});
        speak(&table, &places);
        assert_eq!((hears(&table), is_active(&table)), (places.nat.map(str::to_owned), [true; 2]));
        table.apply(&party(&places, places.a, |party| party.renewals = 1), Instant::now());
        assert_eq!((hears(&table), is_active(&table)), (places.nat.map(str::to_owned), [false; 2]));
        speak(&table, &places);
        assert_eq!(is_active(&table), [true; 2]);
    }
}

#[test]
fn a_party_behind_a_nat_that_names_another_address_hears_there_when_it_has_fallen_silent() {
    for places in [V4, V6] {
        let table = call(&places, |_| {});
        speak(&table, &places);
        table.apply(&party(&places, places.later, |_| {}), Instant::now());
        assert_eq!(hears(&table), places.nat.map(str::to_owned));
        table.sweep(Instant::now() + Duration::from_millis(200), 0, 100_000);
        assert_eq!(hears(&table), places.later.map(str::to_owned));
        speak(&table, &places);
        assert_eq!(hears(&table), places.nat.map(str::to_owned), "it was only quiet");
    }
}

#[test]
fn an_asymmetric_party_is_heard_where_it_sends_and_hears_where_it_said() {
    for places in [V4, V6] {
        let table = call(&places, |party| party.is_asymmetric = true);
        speak(&table, &places);
        assert_eq!((hears(&table), is_active(&table)), (places.a.map(str::to_owned), [true; 2]));
        assert_eq!([A, A_RTCP].map(|slot| table.totals(slot).unwrap().confirmed), [true; 2]);
    }
}

#[test]
fn a_listener_hears_rtp_and_rtcp_once_it_has_kept_its_nat_open() {
    for places in [V4, V6] {
        let table = call(&places, |_| {});
        learn(&table, A, places.nat[0], b"").unwrap();
        assert_eq!(learn(&table, A_RTCP, places.b[1], b""), Err(Reason::Stranger), "not the host of its RTP");
        learn(&table, A_RTCP, places.nat[1], b"").unwrap();
        assert_eq!((hears(&table), is_active(&table)), (places.nat.map(str::to_owned), [false; 2]));
    }
}
