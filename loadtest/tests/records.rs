//! Records of ended calls. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::time::Duration;

use loadtest::rig::daemon::{Daemon, DaemonOptions, Kept};
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::Trunks;
use rustix::process::Signal;
use serde_json::{Value, json};

fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until so many are there.
fn wait_for(path: &Path, count: usize) -> Vec<Value> {
    let mut found = Vec::new();
    let waited = wait_until("they are written", Duration::from_secs(3), || {
        found = read(path);
        found.len() == count
    });
    assert!(waited.is_ok(), "{found:?}");
    found
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn each_call_that_ends_has_a_line_with_what_its_parties_have_sent_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calls.jsonl");
    let path = file.to_str().unwrap();
    let args = ["--records", path, "--delete-delay", "0", "--timeout", "1", "--on-stop", "end"];
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &args).unwrap();
    let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
    call.converse(&mut caller, &mut callee, 30).unwrap();
    scene.wait_for_fast_path(&call, call.for_caller).unwrap();
    caller.set_sequence(1034);
    call.converse(&mut caller, &mut callee, 10).unwrap();
    scene.ng.request(&json!({"command": "delete", "call-id": "call-1"})).unwrap();
    let record = &wait_for(&file, 1)[0];
    assert_eq!(
        (&record["version"], &record["reason"], &record["call_id"]),
        (&json!(1), &json!("deleted"), &json!("call-1"))
    );
    assert_eq!(
        (&record["packets"], &record["lost"], &record["path"]),
        (&json!(80), &json!(4), &json!("fast")),
        "{record}"
    );
    let [created, age, ended] = ["created", "age", "ended"].map(|key| record[key].as_f64().unwrap());
    assert!((created + age - ended).abs() < 0.01 && age > 0.0 && age < 10.0, "{record}");
    let source = &record["parties"][0]["medias"][0]["sources"][0];
    assert_eq!((&source["peer"], &source["lost"]), (&json!(caller.addr()), &json!(4)), "{source}");
    // Renamed, as logrotate does, and one that nobody speaks in.
    std::fs::rename(&file, folder.path().join("calls.jsonl.1")).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    drop((caller, callee));
    let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
    call.converse(&mut caller, &mut callee, 1).unwrap();
    let mut found = Vec::new();
    let waited = wait_until("it is over", Duration::from_secs(5), || {
        found = read(&file);
        found.len() == 1
    });
    assert!(waited.is_ok() && found[0]["reason"] == "timeout", "{found:?}");
    assert_eq!(read(&folder.path().join("calls.jsonl.1")).len(), 1);
    // And one that stands when the daemon is stopped.
    drop((caller, callee));
    let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
    call.converse(&mut caller, &mut callee, 5).unwrap();
    scene.daemon.process().signal(Signal::TERM).unwrap();
    let found = wait_for(&file, 2);
    assert_eq!((&found[1]["reason"], &found[1]["packets"]), (&json!("stopped"), &json!(10)), "{}", found[1]);
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_disk_that_was_full_spoils_no_record_that_finds_room() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().to_str().unwrap();
    // In a name space of mounts of its own the daemon would not see it.
    let mount = |options: &str| {
        let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs", disk]).status();
        assert!(mounted.unwrap().success());
    };
    mount("size=16k");
    let file = folder.path().join("calls.jsonl");
    let args = ["--records", file.to_str().unwrap(), "--delete-delay", "0"];
    let found = std::panic::catch_unwind(|| {
        let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &args).unwrap();
        let end = |scene: &mut Scene| {
            let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
            call.converse(&mut caller, &mut callee, 1).unwrap();
            scene.ng.request(&json!({"command": "delete", "call-id": "call-1"})).unwrap();
        };
        (0..12).for_each(|_| end(&mut scene));
        std::thread::sleep(Duration::from_millis(300));
        mount("remount,size=1m");
        (0..3).for_each(|_| end(&mut scene));
        std::thread::sleep(Duration::from_millis(300));
        // Each line is one.
        read(&file).len()
    });
    let gone = std::process::Command::new("umount").arg(disk).status();
    assert!(gone.unwrap().success());
    let found = found.unwrap();
    assert!((4..15).contains(&found), "{found}");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn where_records_cannot_be_written_the_start_says_so_and_later_calls_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--records", "/nowhere/calls.jsonl"].map(str::to_owned).to_vec();
    let options = DaemonOptions { args, ..DaemonOptions::new("xdp") };
    let refused = Daemon::start(&Trunks::new().unwrap(), &options, folder.path()).unwrap_err();
    assert!(format!("{refused:#}").contains("records: /nowhere/calls.jsonl"), "{refused:#}");
    assert!(!Kept::of(folder.path()).pins().exists(), "nothing is left in the kernel");
    // A pipe, whether or not somebody reads it.
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let refused = Scene::new(Trunks::new().unwrap(), "xdp", &["--records", pipe.to_str().unwrap()]).err().unwrap();
    assert!(format!("{refused:#}").contains("records: "), "{refused:#}");
    let mut scene =
        Scene::new(Trunks::new().unwrap(), "xdp", &["--records", "/dev/full", "--delete-delay", "0"]).unwrap();
    for _ in 0..3 {
        let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
        call.converse(&mut caller, &mut callee, 3).unwrap();
        scene.ng.request(&json!({"command": "delete", "call-id": "call-1"})).unwrap();
    }
    let told = wait_until("it is told", Duration::from_secs(3), || {
        scene
            .daemon
            .log()
            .unwrap()
            .iter()
            .any(|line| line.to_string().contains("the record of a call cannot be written"))
    });
    told.unwrap();
}
