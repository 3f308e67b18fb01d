//! Packets that are longer than their way takes. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::time::Duration;

use loadtest::rig::party::{Call, Party};
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{FAR_DEVICE, Trunk, Trunks};
use serde_json::json;

const WAYS: [(&str, &[&str]); 7] = [
    ("xdp", &[]),
    ("uring", &["--intake", "xsk"]),
    ("uring", &[]),
    ("epoll", &[]),
    ("uring", &["--output", "stack"]),
    ("uring", &["--intake", "bound"]),
    ("epoll", &["--intake", "bound"]),
];

/// A packet of the party's stream of so many bytes.
fn packet(party: &mut Party, len: usize) -> Vec<u8> {
    let mut packet = party.packet();
    packet.resize_with(len, || 0x5a);
    packet
}

fn parties(scene: &mut Scene, is_ipv6: bool) -> (Party, Party, Call) {
    let (caller, callee, call) = scene.call([is_ipv6; 2], &["endpoint-learning-off"]).unwrap();
    for party in [&caller, &callee] {
        party.rtp.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    }
    (caller, callee, call)
}

/// Sends a packet of this length each way; whether they came whole, and from where they should.
fn cross(caller: &mut Party, callee: &mut Party, call: &Call, len: usize) -> bool {
    let one_way = |from: &mut Party, to: &Party, local: SocketAddr, source: SocketAddr| {
        let sent = packet(from, len);
        from.rtp.send_to(&sent, local).unwrap();
        let mut buffer = vec![0; 4096];
        let Ok((len, by)) = to.rtp.recv_from(&mut buffer) else { return false };
        buffer[..len] == sent && by == source
    };
    one_way(caller, callee, call.for_caller, call.for_callee)
        && one_way(callee, caller, call.for_callee, call.for_caller)
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn what_a_narrow_device_does_not_take_arrives_all_the_same() {
    for (engine, args) in WAYS {
        for is_ipv6 in [false, true] {
            let trunks = Trunks::dual_stack().unwrap();
            // The caller's own device is wide, so that it sends in one piece what the relay then cannot; from the gateway it comes in fragments.
            trunks.relay.run("ip", ["link", "set", Trunk::Gateway.name(), "mtu", "1280"]).unwrap();
            trunks.far(Trunk::Gateway).run("ip", ["link", "set", FAR_DEVICE, "mtu", "1280"]).unwrap();
            let mut scene = Scene::new(trunks, engine, args).unwrap();
            let (mut caller, mut callee, call) = parties(&mut scene, is_ipv6);
            if engine == "xdp" {
                scene.wait_for_fast_path(&call, call.for_caller).unwrap();
            }
            let limit = if is_ipv6 { 1280 - 48 } else { 1280 - 28 };
            for len in [172, limit - 1, limit, limit + 1, 1290, 1400, 1452] {
                assert!(cross(&mut caller, &mut callee, &call, len), "{engine} {args:?} IPv6 {is_ipv6}: {len} bytes");
            }
            if engine == "xdp" {
                let statistics = scene.ng.request(&json!({"command": "statistics"})).unwrap().to_string();
                assert!(statistics.contains("too-long"), "{statistics}");
                let (fast, _) = scene.packets(&call, call.for_caller).unwrap();
                assert!(fast >= 3, "what fits is on the fast path");
            }
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn what_comes_in_fragments_leaves_in_fragments() {
    for (engine, args) in WAYS {
        for is_ipv6 in [false, true] {
            let mut scene = Scene::new(Trunks::dual_stack().unwrap(), engine, args).unwrap();
            let (mut caller, mut callee, call) = parties(&mut scene, is_ipv6);
            for len in [1472, 1473, 1500, 1900, 2000, 2400] {
                assert!(cross(&mut caller, &mut callee, &call, len), "{engine} {args:?} IPv6 {is_ipv6}: {len} bytes");
            }
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_route_that_is_narrower_than_its_device_is_noticed_while_a_call_runs() {
    for (engine, args) in [("xdp", &[][..]), ("uring", &[]), ("uring", &["--output", "stack"])] {
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, args).unwrap();
        let (mut caller, mut callee, call) = parties(&mut scene, false);
        assert!(cross(&mut caller, &mut callee, &call, 1400));
        let far = Trunk::Gateway.far().to_string();
        let route = ["route", "replace", &far, "dev", Trunk::Gateway.name(), "mtu", "1200"];
        scene.trunks.relay.run("ip", route).unwrap();
        // Nothing longer than the route takes goes over the cable in one piece: the far end's device refuses it.
        scene.trunks.far(Trunk::Gateway).run("ip", ["link", "set", FAR_DEVICE, "mtu", "1200"]).unwrap();
        wait_until("packets leave in fragments", Duration::from_secs(5), || {
            let sent = packet(&mut caller, 1400);
            caller.rtp.send_to(&sent, call.for_caller).unwrap();
            let mut buffer = vec![0; 4096];
            callee.rtp.recv_from(&mut buffer).is_ok_and(|(len, _)| buffer[..len] == sent)
        })
        .unwrap();
    }
}
