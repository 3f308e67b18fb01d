//! Strangers on the ports: floods where no call is, sprays, and the phones of calls that have ended. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::Duration;

use loadtest::rig::party::{Call, Party, media, sdp};
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{FAR_DEVICE, Trunk, Trunks};
use serde_json::{Value, json};

const ENGINES: [&str; 3] = ["xdp", "uring", "epoll"];
/// A range so small that its ports come again.
const SMALL: [&str; 4] = ["--port-min", "30000", "--port-max", "30003"];

/// An address of the callee's trunk that no party has.
const FAR: [&str; 2] = ["198.51.100.66", "2001:db8:3::66"];

fn scene(engine: &str, args: &[&str]) -> Scene {
    let trunks = Trunks::dual_stack().unwrap();
    for addr in FAR {
        let bits = if addr.contains(':') { 64 } else { 24 };
        let net = format!("{addr}/{bits}");
        let mut words = vec!["addr", "add", net.as_str(), "dev", FAR_DEVICE];
        words.extend(addr.contains(':').then_some("nodad"));
        trunks.far(Trunk::Gateway).run("ip", words).unwrap();
    }
    Scene::new(trunks, engine, args).unwrap()
}

fn reasons(scene: &mut Scene) -> Value {
    scene.ng.request(&json!({"command": "statistics"})).unwrap()
}

/// How many packets were not forwarded for a reason, wherever it was noticed.
fn count(statistics: &Value, part: &str, reason: &str) -> u64 {
    fn find(value: &Value, part: &str, reason: &str) -> Option<u64> {
        let object = value.as_object()?;
        if let Some(found) = object.get(part).and_then(|part| part.get(reason)).and_then(Value::as_u64) {
            return Some(found);
        }
        object.values().find_map(|inner| find(inner, part, reason))
    }
    find(statistics, part, reason).unwrap_or(0)
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_flood_to_ports_without_a_call_reaches_no_worker() {
    for engine in ENGINES {
        let mut scene = scene(engine, &[]);
        let flooder = scene.trunks.far(Trunk::Pbx1);
        for (near, far) in [
            (IpAddr::from(Trunk::Pbx1.near()), IpAddr::from(Trunk::Pbx1.far())),
            (IpAddr::from(Trunk::Pbx1.near6()), IpAddr::from(Trunk::Pbx1.far6())),
        ] {
            let socket = flooder.udp(SocketAddr::new(far, 7000)).unwrap();
            for number in 0..5000_u16 {
                for payload in [&[0x80; 172][..], b"x"] {
                    let _ = socket.send_to(payload, SocketAddr::new(near, 30000 + number));
                }
            }
        }
        sleep(Duration::from_millis(500));
        let statistics = reasons(&mut scene);
        assert_eq!(count(&statistics, "workers", "no-call"), 0, "{engine}: {statistics}");
        // What a test host's own socket buffer lost on the way does not count.
        let dropped = count(&statistics, "program", "no-call");
        assert!(dropped > 15_000, "{engine}: {dropped} {statistics}");
    }
}

/// A call whose callee is behind a NAT: its description names a private address, its signalling and its media come from the host of the NAT.
fn behind_nat(scene: &mut Scene, id: &str, caller: &Party, nat: Option<IpAddr>, flags: &[&str]) -> Call {
    let family = if caller.addr().is_ipv4() { "IP4" } else { "IP6" };
    let private = if caller.addr().is_ipv4() { "10.99.0.5:4000" } else { "[fd00::5]:4000" };
    let offer = json!({"command": "offer", "call-id": id, "from-tag": "a", "sdp": caller.sdp(), "flags": flags,
        "direction": ["pbx1", "gateway"], "address family": family});
    let for_callee = media(&scene.ng.request(&offer).unwrap()).unwrap();
    let mut answer = json!({"command": "answer", "call-id": id, "from-tag": "a", "to-tag": "b",
        "sdp": sdp(private.parse().unwrap()), "flags": flags});
    if let (Some(nat), Some(object)) = (nat, answer.as_object_mut()) {
        object.insert("received-from".into(), json!([family, nat.to_string()]));
    }
    let for_caller = media(&scene.ng.request(&answer).unwrap()).unwrap();
    Call { id: id.to_owned(), for_caller, for_callee }
}

fn party(scene: &Scene, trunk: Trunk, addr: IpAddr, port: u16) -> Party {
    let party = Party::on(scene.trunks.far(trunk), SocketAddr::new(addr, port)).unwrap();
    party.rtp.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    party
}

fn is_heard(speaker: &mut Party, to: SocketAddr, listener: &Party) -> bool {
    let sent = speaker.speak(to).unwrap();
    listener.hear().unwrap().is_some_and(|(heard, _)| heard == sent)
}

/// Whatever is sent to a party is heard by nobody else.
#[test]
#[ignore = "privileged: namespaces, BPF"]
fn who_sprays_all_ports_from_before_the_call_on_is_not_heard_and_hears_nothing_of_a_party_that_the_proxy_names() {
    for engine in ENGINES {
        for (flags, is_ipv6) in [(&[][..], false), (&["strict-source"], false), (&[], true)] {
            let mut scene = scene(engine, &SMALL);
            let (near, far, attacker) = match is_ipv6 {
                false => (Trunk::Pbx1.far().into(), Trunk::Gateway.far().into(), FAR[0].parse().unwrap()),
                true => {
                    (IpAddr::from(Trunk::Pbx1.far6()), IpAddr::from(Trunk::Gateway.far6()), FAR[1].parse().unwrap())
                }
            };
            let mut caller = party(&scene, Trunk::Pbx1, near, 4000);
            let mut nat = party(&scene, Trunk::Gateway, far, 5000);
            // The first packet for a host may have to wait for its MAC.
            nat.rtp.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
            let mut attacker = party(&scene, Trunk::Gateway, attacker, 6000);
            let local = if is_ipv6 { IpAddr::from(Trunk::Gateway.near6()) } else { Trunk::Gateway.near().into() };
            let mut spray = || [30000, 30002].map(|port| attacker.speak(SocketAddr::new(local, port)).unwrap());
            for _ in 0..5 {
                spray();
            }
            let call = behind_nat(&mut scene, "1", &caller, Some(far), flags);
            for _ in 0..5 {
                spray();
            }
            let what = format!("{engine} {flags:?} IPv6 {is_ipv6}");
            assert_eq!(caller.hear().unwrap(), None, "{what}: the sprayer is heard");
            caller.speak(call.for_caller).unwrap();
            assert_eq!(attacker.hear().unwrap(), None, "{what}: the party has not spoken yet");
            assert!(is_heard(&mut nat, call.for_callee, &caller), "{what}");
            for _ in 0..10 {
                attacker.speak(call.for_callee).unwrap();
                assert!(is_heard(&mut nat, call.for_callee, &caller), "{what}: nobody else");
                assert!(is_heard(&mut caller, call.for_caller, &nat), "{what}");
            }
            sleep(Duration::from_millis(3100));
            attacker.speak(call.for_callee).unwrap();
            assert!(is_heard(&mut caller, call.for_caller, &nat), "{what}: after the window");
            assert_eq!(attacker.hear().unwrap(), None);
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn the_phone_of_an_ended_call_is_not_in_the_next_one_on_its_ports() {
    for engine in ENGINES {
        for is_silent_between in [false, true] {
            let mut scene = scene(engine, &SMALL);
            let mut caller = party(&scene, Trunk::Pbx1, Trunk::Pbx1.far().into(), 4000);
            let (far, other) = (IpAddr::from(Trunk::Gateway.far()), FAR[0].parse().unwrap());
            let mut old = party(&scene, Trunk::Gateway, far, 5000);
            // The proxy does not say from where it signals, so it is learned.
            let mut calls = vec![];
            for id in ["1", "2"] {
                let call = behind_nat(&mut scene, id, &caller, None, &[]);
                assert!(is_heard(&mut old, call.for_callee, &caller), "{engine}: as long as it is its call");
                calls.push(call);
            }
            for call in &calls {
                scene.ng.request(&json!({"command": "delete", "call-id": call.id})).unwrap();
            }
            // All ports rest now, three seconds at least.
            for _ in 0..34 {
                sleep(Duration::from_millis(100));
                if !is_silent_between {
                    calls.iter().for_each(|call| drop(old.speak(call.for_callee).unwrap()));
                }
            }
            let mut new = party(&scene, Trunk::Gateway, other, 7000);
            let call = behind_nat(&mut scene, "3", &caller, None, &[]);
            for _ in 0..5 {
                assert!(!is_heard(&mut old, call.for_callee, &caller), "{engine}: it is heard in the next call");
            }
            assert!(is_heard(&mut new, call.for_callee, &caller), "{engine}");
            assert!(is_heard(&mut caller, call.for_caller, &new), "{engine}: and so does the next party hear");
            assert_eq!(old.hear().unwrap(), None);
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn ports_come_in_an_order_that_nobody_can_predict() {
    let mut scene = scene("uring", &[]);
    let caller = party(&scene, Trunk::Pbx1, Trunk::Pbx1.far().into(), 4000);
    let mut next = |id: usize| behind_nat(&mut scene, &id.to_string(), &caller, None, &[]).for_caller.port();
    let ports: Vec<u16> = (0..32).map(&mut next).collect();
    let neighbours = ports.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 2).count();
    assert!(neighbours < 4, "{ports:?}");
}
