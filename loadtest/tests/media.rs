//! What the relay does with media, packet by packet, with parties that the tests play. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::time::Duration;

use loadtest::rig::party::{Call, Party, media};
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{FAR_DEVICE, Trunk, Trunks};
use loadtest::rtp::Ssrc;
use serde_json::{Value, json};

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn the_second_packet_of_a_stream_is_on_the_fast_path() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (mut caller, callee, call) = scene.call([false, false], &[]).unwrap();
    let sent = caller.speak(call.for_caller).unwrap();
    assert_eq!(
        callee.hear().unwrap().unwrap(),
        (sent, call.for_callee),
        "the learning packet is not lost, and comes from the relay"
    );
    scene.wait_for_fast_path(&call, call.for_caller).unwrap();
    for _ in 0..20 {
        let sent = caller.speak(call.for_caller).unwrap();
        assert_eq!(callee.hear().unwrap().unwrap(), (sent, call.for_callee));
    }
    assert_eq!(scene.packets(&call, call.for_caller).unwrap(), (20, 1));
    let stream = call.stream(&mut scene.ng, call.for_caller).unwrap();
    assert_eq!((&stream["lost"], &stream["out of order"]), (&json!(0), &json!(0)));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn trusted_signalling_is_on_the_fast_path_from_the_first_packet() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (mut caller, callee, call) = scene.call([false, false], &["endpoint-learning-off"]).unwrap();
    // Only the neighbour has to be known.
    scene.wait_for_fast_path(&call, call.for_caller).unwrap();
    for _ in 0..20 {
        let sent = caller.speak(call.for_caller).unwrap();
        assert_eq!(callee.hear().unwrap().unwrap(), (sent, call.for_callee));
    }
    assert_eq!(scene.packets(&call, call.for_caller).unwrap(), (20, 0));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_party_behind_a_nat_is_answered_where_it_was_heard() {
    for engine in ["xdp", "uring", "epoll"] {
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, &[]).unwrap();
        let (_caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
        // The caller signalled port 4000 and sends from 5000.
        let mut behind_nat = Party::new(&scene.trunks, Trunk::Pbx1, 5000).unwrap();
        behind_nat.speak(call.for_caller).unwrap();
        assert!(callee.hear().unwrap().is_some());
        for _ in 0..3 {
            let sent = callee.speak(call.for_callee).unwrap();
            assert_eq!(behind_nat.hear().unwrap().unwrap(), (sent, call.for_caller), "{engine}");
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn rtcp_that_is_not_read_takes_the_fast_path_on_its_own_ports() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &["--measure-rtcp=false"]).unwrap();
    let (caller, callee, call) = scene.call([false, false], &[]).unwrap();
    let report = [&[0x80, 200, 0, 6][..], &[7; 24]].concat();
    let (local, seen_from) =
        (SocketAddr::new(call.for_caller.ip(), call.for_caller.port() + 1), call.for_callee.port() + 1);
    caller.rtcp.send_to(&report, local).unwrap();
    assert!(callee.hear_rtcp().unwrap().is_some());
    scene.wait_for_fast_path(&call, local).unwrap();
    caller.rtcp.send_to(&report, local).unwrap();
    let (heard, from) = callee.hear_rtcp().unwrap().unwrap();
    assert_eq!((heard, from), (report, SocketAddr::new(call.for_callee.ip(), seen_from)));
    assert_eq!(scene.packets(&call, local).unwrap(), (1, 1));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_call_between_two_parties_on_one_trunk_leaves_by_the_device_it_came_from() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (mut caller, callee) =
        (Party::new(&scene.trunks, Trunk::Pbx1, 4000).unwrap(), Party::new(&scene.trunks, Trunk::Pbx1, 6000).unwrap());
    let call = Call::set_up(
        &mut scene.ng,
        "call-1",
        (&caller, Trunk::Pbx1),
        (&callee, Trunk::Pbx1),
        &["endpoint-learning-off"],
    )
    .unwrap();
    scene.wait_for_fast_path(&call, call.for_caller).unwrap();
    let sent = caller.speak(call.for_caller).unwrap();
    assert_eq!(callee.hear().unwrap().unwrap(), (sent, call.for_callee));
    assert_eq!(scene.packets(&call, call.for_caller).unwrap(), (1, 0));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_device_that_loses_what_xdp_sends_costs_no_packet() {
    // Without a program at the far end of its cable, what XDP sends by the gateway's device does not arrive.
    let mut trunks = Trunks::new().unwrap();
    trunks.refuse_xdp_frames(Trunk::Gateway);
    let mut scene = Scene::new(trunks, "xdp", &[]).unwrap();
    let (mut caller, callee, call) = scene.call([false, false], &["endpoint-learning-off"]).unwrap();
    for _ in 0..20 {
        let sent = caller.speak(call.for_caller).unwrap();
        assert_eq!(callee.hear().unwrap().unwrap(), (sent, call.for_callee));
    }
    assert_eq!(scene.packets(&call, call.for_caller).unwrap(), (0, 20));
    let stream = call.stream(&mut scene.ng, call.for_caller).unwrap();
    assert_eq!((&stream["path"], &stream["reason"]), (&json!("slow"), &json!("device-loses")));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_stranger_is_heard_by_nobody() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (mut caller, callee, call) = scene.call([false, false], &[]).unwrap();
    caller.speak(call.for_caller).unwrap();
    assert!(callee.hear().unwrap().is_some());
    let mut stranger = Party::new(&scene.trunks, Trunk::Pbx1, 7000).unwrap();
    stranger.speak(call.for_caller).unwrap();
    let sent = caller.speak(call.for_caller).unwrap();
    assert_eq!(callee.hear().unwrap().unwrap().0, sent, "the next packet heard is the caller's");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn malformed_packets_harm_nobody_and_are_counted() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (mut caller, callee, call) = scene.call([false, false], &[]).unwrap();
    caller.speak(call.for_caller).unwrap();
    assert!(callee.hear().unwrap().is_some());
    scene.wait_for_fast_path(&call, call.for_caller).unwrap();
    // What a party sends from its own address is its business: it is relayed, by the slow path, whatever it is.
    let report = [&[0x80, 200, 0, 6][..], &[7; 24]].concat();
    for odd in [&b""[..], b"\x80", &[0; 30], &report, &[0x16; 100], &[0xff; 1400]] {
        caller.rtp.send_to(odd, call.for_caller).unwrap();
        assert_eq!(callee.hear().unwrap().unwrap().0, odd);
    }
    // A datagram in two fragments arrives, too.
    let large = [&caller.packet()[..], &[9; 1700]].concat();
    caller.rtp.send_to(&large, call.for_caller).unwrap();
    let (fast, _) = scene.packets(&call, call.for_caller).unwrap();
    let sent = caller.speak(call.for_caller).unwrap();
    let mut heard = callee.hear().unwrap().unwrap().0;
    if heard == large {
        heard = callee.hear().unwrap().unwrap().0;
    }
    assert_eq!(heard, sent);
    assert_eq!(scene.packets(&call, call.for_caller).unwrap().0, fast + 1);
    let statistics = scene.ng.request(&json!({"command": "statistics"})).unwrap();
    assert!(statistics["statistics"]["reasons"]["program"]["too-short"].as_i64().unwrap() > 0, "{statistics}");
    scene.daemon.process().stop().unwrap();
    let log = scene.daemon.log().unwrap();
    let stopped = log.iter().find(|line| line["fields"]["message"] == "stopped").unwrap();
    let passed = stopped["fields"]["passed"].as_str().unwrap();
    for reason in ["inactive=", "not-media=", "too-short=", "rtcp-on-rtp=", "fragment="] {
        assert!(passed.contains(reason), "{reason} in {passed}");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_new_synchronisation_source_is_followed_without_loss() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (mut caller, callee, call) = scene.call([false, false], &[]).unwrap();
    for ssrc in [1, 2] {
        caller.set_ssrc(Ssrc(ssrc));
        for _ in 0..10 {
            let sent = caller.speak(call.for_caller).unwrap();
            assert_eq!(callee.hear().unwrap().unwrap().0, sent);
        }
    }
    let (fast, slow) = scene.packets(&call, call.for_caller).unwrap();
    assert_eq!(fast + slow, 20);
    let stream = call.stream(&mut scene.ng, call.for_caller).unwrap();
    assert_eq!((&stream["lost"], &stream["SSRC"]), (&json!(0), &json!(2)));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn after_the_delete_nothing_passes_and_the_reply_has_the_account() {
    for engine in ["xdp", "uring", "epoll"] {
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, &[]).unwrap();
        let (mut caller, callee, call) = scene.call([false, false], &[]).unwrap();
        for _ in 0..5 {
            caller.speak(call.for_caller).unwrap();
            assert!(callee.hear().unwrap().is_some());
        }
        let reply = scene.ng.request(&json!({"command": "delete", "call-id": call.id, "from-tag": "caller"})).unwrap();
        assert_eq!(reply["totals"]["RTP"]["packets"], json!(5), "{engine}");
        caller.speak(call.for_caller).unwrap();
        assert_eq!(callee.hear().unwrap(), None, "{engine}");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_call_without_media_is_ended() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "uring", &["--timeout", "1"]).unwrap();
    let (_caller, _callee, call) = scene.call([false, false], &[]).unwrap();
    wait_until("the call has timed out", Duration::from_secs(5), || {
        let reply = scene.ng.request(&json!({"command": "query", "call-id": call.id})).unwrap();
        reply.get("error-reason").and_then(Value::as_str) == Some("Unknown call-id")
    })
    .unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn type_of_service_is_written_on_both_paths() {
    for engine in ["xdp", "uring", "epoll"] {
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, &["--tos", "184"]).unwrap();
        let (mut caller, callee, call) = scene.call([false, false], &[]).unwrap();
        let file = scene.folder.path().join("tos.pcap");
        let capture =
            loadtest::rig::capture::Capture::start(scene.trunks.far(Trunk::Gateway), FAR_DEVICE, &file).unwrap();
        for _ in 0..4 {
            caller.speak(call.for_caller).unwrap();
            assert!(callee.hear().unwrap().is_some());
        }
        capture.stop().unwrap();
        let reader = loadtest::pcap::Reader::open(&file).unwrap();
        let link = reader.link_type();
        let records: Vec<_> = reader.map(|record| record.unwrap().bytes).collect();
        let datagrams: Vec<_> = records.iter().filter_map(|bytes| loadtest::frame::decode(link, bytes).udp()).collect();
        assert_eq!(datagrams.len(), 4, "{engine}");
        assert!(
            datagrams.iter().all(|datagram| datagram.tos == 184 && datagram.ip_checksum_ok && datagram.udp_checksum_ok),
            "{engine}"
        );
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn what_is_blocked_is_not_heard_until_it_is_unblocked() {
    for engine in ["xdp", "uring"] {
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, &[]).unwrap();
        let (mut caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
        call.converse(&mut caller, &mut callee, 5).unwrap();
        let block = |scene: &mut Scene, command: &str| {
            let request =
                json!({"command": command, "call-id": call.id, "from-tag": "caller", "flags": ["directional"]});
            assert_eq!(scene.ng.request(&request).unwrap(), json!({"result": "ok"}));
        };
        block(&mut scene, "block media");
        caller.speak(call.for_caller).unwrap();
        // The other direction is open, and what is heard next is not what was blocked.
        let said = callee.speak(call.for_callee).unwrap();
        assert_eq!(caller.hear().unwrap().unwrap(), (said, call.for_caller), "{engine}");
        // The open direction does not wait for the worker that loses what is blocked.
        let mut stream = Value::Null;
        wait_until("what is blocked is counted", Duration::from_secs(5), || {
            stream = call.stream(&mut scene.ng, call.for_caller).unwrap();
            stream["stats"]["errors"] != json!(0)
        })
        .unwrap();
        assert_eq!((&stream["reason"], &stream["stats"]["errors"]), (&json!("blocked"), &json!(1)), "{engine}");
        block(&mut scene, "unblock media");
        call.converse(&mut caller, &mut callee, 5).unwrap();
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn an_interface_has_its_own_ports_and_its_turn() {
    let trunks = Trunks::new().unwrap();
    let near = Trunk::Pbx1.near();
    let turns =
        [format!("more:1/{near} ports 21000-21001"), format!("more:2/{} ports 22000-22001", Trunk::Gateway.near())];
    let mut command = trunks.relay.command(&loadtest::rig::daemon::binary().unwrap().to_string_lossy());
    command.args(["serve", "--log-format", "json", "--engine", "xdp", "--listen-ng", loadtest::rig::daemon::NG]);
    command.args(["--interface", &turns[0], "--interface", &turns[1]]);
    let folder = tempfile::tempdir().unwrap();
    let _daemon = loadtest::rig::daemon::Daemon::start_command(command, folder.path()).unwrap();
    let mut ng = loadtest::rig::daemon::NgClient::new(&trunks).unwrap();
    let mut caller = Party::new(&trunks, Trunk::Pbx1, 4000).unwrap();
    let mut callee = Party::new(&trunks, Trunk::Gateway, 5000).unwrap();
    let direction = json!(["more:1", "more:2"]);
    let offer =
        json!({"command": "offer", "call-id": "1", "from-tag": "a", "sdp": caller.sdp(), "direction": direction});
    let offer = ng.request(&offer).unwrap();
    let answer = json!({"command": "answer", "call-id": "1", "from-tag": "a", "to-tag": "b", "sdp": callee.sdp()});
    let answer = ng.request(&answer).unwrap();
    let (for_caller, for_callee) = (media(&answer).unwrap(), media(&offer).unwrap());
    assert_eq!((for_caller.port(), for_callee.port()), (21000, 22000));
    for _ in 0..5 {
        let sent = caller.speak(for_caller).unwrap();
        assert_eq!(callee.hear().unwrap().unwrap(), (sent, for_callee));
        let sent = callee.speak(for_callee).unwrap();
        assert_eq!(caller.hear().unwrap().unwrap(), (sent, for_caller));
    }
    let full = json!({"command": "offer", "call-id": "2", "from-tag": "a", "sdp": caller.sdp(), "direction": ["more", "more"]});
    assert_eq!(ng.request(&full).unwrap()["error-reason"], "Ran out of ports");
}
