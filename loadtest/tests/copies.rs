//! Media that goes to more than one party, or is worked on: recorders, announcements of several branches, blocks and silence. `cargo xtask test`
//! runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::time::Duration;

use loadtest::rig::daemon::NgClient;
use loadtest::rig::party::{Call, Party};
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use serde_json::{Value, json};

/// Every way in which workers get and send packets.
const WAYS: [(&str, &[&str]); 5] =
    [("xdp", &[]), ("uring", &[]), ("epoll", &[]), ("epoll", &["--intake=xsk"]), ("uring", &["--intake=bound"])];

/// A recorder: a party for the media of each side.
struct Recorder {
    caller: Party,
    callee: Party,
    tag: String,
}

impl Recorder {
    /// Subscribes to both parties of a call, as a SIPREC client does, and answers.
    fn of(scene: &mut Scene, call: &Call, is_ipv6: bool) -> Self {
        let party = |port| match is_ipv6 {
            false => Party::new(&scene.trunks, Trunk::Pbx2, port).unwrap(),
            true => Party::new6(&scene.trunks, Trunk::Pbx2, port).unwrap(),
        };
        let (caller, callee) = (party(7000), party(7002));
        let offer = scene.ng.request(&json!({
            "command": "subscribe request", "call-id": call.id, "flags": ["all", "SIPREC"], "interface": "pbx2",
            "address family": if is_ipv6 { "IP6" } else { "IP4" },
        }));
        let offer = offer.unwrap();
        let labels: Vec<_> = offer["tag-medias"].as_array().unwrap().iter().map(|tag| &tag["tag"]).collect();
        assert_eq!(labels, ["caller", "callee"]);
        let sdp = offer["sdp"].as_str().unwrap();
        assert_eq!((sdp.matches("a=sendonly").count(), sdp.matches("a=label:").count()), (2, 2), "{sdp}");
        let tag = offer["to-tag"].as_str().unwrap().to_owned();
        let recorder = Self { caller, callee, tag };
        recorder.answer(&mut scene.ng, call);
        recorder
    }

    fn answer(&self, ng: &mut NgClient, call: &Call) {
        let (addr, second) = (self.caller.addr(), self.callee.addr().port());
        let version = if addr.is_ipv4() { 4 } else { 6 };
        let (ip, first) = (addr.ip(), addr.port());
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP{version} {ip}\r\ns=-\r\nc=IN IP{version} {ip}\r\nt=0 0\r\na=recvonly\r\n\
             m=audio {first} RTP/AVP 8\r\nm=audio {second} RTP/AVP 8\r\n"
        );
        let answer = json!({"command": "subscribe answer", "call-id": call.id, "to-tag": self.tag, "sdp": sdp});
        assert_eq!(ng.request(&answer).unwrap()["result"], "ok");
    }

    fn leave(&self, ng: &mut NgClient, call: &Call) {
        let request = json!({"command": "unsubscribe", "call-id": call.id, "to-tag": self.tag});
        assert_eq!(ng.request(&request).unwrap()["result"], "ok");
    }
}

/// The path of the stream at a local address, and why.
fn path(scene: &mut Scene, call: &Call, local: SocketAddr) -> (Value, Value) {
    let stream = call.stream(&mut scene.ng, local).unwrap();
    (stream["path"].clone(), stream["reason"].clone())
}

/// Nothing has come that was not expected.
fn is_silent(party: &Party) -> bool {
    party.rtp.set_nonblocking(true).unwrap();
    let heard = party.hear().unwrap();
    party.rtp.set_nonblocking(false).unwrap();
    heard.is_none()
}

/// Sends a command about a call that has to be carried out.
fn order(scene: &mut Scene, call: &Call, mut command: Value) {
    command["call-id"] = json!(call.id);
    assert_eq!(scene.ng.request(&command).unwrap()["result"], "ok");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_recorder_gets_every_packet_of_both_parties_once_and_the_call_does_not_notice() {
    for (engine, args) in WAYS {
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, args).unwrap();
        let (mut caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
        let (mut one, mut two) = (
            Party::new(&scene.trunks, Trunk::Pbx1, 4010).unwrap(),
            Party::new(&scene.trunks, Trunk::Gateway, 6010).unwrap(),
        );
        let other = Call::set_up(&mut scene.ng, "call-2", (&one, Trunk::Pbx1), (&two, Trunk::Gateway), &[]).unwrap();
        for (call, caller, callee) in [(&call, &mut caller, &mut callee), (&other, &mut one, &mut two)] {
            call.converse(caller, callee, 3).unwrap();
        }
        let recorder = Recorder::of(&mut scene, &call, false);
        for _ in 0..25 {
            let said = caller.speak(call.for_caller).unwrap();
            assert_eq!(callee.hear().unwrap(), Some((said.clone(), call.for_callee)), "{engine}");
            assert_eq!(recorder.caller.hear().unwrap().unwrap().0, said, "{engine}");
            let said = callee.speak(call.for_callee).unwrap();
            assert_eq!(caller.hear().unwrap(), Some((said.clone(), call.for_caller)), "{engine}");
            assert_eq!(recorder.callee.hear().unwrap().unwrap().0, said, "{engine}");
        }
        let report = [&[0x80, 200, 0, 6][..], &[7; 24]].concat();
        caller.rtcp.send_to(&report, SocketAddr::new(call.for_caller.ip(), call.for_caller.port() + 1)).unwrap();
        assert_eq!(callee.hear_rtcp().unwrap().unwrap().0, report);
        assert_eq!(recorder.caller.hear_rtcp().unwrap().unwrap().0, report);
        for party in [&caller, &callee, &recorder.caller, &recorder.callee] {
            assert!(is_silent(party), "{engine}: nothing comes twice");
        }
        if engine == "xdp" {
            assert_eq!(path(&mut scene, &call, call.for_caller), (json!("slow"), json!("fan")));
            scene.wait_for_fast_path(&other, other.for_caller).unwrap();
        }
        recorder.leave(&mut scene.ng, &call);
        call.converse(&mut caller, &mut callee, 3).unwrap();
        if engine == "xdp" {
            scene.wait_for_fast_path(&call, call.for_caller).unwrap();
        }
        assert!(is_silent(&recorder.caller) && is_silent(&recorder.callee));
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_recorder_of_the_other_family_gets_a_call_too() {
    for engine in ["xdp", "uring"] {
        let mut scene = Scene::new(Trunks::dual_stack().unwrap(), engine, &[]).unwrap();
        let (mut caller, mut callee, call) = scene.call([false, true], &[]).unwrap();
        let recorder = Recorder::of(&mut scene, &call, true);
        for _ in 0..5 {
            let said = caller.speak(call.for_caller).unwrap();
            assert_eq!(callee.hear().unwrap().unwrap().0, said);
            assert_eq!(recorder.caller.hear().unwrap().unwrap().0, said, "{engine}");
            let said = callee.speak(call.for_callee).unwrap();
            assert_eq!(caller.hear().unwrap().unwrap().0, said);
            assert_eq!(recorder.callee.hear().unwrap().unwrap().0, said, "{engine}");
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_recorder_that_vanishes_or_never_answers_costs_the_call_nothing() {
    for (engine, args) in WAYS {
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, args).unwrap();
        let (mut caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
        call.converse(&mut caller, &mut callee, 2).unwrap();
        // This one never answers.
        order(&mut scene, &call, json!({"command": "subscribe request", "from-tags": ["caller"], "interface": "pbx2"}));
        call.converse(&mut caller, &mut callee, 2).unwrap();
        let recorder = Recorder::of(&mut scene, &call, false);
        call.converse(&mut caller, &mut callee, 2).unwrap();
        // Its ports are closed: its host says so to the relay with each packet.
        drop(recorder);
        call.converse(&mut caller, &mut callee, 20).unwrap();
        let stream = call.stream(&mut scene.ng, call.for_caller).unwrap();
        assert_eq!(stream["lost"], 0, "{engine}");
        order(&mut scene, &call, json!({"command": "delete", "delete-delay": 0}));
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_party_that_is_silenced_is_heard_as_silence_and_one_that_is_blocked_not_at_all() {
    for (engine, args) in WAYS {
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, args).unwrap();
        let (mut caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
        call.converse(&mut caller, &mut callee, 3).unwrap();
        let of_caller = |command: &str| json!({"command": command, "from-tag": "caller", "flags": ["directional"]});
        order(&mut scene, &call, of_caller("silence media"));
        for _ in 0..3 {
            let said = caller.speak(call.for_caller).unwrap();
            let (heard, _) = callee.hear().unwrap().unwrap();
            assert_eq!((&heard[..12], &heard[12..]), (&said[..12], &[0xd5; 160][..]), "{engine}");
            let said = callee.speak(call.for_callee).unwrap();
            assert_eq!(caller.hear().unwrap().unwrap().0, said, "{engine}");
        }
        order(&mut scene, &call, of_caller("unsilence media"));
        call.converse(&mut caller, &mut callee, 3).unwrap();
        order(&mut scene, &call, of_caller("block media"));
        for _ in 0..5 {
            caller.speak(call.for_caller).unwrap();
        }
        let said = callee.speak(call.for_callee).unwrap();
        assert_eq!(caller.hear().unwrap().unwrap().0, said);
        // Nobody hears when the worker has had them.
        let mut stream = json!(null);
        let counted = wait_until("all are counted", Duration::from_secs(2), || {
            stream = call.stream(&mut scene.ng, call.for_caller).unwrap();
            stream["stats"]["errors"] == 5
        });
        assert!(counted.is_ok() && stream["reason"] == "blocked", "{engine}: {stream}");
        assert!(is_silent(&callee));
        order(&mut scene, &call, of_caller("unblock media"));
        call.converse(&mut caller, &mut callee, 3).unwrap();
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn what_is_blocked_dies_in_the_xdp_program() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (mut caller, mut callee, call) = scene.call([false, false], &[]).unwrap();
    call.converse(&mut caller, &mut callee, 3).unwrap();
    scene.wait_for_fast_path(&call, call.for_caller).unwrap();
    order(&mut scene, &call, json!({"command": "block media"}));
    for _ in 0..50 {
        caller.speak(call.for_caller).unwrap();
    }
    let said = callee.speak(call.for_callee).unwrap();
    assert!(!said.is_empty() && callee.hear().unwrap().is_none());
    let statistics = scene.ng.request(&json!({"command": "statistics"})).unwrap();
    let program = &statistics["statistics"]["reasons"]["program"];
    assert_eq!(program["blocked"], 51, "{program}");
}
