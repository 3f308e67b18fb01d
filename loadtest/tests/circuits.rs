//! Calls that name each other's ports: nothing goes round, and a call that passes the relay twice is carried. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use loadtest::frame::decode;
use loadtest::pcap::Reader;
use loadtest::rig::capture::Capture;
use loadtest::rig::party::{Party, media, sdp};
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{FAR_DEVICE, Trunk, Trunks};
use serde_json::{Value, json};

/// Engines, and what else they are told.
const WAYS: [(&str, &[&str]); 5] = [
    ("xdp", &[]),
    ("uring", &[]),
    ("epoll", &[]),
    ("uring", &["--output", "stack"]),
    ("epoll", &["--intake", "bound"]),
];

/// A call whose parties say that they are here; where each of them sends to.
fn set_up(scene: &mut Scene, id: &str, caller: SocketAddr, callee: SocketAddr) -> (SocketAddr, SocketAddr) {
    let family = if callee.is_ipv4() { "IP4" } else { "IP6" };
    let offer = json!({"command": "offer", "call-id": id, "from-tag": "a", "sdp": sdp(caller),
        "direction": ["pbx1", "pbx1"], "address family": family});
    let for_callee = media(&scene.ng.request(&offer).unwrap()).unwrap();
    let answer = json!({"command": "answer", "call-id": id, "from-tag": "a", "to-tag": "b", "sdp": sdp(callee)});
    let for_caller = media(&scene.ng.request(&answer).unwrap()).unwrap();
    (for_caller, for_callee)
}

/// Packets that the relay has carried.
fn carried(scene: &mut Scene) -> u64 {
    sleep(Duration::from_millis(1100));
    let statistics = scene.ng.request(&json!({"command": "statistics"})).unwrap();
    statistics.pointer("/statistics/totalstatistics/relayedpackets").and_then(Value::as_u64).unwrap()
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn one_datagram_does_not_go_round_between_calls_that_name_each_others_ports() {
    for (engine, args) in WAYS {
        for is_ipv6 in [false, true] {
            let mut scene = Scene::new(Trunks::dual_stack().unwrap(), engine, args).unwrap();
            let mut party = match is_ipv6 {
                false => Party::new(&scene.trunks, Trunk::Pbx1, 4000).unwrap(),
                true => Party::new6(&scene.trunks, Trunk::Pbx1, 4000).unwrap(),
            };
            // The second call's callee is where the first one's caller sends to, and the first one's moves to where the second one's does.
            let (first, _) = set_up(&mut scene, "first", party.addr(), party.addr());
            let (second, _) = set_up(&mut scene, "second", party.addr(), first);
            set_up(&mut scene, "first", party.addr(), second);
            let before = carried(&mut scene);
            for to in [first, second] {
                party.speak(to).unwrap();
            }
            let after = carried(&mut scene);
            assert!(after - before < 10, "{engine} {args:?}: {} packets of two", after - before);
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_call_that_passes_the_relay_twice_is_carried_and_its_packets_are_counted_down() {
    for (engine, args) in WAYS {
        for is_ipv6 in [false, true] {
            let mut scene = Scene::new(Trunks::dual_stack().unwrap(), engine, args).unwrap();
            let new = |trunk, port| match is_ipv6 {
                false => Party::new(&scene.trunks, trunk, port).unwrap(),
                true => Party::new6(&scene.trunks, trunk, port).unwrap(),
            };
            let (mut caller, mut callee) = (new(Trunk::Pbx1, 4000), new(Trunk::Pbx1, 6000));
            // The inner call is between the outer one's callee side and the callee.
            let nowhere = SocketAddr::new(caller.addr().ip(), 9);
            let (inner_for_caller, inner_for_callee) = set_up(&mut scene, "inner", nowhere, callee.addr());
            let (outer_for_caller, outer_for_callee) = set_up(&mut scene, "outer", caller.addr(), inner_for_caller);
            set_up(&mut scene, "inner", outer_for_callee, callee.addr());
            let file = scene.folder.path().join("callee.pcap");
            let capture = Capture::start(scene.trunks.far(Trunk::Pbx1), FAR_DEVICE, &file).unwrap();
            for number in 0..20 {
                let sent = caller.speak(outer_for_caller).unwrap();
                let heard = callee.hear().unwrap().map(|(heard, _)| heard);
                assert_eq!(heard, Some(sent), "{engine} {args:?}: packet {number} of the caller");
                let sent = callee.speak(inner_for_callee).unwrap();
                let heard = caller.hear().unwrap().map(|(heard, _)| heard);
                assert_eq!(heard, Some(sent), "{engine} {args:?}: packet {number} of the callee");
            }
            // Where the ports are bound the kernel writes it, and what would pass a third time is lost.
            let expected = if args.contains(&"bound") { 64 } else { 63 };
            let ttls = ttls(&capture.stop().unwrap(), callee.addr());
            assert_eq!(ttls, vec![expected; 20], "{engine} {args:?}");
        }
    }
}

/// With what time to live packets came here.
fn ttls(file: &Path, to: SocketAddr) -> Vec<u8> {
    let reader = Reader::open(file).unwrap();
    let link = reader.link_type();
    let frames: Vec<_> = reader.map(|record| record.unwrap().bytes).collect();
    let datagrams = frames.iter().filter_map(|frame| decode(link, frame).udp());
    datagrams.filter(|datagram| datagram.dst == to).map(|datagram| datagram.ttl).collect()
}
