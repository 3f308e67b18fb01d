//! RTP and RTCP by one port (RFC 5761), with packets on the wire. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::time::Duration;

use loadtest::rig::party::{Party, media};
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use serde_json::json;

/// A sender report, as far as anybody looks.
fn report() -> Vec<u8> {
    [&[0x80, 200, 0, 6][..], &[7; 24]].concat()
}

/// A call whose caller shares a port, and whose callee does so or not. What each of them sends to.
fn call(scene: &mut Scene, callee_shares: bool) -> (Party, Party, SocketAddr, SocketAddr) {
    let caller = Party::new(&scene.trunks, Trunk::Pbx1, 4000).unwrap();
    let callee = Party::new(&scene.trunks, Trunk::Gateway, 6000).unwrap();
    let wish = "a=rtcp-mux\r\n";
    let offer = scene.ng.request(&json!({
        "command": "offer", "call-id": "call-1", "from-tag": "caller", "sdp": caller.sdp() + wish,
        "direction": ["pbx1", "gateway"], "rtcp-mux": if callee_shares { json!([]) } else { json!(["demux"]) },
    }));
    let answer = scene.ng.request(&json!({
        "command": "answer", "call-id": "call-1", "from-tag": "caller", "to-tag": "callee",
        "sdp": callee.sdp() + if callee_shares { wish } else { "" },
    }));
    let (offer, answer) = (offer.unwrap(), answer.unwrap());
    assert!(answer["sdp"].as_str().unwrap().contains(wish), "{answer}");
    assert_eq!(offer["sdp"].as_str().unwrap().contains(wish), callee_shares, "{offer}");
    (caller, callee, media(&answer).unwrap(), media(&offer).unwrap())
}

/// What the reply to a delete says: packets of the RTCP streams by the fast and the slow path.
fn rtcp_packets(scene: &mut Scene) -> Vec<(i64, i64)> {
    let reply = scene.ng.request(&json!({"command": "delete", "call-id": "call-1", "from-tag": "caller"})).unwrap();
    let tags = reply["tags"].as_object().unwrap().values();
    let streams = tags.flat_map(|tag| tag["medias"][0]["streams"].as_array().unwrap());
    streams
        .filter(|stream| stream["flags"].as_array().unwrap().contains(&json!("RTCP")))
        .map(|stream| (stream["fast packets"].as_i64().unwrap(), stream["slow packets"].as_i64().unwrap()))
        .collect()
}

/// Waits until the next hops of both directions are known, which takes a moment after the first packets.
fn wait_for_next_hops(scene: &mut Scene) {
    wait_until("both directions are on the fast path", Duration::from_secs(5), || {
        let reply = scene.ng.request(&json!({"command": "query", "call-id": "call-1"})).unwrap();
        let mut tags = reply["tags"].as_object().unwrap().values();
        tags.all(|tag| tag["medias"][0]["streams"][0]["path"] == "fast")
    })
    .unwrap();
}

/// Has both parties be heard once: the relay knows them then.
fn introduce(scene: &mut Scene, engine: &str, caller: (&mut Party, SocketAddr), callee: (&mut Party, SocketAddr)) {
    caller.0.speak(caller.1).unwrap();
    assert!(callee.0.hear().unwrap().is_some());
    callee.0.speak(callee.1).unwrap();
    assert!(caller.0.hear().unwrap().is_some());
    if engine == "xdp" {
        wait_for_next_hops(scene);
    }
}

fn next(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), addr.port() + 1)
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn parties_that_share_their_ports_get_rtp_and_rtcp_by_one_port() {
    // The party's RTP was heard before its first RTCP.
    for (engine, expected) in [("xdp", (5, 0)), ("uring", (0, 5)), ("epoll", (0, 5))] {
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, &["--measure-rtcp=false"]).unwrap();
        let (mut caller, mut callee, for_caller, for_callee) = call(&mut scene, true);
        introduce(&mut scene, engine, (&mut caller, for_caller), (&mut callee, for_callee));
        for _ in 0..5 {
            caller.speak(for_caller).unwrap();
            assert_eq!(callee.hear().unwrap().unwrap().1, for_callee);
            callee.speak(for_callee).unwrap();
            assert_eq!(caller.hear().unwrap().unwrap().1, for_caller);
            caller.rtp.send_to(&report(), for_caller).unwrap();
            assert_eq!(callee.hear().unwrap().unwrap(), (report(), for_callee), "{engine}");
            callee.rtp.send_to(&report(), for_callee).unwrap();
            assert_eq!(caller.hear().unwrap().unwrap(), (report(), for_caller), "{engine}");
        }
        assert_eq!(rtcp_packets(&mut scene), [expected, expected], "{engine}");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn rtcp_of_a_party_that_shares_reaches_the_rtcp_port_of_one_that_does_not_and_back() {
    for engine in ["xdp", "uring", "epoll"] {
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, &["--measure-rtcp=false"]).unwrap();
        let (mut caller, mut callee, for_caller, for_callee) = call(&mut scene, false);
        introduce(&mut scene, engine, (&mut caller, for_caller), (&mut callee, for_callee));
        for _ in 0..5 {
            caller.rtp.send_to(&report(), for_caller).unwrap();
            assert_eq!(callee.hear_rtcp().unwrap().unwrap(), (report(), next(for_callee)), "{engine}");
            callee.rtcp.send_to(&report(), next(for_callee)).unwrap();
            assert_eq!(caller.hear().unwrap().unwrap(), (report(), for_caller), "{engine}");
        }
        // The first packet of the callee's own RTCP port teaches who sends there.
        let expected = if engine == "xdp" { [(5, 0), (4, 1)] } else { [(0, 5), (0, 5)] };
        assert_eq!(rtcp_packets(&mut scene), expected, "{engine}");
    }
}
