//! How the relay shares a host with others: XDP programs that are there already, what is left behind, and what `doctor` says. `cargo xtask
//! test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};
use std::time::Duration;

use loadtest::rig::daemon::binary;
use loadtest::rig::host::Host;
use loadtest::rig::process::wait_until;
use loadtest::rig::program::Program;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use serde_json::{Value, json};

/// The line of `ip link` about a device.
fn link(host: &Host, device: &str) -> String {
    host.run("ip", ["-details", "link", "show", "dev", device]).unwrap()
}

/// The program on the relay's host, with the trunks' interfaces.
fn intertrunk(trunks: &Trunks, arguments: &[&str]) -> Command {
    let mut command = trunks.relay.command(&binary().unwrap().to_string_lossy());
    command.args(arguments);
    for interface in trunks.interfaces() {
        command.args(["--interface", &interface]);
    }
    command
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

fn findings(output: &Output) -> Vec<(String, String, String)> {
    let examination: Value = serde_json::from_slice(&output.stdout).unwrap();
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let findings = examination["findings"].as_array().unwrap().iter();
    findings.map(|one| (word(one, "level"), word(one, "subject"), word(one, "sentence"))).collect()
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn nothing_is_left_attached_after_a_stop() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    for trunk in Trunk::ALL {
        assert!(link(&scene.trunks.relay, trunk.name()).contains("prog/xdp"));
    }
    assert!(scene.daemon.process().stop().unwrap().success());
    for trunk in Trunk::ALL {
        let left = link(&scene.trunks.relay, trunk.name());
        assert!(!left.contains("prog/xdp"), "{left}");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_foreign_program_is_an_error_that_names_it_and_it_stays() {
    let trunks = Trunks::new().unwrap();
    let _foreign = Program::attach_pass(&trunks.relay, Trunk::Gateway.name()).unwrap();
    let output = intertrunk(&trunks, &["serve", "--engine", "xdp"]).output().unwrap();
    assert!(!output.status.success());
    let error = text(&output);
    assert!(
        error.contains("the program \"pass\" (number ") && error.contains("ip link set dev gateway xdp off"),
        "{error}"
    );
    assert!(link(&trunks.relay, Trunk::Gateway.name()).contains("prog/xdp"));
    for trunk in [Trunk::Pbx1, Trunk::Pbx2] {
        assert!(!link(&trunks.relay, trunk.name()).contains("prog/xdp"), "attached before the failure, and left");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn beside_a_foreign_program_auto_takes_the_slow_path_and_says_why() {
    let trunks = Trunks::new().unwrap();
    let _foreign = Program::attach_pass(&trunks.relay, Trunk::Gateway.name()).unwrap();
    let scene = Scene::new(trunks, "auto", &[]).unwrap();
    assert_eq!(scene.daemon.engine().unwrap(), "uring");
    let log = scene.daemon.log().unwrap().into_iter().map(|line| line.to_string()).collect::<String>();
    assert!(log.contains("is attached there already"), "{log}");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_process_without_capabilities_is_told_which_it_lacks() {
    let trunks = Trunks::new().unwrap();
    let mut command = trunks.relay.command("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", "--clear-groups"]);
    // The program is in a folder that others may not enter.
    let folder =
        tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let program = folder.path().join("intertrunk");
    std::fs::copy(binary().unwrap(), &program).unwrap();
    command.arg(program).args(["serve", "--engine", "xdp", "--interface", "a/127.0.0.1"]);
    let error = text(&command.output().unwrap());
    assert!(error.contains("CAP_BPF") && error.contains("lockdown"), "{error}");
}

/// Detaches the program of a device, from all devices that have it.
fn detach(host: &Host, device: &str) {
    let words = link(host, device);
    let program: u32 = words.split_once("prog/xdp id ").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    let links: Value = serde_json::from_str(&host.run("bpftool", ["--json", "link", "show"]).unwrap()).unwrap();
    let of_program = |link: &&Value| link["type"] == "xdp" && link["prog_id"] == program;
    for link in links.as_array().unwrap().iter().filter(of_program) {
        host.run("bpftool", ["link", "detach", "id", &link["id"].to_string()]).unwrap();
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_call_whose_program_is_detached_goes_on_and_returns_to_the_fast_path() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (mut caller, callee, call) = scene.call([false; 2], &["endpoint-learning-off"]).unwrap();
    let mut talk = || {
        for _ in 0..20 {
            let sent = caller.speak(call.for_caller).unwrap();
            assert_eq!(callee.hear().unwrap(), Some((sent, call.for_callee)));
        }
    };
    scene.wait_for_fast_path(&call, call.for_caller).unwrap();
    talk();
    let relay = &scene.trunks.relay;
    detach(relay, Trunk::Pbx1.name());
    let foreign = Program::attach_pass(relay, Trunk::Pbx1.name()).unwrap();
    talk();
    wait_until("the loss is noticed", Duration::from_secs(5), || {
        call.stream(&mut scene.ng, call.for_caller).unwrap()["reason"] == "xdp-detached"
    })
    .unwrap();
    talk();
    drop(foreign);
    scene.wait_for_fast_path(&call, call.for_caller).unwrap();
    let (fast, _) = scene.packets(&call, call.for_caller).unwrap();
    talk();
    let (fast_now, slow) = scene.packets(&call, call.for_caller).unwrap();
    assert_eq!((fast_now - fast, fast_now + slow), (20, 80), "every packet is counted once");
    let statistics = scene.ng.request(&json!({"command": "statistics"})).unwrap();
    assert_eq!(statistics["statistics"]["fast path"], json!({"lost": 3, "regained": 3}), "of three devices");
    for said in ["the fast path is lost", "the fast path is back"] {
        scene.daemon.wait_for_log(said).unwrap();
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn steering_that_is_detached_comes_back() {
    for (engine, has_pins) in [("uring", true), ("epoll", false)] {
        let arguments: &[&str] = if has_pins { &[] } else { &["--pin-dir", "/proc/none"] };
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, arguments).unwrap();
        let (mut caller, callee, call) = scene.call([false; 2], &["endpoint-learning-off"]).unwrap();
        let relay = &scene.trunks.relay;
        let namespace: u64 = relay.run("stat", ["-Lc", "%i", "/proc/self/ns/net"]).unwrap().trim().parse().unwrap();
        let links: Value = serde_json::from_str(&relay.run("bpftool", ["--json", "link", "show"]).unwrap()).unwrap();
        let is_ours = |link: &&Value| link["type"] == "netns" && link["netns_ino"] == namespace;
        let steering: Vec<_> = links.as_array().unwrap().iter().filter(is_ours).collect();
        assert_eq!(steering.len(), 1, "{links}");
        relay.run("bpftool", ["link", "detach", "id", &steering[0]["id"].to_string()]).unwrap();
        wait_until("it is steered again", Duration::from_secs(5), || {
            let statistics = scene.ng.request(&json!({"command": "statistics"})).unwrap();
            statistics["statistics"]["steering"] == json!({"lost": 1, "regained": 1})
        })
        .unwrap();
        for _ in 0..20 {
            let sent = caller.speak(call.for_caller).unwrap();
            assert_eq!(callee.hear().unwrap(), Some((sent, call.for_callee)));
        }
        for said in ["has detached the steering program", "steered again"] {
            scene.daemon.wait_for_log(said).unwrap();
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_link_that_goes_down_and_up_is_a_loss_and_a_return() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    for (state, turns) in [("down", json!({"lost": 1, "regained": 0})), ("up", json!({"lost": 1, "regained": 1}))] {
        scene.trunks.relay.run("ip", ["link", "set", Trunk::Pbx1.name(), state]).unwrap();
        let mut last = Value::Null;
        let counted = wait_until(state, Duration::from_secs(5), || {
            last = scene.ng.request(&json!({"command": "statistics"})).unwrap()["statistics"]["fast path"].clone();
            last == turns
        });
        assert!(counted.is_ok(), "{state}: {last}");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn doctor_finds_a_host_able_and_tells_of_each_device() {
    let trunks = Trunks::new().unwrap();
    let output = intertrunk(&trunks, &["doctor", "--engine", "xdp", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let findings = findings(&output);
    for trunk in Trunk::ALL {
        let of_device = |finding: &&(String, String, String)| finding.1 == trunk.name();
        let sentences: Vec<_> = findings.iter().filter(of_device).map(|finding| finding.2.as_str()).collect();
        assert!(sentences.iter().any(|sentence| sentence.contains("driver veth")), "{sentences:?}");
        assert!(sentences.contains(&"The driver has native XDP."), "{sentences:?}");
    }
    assert!(findings.iter().all(|finding| finding.0 != "error"));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn doctor_fails_where_the_relay_would_and_names_the_cause() {
    let trunks = Trunks::new().unwrap();
    let foreign = Program::attach_pass(&trunks.relay, Trunk::Gateway.name()).unwrap();
    let output = intertrunk(&trunks, &["doctor", "--engine", "xdp", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let is_named = |finding: &(String, String, String)| finding.0 == "error" && finding.2.contains("program \"pass\"");
    assert!(findings(&output).iter().any(is_named));
    drop(foreign);
    let missing = intertrunk(&trunks, &["doctor", "--interface", "lost/192.0.2.200"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(0));
    assert!(text(&missing).contains("this host has no address 192.0.2.200"), "{}", text(&missing));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn doctor_notices_a_veth_whose_far_end_takes_no_frames_of_programs() {
    let mut trunks = Trunks::new().unwrap();
    trunks.refuse_xdp_frames(Trunk::Gateway);
    let output = intertrunk(&trunks, &["doctor", "--json"]).output().unwrap();
    assert!(output.status.success());
    assert!(
        findings(&output)
            .iter()
            .any(|finding| finding.0 == "warning" && finding.2.contains("takes no frames from an XDP program"))
    );
}
