//! Calls between IPv4 and IPv6 parties, with packets on the wire. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use loadtest::rig::party::{Party, media};
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use serde_json::json;

fn scene(engine: &str) -> Scene {
    Scene::new(Trunks::dual_stack().unwrap(), engine, &["--measure-rtcp=false"]).unwrap()
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_call_within_ipv6_is_on_the_fast_path_from_the_second_packet() {
    let mut scene = scene("xdp");
    let (mut caller, mut callee, call) = scene.call([true, true], &[]).unwrap();
    call.converse(&mut caller, &mut callee, 1).unwrap();
    for local in [call.for_caller, call.for_callee] {
        scene.wait_for_fast_path(&call, local).unwrap();
    }
    call.converse(&mut caller, &mut callee, 20).unwrap();
    for local in [call.for_caller, call.for_callee] {
        assert_eq!(scene.packets(&call, local).unwrap(), (20, 1));
        assert_eq!(call.stream(&mut scene.ng, local).unwrap()["family"], json!("IPv6"));
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_call_within_ipv6_whose_signalling_is_trusted_is_on_the_fast_path_from_the_first_packet() {
    let mut scene = scene("xdp");
    let (mut caller, mut callee, call) = scene.call([true, true], &["endpoint-learning-off"]).unwrap();
    for local in [call.for_caller, call.for_callee] {
        scene.wait_for_fast_path(&call, local).unwrap();
    }
    call.converse(&mut caller, &mut callee, 20).unwrap();
    assert_eq!(scene.packets(&call, call.for_caller).unwrap(), (20, 0));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_call_within_ipv6_is_carried_without_xdp_too() {
    let mut scene = scene("uring");
    let (mut caller, mut callee, call) = scene.call([true, true], &[]).unwrap();
    call.converse(&mut caller, &mut callee, 20).unwrap();
    assert_eq!(scene.packets(&call, call.for_callee).unwrap(), (0, 20));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_call_between_the_families_is_carried_by_the_slow_path_which_says_why() {
    for engine in ["xdp", "uring", "epoll"] {
        for is_ipv6 in [[false, true], [true, false]] {
            let mut scene = scene(engine);
            let (mut caller, mut callee, call) = scene.call(is_ipv6, &[]).unwrap();
            call.converse(&mut caller, &mut callee, 20).unwrap();
            assert_eq!(scene.packets(&call, call.for_caller).unwrap(), (0, 20), "{engine}");
            let stream = call.stream(&mut scene.ng, call.for_caller).unwrap();
            let reason = if engine == "xdp" { "family".to_owned() } else { format!("engine-{engine}") };
            assert_eq!((&stream["path"], &stream["reason"]), (&json!("slow"), &json!(reason)));
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn rtcp_of_ipv6_takes_the_fast_path_on_its_own_ports() {
    let mut scene = scene("xdp");
    let (caller, callee, call) = scene.call([true, true], &["endpoint-learning-off"]).unwrap();
    let report = [&[0x80, 200, 0, 6][..], &[7; 24]].concat();
    let mut local = call.for_caller;
    local.set_port(local.port() + 1);
    scene.wait_for_fast_path(&call, local).unwrap();
    caller.rtcp.send_to(&report, local).unwrap();
    assert_eq!(callee.hear_rtcp().unwrap().unwrap().0, report);
    assert_eq!(scene.packets(&call, local).unwrap(), (1, 0));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn an_answer_in_another_family_than_the_offer_has_media_both_ways() {
    for engine in ["xdp", "uring", "epoll"] {
        let mut scene = scene(engine);
        let mut caller = Party::new(&scene.trunks, Trunk::Pbx1, 4000).unwrap();
        let callee6 = Party::new6(&scene.trunks, Trunk::Gateway, 6000).unwrap();
        // It was told of an IPv4 address, and sends there by its own.
        let mut callee4 = Party::new(&scene.trunks, Trunk::Gateway, 6000).unwrap();
        for party in [&caller, &callee4, &callee6] {
            party.rtp.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
        }
        let offer = scene.ng.request(&json!({"command": "offer", "call-id": "1", "from-tag": "a", "sdp": caller.sdp(),
            "direction": ["pbx1", "gateway"]}));
        let answer = scene.ng.request(
            &json!({"command": "answer", "call-id": "1", "from-tag": "a", "to-tag": "b", "sdp": callee6.sdp()}),
        );
        let (for_callee, for_caller) = (media(&offer.unwrap()).unwrap(), media(&answer.unwrap()).unwrap());
        assert!(for_callee.is_ipv4() && for_caller.is_ipv4());
        for _ in 0..10 {
            let sent = caller.speak(for_caller).unwrap();
            let (heard, from) = callee6.hear().unwrap().unwrap();
            assert!(heard == sent && from.is_ipv6(), "{engine}");
            let sent = callee4.speak(for_callee).unwrap();
            assert_eq!(caller.hear().unwrap(), Some((sent, for_caller)), "{engine}");
        }
    }
}
