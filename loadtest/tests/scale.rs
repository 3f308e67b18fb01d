//! Many streams at once on the slow path, and what a call costs there in descriptors and system calls. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use loadtest::rig::party::{Party, media};
use loadtest::rig::process::{Process, wait_until};
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use serde_json::json;

/// Streams that are under way together; a socket's buffer holds them.
const TOGETHER: usize = 100;

fn scene(args: &[&str]) -> Scene {
    Scene::new(Trunks::new().unwrap(), "uring", args).unwrap()
}

fn descriptors(scene: &Scene) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", scene.daemon.id())).unwrap().count()
}

/// Sets so many calls up between the same two parties; returns where each of them sends to, for each call.
fn set_up(scene: &mut Scene, parties: [&Party; 2], calls: usize) -> Vec<[SocketAddr; 2]> {
    let set_up = |call| {
        let id = format!("call-{call}");
        let offer = json!({"command": "offer", "call-id": id, "from-tag": "1", "sdp": parties[0].sdp(),
            "direction": ["pbx1", "gateway"]});
        let answer =
            json!({"command": "answer", "call-id": id, "from-tag": "1", "to-tag": "2", "sdp": parties[1].sdp()});
        let [offer, answer] = [offer, answer].map(|command| scene.ng.request(&command).unwrap());
        [media(&answer).unwrap(), media(&offer).unwrap()]
    };
    (0..calls).map(set_up).collect()
}

fn tear_down(scene: &mut Scene, calls: usize) {
    for call in 0..calls {
        let delete = json!({"command": "delete", "call-id": format!("call-{call}"), "from-tag": "1"});
        assert_eq!(scene.ng.request(&delete).unwrap()["result"], "ok");
    }
}

/// A packet of each call from one party, and all of them are heard by the other.
fn cross(from: &mut Party, to: &Party, locals: &[SocketAddr]) {
    for together in locals.chunks(TOGETHER) {
        for local in together {
            from.speak(*local).unwrap();
        }
        let heard = (0..together.len()).take_while(|_| to.hear().unwrap().is_some()).count();
        assert_eq!(heard, together.len(), "of the packets to {} and more", together[0]);
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_hundred_thousand_steered_streams_are_carried_without_a_descriptor() {
    // RTP and RTCP of two legs: four streams for each call.
    const CALLS: usize = 25_000;
    let mut scene = scene(&["--port-min", "10000", "--port-max", "59999"]);
    let before = descriptors(&scene);
    let mut caller = Party::new(&scene.trunks, Trunk::Pbx1, 4000).unwrap();
    let mut callee = Party::new(&scene.trunks, Trunk::Gateway, 6000).unwrap();
    for party in [&caller, &callee] {
        party.rtp.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    }
    let calls = set_up(&mut scene, [&caller, &callee], CALLS);
    assert_eq!(descriptors(&scene), before, "with all calls");
    let [for_caller, for_callee]: [Vec<_>; 2] = [0, 1].map(|side| calls.iter().map(|call| call[side]).collect());
    cross(&mut caller, &callee, &for_caller);
    cross(&mut callee, &caller, &for_callee);
    tear_down(&mut scene, CALLS);
    assert_eq!(descriptors(&scene), before, "after all calls");
    // A buffer that had not come back would be missing now.
    let calls = set_up(&mut scene, [&caller, &callee], 1);
    cross(&mut caller, &callee, &vec![calls[0][0]; 10 * TOGETHER]);
}

/// The system calls of a process by name, as `strace -c` has counted them.
fn counts(file: &Path) -> BTreeMap<String, usize> {
    let table = std::fs::read_to_string(file).unwrap();
    let lines = table.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let ([_, _, _, calls, .., name], true) = (&words[..], line.contains('.')) else { return None };
        Some(((*name).to_owned(), calls.parse().ok()?))
    });
    lines.filter(|(name, _)| name != "total").collect()
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_steered_call_makes_no_system_call_but_for_the_control_sockets_and_its_record() {
    const CALLS: usize = 1_000;
    let mut scene = scene(&[]);
    let caller = Party::new(&scene.trunks, Trunk::Pbx1, 4000).unwrap();
    let callee = Party::new(&scene.trunks, Trunk::Gateway, 6000).unwrap();
    let file = scene.folder.path().join("strace");
    let mut command = Command::new("strace");
    command.args(["--follow-forks", "--summary-only", "--output"]).arg(&file);
    command.args(["--attach", &scene.daemon.id().to_string()]);
    let mut strace = Process::start("strace", command, &scene.folder.path().join("strace.log")).unwrap();
    let tracer = format!("TracerPid:\t{}", strace.id());
    let status = format!("/proc/{}/status", scene.daemon.id());
    wait_until("the daemon is traced", Duration::from_secs(5), || {
        std::fs::read_to_string(&status).unwrap().contains(&tracer)
    })
    .unwrap();
    set_up(&mut scene, [&caller, &callee], CALLS);
    strace.stop().unwrap();
    let counts = counts(&file);
    let of_control = ["recvfrom", "recvmsg", "sendto", "sendmsg", "epoll_wait", "epoll_pwait", "epoll_pwait2"];
    let control: usize = of_control.iter().filter_map(|name| counts.get(*name)).sum();
    assert!(control >= 4 * CALLS, "an offer and an answer each come and go: {counts:?}");
    let records = counts.get("write").copied().unwrap_or_default();
    assert!((2 * CALLS..2 * CALLS + CALLS / 4).contains(&records), "one for each command: {counts:?}");
    let is_other = |name: &str| name != "write" && !of_control.contains(&name);
    for (name, count) in counts.iter().filter(|(name, _)| is_other(name)) {
        assert!(*count < CALLS / 4, "{name}: {counts:?}");
    }
}
