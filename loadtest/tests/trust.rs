//! Where parties may be, and what reaches this host's own services, with packets on the wire. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use loadtest::rig::host::in_namespace;
use loadtest::rig::party::{Call, Party, media, sdp};
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use serde_json::{Value, json};

const ENGINES: [&str; 3] = ["xdp", "uring", "epoll"];

fn offer(scene: &mut Scene, id: &str, sdp: &str) -> Value {
    let offer =
        json!({"command": "offer", "call-id": id, "from-tag": "a", "sdp": sdp, "direction": ["pbx1", "gateway"]});
    scene.ng.request(&offer).unwrap()
}

fn answer(scene: &mut Scene, id: &str, sdp: &str) -> Value {
    let answer = json!({"command": "answer", "call-id": id, "from-tag": "a", "to-tag": "b", "sdp": sdp});
    scene.ng.request(&answer).unwrap()
}

fn refusal(reply: &Value) -> String {
    assert_eq!(reply["result"], "error", "{reply}");
    reply["error-reason"].as_str().unwrap().to_owned()
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_party_that_says_it_is_where_none_may_be_is_refused_with_the_reason() {
    let mut scene = Scene::new(Trunks::dual_stack().unwrap(), "auto", &["--media-deny", "198.51.100.128/25"]).unwrap();
    let good = sdp("192.0.2.10:4000".parse().unwrap());
    for (at, why) in [
        ("127.0.0.1:2223", "loopback"),
        ("[::1]:2223", "loopback"),
        ("[::ffff:127.0.0.1]:2223", "loopback"),
        ("224.1.2.3:4000", "multicast"),
        ("[ff02::1]:4000", "multicast"),
        ("255.255.255.255:4000", "broadcast"),
        ("192.0.2.255:4000", "broadcast"),
        ("198.51.100.255:4000", "broadcast"),
        ("169.254.7.7:4000", "link-local"),
        ("[fe80::7]:4000", "link-local"),
        ("198.51.100.200:4000", "media-deny"),
    ] {
        let bad = sdp(at.parse().unwrap());
        let text = refusal(&offer(&mut scene, "offered", &bad));
        assert!(text.contains(why), "{at}: {text}");
        assert_eq!(offer(&mut scene, "answered", &good)["result"], "ok");
        let text = refusal(&answer(&mut scene, "answered", &bad));
        assert!(text.contains(why), "{at}: {text}");
        // The same only for RTCP, and by what the proxy says of the party.
        let addr: SocketAddr = at.parse().unwrap();
        let version = if addr.is_ipv4() { "IP4" } else { "IP6" };
        if addr.is_ipv4() {
            let rtcp = format!("{good}a=rtcp:{} IN {version} {}\r\n", addr.port(), addr.ip());
            assert!(refusal(&offer(&mut scene, "rtcp", &rtcp)).contains(why), "{at}");
            let by_source = json!({"command": "offer", "call-id": "source", "from-tag": "a", "sdp": good,
                "flags": ["SIP-source-address"], "received-from": [version, addr.ip().to_string()]});
            assert!(refusal(&scene.ng.request(&by_source).unwrap()).contains(why), "{at}");
        }
    }
    let list = scene.ng.request(&json!({"command": "list"})).unwrap();
    assert_eq!(list["calls"], json!(["answered"]), "what was refused left nothing");
}

/// The relay's own host, where a PBX is that answers at the relay's address.
#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_pbx_on_the_relays_own_host_has_its_media_and_nothing_but_media() {
    for engine in ENGINES {
        for (near, far, direction) in [
            (IpAddr::from(Trunk::Pbx1.near()), IpAddr::from(Trunk::Gateway.far()), ["pbx1", "gateway"]),
            (IpAddr::from(Trunk::Pbx1.near6()), IpAddr::from(Trunk::Gateway.far6()), ["pbx1", "gateway"]),
        ] {
            let mut scene = Scene::new(Trunks::dual_stack().unwrap(), engine, &[]).unwrap();
            let mut pbx = Party::on(&scene.trunks.relay, SocketAddr::new(near, 4000)).unwrap();
            let mut gateway = Party::on(scene.trunks.far(Trunk::Gateway), SocketAddr::new(far, 6000)).unwrap();
            let family = if near.is_ipv4() { "IP4" } else { "IP6" };
            let offer = json!({"command": "offer", "call-id": "1", "from-tag": "a", "sdp": pbx.sdp(), "direction": direction,
                "address family": family});
            let for_callee = media(&scene.ng.request(&offer).unwrap()).unwrap();
            let answered = answer(&mut scene, "1", &gateway.sdp());
            let call = Call { id: "1".into(), for_caller: media(&answered).unwrap(), for_callee };
            call.converse(&mut pbx, &mut gateway, 20).unwrap();
            // What is no media: a command, a DNS query, anything.
            pbx.rtp.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            for attack in [&b"1 d7:command4:liste"[..], b"\x16\xfe\xfd hello", b"\x00\x01", b"\x80\x08short"] {
                gateway.rtp.send_to(attack, call.for_callee).unwrap();
            }
            assert_eq!(pbx.hear().unwrap(), None, "{engine} {family}");
            let sent = gateway.speak(call.for_callee).unwrap();
            assert_eq!(pbx.hear().unwrap().map(|(heard, _)| heard), Some(sent));
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn media_allow_lets_more_than_media_go_to_a_party_on_this_host() {
    let allowed = Trunk::Pbx1.near().to_string();
    let mut scene = Scene::new(Trunks::new().unwrap(), "auto", &["--media-allow", &allowed]).unwrap();
    let pbx = Party::on(&scene.trunks.relay, SocketAddr::new(Trunk::Pbx1.near().into(), 4000)).unwrap();
    let gateway = Party::new(&scene.trunks, Trunk::Gateway, 6000).unwrap();
    let for_callee = media(&offer(&mut scene, "1", &pbx.sdp())).unwrap();
    answer(&mut scene, "1", &gateway.sdp());
    let fax = b"\x00\x01\x02T.38";
    gateway.rtp.send_to(fax, for_callee).unwrap();
    assert_eq!(pbx.hear().unwrap().map(|(heard, _)| heard), Some(fax.to_vec()));
}

/// The callee says that it is where the relay takes commands, and the caller sends one as its media.
#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_party_cannot_command_the_relay_by_its_media() {
    for engine in ENGINES {
        // As open as it gets: every address, and everybody may use it.
        let args = ["--listen-ng", "0.0.0.0:2223", "--allow-ng", "0.0.0.0/0"];
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, &args).unwrap();
        let attacker = Party::new(&scene.trunks, Trunk::Pbx1, 4000).unwrap();
        for at in ["192.0.2.1:2223", "198.51.100.1:2223"] {
            let for_caller = {
                let own = attacker.sdp();
                assert_eq!(offer(&mut scene, "attack", &own)["result"], "ok");
                let answered = answer(&mut scene, "attack", &sdp(at.parse().unwrap()));
                media(&answered).unwrap()
            };
            // As it is, and in the clothes of RTP, whose first bytes would be the cookie.
            let costume = [&b"\x80\x08\x00\x01\x00\x00\x00\x01\x00\x00\x00\x07"[..], b"x d7:command4:pinge"].concat();
            for command in [&b"c d7:command4:pinge"[..], &costume] {
                for _ in 0..3 {
                    attacker.rtp.send_to(command, for_caller).unwrap();
                }
            }
            attacker.rtp.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            assert_eq!(attacker.hear().unwrap(), None, "{engine} {at}: a reply");
        }
        let statistics = scene.ng.request(&json!({"command": "statistics"})).unwrap();
        assert_eq!(statistics["statistics"]["controlstatistics"]["totalpingcount"], 0, "{statistics}");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_listener_on_all_addresses_answers_from_the_one_that_it_was_asked_at() {
    let args = ["--listen-ng", "[::]:2223", "--allow-ng", "192.0.2.10", "--allow-ng", "2001:db8:1::/64"];
    let scene = Scene::new(Trunks::dual_stack().unwrap(), "auto", &args).unwrap();
    // The relay's host prefers another of its addresses for this proxy than the one that it asks at.
    for (asked, from) in [
        (IpAddr::from(Trunk::Gateway.near()), IpAddr::from(Trunk::Pbx1.far())),
        (IpAddr::from(Trunk::Pbx1.near()), IpAddr::from(Trunk::Pbx1.far())),
        (IpAddr::from(Trunk::Gateway.near6()), IpAddr::from(Trunk::Pbx1.far6())),
    ] {
        let proxy = scene.trunks.far(Trunk::Pbx1);
        let (net, gateway) = match asked {
            IpAddr::V4(_) => ("198.51.100.0/24", Trunk::Pbx1.near().to_string()),
            IpAddr::V6(_) => ("2001:db8:3::/64", Trunk::Pbx1.near6().to_string()),
        };
        proxy.run("ip", ["route", "replace", net, "via", &gateway]).unwrap();
        let client = in_namespace(proxy, move || Ok(UdpSocket::bind(SocketAddr::new(from, 0))?)).unwrap();
        client.connect(SocketAddr::new(asked, 2223)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        client.send(b"1 d7:command4:pinge").unwrap();
        let mut buffer = [0; 100];
        let len = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"1 d6:result4:ponge", "{asked}");
    }
    // Who is not named gets nothing.
    let stranger = scene.trunks.far(Trunk::Pbx2);
    let client = in_namespace(stranger, || Ok(UdpSocket::bind("203.0.113.10:0")?)).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    client.send_to(b"2 d7:command4:pinge", "203.0.113.1:2223").unwrap();
    assert!(client.recv(&mut [0; 100]).is_err());
}
