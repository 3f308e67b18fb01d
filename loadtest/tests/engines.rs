//! Hosts where io_uring is forbidden: what takes over, what is said, and what is refused. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Output;

use loadtest::rig::daemon::binary;
use loadtest::rig::scene::Scene;
use loadtest::rig::seccomp::without_io_uring;
use loadtest::rig::trunks::Trunks;

/// What the program says on the relay's host, with the trunks' interfaces and without io_uring.
fn intertrunk(trunks: &Trunks, arguments: &[&str]) -> Output {
    let mut command = trunks.relay.command(&binary().unwrap().to_string_lossy());
    command.args(arguments);
    for interface in trunks.interfaces() {
        command.args(["--interface", &interface]);
    }
    without_io_uring(move || Ok(command.output()?)).unwrap()
}

fn log(scene: &Scene) -> String {
    scene.daemon.log().unwrap().into_iter().map(|line| line.to_string()).collect()
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn without_io_uring_xdp_goes_on_with_epoll_beside_it_and_says_why() {
    let mut scene = without_io_uring(|| Scene::new(Trunks::new()?, "auto", &[])).unwrap();
    assert_eq!(scene.daemon.engine().unwrap(), "xdp");
    let log = log(&scene);
    assert!(log.contains("runs without io_uring") && log.contains("kernel.io_uring_disabled"), "{log}");
    let (mut caller, callee, call) = scene.call([false; 2], &[]).unwrap();
    // The first packet teaches, and only the slow path learns.
    let sent = caller.speak(call.for_caller).unwrap();
    assert_eq!(callee.hear().unwrap().unwrap().0, sent);
    scene.wait_for_fast_path(&call, call.for_caller).unwrap();
    let sent = caller.speak(call.for_caller).unwrap();
    assert_eq!(callee.hear().unwrap().unwrap().0, sent);
    assert_eq!(scene.packets(&call, call.for_caller).unwrap(), (1, 1));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn io_uring_that_was_asked_for_by_name_and_is_forbidden_is_a_start_up_error() {
    let output = intertrunk(&Trunks::new().unwrap(), &["serve", "--engine", "uring"]);
    assert!(!output.status.success());
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("io_uring is forbidden here"), "{said}");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn doctor_warns_of_forbidden_io_uring_and_objects_only_when_it_was_asked_for() {
    let trunks = Trunks::new().unwrap();
    for (engine, able) in [("auto", true), ("epoll", true), ("uring", false)] {
        let output = intertrunk(&trunks, &["doctor", "--engine", engine]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.success(), able, "{engine}: {said}");
        assert!(said.contains("io_uring is forbidden here"), "{engine}: {said}");
    }
}
