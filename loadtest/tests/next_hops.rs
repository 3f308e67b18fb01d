//! The next hops of the fast path follow what the kernel knows: gateways, neighbours, routes, links. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use loadtest::pcap::Reader;
use loadtest::rig::capture::Capture;
use loadtest::rig::host::Host;
use loadtest::rig::party::{Call, Party};
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{FAR_DEVICE, Trunk, Trunks};
use serde_json::json;

/// A network that is not on any link, and a party in it.
const BEYOND: (&str, &str) = ("203.0.113.128/25", "203.0.113.200:6000");
const NEW_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

fn scene() -> Scene {
    Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap()
}

/// A call from the first PBX to this party, whose media the gateway's interface of the relay serves. Trusted signalling: only the next hop
/// decides on the path.
fn call_to(scene: &mut Scene, callee: &Party) -> (Party, Call) {
    let caller = Party::new(&scene.trunks, Trunk::Pbx1, 4000).unwrap();
    let ends = ((&caller, Trunk::Pbx1), (callee, Trunk::Gateway));
    let call = Call::set_up(&mut scene.ng, "call-1", ends.0, ends.1, &["endpoint-learning-off"]).unwrap();
    callee.rtp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    (caller, call)
}

/// Has a host stand for the one beyond it.
fn stand_for(host: &Host) -> Party {
    host.run("ip", ["addr", "add", "203.0.113.200/32", "dev", "lo"]).unwrap();
    Party::on(host, BEYOND.1.parse().unwrap()).unwrap()
}

fn hears(caller: &mut Party, callee: &Party, call: &Call) -> bool {
    let sent = caller.speak(call.for_caller).unwrap();
    callee.hear().unwrap() == Some((sent, call.for_callee))
}

/// The path of the caller's stream, and the reason if it is the slow one.
fn path(scene: &mut Scene, call: &Call) -> String {
    let stream = call.stream(&mut scene.ng, call.for_caller).unwrap();
    [&stream["path"], &stream["reason"]].into_iter().filter_map(|word| word.as_str()).collect::<Vec<_>>().join(" ")
}

fn wait_for_path(scene: &mut Scene, call: &Call, expected: &str) {
    let mut last = String::new();
    let reached = wait_until(expected, Duration::from_secs(5), || {
        last = path(scene, call);
        last == expected
    });
    assert!(reached.is_ok(), "{last}, not {expected}");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_party_beyond_a_gateway_is_on_the_fast_path() {
    let mut scene = scene();
    let callee = stand_for(scene.trunks.far(Trunk::Gateway));
    scene.trunks.relay.run("ip", ["route", "add", BEYOND.0, "via", "198.51.100.10"]).unwrap();
    let (mut caller, call) = call_to(&mut scene, &callee);
    wait_for_path(&mut scene, &call, "fast");
    assert!((0..20).all(|_| hears(&mut caller, &callee, &call)));
    assert_eq!(scene.packets(&call, call.for_caller).unwrap(), (20, 0));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_route_that_changes_is_followed_to_the_other_gateway() {
    let mut scene = scene();
    let callee = stand_for(scene.trunks.far(Trunk::Gateway));
    let elsewhere = stand_for(scene.trunks.far(Trunk::Pbx2));
    elsewhere.rtp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    scene.trunks.relay.run("ip", ["route", "add", BEYOND.0, "via", "198.51.100.10"]).unwrap();
    let (mut caller, call) = call_to(&mut scene, &callee);
    wait_for_path(&mut scene, &call, "fast");
    assert!(hears(&mut caller, &callee, &call));
    scene.trunks.relay.run("ip", ["route", "replace", BEYOND.0, "via", "203.0.113.10", "dev", "pbx2"]).unwrap();
    wait_until("packets go by the new gateway", Duration::from_secs(1), || hears(&mut caller, &elsewhere, &call))
        .unwrap();
    wait_for_path(&mut scene, &call, "fast");
    // What was sent before the relay had heard of the change went by the old gateway, and waits there.
    while callee.hear().unwrap().is_some() {}
    assert!((0..20).all(|_| hears(&mut caller, &elsewhere, &call)));
    assert_eq!(callee.hear().unwrap(), None);
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_route_that_goes_away_takes_the_stream_off_the_fast_path_and_its_return_brings_it_back() {
    let mut scene = scene();
    let callee = stand_for(scene.trunks.far(Trunk::Gateway));
    let route = ["route", "add", BEYOND.0, "via", "198.51.100.10"];
    scene.trunks.relay.run("ip", route).unwrap();
    let (mut caller, call) = call_to(&mut scene, &callee);
    wait_for_path(&mut scene, &call, "fast");
    scene.trunks.relay.run("ip", ["route", "del", BEYOND.0]).unwrap();
    wait_for_path(&mut scene, &call, "slow next-hop");
    assert!(!hears(&mut caller, &callee, &call));
    scene.trunks.relay.run("ip", route).unwrap();
    wait_for_path(&mut scene, &call, "fast");
    assert!(hears(&mut caller, &callee, &call));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn within_a_second_of_a_new_mac_no_frame_goes_to_the_old_one() {
    let mut scene = scene();
    let callee = Party::new(&scene.trunks, Trunk::Gateway, 6000).unwrap();
    let (mut caller, call) = call_to(&mut scene, &callee);
    wait_for_path(&mut scene, &call, "fast");
    assert!(hears(&mut caller, &callee, &call));
    let gateway = scene.trunks.far(Trunk::Gateway);
    gateway.run("ip", ["link", "set", FAR_DEVICE, "address", "02:00:00:00:00:99"]).unwrap();
    // The kernel learns of it as from any host that announces itself.
    let announced = ["neigh", "replace", "198.51.100.10", "lladdr", "02:00:00:00:00:99", "dev", "gateway"];
    scene.trunks.relay.run("ip", announced).unwrap();
    let told = Instant::now();
    while told.elapsed() < Duration::from_secs(1) && !hears(&mut caller, &callee, &call) {}
    let file = scene.folder.path().join("after.pcap");
    let capture = Capture::start(scene.trunks.far(Trunk::Gateway), FAR_DEVICE, &file).unwrap();
    assert!((0..50).all(|_| hears(&mut caller, &callee, &call)));
    wait_for_path(&mut scene, &call, "fast");
    capture.stop().unwrap();
    let frames: Vec<_> = Reader::open(&file).unwrap().map(|record| record.unwrap().bytes).collect();
    let ours = frames.iter().filter(|frame| frame.get(23) == Some(&17) && frame.len() > 100);
    let macs: Vec<_> = ours.map(|frame| frame[..6].to_vec()).collect();
    assert!(macs.len() >= 50 && macs.iter().all(|mac| *mac == NEW_MAC), "{} frames", macs.len());
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_link_that_goes_down_is_left_and_taken_again_when_it_is_up() {
    let mut scene = scene();
    let callee = Party::new(&scene.trunks, Trunk::Gateway, 6000).unwrap();
    let (mut caller, call) = call_to(&mut scene, &callee);
    wait_for_path(&mut scene, &call, "fast");
    scene.trunks.relay.run("ip", ["link", "set", "gateway", "down"]).unwrap();
    wait_for_path(&mut scene, &call, "slow next-hop");
    assert!(!hears(&mut caller, &callee, &call));
    scene.trunks.relay.run("ip", ["link", "set", "gateway", "up"]).unwrap();
    wait_for_path(&mut scene, &call, "fast");
    assert!((0..20).all(|_| hears(&mut caller, &callee, &call)), "by the same call, without a word of the proxy");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_link_that_the_far_end_takes_down_is_noticed_too() {
    let mut scene = scene();
    let callee = Party::new(&scene.trunks, Trunk::Gateway, 6000).unwrap();
    let (mut caller, call) = call_to(&mut scene, &callee);
    wait_for_path(&mut scene, &call, "fast");
    let gateway = |scene: &Scene, state| {
        scene.trunks.far(Trunk::Gateway).run("ip", ["link", "set", FAR_DEVICE, state]).unwrap();
    };
    gateway(&scene, "down");
    wait_for_path(&mut scene, &call, "slow next-hop");
    gateway(&scene, "up");
    wait_for_path(&mut scene, &call, "fast");
    assert!(hears(&mut caller, &callee, &call));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn neighbours_that_are_forgotten_cost_no_packet() {
    let mut scene = scene();
    let callee = Party::new(&scene.trunks, Trunk::Gateway, 6000).unwrap();
    let (mut caller, call) = call_to(&mut scene, &callee);
    wait_for_path(&mut scene, &call, "fast");
    callee.rtp.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    for round in 0..20 {
        if round % 5 == 0 {
            Trunk::ALL.iter().for_each(|trunk| scene.trunks.relay.forget_neighbours(trunk.name()).unwrap());
        }
        assert!(hears(&mut caller, &callee, &call), "packet {round}");
    }
    wait_for_path(&mut scene, &call, "fast");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn the_kernel_is_asked_to_keep_the_neighbours_of_calls_and_of_no_others() {
    let mut scene = scene();
    let callee = Party::new(&scene.trunks, Trunk::Gateway, 6000).unwrap();
    let (_caller, call) = call_to(&mut scene, &callee);
    wait_for_path(&mut scene, &call, "fast");
    let managed = |scene: &Scene| scene.trunks.relay.run("ip", ["neigh"]).unwrap().matches("managed").count();
    assert_eq!(managed(&scene), 2, "{}", scene.trunks.relay.run("ip", ["neigh"]).unwrap());
    scene.ng.request(&json!({"command": "delete", "call-id": call.id, "from-tag": "caller"})).unwrap();
    wait_until("nobody is kept any more", Duration::from_secs(5), || managed(&scene) == 0).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_party_on_the_relays_own_host_is_served_by_the_slow_path_which_says_why() {
    let mut scene = scene();
    scene.trunks.relay.run("ip", ["addr", "add", "198.51.100.77/32", "dev", "lo"]).unwrap();
    let callee = Party::on(&scene.trunks.relay, "198.51.100.77:6000".parse().unwrap()).unwrap();
    let (mut caller, call) = call_to(&mut scene, &callee);
    assert!((0..20).all(|_| hears(&mut caller, &callee, &call)));
    assert_eq!(path(&mut scene, &call), "slow next-hop");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn three_devices_send_to_one_another() {
    let mut scene = scene();
    let trunks = Trunk::ALL;
    for (number, (from, to)) in
        [(0, 1), (1, 2), (0, 2)].map(|(from, to)| (trunks[from], trunks[to])).into_iter().enumerate()
    {
        let port = 4000 + 10 * number as u16;
        let mut parties = [from, to].map(|trunk| Party::new(&scene.trunks, trunk, port).unwrap());
        let [caller, callee] = &parties;
        let id = format!("call-{number}");
        let call = Call::set_up(&mut scene.ng, &id, (caller, from), (callee, to), &["endpoint-learning-off"]).unwrap();
        for local in [call.for_caller, call.for_callee] {
            scene.wait_for_fast_path(&call, local).unwrap();
        }
        let [caller, callee] = &mut parties;
        for _ in 0..10 {
            let sent = caller.speak(call.for_caller).unwrap();
            assert_eq!(callee.hear().unwrap(), Some((sent, call.for_callee)), "{from:?} to {to:?}");
            let sent = callee.speak(call.for_callee).unwrap();
            assert_eq!(caller.hear().unwrap(), Some((sent, call.for_caller)), "{to:?} to {from:?}");
        }
        assert_eq!(scene.packets(&call, call.for_caller).unwrap(), (10, 0));
    }
}
