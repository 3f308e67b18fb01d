use super::*;
use crate::outcome::Load;

fn rig() -> Rig {
    let limits = Limits { sessions: Some(2), load: Some(4.0), cpu: Some(80.0), bandwidth: Some(1_000_000) };
    Rig::with(Settings { limits, ..at_once() }, 30099)
}

const QUIET: Load = Load { average: 1.0, cpu: 10.0, bandwidth: 1000 };

fn new_call(name: &str) -> Intent {
    named(offer("a", None, &audio("192.0.2.10", 4000)), name)
}

#[test]
fn every_limit_refuses_new_calls_with_its_own_text_and_leaves_the_others_alone() {
    for (load, text) in [
        (Load { average: 4.0, ..QUIET }, "Load limit exceeded"),
        (Load { cpu: 80.0, ..QUIET }, "CPU usage limit exceeded"),
        (Load { bandwidth: 1_000_000, ..QUIET }, "Bandwidth limit exceeded"),
    ] {
        let mut rig = rig();
        rig.calls.measure(QUIET);
        rig.call();
        rig.calls.measure(load);
        assert_eq!(rig.error(new_call("new")), text);
        rig.sdp(offer("a", Some("b"), &audio("192.0.2.10", 4002)));
        let Intent::Offer(mut offer) = new_call("new") else { panic!() };
        offer.knows_load_limit = true;
        assert_eq!(rig.run(Intent::Offer(offer)).0, Reply::LoadLimit(text.into()));
        rig.calls.measure(QUIET);
        rig.sdp(new_call("new"));
        assert_eq!(rig.error(new_call("third")), "Parallel session limit reached");
        let (reply, _) = rig.run(Intent::Statistics);
        let Reply::Ok(dict) = reply else { panic!("{reply:?}") };
        assert_eq!(find(&dict, &["statistics", "totalstatistics", "rejectedsessions"]), &Value::Int(3));
    }
}

#[test]
fn the_interfaces_of_a_group_take_turns_and_those_without_ports_are_passed_over() {
    let names = ["pub:1/192.0.2.1", "pub:2/192.0.2.2 ports 31000-31003"];
    let mut rig = Rig::on(&names, at_once(), 30099);
    let mut seen = Vec::new();
    for number in 0..3 {
        let direction = Options {
            from_interface: Some(b"pub".to_vec()),
            to_interface: Some(b"pub".to_vec()),
            ..Options::default()
        };
        let command = offer_with("a", None, &audio("192.0.2.10", 4000), direction);
        let (sdp, _) = rig.sdp(named(command, &number.to_string()));
        seen.push(sdp.lines().find_map(|line| line.strip_prefix("c=IN IP4 ")).unwrap().to_owned());
    }
    assert_eq!(seen, ["192.0.2.1", "192.0.2.2", "192.0.2.1"]);
    let usage: Vec<_> = rig.calls.ports().usage().map(|usage| (usage.first, usage.used)).collect();
    assert_eq!(usage, [(30000, 4), (31000, 2)]);
    // The second has no ports left: its turn goes to the first.
    let (sdp, _) = rig.sdp(named(offer_with("a", None, &audio("192.0.2.10", 4000), Options::default()), "next"));
    assert!(sdp.contains("c=IN IP4 192.0.2.1\r\n"), "{sdp}");
}

#[test]
fn a_relay_that_is_drained_refuses_new_calls_and_serves_those_that_stand() {
    let mut rig = Rig::new();
    rig.call();
    rig.calls.refuse_new();
    let Intent::Offer(offered) = offer("z", None, &audio("192.0.2.20", 4000)) else { panic!("another intent") };
    let new = Intent::Offer(Box::new(Offer { call_id: b"new".to_vec(), ..*offered }));
    assert_eq!(rig.error(new), "Parallel session limit reached");
    rig.sdp(offer("b", Some("a"), &audio("198.51.100.10", 5008)));
    rig.end();
}

#[test]
fn there_are_no_more_calls_than_pairs_of_ports_though_they_have_no_media() {
    let silent = |name: &str| named(offer("a", None, &audio("192.0.2.10", 0)), name);
    let mut rig = Rig::with(at_once(), 30003);
    rig.calls.limit_sessions(None);
    for number in 0..rig.calls.ports().pairs() {
        rig.sdp(silent(&number.to_string()));
    }
    assert_eq!(rig.error(silent("another")), "Parallel session limit reached");
}
