//! Packets that come to the workers past the stack, by AF_XDP. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use flow::compose::Outgoing;
use flow::{Be16, Bearing};
use loadtest::rig::daemon::binary;
use loadtest::rig::host::in_namespace;
use loadtest::rig::party::Call;
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Workers of both kinds.
const ENGINES: [&str; 2] = ["uring", "epoll"];

fn scene(engine: &str, args: &[&str]) -> Scene {
    Scene::new(Trunks::dual_stack().unwrap(), engine, &[&["--intake", "xsk"], args].concat()).unwrap()
}

fn statistics(scene: &mut Scene) -> Value {
    let reply = scene.ng.request(&json!({"command": "statistics"})).unwrap();
    reply["statistics"].clone()
}

fn past_stack(scene: &mut Scene) -> (u64, u64) {
    let counts = &statistics(scene)["past stack"];
    (counts["queues"].as_u64().unwrap(), counts["packets"].as_u64().unwrap())
}

/// Waits until so many packets have come past the stack, as the daemon counts them once a second.
fn wait_for(scene: &mut Scene, packets: u64) {
    let mut last = (0, 0);
    let waited = wait_until("they came past the stack", Duration::from_secs(3), || {
        last = past_stack(scene);
        last.1 >= packets
    });
    assert!(waited.is_ok(), "{last:?}, {packets} wanted");
}

/// How the last packets of the caller and of the callee came, as `query` and the console tell.
fn intakes(scene: &mut Scene, call: &Call) -> [String; 2] {
    let of = |stream: &Value| stream["intake"].as_str().unwrap_or("none").to_owned();
    let told = [call.for_caller, call.for_callee].map(|local| of(&call.stream(&mut scene.ng, local).unwrap()));
    let socket = scene.daemon.kept().folder().join("control.sock");
    let shown = Command::new(binary().unwrap()).args(["show", "call-1", "--json", "--socket"]).arg(socket).output();
    let shown: Value = serde_json::from_slice(&shown.unwrap().stdout).unwrap();
    let medias = shown["parties"].as_array().unwrap().iter().flat_map(|party| party["medias"].as_array().unwrap());
    let sources: Vec<_> = medias.flat_map(|media| media["sources"].as_array().unwrap()).collect();
    let there = [call.for_caller, call.for_callee].map(|local| {
        let source = sources.iter().find(|source| source["local"] == json!(local.to_string()));
        of(source.unwrap())
    });
    assert_eq!(told, there);
    told
}

fn rtcp(rtp: SocketAddr) -> SocketAddr {
    SocketAddr::new(rtp.ip(), rtp.port() + 1)
}

/// An IP packet whose UDP checksum is wrong.
fn spoiled(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let bearing = Bearing { from: from.ip(), to: to.ip(), tos: None };
    let headers = Outgoing::new(&bearing, [from.port(), to.port()].map(Be16::new), 64, payload).unwrap();
    let mut packet = [headers.as_bytes(), payload].concat();
    *packet.last_mut().unwrap() ^= 1;
    packet
}

/// Sends an IP packet as it is.
fn send_raw(packet: &[u8], to: SocketAddr) -> anyhow::Result<()> {
    let family = if to.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket(family, SocketType::RAW, Some(ipproto::RAW))?;
    // To a raw socket a port would be a protocol.
    sendto(&socket, packet, SendFlags::empty(), &SocketAddr::new(to.ip(), 0))?;
    Ok(())
}

#[test]
#[ignore = "privileged: namespaces"]
fn calls_of_every_family_are_carried_past_the_stack_by_both_kinds_of_workers() {
    for engine in ENGINES {
        let (mut scene, mut sent) = (scene(engine, &[]), 0);
        for is_ipv6 in [[false; 2], [true; 2], [false, true], [true, false]] {
            let (mut caller, mut callee, call) = scene.call(is_ipv6, &[]).unwrap();
            call.converse(&mut caller, &mut callee, 20).unwrap();
            assert_eq!(scene.packets(&call, call.for_caller).unwrap(), (0, 20), "{engine} {is_ipv6:?}");
            assert_eq!(intakes(&mut scene, &call), ["xsk"; 2], "{engine} {is_ipv6:?}");
            let report = [&[0x80, 200, 0, 6][..], &[7; 24]].concat();
            caller.rtcp.send_to(&report, rtcp(call.for_caller)).unwrap();
            assert_eq!(callee.hear_rtcp().unwrap().unwrap().0, report, "{engine} {is_ipv6:?}");
            scene.ng.request(&json!({"command": "delete", "call-id": "call-1"})).unwrap();
            // The first packet of each party, and the report, may teach, and go through the firewall.
            sent += 38;
        }
        wait_for(&mut scene, sent);
        let statistics = statistics(&mut scene);
        // One of each trunk.
        assert_eq!(statistics["past stack"]["queues"], 3, "{statistics}");
        let lost = &statistics["reasons"]["workers"];
        assert!(lost["checksum"].as_u64().unwrap_or(0) == 0, "{lost}");
    }
}

/// A scene whose workers send by AF_XDP as well; `None` on a kernel where that is refused.
fn sending_scene(engine: &str, args: &[&str]) -> Option<Scene> {
    let args = [&["--intake", "xsk", "--output", "xsk"], args].concat();
    match Scene::new(Trunks::dual_stack().unwrap(), engine, &args) {
        Ok(scene) => Some(scene),
        Err(error) => {
            let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
            let minor = release.strip_prefix("6.").and_then(|rest| rest.split('.').next()?.parse().ok());
            let is_refused = format!("{error:#}").contains("may panic when frames are sent by AF_XDP");
            assert!(is_refused && minor.is_some_and(|minor: u32| (6..=17).contains(&minor)), "{release}: {error:#}");
            None
        }
    }
}

/// Packets that a device's queueing discipline has sent.
fn queued(scene: &Scene, trunk: Trunk) -> u64 {
    let told = scene.trunks.relay.run("tc", ["-s", "-j", "qdisc", "show", "dev", trunk.name()]).unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    told[0]["packets"].as_u64().unwrap()
}

#[test]
#[ignore = "privileged: namespaces"]
fn frames_leave_by_the_same_sockets_where_that_is_wanted() {
    for engine in ENGINES {
        let Some(mut scene) = sending_scene(engine, &[]) else { return };
        for trunk in Trunk::ALL {
            scene.trunks.relay.run("tc", ["qdisc", "add", "dev", trunk.name(), "root", "pfifo"]).unwrap();
        }
        for is_ipv6 in [[false; 2], [true; 2], [false, true], [true, false]] {
            let (mut caller, mut callee, call) = scene.call(is_ipv6, &[]).unwrap();
            call.converse(&mut caller, &mut callee, 20).unwrap();
            let before = Trunk::ALL.map(|trunk| queued(&scene, trunk));
            call.converse(&mut caller, &mut callee, 100).unwrap();
            // Neighbours may be asked for.
            for (trunk, before) in Trunk::ALL.into_iter().zip(before) {
                let count = queued(&scene, trunk) - before;
                assert!(count < 10, "{engine} {is_ipv6:?}: {count} by the queueing discipline of {}", trunk.name());
            }
            // In bursts of more than the kernel takes in one call, and more in all than there are chunks.
            for burst in 0..30 {
                let said: Vec<_> = (0..100).map(|_| caller.speak(call.for_caller).unwrap()).collect();
                for said in said {
                    assert_eq!(callee.hear().unwrap(), Some((said, call.for_callee)), "{engine} {is_ipv6:?} {burst}");
                }
            }
            let long = [&caller.next_packet()[..], &[7; 1700]].concat();
            caller.rtp.send_to(&long, call.for_caller).unwrap();
            assert_eq!(callee.hear().unwrap(), Some((long, call.for_callee)), "{engine} {is_ipv6:?}");
            scene.ng.request(&json!({"command": "delete", "call-id": "call-1"})).unwrap();
        }
    }
}

#[test]
#[ignore = "privileged: namespaces"]
fn what_a_device_that_is_down_does_not_take_hurts_no_other() {
    for engine in ENGINES {
        let Some(mut scene) = sending_scene(engine, &[]) else { return };
        let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
        call.converse(&mut caller, &mut callee, 20).unwrap();
        let device = Trunk::Gateway.name();
        scene.trunks.relay.run("ip", ["link", "set", device, "down"]).unwrap();
        for _ in 0..3000 {
            caller.speak(call.for_caller).unwrap();
        }
        let statistics = statistics(&mut scene);
        assert!(statistics.is_object(), "{engine}: {statistics}");
        scene.trunks.relay.run("ip", ["link", "set", device, "up"]).unwrap();
        let mut last = None;
        let waited = wait_until("it is heard again", Duration::from_secs(5), || {
            let said = caller.speak(call.for_caller).unwrap();
            last = callee.hear().unwrap();
            while last.as_ref().is_some_and(|(heard, _)| *heard != said) {
                last = callee.hear().unwrap();
            }
            last.is_some()
        });
        assert!(waited.is_ok(), "{engine}: {last:?}");
        call.converse(&mut caller, &mut callee, 20).unwrap();
    }
}

#[test]
#[ignore = "privileged: namespaces"]
fn who_sends_by_sockets_that_are_not_there_is_told() {
    let refused = Scene::new(Trunks::new().unwrap(), "xdp", &["--output", "xsk"]).err();
    let refused = format!("{:#}", refused.unwrap());
    assert!(refused.contains("choose intake = \"xsk\" as well, or choose output = \"device\""), "{refused}");
}

#[test]
#[ignore = "privileged: namespaces"]
fn the_workers_of_the_fast_path_have_it_by_default() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
    call.converse(&mut caller, &mut callee, 20).unwrap();
    scene.wait_for_fast_path(&call, call.for_caller).unwrap();
    let report = [&[0x80, 200, 0, 6][..], &[7; 24]].concat();
    for _ in 0..10 {
        caller.rtcp.send_to(&report, rtcp(call.for_caller)).unwrap();
        assert_eq!(callee.hear_rtcp().unwrap().unwrap().0, report);
    }
    // All but the first.
    wait_for(&mut scene, 9);
}

#[test]
#[ignore = "privileged: namespaces"]
fn a_device_that_cannot_have_it_falls_back_alone_and_is_named() {
    let trunks = Trunks::dual_stack().unwrap();
    // Three workers are too many for one queue, and not for two.
    trunks.relay.run("ethtool", ["-L", "pbx1", "rx", "2"]).unwrap();
    let mut scene = Scene::new(trunks, "xdp", &["--workers", "3"]).unwrap();
    // What changes its family is the workers'.
    let (mut caller, mut callee, call) = scene.call([false, true], &[]).unwrap();
    let told = "1 receive queues for 3 workers";
    // Devices are taken up one after the other, beside the calls.
    scene.daemon.process().wait_for_output(told, Duration::from_secs(5)).unwrap();
    call.converse(&mut caller, &mut callee, 5).unwrap();
    assert_eq!(intakes(&mut scene, &call), ["xsk", "steered"]);
    let interfaces = scene.trunks.interfaces();
    let mut doctor = scene.trunks.relay.command(binary().unwrap().to_str().unwrap());
    doctor
        .args(["doctor", "--engine", "xdp", "--workers", "3"])
        .args(interfaces.iter().flat_map(|it| ["--interface", it]));
    let doctor = String::from_utf8(doctor.output().unwrap().stdout).unwrap();
    assert!(doctor.contains(told), "{doctor}");
}

#[test]
#[ignore = "privileged: namespaces"]
fn packets_through_the_stack_name_their_intake_and_the_fast_path_has_none() {
    for (engine, intake, expected) in
        [("uring", "steered", "steered"), ("epoll", "bound", "bound"), ("uring", "bound", "bound")]
    {
        let mut scene = Scene::new(Trunks::dual_stack().unwrap(), engine, &["--intake", intake]).unwrap();
        let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
        assert_eq!(intakes(&mut scene, &call), ["none"; 2], "before the first packet");
        call.converse(&mut caller, &mut callee, 5).unwrap();
        assert_eq!(intakes(&mut scene, &call), [expected; 2], "{engine}");
    }
}

#[test]
#[ignore = "privileged: namespaces"]
fn a_packet_that_the_stack_would_drop_is_dropped_and_counted() {
    for (engine, is_ipv6) in [("uring", false), ("epoll", true)] {
        let mut scene = scene(engine, &[]);
        let (mut caller, mut callee, call) = scene.call([is_ipv6; 2], &[]).unwrap();
        call.converse(&mut caller, &mut callee, 3).unwrap();
        let spoiled = spoiled(caller.rtp.local_addr().unwrap(), call.for_caller, &caller.next_packet());
        in_namespace(scene.trunks.far(Trunk::Pbx1), || send_raw(&spoiled, call.for_caller)).unwrap();
        let mut counts = Value::Null;
        let counted = wait_until("they are counted", Duration::from_secs(3), || {
            counts = statistics(&mut scene)["reasons"].clone();
            counts["workers"]["checksum"] == 1
        });
        assert!(counted.is_ok(), "{engine}: {counts}");
        assert_eq!(callee.hear().unwrap(), None, "{engine}");
        call.converse(&mut caller, &mut callee, 3).unwrap();
    }
}

#[test]
#[ignore = "privileged: namespaces"]
fn a_device_that_is_made_again_gets_its_sockets_again_and_its_queues_may_become_more() {
    for engine in ENGINES {
        let mut scene = scene(engine, &["--workers", "2"]);
        let queues = |scene: &mut Scene, count: u64, what: &str| {
            let mut last = (0, 0);
            let waited = wait_until(what, Duration::from_secs(5), || {
                last = past_stack(scene);
                last.0 == count
            });
            assert!(waited.is_ok(), "{engine}: {what}: {last:?}");
        };
        queues(&mut scene, 3, "all are taken up");
        scene.trunks.lay_again(Trunk::Pbx1).unwrap();
        // Four at most: the old one has to be gone.
        queues(&mut scene, 3, "it is taken up again");
        scene.trunks.relay.run("ip", ["link", "set", "gateway", "down"]).unwrap();
        std::thread::sleep(Duration::from_millis(1500));
        scene.trunks.relay.run("ip", ["link", "set", "gateway", "up"]).unwrap();
        let before = past_stack(&mut scene).1;
        let (mut caller, mut callee, call) = {
            let up = wait_until("a call goes through", Duration::from_secs(5), || {
                let done = scene
                    .call([false; 2], &[])
                    .and_then(|(mut caller, mut callee, call)| call.converse(&mut caller, &mut callee, 1));
                scene.ng.request(&json!({"command": "delete", "call-id": "call-1"})).unwrap();
                done.is_ok()
            });
            up.unwrap();
            scene.call([false; 2], &[]).unwrap()
        };
        call.converse(&mut caller, &mut callee, 20).unwrap();
        wait_for(&mut scene, before + 38);
        scene.trunks.relay.run("ethtool", ["-L", "gateway", "rx", "2"]).unwrap();
        queues(&mut scene, 4, "the new queue is taken up");
        call.converse(&mut caller, &mut callee, 20).unwrap();
    }
}

#[test]
#[ignore = "privileged: namespaces"]
fn what_comes_while_the_daemon_stands_still_is_carried_when_it_goes_on() {
    for engine in ENGINES {
        let mut scene = scene(engine, &[]);
        let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
        call.converse(&mut caller, &mut callee, 3).unwrap();
        scene.daemon.signal(Signal::STOP).unwrap();
        let said: Vec<_> = (0..50).map(|_| caller.speak(call.for_caller).unwrap()).collect();
        scene.daemon.signal(Signal::CONT).unwrap();
        for packet in said {
            assert_eq!(callee.hear().unwrap().unwrap().0, packet, "{engine}");
        }
        wait_for(&mut scene, 50);
    }
}

#[test]
#[ignore = "privileged: namespaces"]
fn where_it_cannot_be_had_the_start_says_why() {
    let trunks = Trunks::new().unwrap();
    let taken = trunks.relay.run("ethtool", ["-l", "gateway"]).unwrap();
    assert!(taken.contains("RX"), "{taken}");
    let refused = Scene::new(trunks, "uring", &["--intake", "xsk", "--interface", "lo/127.0.0.1"]);
    let why = format!("{:?}", refused.unwrap_err());
    assert!(why.contains("loopback"), "{why}");
}
