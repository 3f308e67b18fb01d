//! Captures of one call, also of what XDP forwards. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod secured;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ::media::srtp::Suite;
use loadtest::rig::daemon::binary;
use loadtest::rig::party::{Call, Party};
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use rustix::process::{Pid, Signal, kill_process};
use secured::{Call as SecuredCall, ID, Wish};
use serde_json::json;

/// Begins to capture; returns when that is so.
fn capture(scene: &mut Scene, call_id: &str, file: &Path, args: &[&str]) -> Child {
    let mut command = Command::new(binary().unwrap());
    command.args(["capture", call_id, "--write"]).arg(file).args(args);
    command.arg("--socket").arg(scene.daemon.kept().folder().join("control.sock"));
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    let begun = wait_until("it is captured", Duration::from_secs(3), || {
        let log = scene.daemon.log().unwrap();
        log.iter().filter(|line| line.to_string().contains("a call is captured")).count() > 0
    });
    begun.unwrap();
    child
}

/// The IP packets in a file.
fn packets(file: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(file).unwrap();
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        if word(at) == 6 {
            found.push(bytes[at + 28..at + 28 + word(at + 20)].to_vec());
        }
        at += word(at + 4);
    }
    found
}

/// The UDP payload of an IPv4 packet, with its ports.
fn datagram(packet: &[u8]) -> (u16, u16, Vec<u8>) {
    let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    (port(20), port(22), packet[28..].to_vec())
}

fn said(child: Child) -> (bool, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn converse(call: &Call, caller: &mut Party, callee: &mut Party, packets: u32) {
    call.converse(caller, callee, packets).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF, tcpdump"]
fn a_call_on_the_fast_path_is_captured_to_the_byte_and_goes_back_there() {
    for (engine, args) in [("xdp", &[][..]), ("uring", &[]), ("epoll", &["--intake", "xsk"])] {
        let folder = tempfile::tempdir().unwrap();
        let file: PathBuf = folder.path().join("call.pcapng");
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, args).unwrap();
        let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
        let mut others = [7000, 7002].map(|port| Party::new(&scene.trunks, Trunk::Pbx1, port).unwrap());
        let [one, two] = &mut others;
        let other = Call::set_up(&mut scene.ng, "other", (one, Trunk::Pbx1), (two, Trunk::Pbx1), &[]).unwrap();
        converse(&call, &mut caller, &mut callee, 5);
        converse(&other, one, two, 5);
        if engine == "xdp" {
            scene.wait_for_fast_path(&call, call.for_caller).unwrap();
            scene.wait_for_fast_path(&other, other.for_caller).unwrap();
        }
        let child = capture(&mut scene, "call-1", &file, &["--seconds", "3"]);
        let mut sent = Vec::new();
        for _ in 0..50 {
            for is_back in [false, true] {
                let (from, to, at, heard_from) = match is_back {
                    false => (&mut caller, &callee, call.for_caller, call.for_callee),
                    true => (&mut callee, &caller, call.for_callee, call.for_caller),
                };
                let packet = from.speak(at).unwrap();
                assert_eq!(to.hear().unwrap(), Some((packet.clone(), heard_from)), "{engine}");
                sent.push((from.addr().port(), at.port(), packet.clone()));
                sent.push((heard_from.port(), to.addr().port(), packet));
            }
            converse(&other, one, two, 1);
        }
        if engine == "xdp" {
            let path = |scene: &mut Scene, call: &Call| call.stream(&mut scene.ng, call.for_caller).unwrap();
            let stream = path(&mut scene, &call);
            assert_eq!((&stream["path"], &stream["reason"]), (&json!("slow"), &json!("processed")), "{stream}");
            assert_eq!(path(&mut scene, &other)["path"], "fast");
        }
        let (is_done, told) = said(child);
        assert!(is_done && told.starts_with("200 packets\n"), "{engine}: {told}");
        let found: Vec<_> = packets(&file).iter().map(|packet| datagram(packet)).collect();
        assert_eq!(found.len(), sent.len(), "{engine}");
        assert_eq!(found.into_iter().collect::<HashSet<_>>(), sent.into_iter().collect(), "{engine}");
        let read = Command::new("tcpdump").arg("-nnr").arg(&file).args(["-T", "rtp"]).output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&read.stdout).lines().filter(|line| line.contains("udp/rtp")).count(),
            200,
            "{read:?}"
        );
        if engine == "xdp" {
            scene.wait_for_fast_path(&call, call.for_caller).unwrap();
        }
        converse(&call, &mut caller, &mut callee, 5);
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn secured_media_is_captured_as_it_is_on_the_wire_and_as_it_is_behind_where_that_is_permitted() {
    for (args, plain) in [(&[][..], false), (&["--capture-decrypted"], true)] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("call.pcapng");
        let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", args).unwrap();
        let wishes = [Wish::Plain, Wish::Secured(Suite::AesCm128Sha80)];
        let mut call = SecuredCall::new(&mut scene, wishes, [false; 2], &json!({"transport-protocol": "RTP/SAVP"}));
        call.talk(3, "before");
        if !plain {
            let refused = Command::new(binary().unwrap())
                .args(["capture", ID, "--plain", "--write"])
                .arg(folder.path().join("refused"))
                .arg("--socket")
                .arg(scene.daemon.kept().folder().join("control.sock"))
                .output()
                .unwrap();
            assert_eq!(refused.status.code(), Some(1), "{refused:?}");
            assert!(String::from_utf8_lossy(&refused.stderr).contains("capture-decrypted"), "{refused:?}");
            assert!(!folder.path().join("refused").exists());
        }
        let more: &[&str] = if plain { &["--plain"] } else { &[] };
        let child = capture(&mut scene, ID, &file, &[&["--seconds", "2"], more].concat());
        call.talk(10, "captured");
        let (is_done, told) = said(child);
        assert!(is_done && told.starts_with("40 packets\n"), "{told}");
        let lens: Vec<usize> = packets(&file).iter().map(|packet| packet.len() - 28).collect();
        // With its tag of ten bytes, once for each packet of each side.
        let expected = if plain { (40, 0) } else { (20, 20) };
        let count = |len| lens.iter().filter(|found| **found == len).count();
        assert_eq!((count(172), count(182)), expected, "{lens:?}");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_capture_ends_in_time_under_a_flood_and_whole_when_it_is_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let [timed, interrupted] = ["timed", "interrupted"].map(|name| folder.path().join(name));
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
    converse(&call, &mut caller, &mut callee, 5);
    let is_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flooding = {
        let (is_over, socket, to) = (std::sync::Arc::clone(&is_over), caller.rtp.try_clone().unwrap(), call.for_caller);
        let packet = caller.next_packet();
        std::thread::spawn(move || {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                let _full = socket.send_to(&packet, to);
            }
        })
    };
    let begun = std::time::Instant::now();
    let child = capture(&mut scene, "call-1", &timed, &["--seconds", "1"]);
    let (is_done, told) = said(child);
    assert!(is_done && begun.elapsed() < Duration::from_secs(4), "{told} {:?}", begun.elapsed());
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    flooding.join().unwrap();
    assert!(!packets(&timed).is_empty());
    // What is under way comes first.
    std::thread::sleep(Duration::from_millis(700));
    while callee.rtp.set_nonblocking(true).is_ok() && callee.hear().unwrap().is_some() {}
    callee.rtp.set_nonblocking(false).unwrap();
    let mut command = Command::new(binary().unwrap());
    command.args(["capture", "call-1", "--write"]).arg(&interrupted).arg("--socket");
    let child = command.arg(scene.daemon.kept().folder().join("control.sock")).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    converse(&call, &mut caller, &mut callee, 60);
    std::thread::sleep(Duration::from_millis(300));
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::INT).unwrap();
    let (is_done, told) = said(child);
    assert!(is_done && told.starts_with("240 packets"), "{told}");
    assert_eq!(packets(&interrupted).len(), 240);
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn whoever_writes_too_slowly_loses_copies_and_no_packet_of_the_call() {
    for is_interrupted in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("call.pcapng");
        let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
        let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
        converse(&call, &mut caller, &mut callee, 5);
        let child = capture(&mut scene, "call-1", &file, &["--seconds", "600", "--json"]);
        let second = Command::new(binary().unwrap())
            .args(["capture", "call-1", "--write"])
            .arg(folder.path().join("second"))
            .arg("--socket")
            .arg(scene.daemon.kept().folder().join("control.sock"))
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&second.stderr).contains("somebody captures this call already"), "{second:?}");
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        // More than all buffers between hold.
        converse(&call, &mut caller, &mut callee, 4000);
        let statistics = scene.ng.request(&json!({"command": "ping"})).unwrap();
        assert_eq!(statistics["result"], "pong");
        kill_process(pid, Signal::CONT).unwrap();
        if is_interrupted {
            // What was lost is told once a second.
            std::thread::sleep(Duration::from_millis(2500));
            kill_process(pid, Signal::INT).unwrap();
        } else {
            // The end of the call is the end of its capture.
            std::thread::sleep(Duration::from_millis(500));
            scene.ng.request(&json!({"command": "delete", "call-id": "call-1", "delete-delay": 0})).unwrap();
        }
        let (is_done, told) = said(child);
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let [written, lost] = ["packets", "lost"].map(|key| told[key].as_u64().unwrap());
        assert!(is_done && written + lost == 16_000 && lost > 0, "{told}");
        assert_eq!(packets(&file).len() as u64, written);
    }
}
