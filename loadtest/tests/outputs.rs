//! Where the slow path sends: to the device past the stack, or by way of the stack. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use loadtest::rig::host::{Host, in_namespace};
use loadtest::rig::party::{Call, Party};
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{FAR_DEVICE, Trunk, Trunks};

/// Bytes of a packet: a G.711 one with its headers.
const PACKET: u64 = 200;
const ENGINES: [&str; 2] = ["uring", "epoll"];

/// How many bytes the host's IP stacks have sent.
fn sent_by_the_stack(host: &Host) -> u64 {
    let read = |name| in_namespace(host, move || Ok(std::fs::read_to_string(format!("/proc/thread-self/net/{name}"))?));
    let (v4, v6) = (read("netstat").unwrap(), read("snmp6").unwrap());
    let mut of_v4 = v4.lines().filter(|line| line.starts_with("IpExt:"));
    let (names, numbers) = (of_v4.next().unwrap(), of_v4.next().unwrap());
    let place = names.split(' ').position(|name| name == "OutOctets").unwrap();
    let v6 = v6.lines().find_map(|line| line.strip_prefix("Ip6OutOctets")).unwrap();
    numbers.split(' ').nth(place).unwrap().parse::<u64>().unwrap() + v6.trim().parse::<u64>().unwrap()
}

/// How many bytes of 100 packets of a call the stack has sent, after the first ones have made their way known.
fn by_the_stack(engine: &str, output: &str, is_ipv6: [bool; 2]) -> u64 {
    let mut scene = Scene::new(Trunks::dual_stack().unwrap(), engine, &["--output", output]).unwrap();
    let (mut caller, callee, call) = scene.call(is_ipv6, &[]).unwrap();
    let mut speak = || {
        let sent = caller.speak(call.for_caller).unwrap();
        assert_eq!(callee.hear().unwrap(), Some((sent, call.for_callee)), "{engine}, {output}");
    };
    let mut total = 0;
    // The neighbour has to be found first, which the kernel does in its own time.
    let _may_stay_with_the_stack = wait_until("the way is known", Duration::from_secs(2), || {
        let before = sent_by_the_stack(&scene.trunks.relay);
        speak();
        total += 1;
        output == "stack" || sent_by_the_stack(&scene.trunks.relay) < before + PACKET
    });
    assert!(total < 20, "{engine}, {output}: {total} packets, of which the way was not known");
    let before = sent_by_the_stack(&scene.trunks.relay);
    (0..100).for_each(|_| speak());
    sent_by_the_stack(&scene.trunks.relay) - before
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn to_the_device_packets_pass_the_stack_by() {
    for engine in ENGINES {
        for is_ipv6 in [[false; 2], [true; 2], [false, true], [true, false]] {
            // A neighbour solicitation or two may fall into the time.
            let bytes = by_the_stack(engine, "device", is_ipv6);
            assert!(bytes < 5 * PACKET, "{engine}, {is_ipv6:?}: {bytes}");
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn to_the_stack_every_packet_is_the_stacks() {
    for engine in ENGINES {
        let bytes = by_the_stack(engine, "stack", [false; 2]);
        assert!(bytes >= 100 * PACKET, "{engine}: {bytes}");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_new_mac_is_followed_on_the_slow_path_too() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "uring", &[]).unwrap();
    let (mut caller, callee, call) = scene.call([false; 2], &[]).unwrap();
    callee.rtp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let hears = |caller: &mut Party, call: &Call| {
        let sent = caller.speak(call.for_caller).unwrap();
        callee.hear().unwrap() == Some((sent, call.for_callee))
    };
    assert!((0..20).all(|_| hears(&mut caller, &call)));
    let gateway = scene.trunks.far(Trunk::Gateway);
    gateway.run("ip", ["link", "set", FAR_DEVICE, "address", "02:00:00:00:00:99"]).unwrap();
    let announced = ["neigh", "replace", "198.51.100.10", "lladdr", "02:00:00:00:00:99", "dev", "gateway"];
    scene.trunks.relay.run("ip", announced).unwrap();
    wait_until("packets go to the new MAC", Duration::from_secs(1), || hears(&mut caller, &call)).unwrap();
    assert!((0..20).all(|_| hears(&mut caller, &call)));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_party_on_the_relays_own_host_is_served_by_the_stack() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "uring", &[]).unwrap();
    let mut caller = Party::new(&scene.trunks, Trunk::Pbx1, 4000).unwrap();
    let callee = Party::on(&scene.trunks.relay, "198.51.100.1:6000".parse().unwrap()).unwrap();
    let ends = ((&caller, Trunk::Pbx1), (&callee, Trunk::Gateway));
    let call = Call::set_up(&mut scene.ng, "call-1", ends.0, ends.1, &[]).unwrap();
    for _ in 0..20 {
        let sent = caller.speak(call.for_caller).unwrap();
        assert_eq!(callee.hear().unwrap(), Some((sent, call.for_callee)));
    }
}
