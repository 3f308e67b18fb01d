//! Hosts where media ports cannot be steered, and each has a socket of its own. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use loadtest::rig::daemon::{Daemon, NG, NgClient, binary};
use loadtest::rig::party::{Call, Party, sdp};
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use serde_json::{Value, json};

const ENGINES: [&str; 2] = ["uring", "epoll"];

/// Until then the thread that writes the log has written it.
const LATER: Duration = Duration::from_millis(300);

fn bound(engine: &str, args: &[&str]) -> Scene {
    Scene::new(Trunks::dual_stack().unwrap(), engine, &[&["--intake", "bound"], args].concat()).unwrap()
}

fn log(scene: &Scene) -> String {
    scene.daemon.log().unwrap().iter().map(Value::to_string).collect()
}

fn descriptors(scene: &Scene) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", scene.daemon.id())).unwrap().count()
}

#[test]
#[ignore = "privileged: namespaces"]
fn bound_ports_carry_calls_of_every_family() {
    for engine in ENGINES {
        for is_ipv6 in [[false; 2], [true; 2], [false, true], [true, false]] {
            let mut scene = bound(engine, &["--workers", "2"]);
            assert!(log(&scene).contains(r#""ports":"bound""#), "{}", log(&scene));
            let (mut caller, mut callee, call) = scene.call(is_ipv6, &[]).unwrap();
            call.converse(&mut caller, &mut callee, 20).unwrap();
            assert_eq!(scene.packets(&call, call.for_caller).unwrap(), (0, 20), "{engine} {is_ipv6:?}");
            let report = [&[0x80, 200, 0, 6][..], &[7; 24]].concat();
            let to = std::net::SocketAddr::new(call.for_caller.ip(), call.for_caller.port() + 1);
            caller.rtcp.send_to(&report, to).unwrap();
            assert_eq!(callee.hear_rtcp().unwrap().unwrap().0, report, "{engine} {is_ipv6:?}");
        }
    }
}

#[test]
#[ignore = "privileged: namespaces"]
fn a_port_that_is_opened_again_hears_again_and_nothing_is_left_open() {
    for engine in ENGINES {
        // One pair of ports for each side, so that every call gets the same ones.
        let mut scene = bound(engine, &["--port-min", "30000", "--port-max", "30003"]);
        let before = descriptors(&scene);
        let mut caller = Party::new(&scene.trunks, Trunk::Pbx1, 4000).unwrap();
        let mut callee = Party::new(&scene.trunks, Trunk::Gateway, 6000).unwrap();
        for number in 0..2 {
            let ends = ((&caller, Trunk::Pbx1), (&callee, Trunk::Gateway));
            let id = format!("call-{number}");
            let call = Call::set_up(&mut scene.ng, &id, ends.0, ends.1, &[]).unwrap();
            call.converse(&mut caller, &mut callee, 3).unwrap();
            scene.ng.request(&json!({"command": "delete", "call-id": id, "from-tag": "caller"})).unwrap();
        }
        let mut left = 0;
        let closed = wait_until("every port is closed", Duration::from_secs(2), || {
            left = descriptors(&scene);
            left == before
        });
        assert!(closed.is_ok(), "{engine}: {left} descriptors, {before} before");
    }
}

#[test]
#[ignore = "privileged: namespaces"]
fn fifteen_thousand_bound_ports_are_opened_and_closed_without_a_leak() {
    for engine in ENGINES {
        let mut scene = bound(engine, &[]);
        let before = descriptors(&scene);
        let addr = |host: &str, number: u16| format!("{host}:{}", 10_000 + 2 * number).parse().unwrap();
        let calls = 3_750;
        for number in 0..calls {
            let id = format!("many-{number}");
            let offer = json!({"command": "offer", "call-id": id, "from-tag": "1", "direction": ["pbx1", "gateway"],
                "sdp": sdp(addr("192.0.2.10", number))});
            let answer = json!({"command": "answer", "call-id": id, "from-tag": "1", "to-tag": "2",
                "sdp": sdp(addr("198.51.100.10", number))});
            for command in [offer, answer] {
                assert_eq!(scene.ng.request(&command).unwrap()["result"], "ok");
            }
        }
        assert_eq!(descriptors(&scene), before + 4 * usize::from(calls), "{engine}");
        // One more, among so many, is carried.
        let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
        call.converse(&mut caller, &mut callee, 20).unwrap();
        let many = (0..calls).map(|number| (format!("many-{number}"), "1"));
        for (id, tag) in many.chain([("call-1".to_owned(), "caller")]) {
            let deleted = scene.ng.request(&json!({"command": "delete", "call-id": id, "from-tag": tag})).unwrap();
            assert_eq!(deleted["result"], "ok", "{deleted}");
        }
        let mut left = 0;
        let closed = wait_until("every port is closed", Duration::from_secs(5), || {
            left = descriptors(&scene);
            left == before
        });
        assert!(closed.is_ok(), "{engine}: {left} descriptors, {before} before");
    }
}

#[test]
#[ignore = "privileged: namespaces"]
fn a_port_that_another_program_has_is_told_of_and_the_others_carry_on() {
    let mut scene = bound("uring", &["--port-min", "30000", "--port-max", "30003"]);
    let theirs = Party::on(&scene.trunks.relay, "192.0.2.1:30000".parse().unwrap()).unwrap();
    let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
    let stream = call.stream(&mut scene.ng, call.for_caller).unwrap();
    let is_theirs = call.for_caller.port() == 30000;
    assert_eq!(stream["reason"] == "no-socket", is_theirs, "{stream}");
    if is_theirs {
        scene.daemon.wait_for_log("cannot be bound").unwrap();
    } else {
        std::thread::sleep(LATER);
    }
    assert_eq!(log(&scene).contains("cannot be bound"), is_theirs, "{}", log(&scene));
    drop(theirs);
    wait_until("the port is bound after all", Duration::from_secs(3), || {
        call.stream(&mut scene.ng, call.for_caller).unwrap()["reason"] != "no-socket"
    })
    .unwrap();
    call.converse(&mut caller, &mut callee, 3).unwrap();
}

#[test]
#[ignore = "privileged: namespaces"]
fn a_call_that_there_are_no_descriptors_for_is_refused() {
    let trunks = Trunks::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut command = trunks.relay.command("prlimit");
    // 64 for the daemon itself, and four for each of nine calls.
    command.arg("--nofile=100:100").arg(binary().unwrap());
    command.args(["serve", "--log-format", "json", "--listen-ng", NG, "--engine", "epoll", "--intake", "bound"]);
    for interface in trunks.interfaces() {
        command.args(["--interface", &interface]);
    }
    let daemon = Daemon::start_command(command, folder.path()).unwrap();
    let mut scene = Scene { ng: NgClient::new(&trunks).unwrap(), daemon, folder, trunks };
    let mut offer = |number| {
        let sdp = sdp("192.0.2.10:4000".parse().unwrap());
        scene.ng.request(&json!({"command": "offer", "call-id": format!("call-{number}"), "from-tag": "1", "sdp": sdp,
            "direction": ["pbx1", "gateway"]}))
    };
    for number in 0..9 {
        assert_eq!(offer(number).unwrap()["result"], "ok");
    }
    let refused = offer(9);
    let text = refused.map_or_else(|error| error.to_string(), |reply| reply.to_string());
    assert!(text.contains("limit"), "{text}");
    std::thread::sleep(LATER);
    assert!(!log(&scene).contains("cannot be bound"), "{}", log(&scene));
}

#[test]
#[ignore = "privileged: namespaces"]
fn without_any_capability_auto_carries_calls_by_bound_ports_and_says_why() {
    let trunks = Trunks::new().unwrap();
    // The program is in a folder that others may not enter.
    let folder = tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o755)).tempdir().unwrap();
    let program = folder.path().join("intertrunk");
    std::fs::copy(binary().unwrap(), &program).unwrap();
    let mut command = trunks.relay.command("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", "--clear-groups"]).arg(program);
    command.args(["serve", "--log-format", "json", "--listen-ng", NG]);
    for interface in trunks.interfaces() {
        command.args(["--interface", &interface]);
    }
    let daemon = Daemon::start_command(command, folder.path()).unwrap();
    let mut scene = Scene { ng: NgClient::new(&trunks).unwrap(), daemon, folder, trunks };
    let log = log(&scene);
    assert!(log.contains("a socket for each media port") && log.contains("CAP_BPF"), "{log}");
    let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
    call.converse(&mut caller, &mut callee, 20).unwrap();
}

#[test]
#[ignore = "privileged: namespaces"]
fn xdp_goes_together_with_bound_ports() {
    let mut scene = bound("xdp", &[]);
    let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
    call.converse(&mut caller, &mut callee, 1).unwrap();
    scene.wait_for_fast_path(&call, call.for_caller).unwrap();
    call.converse(&mut caller, &mut callee, 20).unwrap();
    assert_eq!(scene.packets(&call, call.for_caller).unwrap(), (20, 1));
}
