//! A daemon that ends, asked or unasked, and the one that comes after it. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use loadtest::rig::host::in_namespace;
use loadtest::rig::party::{Call, Party, media, sdp};
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use rustix::process::Signal;
use serde_json::{Value, json};

/// How a daemon ends that was drained: nobody is to start it again at once.
const DRAINED: i32 = 79;

/// Every way in which workers get and send packets.
const WAYS: [(&str, &[&str]); 4] = [("xdp", &[]), ("uring", &[]), ("epoll", &[]), ("uring", &["--intake=bound"])];

/// Both parties say something, and both hear it, as long as there is somebody to carry it.
fn talk(call: &Call, caller: &mut Party, callee: &mut Party, packets: u32, when: &str) {
    for _ in 0..packets {
        let said = caller.speak(call.for_caller).unwrap();
        assert_eq!(callee.hear().unwrap(), Some((said, call.for_callee)), "{when}");
        let said = callee.speak(call.for_callee).unwrap();
        assert_eq!(caller.hear().unwrap(), Some((said, call.for_caller)), "{when}");
    }
}

fn query(scene: &mut Scene, call: &Call) -> Value {
    scene.ng.request(&json!({"command": "query", "call-id": call.id})).unwrap()
}

/// What both parties of a call have sent: packets, and those that were lost or could not be sent on.
fn totals(scene: &mut Scene, call: &Call) -> (i64, i64) {
    let reply = query(scene, call);
    let rtp = &reply["totals"]["RTP"];
    (rtp["packets"].as_i64().unwrap(), rtp["errors"].as_i64().unwrap())
}

/// The other daemon answers as if it were the one before: an offer without change, one with a change, and the end.
fn renegotiate(scene: &mut Scene, call: &Call, caller: &mut Party, callee: &mut Party) {
    let mut command = |what: &str, from: &str, to: &str, sdp: &str| {
        let request = json!({"command": what, "call-id": call.id, "from-tag": from, "to-tag": to, "sdp": sdp});
        let reply = scene.ng.request(&request).unwrap();
        assert_eq!(reply["result"], "ok", "{reply}");
        reply["sdp"].as_str().unwrap().to_owned()
    };
    for _ in 0..2 {
        let offered = command("offer", "callee", "caller", &callee.sdp());
        assert!(offered.contains(&format!("m=audio {} ", call.for_caller.port())), "{offered}");
        let answered = command("answer", "callee", "caller", &caller.sdp());
        assert!(answered.contains(&format!("m=audio {} ", call.for_callee.port())), "{answered}");
    }
    talk(call, caller, callee, 5, "after another offer");
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut files| files.next().is_none())
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_call_outlives_its_daemon_and_the_next_one_goes_on_as_if_nothing_had_happened() {
    for (engine, args) in WAYS {
        for is_ipv6 in [[false, false], [true, true], [false, true]] {
            let when = |what: &str| format!("{engine} {args:?} {is_ipv6:?}: {what}");
            let mut scene = Scene::new(Trunks::dual_stack().unwrap(), engine, args).unwrap();
            let (mut caller, mut callee, call) = scene.call(is_ipv6, &[]).unwrap();
            talk(&call, &mut caller, &mut callee, 10, &when("before"));
            let is_fast = engine == "xdp" && is_ipv6[0] == is_ipv6[1];
            if is_fast {
                scene.wait_for_fast_path(&call, call.for_caller).unwrap();
                scene.wait_for_fast_path(&call, call.for_callee).unwrap();
                talk(&call, &mut caller, &mut callee, 10, &when("fast"));
            }
            let (before, _) = totals(&mut scene, &call);
            talk(&call, &mut caller, &mut callee, 10, &when("not folded yet"));
            scene.daemon.kill().unwrap();
            let mut meanwhile = 0;
            if is_fast {
                talk(&call, &mut caller, &mut callee, 20, &when("without a daemon"));
                meanwhile = 40;
            }
            let start = Instant::now();
            scene.daemon.restart().unwrap();
            eprintln!("{}", when(&format!("ready after {:?}", start.elapsed())));
            talk(&call, &mut caller, &mut callee, 10, &when("after"));
            if is_fast {
                scene.wait_for_fast_path(&call, call.for_caller).unwrap();
            }
            assert_eq!(totals(&mut scene, &call), (before + 20 + meanwhile + 20, 0), "{}", when("all packets"));
            renegotiate(&mut scene, &call, &mut caller, &mut callee);
            // And it is killed once more, while it is no more than that.
            scene.daemon.kill().unwrap();
            scene.daemon.restart().unwrap();
            talk(&call, &mut caller, &mut callee, 5, &when("again"));
            let request = json!({"command": "delete", "call-id": call.id, "from-tag": "caller"});
            assert_eq!(scene.ng.request(&request).unwrap()["result"], "ok");
            assert_eq!(query(&mut scene, &call)["error-reason"], "Unknown call-id");
            scene.daemon.kill().unwrap();
            scene.daemon.restart().unwrap();
            assert_eq!(query(&mut scene, &call)["error-reason"], "Unknown call-id", "and it stays so");
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn while_there_is_no_daemon_strangers_are_not_heard() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (mut caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
    talk(&call, &mut caller, &mut callee, 10, "before");
    scene.wait_for_fast_path(&call, call.for_caller).unwrap();
    let mut stranger = Party::new(&scene.trunks, Trunk::Pbx1, 7000).unwrap();
    scene.daemon.kill().unwrap();
    stranger.speak(call.for_caller).unwrap();
    talk(&call, &mut caller, &mut callee, 10, "without a daemon");
    callee.rtp.set_nonblocking(true).unwrap();
    assert_eq!(callee.hear().unwrap(), None);
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_proxy_that_is_connected_keeps_nothing_of_a_daemon_that_ends() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &["--listen-tcp-ng=127.0.0.1:2224"]).unwrap();
    let _proxy = in_namespace(&scene.trunks.relay, || Ok(TcpStream::connect("127.0.0.1:2224")?)).unwrap();
    let (mut caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
    talk(&call, &mut caller, &mut callee, 10, "before");
    assert!(scene.daemon.process().stop().unwrap().success());
    assert!(!scene.daemon.kept().pins().exists(), "nothing is left in the kernel");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_daemon_that_is_told_to_stop_ends_its_calls_or_keeps_them_as_configured() {
    for (args, keeps) in [(&[][..], false), (&["--on-stop=keep"][..], true)] {
        let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", args).unwrap();
        let (mut caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
        talk(&call, &mut caller, &mut callee, 10, "before");
        scene.wait_for_fast_path(&call, call.for_caller).unwrap();
        scene.wait_for_fast_path(&call, call.for_callee).unwrap();
        scene.daemon.signal(Signal::TERM).unwrap();
        wait_until("the daemon has ended", Duration::from_secs(5), || {
            scene.daemon.process().ended().unwrap().is_some()
        })
        .unwrap();
        let kept = scene.daemon.kept().clone();
        if keeps {
            talk(&call, &mut caller, &mut callee, 10, "without a daemon");
        } else {
            assert!(!kept.pins().exists(), "nothing is left in the kernel");
            caller.speak(call.for_caller).unwrap();
            assert_eq!(callee.hear().unwrap(), None);
        }
        scene.daemon.restart().unwrap();
        if keeps {
            assert_eq!(totals(&mut scene, &call), (40, 0));
        } else {
            assert_eq!(query(&mut scene, &call)["error-reason"], "Unknown call-id");
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_second_daemon_of_the_same_name_does_not_start_and_harms_nothing() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (mut caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
    let kept = scene.daemon.kept().clone();
    let program = loadtest::rig::daemon::binary().unwrap();
    let mut second = scene.trunks.relay.command(&program.to_string_lossy());
    second
        .args(["serve", "--listen-ng", "127.0.0.1:2299", "--interface"])
        .args(scene.trunks.interfaces().into_iter().take(1));
    second.args(["--instance", &kept.instance, "--state-dir"]).arg(&kept.state);
    let output = second.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("another daemon runs as instance"), "{said}");
    talk(&call, &mut caller, &mut callee, 5, "afterwards");
    assert!(!is_empty(&kept.pins()));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_daemon_of_the_same_name_with_another_state_folder_does_not_start_and_harms_nothing() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (mut caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
    let kept = scene.daemon.kept().clone();
    let other = tempfile::tempdir().unwrap();
    let program = loadtest::rig::daemon::binary().unwrap();
    let run = |command: &str| {
        let mut second = scene.trunks.relay.command(&program.to_string_lossy());
        second.arg(command).args(["--instance", &kept.instance, "--state-dir"]).arg(other.path());
        second.arg("--pin-dir").arg(kept.pins().parent().unwrap());
        if command == "serve" {
            second.args(["--listen-ng", "127.0.0.1:2299"]);
            second.arg("--interface").args(scene.trunks.interfaces().into_iter().take(1));
        }
        let output = second.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for command in ["serve", "flush"] {
        let (is_done, said) = run(command);
        assert!(!is_done && said.contains("daemon has"), "{command}: {said}");
    }
    talk(&call, &mut caller, &mut callee, 5, "afterwards");
    assert!(!is_empty(&kept.pins()));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn nobody_takes_a_partys_place_because_the_daemon_was_killed() {
    for engine in ["xdp", "uring"] {
        keeps_its_place(engine, true, false);
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn nobody_takes_a_partys_place_because_nothing_was_noted() {
    keeps_its_place("xdp", false, false);
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn nobody_takes_the_place_of_a_party_that_was_described_again_and_listens() {
    keeps_its_place("xdp", true, true);
}

/// A party behind a NAT that its description does not know of has talked, and only listens since; then the daemon is killed.
fn keeps_its_place(engine: &str, has_notes: bool, is_refreshed: bool) {
    let when = format!("{engine}, with notes: {has_notes}, refreshed: {is_refreshed}");
    let mut scene = Scene::new(Trunks::new().unwrap(), engine, &[]).unwrap();
    let mut caller = Party::new(&scene.trunks, Trunk::Pbx1, 4000).unwrap();
    let mut callee = Party::new(&scene.trunks, Trunk::Gateway, 6000).unwrap();
    let behind = sdp("10.9.9.9:4000".parse().unwrap());
    let described = callee.sdp();
    let exchange = |scene: &mut Scene| {
        let (from, to) = (Trunk::Pbx1.name(), Trunk::Gateway.name());
        let offer = json!({"command": "offer", "call-id": "nat", "from-tag": "a", "sdp": behind,
                "direction": [from, to]});
        let answer = json!({"command": "answer", "call-id": "nat", "from-tag": "a", "to-tag": "b",
                "sdp": described});
        [offer, answer].map(|command| {
            let reply = scene.ng.request(&command).unwrap();
            media(&reply).unwrap()
        })
    };
    let [for_callee, for_caller] = exchange(&mut scene);
    let mut talk = |caller: &mut Party, when: &str| {
        let said = caller.speak(for_caller).unwrap();
        assert_eq!(callee.hear().unwrap(), Some((said, for_callee)), "{when}");
        let said = callee.speak(for_callee).unwrap();
        assert_eq!(caller.hear().unwrap(), Some((said, for_caller)), "{when}");
    };
    for _ in 0..if is_refreshed { 35 } else { 10 } {
        talk(&mut caller, &when);
        std::thread::sleep(Duration::from_millis(100));
    }
    if is_refreshed {
        assert_eq!(exchange(&mut scene), [for_callee, for_caller]);
    }
    std::thread::sleep(Duration::from_millis(3200));
    let kept = scene.daemon.kept().clone();
    scene.daemon.kill().unwrap();
    if !has_notes {
        std::fs::remove_file(kept.state.join(&kept.instance).join("notes")).unwrap();
    }
    scene.daemon.restart().unwrap();
    let mut stranger = Party::new(&scene.trunks, Trunk::Pbx1, 4100).unwrap();
    for _ in 0..20 {
        stranger.speak(for_caller).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    talk(&mut caller, &format!("{when}: after a stranger has tried"));
    assert_eq!(stranger.hear().unwrap(), None, "{when}");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_journal_that_cannot_be_read_keeps_nobody_from_starting() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (mut caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
    talk(&call, &mut caller, &mut callee, 5, "before");
    scene.daemon.kill().unwrap();
    let kept = scene.daemon.kept().clone();
    let folder = kept.state.join(&kept.instance);
    for file in std::fs::read_dir(&folder).unwrap().flatten() {
        if file.file_name().to_string_lossy().starts_with("journal.") {
            std::fs::write(file.path(), b"intertrunk journal 99\nnobody knows").unwrap();
        }
    }
    scene.daemon.restart().unwrap();
    assert_eq!(query(&mut scene, &call)["error-reason"], "Unknown call-id");
    let names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .flatten()
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(names.iter().any(|name| name.starts_with("set-aside.")), "{names:?}");
    let (mut one, mut two) = (
        Party::new(&scene.trunks, Trunk::Pbx1, 4100).unwrap(),
        Party::new(&scene.trunks, Trunk::Gateway, 6100).unwrap(),
    );
    let other = Call::set_up(&mut scene.ng, "call-2", (&one, Trunk::Pbx1), (&two, Trunk::Gateway), &[]).unwrap();
    talk(&other, &mut one, &mut two, 5, "another call");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn what_the_fast_path_carries_goes_on_though_the_journal_is_lost() {
    for (is_ipv6, is_removed) in [([false, false], false), ([true, true], true)] {
        let mut scene = Scene::new(Trunks::dual_stack().unwrap(), "xdp", &[]).unwrap();
        let (mut caller, mut callee, call) = scene.call(is_ipv6, &[]).unwrap();
        talk(&call, &mut caller, &mut callee, 5, "before");
        for port in [call.for_caller, call.for_callee] {
            scene.wait_for_fast_path(&call, port).unwrap();
        }
        let kept = scene.daemon.kept().clone();
        scene.daemon.kill().unwrap();
        for file in std::fs::read_dir(kept.state.join(&kept.instance)).unwrap().flatten() {
            if file.file_name().to_string_lossy().starts_with("journal.") {
                if is_removed {
                    std::fs::remove_file(file.path()).unwrap();
                } else {
                    std::fs::write(file.path(), b"intertrunk journal 99\nnobody knows").unwrap();
                }
            }
        }
        // The one after the next has a journal that knows nothing of the call.
        for when in ["after the loss", "after another end"] {
            scene.daemon.restart().unwrap();
            talk(&call, &mut caller, &mut callee, 5, when);
            assert_eq!(query(&mut scene, &call)["error-reason"], "Unknown call-id");
            let statistics = scene.ng.request(&json!({"command": "statistics"})).unwrap();
            assert_eq!(statistics["statistics"]["orphans"], 2, "{when}");
            scene.daemon.kill().unwrap();
        }
        scene.daemon.restart().unwrap();
        let mut one = Party::new(&scene.trunks, Trunk::Pbx1, 4100).unwrap();
        let mut two = Party::new(&scene.trunks, Trunk::Gateway, 6100).unwrap();
        let other = Call::set_up(&mut scene.ng, "call-2", (&one, Trunk::Pbx1), (&two, Trunk::Gateway), &[]).unwrap();
        talk(&other, &mut one, &mut two, 5, "another call");
        talk(&call, &mut caller, &mut callee, 5, "beside another call");
    }
}

/// Runs a command of the daemon's program about a scene's instance; what it said, where it failed.
fn about(scene: &Scene, command: &str, args: &[&str]) -> Result<(), String> {
    let kept = scene.daemon.kept();
    let mut about = std::process::Command::new(loadtest::rig::daemon::binary().unwrap());
    about.args([command, "--instance", &kept.instance, "--state-dir"]).arg(&kept.state).args(args);
    let output = about.output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_relay_that_is_drained_takes_no_new_calls_and_ends_with_the_last_one() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (mut caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
    talk(&call, &mut caller, &mut callee, 5, "before");
    scene.daemon.signal(Signal::USR1).unwrap();
    let offer = json!({"command": "offer", "call-id": "new", "from-tag": "a", "sdp": caller.sdp()});
    let said = |scene: &mut Scene| scene.daemon.process().output().unwrap().contains("no new calls are taken");
    wait_until("it says so", Duration::from_secs(2), || said(&mut scene)).unwrap();
    assert_eq!(scene.ng.request(&offer).unwrap()["error-reason"], "Parallel session limit reached");
    renegotiate(&mut scene, &call, &mut caller, &mut callee);
    assert!(scene.daemon.process().ended().unwrap().is_none());
    let request = json!({"command": "delete", "call-id": call.id, "from-tag": "caller"});
    assert_eq!(scene.ng.request(&request).unwrap()["result"], "ok");
    assert_eq!(about(&scene, "drain", &[]), Ok(()), "it waits until the daemon has ended");
    assert!(scene.daemon.process().ended().unwrap().is_some_and(|status| status.code() == Some(DRAINED)));
    assert!(!scene.daemon.kept().pins().exists());
    assert!(about(&scene, "drain", &[]).unwrap_err().contains("no daemon runs as instance"));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_daemon_that_comes_after_one_that_was_killed_while_it_was_drained_takes_no_new_calls_either() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (mut caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
    talk(&call, &mut caller, &mut callee, 5, "before");
    scene.daemon.signal(Signal::USR1).unwrap();
    let said = |scene: &mut Scene| scene.daemon.process().output().unwrap().contains("no new calls are taken");
    wait_until("it says so", Duration::from_secs(2), || said(&mut scene)).unwrap();
    scene.daemon.kill().unwrap();
    scene.daemon.restart().unwrap();
    let offer = json!({"command": "offer", "call-id": "new", "from-tag": "a", "sdp": caller.sdp()});
    assert_eq!(scene.ng.request(&offer).unwrap()["error-reason"], "Parallel session limit reached");
    talk(&call, &mut caller, &mut callee, 5, "afterwards");
    let request = json!({"command": "delete", "call-id": call.id, "from-tag": "caller"});
    assert_eq!(scene.ng.request(&request).unwrap()["result"], "ok");
    let is_over = |scene: &mut Scene| scene.daemon.process().ended().unwrap().and_then(|status| status.code());
    wait_until("it ends", Duration::from_secs(5), || is_over(&mut scene) == Some(DRAINED)).unwrap();
    // Whoever starts it then wants it to serve.
    scene.daemon.restart().unwrap();
    assert_eq!(scene.ng.request(&offer).unwrap()["result"], "ok");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_drain_with_a_deadline_ends_what_is_left_then() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (mut caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
    talk(&call, &mut caller, &mut callee, 5, "before");
    assert_eq!(about(&scene, "drain", &["--deadline", "1"]), Ok(()));
    assert!(scene.daemon.process().ended().unwrap().is_some_and(|status| status.code() == Some(DRAINED)));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_configuration_that_is_read_again_holds_for_what_comes_and_touches_no_call() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("intertrunk.toml");
    std::fs::write(&path, "").unwrap();
    let config = path.to_string_lossy().into_owned();
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &["--config", &config]).unwrap();
    let (mut caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
    talk(&call, &mut caller, &mut callee, 5, "before");
    let reread = |scene: &mut Scene, text: &str, word: &str| {
        std::fs::write(&path, text).unwrap();
        scene.daemon.signal(Signal::HUP).unwrap();
        let said = |scene: &mut Scene| scene.daemon.process().output().unwrap().contains(word);
        wait_until(word, Duration::from_secs(2), || said(scene)).unwrap();
    };
    reread(&mut scene, "max-sessions = 1\nport-max = 39000\n", "[\\\"port-max\\\"]");
    let offer = json!({"command": "offer", "call-id": "new", "from-tag": "a", "sdp": caller.sdp()});
    assert_eq!(scene.ng.request(&offer).unwrap()["error-reason"], "Parallel session limit reached");
    reread(&mut scene, "max-sessions = \"many\"\n", "the configuration is not read again");
    reread(&mut scene, "no-such-key = 1\n", "no-such-key");
    assert_eq!(scene.ng.request(&offer).unwrap()["error-reason"], "Parallel session limit reached");
    std::fs::write(&path, "").unwrap();
    scene.daemon.signal(Signal::HUP).unwrap();
    let accepted = |scene: &mut Scene| scene.ng.request(&offer).unwrap()["result"] == "ok";
    wait_until("there is no limit any more", Duration::from_secs(2), || accepted(&mut scene)).unwrap();
    talk(&call, &mut caller, &mut callee, 5, "after");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn what_a_killed_daemon_has_left_is_flushed_and_what_a_running_one_has_is_not() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (mut caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
    talk(&call, &mut caller, &mut callee, 5, "before");
    scene.wait_for_fast_path(&call, call.for_caller).unwrap();
    assert!(about(&scene, "flush", &[]).unwrap_err().contains("stop it first"));
    scene.daemon.kill().unwrap();
    assert_eq!(about(&scene, "flush", &[]), Ok(()));
    assert!(!scene.daemon.kept().pins().exists());
    // The kernel lets a program go a moment after the last that held it.
    wait_until("nothing forwards any more", Duration::from_secs(5), || {
        caller.speak(call.for_caller).unwrap();
        callee.hear().unwrap().is_none()
    })
    .unwrap();
    scene.daemon.restart().unwrap();
    assert_eq!(query(&mut scene, &call)["error-reason"], "Unknown call-id");
}
