//! The command line of a running daemon, while calls are carried. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use loadtest::rig::daemon::binary;
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::Trunks;
use serde_json::{Value, json};

/// Nobody, and nobody's group.
const NOBODY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

fn scene() -> Scene {
    Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap()
}

fn socket(scene: &Scene) -> PathBuf {
    scene.daemon.kept().folder().join("control.sock")
}

/// Runs it.
fn command(scene: &Scene, words: &[&str]) -> Output {
    let mut command = Command::new(binary().unwrap());
    command.args(words).arg("--socket").arg(socket(scene)).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Each line of what it tells.
fn lines(scene: &Scene, words: &[&str]) -> Vec<Value> {
    let output = command(scene, &[words, &["--json"]].concat());
    assert!(output.status.success(), "{words:?}: {output:?}");
    told(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn one(scene: &Scene, words: &[&str]) -> Value {
    let lines = lines(scene, words);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].clone()
}

/// The RTP sources of a call.
fn sources(call: &Value) -> Vec<Value> {
    let medias = call["parties"].as_array().unwrap().iter().flat_map(|party| party["medias"].as_array().unwrap());
    let sources = medias.flat_map(|media| media["sources"].as_array().unwrap());
    sources.filter(|source| source["component"] == "rtp").cloned().collect()
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn what_is_told_of_calls_is_what_the_parties_have_sent_and_where_it_went() {
    let mut scene = scene();
    let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
    call.converse(&mut caller, &mut callee, 50).unwrap();
    scene.wait_for_fast_path(&call, call.for_caller).unwrap();
    // Seven packets of the caller never come.
    caller.set_sequence(1057);
    call.converse(&mut caller, &mut callee, 50).unwrap();
    let mut shown = Value::Null;
    let counted = wait_until("all is counted", Duration::from_secs(3), || {
        shown = one(&scene, &["show", "call-1"]);
        shown["packets"] == 200
    });
    assert!(counted.is_ok(), "{shown}");
    assert_eq!((&shown["path"], &shown["lost"], &shown["errors"]), (&json!("fast"), &json!(7), &json!(0)), "{shown}");
    for (path, calls) in [(&["--path", "slow"][..], 0), (&["--path", "slow", "--path", "fast"], 1)] {
        assert_eq!(lines(&scene, &[&["list"], path].concat()).len(), calls, "{path:?}");
    }
    assert_eq!((&shown["legs"], &shown["troubles"]), (&json!(2), &json!([])), "{shown}");
    let sources = sources(&shown);
    for (source, (local, party, lost)) in
        sources.iter().zip([(call.for_caller, caller.addr(), 7), (call.for_callee, callee.addr(), 0)])
    {
        assert_eq!((&source["local"], &source["peer"]), (&json!(local), &json!(party)), "{source}");
        assert_eq!((&source["signalled"], &source["is_confirmed"]), (&json!(party), &json!(true)), "{source}");
        let sum = source["fast_packets"].as_u64().unwrap() + source["slow_packets"].as_u64().unwrap();
        assert_eq!((sum, &source["lost"]), (100, &json!(lost)), "{source}");
        assert!(source["fast_packets"].as_u64() > Some(40), "{source}");
    }
    assert_eq!(sources[0]["sinks"][0]["to"], json!(callee.addr()), "{shown}");
    let listed = lines(&scene, &["list"]);
    assert_eq!((listed.len(), &listed[0]["call_id"], &listed[0]["packets"]), (1, &json!("call-1"), &json!(200)));
    let mut stats = Value::Null;
    let summed = wait_until("all is summed up", Duration::from_secs(3), || {
        stats = one(&scene, &["stats"]);
        let carried = [&stats["fast"], &stats["slow"]].map(|volume| volume["packets"].as_u64().unwrap());
        carried.iter().sum::<u64>() == 200
    });
    assert!(summed.is_ok(), "{stats}");
    assert_eq!(
        (&stats["calls"], &stats["created"], &stats["engine"]),
        (&json!(1), &json!(1), &json!("xdp")),
        "{stats}"
    );
    // For people.
    for (words, expected) in [
        (&["list"][..], "call-1 "),
        (&["show", "call-1"], "heard; fast"),
        (&["stats"], "calls     1 now, 1 in all"),
        (&["top", "--looks", "2", "--interval", "0.5"], "worker-0 "),
    ] {
        let output = command(&scene, words);
        assert!(output.status.success() && told(&output).contains(expected), "{words:?}: {}", told(&output));
        assert!(!told(&output).contains('\x1b'), "colours where there is no terminal");
    }
    // Also to whoever comes after a daemon that was killed.
    scene.daemon.kill().unwrap();
    scene.daemon.restart().unwrap();
    call.converse(&mut caller, &mut callee, 10).unwrap();
    let counted = wait_until("all is counted", Duration::from_secs(3), || {
        shown = one(&scene, &["show", "call-1"]);
        shown["packets"] == 220
    });
    assert!(counted.is_ok(), "{shown}");
    assert_eq!((&shown["lost"], &shown["legs"]), (&json!(7), &json!(2)), "{shown}");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn whoever_is_not_heard_any_more_is_named_within_five_seconds() {
    let mut scene = scene();
    let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
    call.converse(&mut caller, &mut callee, 20).unwrap();
    let start = Instant::now();
    let mut told = Vec::new();
    let mut found = None;
    while found.is_none() && start.elapsed() < Duration::from_secs(8) {
        for _ in 0..10 {
            caller.speak(call.for_caller).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        told = lines(&scene, &["list", "--troubled"]);
        found = told.first().map(|_| start.elapsed());
    }
    assert!(found.is_some_and(|found| found < Duration::from_millis(5500)), "{found:?}");
    let trouble = &told[0]["troubles"][0];
    assert_eq!((&trouble["trouble"], &trouble["unheard"]), (&json!("one-way"), &json!("callee")), "{trouble}");
    assert_eq!(
        (&trouble["peer"], &trouble["was_heard"]),
        (&json!(callee.addr().to_string()), &json!(true)),
        "{trouble}"
    );
    // And then nobody.
    std::thread::sleep(Duration::from_millis(5200));
    assert_eq!(lines(&scene, &["list", "--troubled"])[0]["troubles"], json!([{"trouble": "silent"}]));
    callee.rtp.set_nonblocking(true).unwrap();
    while callee.hear().unwrap().is_some() {}
    callee.rtp.set_nonblocking(false).unwrap();
    call.converse(&mut caller, &mut callee, 3).unwrap();
    let well = wait_until("all is well", Duration::from_secs(3), || lines(&scene, &["list", "--troubled"]).is_empty());
    well.unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn the_operator_ends_calls_and_changes_settings() {
    let mut scene = scene();
    let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
    call.converse(&mut caller, &mut callee, 3).unwrap();
    let unknown = command(&scene, &["terminate", "call-9"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("Unknown call-id"), "{unknown:?}");
    assert_eq!(one(&scene, &["terminate", "call-1"]), json!({"terminated": 1}));
    caller.speak(call.for_caller).unwrap();
    assert_eq!(callee.hear().unwrap(), None);
    assert_eq!(one(&scene, &["stats"])["ended"]["terminated"], 1);
    let statistics = scene.ng.request(&json!({"command": "statistics"})).unwrap();
    assert_eq!(statistics["statistics"]["totalstatistics"]["forcedterminatedsessions"], 1);
    // No new calls, and then as many as before.
    let offer = json!({"command": "offer", "call-id": "next", "from-tag": "a", "sdp": caller.sdp()});
    assert_eq!(one(&scene, &["set", "max-sessions", "0"])["max-sessions"], 0);
    assert_eq!(scene.ng.request(&offer).unwrap()["error-reason"], "Parallel session limit reached");
    assert_eq!(one(&scene, &["set", "max-sessions"])["max-sessions"], Value::Null);
    assert_eq!(scene.ng.request(&offer).unwrap()["result"], "ok");
    assert_eq!(one(&scene, &["set", "log-level", "debug"])["log-level"], "debug");
    assert_eq!(told(&command(&scene, &["set", "log-level", "info"])), "log-level = info\n");
    for (words, expected) in [
        (["set", "port-min", "1"], "cannot be set while the daemon runs: want one of"),
        (["set", "timeout", "soon"], "invalid type"),
        (["set", "timeout", "0"], "timeout"),
        (["set", "log-level", "loud"], "log-level"),
    ] {
        let refused = command(&scene, &words);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains(expected), "{refused:?}");
    }
    assert_eq!(one(&scene, &["terminate", "--all"]), json!({"terminated": 1}));
    assert_eq!(lines(&scene, &["list"]), [Value::Null; 0]);
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn names_that_look_alike_are_told_apart_and_each_call_is_found_by_what_is_shown() {
    let mut scene = scene();
    let party = loadtest::rig::party::Party::new(&scene.trunks, loadtest::rig::trunks::Trunk::Pbx1, 4000).unwrap();
    // One with a control character, and one that looks like what that is shown as.
    for call_id in ["odd\u{1b}x", "odd\\x1bx", "plain"] {
        let offer = json!({"command": "offer", "call-id": call_id, "from-tag": "a", "sdp": party.sdp()});
        assert_eq!(scene.ng.request(&offer).unwrap()["result"], "ok");
    }
    let mut shown: Vec<String> =
        lines(&scene, &["list"]).iter().map(|call| call["call_id"].as_str().unwrap().to_owned()).collect();
    shown.sort_unstable();
    assert_eq!(shown, ["odd\\\\x1bx", "odd\\x1bx", "plain"]);
    for (left, name) in [(2, "odd\\x1bx"), (1, "odd\\\\x1bx"), (0, "plain")] {
        assert_eq!(one(&scene, &["show", name])["call_id"], name);
        assert_eq!(one(&scene, &["terminate", name]), json!({"terminated": 1}));
        assert_eq!(lines(&scene, &["list"]).len(), left);
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF, bash"]
fn the_shell_completes_names_of_calls_and_settings_and_runs_none_of_them() {
    let mut scene = scene();
    let party = loadtest::rig::party::Party::new(&scene.trunks, loadtest::rig::trunks::Trunk::Pbx1, 4000).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let proof = folder.path().join("proof");
    let hostile = format!("x$(touch {})`touch {}`", proof.display(), proof.display());
    for call_id in ["abc@pbx:5060", "abd@pbx", &hostile] {
        let offer = json!({"command": "offer", "call-id": call_id, "from-tag": "a", "sdp": party.sdp()});
        assert_eq!(scene.ng.request(&offer).unwrap()["result"], "ok");
    }
    // What is called is the daemon of this test.
    let program =
        format!("#!/bin/sh\nexec {} \"$@\" --socket {}\n", binary().unwrap().display(), socket(&scene).display());
    std::fs::write(folder.path().join("intertrunk"), program).unwrap();
    let script = "chmod +x \"$1/intertrunk\"; PATH=\"$1:$PATH\"; _intertrunk() { COMPREPLY=(others); }; . \"$2\"
        COMP_LINE=\"$3\" COMP_POINT=${#3}; COMP_WORDS=(\"${@:4}\") COMP_CWORD=$(($# - 4)); _intertrunk_named; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let snippet = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/completions/intertrunk.bash");
    let completed = |line: &str, words: &[&str]| {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", script, "bash"]).arg(folder.path()).arg(&snippet).arg(line).args(words);
        let mut found: Vec<_> = told(&bash.output().unwrap()).lines().map(str::to_owned).collect();
        found.sort_unstable();
        found
    };
    assert_eq!(completed("intertrunk show ab", &["intertrunk", "show", "ab"]), ["abc@pbx:5060", "abd@pbx"]);
    // As bash takes words apart.
    assert_eq!(completed("intertrunk show abc@p", &["intertrunk", "show", "abc", "@", "p"]), ["pbx:5060"]);
    let all = completed("intertrunk terminate ", &["intertrunk", "terminate", ""]);
    assert!(all.len() == 3 && all[2].starts_with("x\\$\\(touch"), "{all:?}");
    assert_eq!(completed("intertrunk set time", &["intertrunk", "set", "time"]), ["timeout"]);
    for (line, words) in [
        ("intertrunk set timeout 3", &["intertrunk", "set", "timeout", "3"][..]),
        ("intertrunk show --js", &["intertrunk", "show", "--js"]),
        ("intertrunk li", &["intertrunk", "li"]),
    ] {
        assert_eq!(completed(line, words), ["others"], "{line}");
    }
    assert!(!proof.exists(), "a Call-ID was run");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn what_was_said_last_is_shown_as_it_came_and_as_it_went_on_without_keys() {
    let mut scene = scene();
    let (caller, _callee, call) = scene.call([false; 2], &[]).unwrap();
    let key = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
    let secured =
        format!("{}a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n", caller.sdp().replace("RTP/AVP", "RTP/SAVP"));
    let again =
        json!({"command": "offer", "call-id": "call-1", "from-tag": "caller", "to-tag": "callee", "sdp": secured});
    drop(scene.ng.request(&again));
    let shown = one(&scene, &["show", "call-1"]);
    let said = shown["descriptions"].as_array().unwrap();
    let kinds: Vec<_> = said.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["offer", "answer"], "{shown}");
    let came = said[1]["before"].as_str().unwrap();
    let went = said[1]["after"].as_str().unwrap();
    assert!(came.contains("m=audio 6000") && went.contains(&format!("m=audio {}", call.for_caller.port())), "{said:?}");
    let told = told(&command(&scene, &["show", "call-1", "--sdp"]));
    assert!(told.contains("as it went on") && told.contains("inline:...") && !told.contains(key), "{told}");
    assert!(!shown.to_string().contains(key), "{shown}");
}

#[test]
#[ignore = "privileged: namespaces, BPF, setpriv"]
fn who_may_not_ask_hears_nothing_and_who_is_let_in_may() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let open = folder.path().join("control.sock");
    // Nobody may look into where this was built. By a process of its own: what this one writes, another test's child may still have open.
    let program = folder.path().join("intertrunk");
    assert!(Command::new("cp").arg(binary().unwrap()).arg(&program).status().unwrap().success());
    let as_nobody = |socket: &std::path::Path, groups: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(NOBODY)
            .args(groups)
            .arg(&program)
            .args(["list", "--json", "--socket"])
            .arg(socket)
            .output()
            .unwrap()
    };
    {
        let scene = scene();
        let refused = as_nobody(&socket(&scene), &[]);
        assert_eq!(refused.status.code(), Some(77), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("unix-group"), "{refused:?}");
        let kept = scene.daemon.kept();
        let instance = ["drain", "--instance", &kept.instance, "--state-dir", kept.state.to_str().unwrap()];
        let refused = Command::new("setpriv").args(NOBODY).arg(&program).args(instance).output().unwrap();
        assert_eq!(refused.status.code(), Some(77), "{refused:?}");
        let none = ["drain", "--instance", "none", "--state-dir", kept.state.to_str().unwrap()];
        let none = Command::new(&program).args(none).output().unwrap();
        assert_eq!(none.status.code(), Some(69), "{none:?}");
        drop(scene);
    }
    let path = open.to_str().unwrap();
    let args = ["--listen-control", path, "--unix-group", "65533"];
    let scene = Scene::new(Trunks::new().unwrap(), "xdp", &args).unwrap();
    assert_eq!(as_nobody(&open, &[]).status.code(), Some(77));
    let mut in_group = Command::new("setpriv");
    in_group.args(["--reuid=65534", "--regid=65533", "--clear-groups"]).arg(&program);
    let allowed = in_group.args(["list", "--json", "--socket"]).arg(&open).output().unwrap();
    assert!(allowed.status.success(), "{allowed:?}");
    drop(scene);
    let gone = as_nobody(&open, &[]);
    assert_eq!(gone.status.code(), Some(69), "{gone:?}");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn whatever_is_sent_to_the_socket_others_are_answered() {
    let scene = scene();
    let path = socket(&scene);
    let mut silent: Vec<UnixStream> = (0..100).map(|_| UnixStream::connect(&path).unwrap()).collect();
    for (bytes, expected) in [
        (&b"hello\n"[..], "no line of JSON"),
        (b"{\"command\":\"show\"}\n{\"command\":\"ping\"}\n", "missing field"),
        (b"\xff\xfe\n", "no line of JSON"),
        (b"\n", "no line of JSON"),
        (b"{\"command\":\"ping\"}", "pong"),
    ] {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(expected), "{answer}");
    }
    // More than a request can be.
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let _refused = stream.write_all(&vec![b'['; 10 << 20]);
    let deep = [&b"{\"command\":"[..], &b"[".repeat(30_000), b"\n"].concat();
    UnixStream::connect(&path).unwrap().write_all(&deep).unwrap();
    for stream in &mut silent {
        // Others needed their places.
        let _gone = stream.write_all(b"x");
    }
    assert!(one(&scene, &["stats"])["uptime"].is_number());
}
