//! What parties hear although nobody says it: recordings that the workers play. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use loadtest::rig::daemon::NgClient;
use loadtest::rig::exchange::Exchange;
use loadtest::rig::party::{Call, Party, sdp};
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use serde_json::{Value, json};

/// Every way in which workers get and send packets.
const WAYS: [(&str, &[&str]); 4] = [("xdp", &[]), ("uring", &[]), ("epoll", &[]), ("uring", &["--intake=bound"])];

/// A file of so many packets of A-law, the octets of each its number.
fn recording(folder: &Path, packets: u8) -> PathBuf {
    let format = [6, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x40, 0x1f, 0, 0, 1, 0, 8, 0];
    let mut file = [&b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0"[..], &format, b"data"].concat();
    file.extend((u32::from(packets) * 160).to_le_bytes());
    file.extend((1..=packets).flat_map(|number| [number; 160]));
    let path = folder.join("recording.wav");
    std::fs::write(&path, file).unwrap();
    path
}

fn ask(ng: &mut NgClient, call: &Call, mut command: Value) -> Value {
    command["call-id"] = json!(call.id);
    ng.request(&command).unwrap()
}

/// The number of the packet of the recording that a packet is.
fn number(packet: &[u8]) -> u8 {
    assert_eq!((packet.len(), packet[0], packet[1] & 0x7f), (172, 0x80, 8));
    assert!(packet[12..].iter().all(|octet| *octet == packet[12]), "one packet of the recording");
    packet[12]
}

/// What a party hears until nothing comes any more: the numbers of packets, and from where.
fn numbers(party: &Party, from: SocketAddr) -> Vec<u8> {
    let mut numbers = Vec::new();
    while let Some((packet, sender)) = party.hear().unwrap() {
        assert_eq!(sender, from);
        numbers.push(number(&packet));
    }
    numbers
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_party_hears_a_file_from_its_beginning_to_its_end_by_every_engine_in_both_families() {
    for (engine, args) in WAYS {
        for is_ipv6 in [false, true] {
            let mut scene = Scene::new(Trunks::dual_stack().unwrap(), engine, args).unwrap();
            let (mut caller, mut callee, call) = scene.call([is_ipv6, is_ipv6], &[]).unwrap();
            call.converse(&mut caller, &mut callee, 3).unwrap();
            let file = recording(scene.folder.path(), 5);
            let play = json!({"command": "play media", "from-tag": "caller", "file": file, "repeat-times": 2});
            let reply = ask(&mut scene.ng, &call, play);
            assert_eq!((&reply["result"], &reply["duration"]), (&json!("ok"), &json!(100)), "{engine}: {reply}");
            assert_eq!(numbers(&caller, call.for_caller), [1, 2, 3, 4, 5, 1, 2, 3, 4, 5], "{engine} {is_ipv6}");
            // The two talk as before, and by the fast path.
            call.converse(&mut caller, &mut callee, 3).unwrap();
            if engine == "xdp" {
                scene.wait_for_fast_path(&call, call.for_caller).unwrap();
                scene.wait_for_fast_path(&call, call.for_callee).unwrap();
            }
            ask(&mut scene.ng, &call, json!({"command": "delete", "delete-delay": 0}));
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn what_is_played_is_heard_beside_the_other_party_until_it_is_stopped() {
    for (engine, args) in WAYS {
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, args).unwrap();
        let (mut caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
        call.converse(&mut caller, &mut callee, 3).unwrap();
        let file = recording(scene.folder.path(), 250);
        let play = json!({"command": "play media", "from-tag": "callee", "file": file, "start-pos": 100, "repeat-duration": 60_000});
        ask(&mut scene.ng, &call, play);
        assert_eq!(number(&callee.hear().unwrap().unwrap().0), 6, "{engine}");
        let said = caller.speak(call.for_caller).unwrap();
        let mut heard = Vec::new();
        for _ in 0..10 {
            let (packet, from) = callee.hear().unwrap().unwrap();
            assert_eq!(from, call.for_callee);
            heard.push(packet);
        }
        assert_eq!(heard.iter().filter(|packet| **packet == said).count(), 1, "{engine}");
        let stream = call.stream(&mut scene.ng, call.for_caller).unwrap();
        let reply = ask(&mut scene.ng, &call, json!({"command": "stop media", "from-tag": "callee"}));
        let position = reply["last-frame-pos"].as_i64().unwrap();
        assert!((100 + 200..2000).contains(&position) && position % 20 == 0, "{engine}: {reply}, {stream}");
        // What was under way.
        while callee.hear().unwrap().is_some() {}
        call.converse(&mut caller, &mut callee, 3).unwrap();
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn packets_of_a_recording_come_every_20_ms() {
    for (engine, args) in WAYS {
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, args).unwrap();
        let (caller, _callee, call) = scene.call([false, false], &[]).unwrap();
        let file = recording(scene.folder.path(), 100);
        ask(&mut scene.ng, &call, json!({"command": "play media", "from-tag": "caller", "file": file}));
        let mut came = Vec::new();
        for sequence in 1..=100 {
            let (packet, _) = caller.hear().unwrap().unwrap();
            assert_eq!(number(&packet), sequence);
            came.push(Instant::now() - Duration::from_millis(20) * u32::from(sequence));
        }
        // Not all at once. How exact the time is, is no test's business; it is counted by the one that was the earliest.
        let took = came[99].saturating_duration_since(came[0]) + Duration::from_millis(20) * 99;
        assert!(took > Duration::from_secs(1), "{engine}: {took:?}");
        came.sort();
        let late = |of: usize| came[of].saturating_duration_since(came[0]);
        println!(
            "{engine} {args:?}: late by {:?} (half), {:?} (nine of ten), {:?} (all)",
            late(50),
            late(90),
            late(99)
        );
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_recording_follows_a_party_that_moves_and_ends_with_its_call() {
    for (engine, args) in WAYS {
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, args).unwrap();
        let (mut caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
        call.converse(&mut caller, &mut callee, 3).unwrap();
        let file = recording(scene.folder.path(), 250);
        let play = json!({"command": "play media", "from-tag": "caller", "file": file, "repeat-times": 99});
        ask(&mut scene.ng, &call, play);
        caller.hear().unwrap().unwrap();
        let moved = Party::new(&scene.trunks, Trunk::Pbx1, 4020).unwrap();
        let offer = json!({"command": "offer", "from-tag": "caller", "to-tag": "callee", "sdp": sdp(moved.addr())});
        ask(&mut scene.ng, &call, offer);
        let answer = json!({"command": "answer", "from-tag": "caller", "to-tag": "callee", "sdp": sdp(callee.addr())});
        ask(&mut scene.ng, &call, answer);
        let (packet, from) = moved.hear().unwrap().unwrap();
        assert_eq!((number(&packet) > 1, from), (true, call.for_caller), "{engine}");
        ask(&mut scene.ng, &call, json!({"command": "delete", "delete-delay": 0}));
        wait_until("the recording has ended", Duration::from_secs(5), || moved.hear().unwrap().is_none()).unwrap();
        drop((caller, callee.packet()));
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn what_cannot_be_played_is_refused_with_the_reason() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "uring", &[]).unwrap();
    let (_caller, _callee, call) = scene.call([false, false], &[]).unwrap();
    let refused = |scene: &mut Scene, command: Value| {
        let reply = ask(&mut scene.ng, &call, command);
        assert_eq!(reply["result"], "error", "{reply}");
        reply["error-reason"].as_str().unwrap().to_owned()
    };
    let of_caller = |file: &str| json!({"command": "play media", "from-tag": "caller", "file": file});
    for (file, why) in
        [("/nowhere.wav", "No such file"), ("/dev/zero", "no regular file"), ("/etc/passwd", "no WAV file")]
    {
        let error = refused(&mut scene, of_caller(file));
        assert!(error.starts_with("Failed to start media playback from file: ") && error.contains(why), "{error}");
    }
    assert_eq!(refused(&mut scene, json!({"command": "play media", "from-tag": "caller"})), "No media file specified");
    assert_eq!(
        refused(&mut scene, json!({"command": "play media", "file": "/etc/passwd"})),
        "No participant party specified"
    );
    let stopped = ask(&mut scene.ng, &call, json!({"command": "stop media", "from-tag": "caller"}));
    assert_eq!((&stopped["result"], &stopped["last-frame-pos"]), (&json!("ok"), &json!(0)));
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn kamailios_play_media_is_heard_and_tells_its_duration_and_stop_media_ends_it() {
    let mut exchange = Exchange::configured(Trunks::new().unwrap(), "forks.cfg", 0).unwrap();
    let file = recording(exchange.scene.folder.path(), 50);
    let mut caller = exchange.agent(Trunk::Pbx1).unwrap();
    let mut callee = exchange.agent(Trunk::Gateway).unwrap();
    caller.connect("gateway", &mut callee).unwrap();
    caller.converse(&mut callee, 3).unwrap();
    caller.request("INFO", &format!("X-Play: {}\r\n", file.display()), "").unwrap();
    caller.hear_status("INFO", 200).unwrap();
    assert_eq!(number(&caller.party.hear().unwrap().unwrap().0), 1);
    let call_id = caller.call_id().to_owned();
    let told = format!("{call_id} hears 1000 ms");
    wait_until("the script has logged it", Duration::from_secs(3), || exchange.proxy.log().unwrap().contains(&told))
        .unwrap();
    caller.request("INFO", "X-Stop: yes\r\n", "").unwrap();
    caller.hear_status("INFO", 200).unwrap();
    let mut packets = 0;
    while caller.party.hear().unwrap().is_some() {
        packets += 1;
    }
    assert!(packets < 90, "{packets} of 99: it was stopped");
    caller.converse(&mut callee, 3).unwrap();
    caller.hang_up(&mut callee).unwrap();
    caller.wait_until_forgotten(&mut exchange.scene.ng).unwrap();
}
