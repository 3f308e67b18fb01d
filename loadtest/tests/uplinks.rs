//! Hosts as people have them: two uplinks, one address for several interfaces, an address that comes later, a container with default settings.
//! `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use loadtest::rig::daemon::{Daemon, NgClient, binary};
use loadtest::rig::host::{Host, Port};
use loadtest::rig::party::{Call, Party, media};
use loadtest::rig::process::wait_until;
use loadtest::rig::program::Program;
use serde_json::{Value, json};

const ENGINES: [&str; 3] = ["xdp", "uring", "epoll"];

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A daemon on a host with these arguments.
fn daemon(host: &Host, args: &[&str], folder: &tempfile::TempDir) -> Daemon {
    let mut command = host.command(&binary().unwrap().to_string_lossy());
    command.args(["serve", "--log-format", "json", "--delete-delay", "0"]).args(args);
    Daemon::start_command(command, folder.path()).unwrap()
}

/// A call between two parties; `direction` names the interface of each.
fn set_up(ng: &mut NgClient, id: &str, caller: &Party, callee: &Party, direction: [&str; 2]) -> Call {
    let offer =
        json!({"command": "offer", "call-id": id, "from-tag": "a", "sdp": caller.sdp(), "direction": direction});
    let for_callee = media(&ng.request(&offer).unwrap()).unwrap();
    let answer = json!({"command": "answer", "call-id": id, "from-tag": "a", "to-tag": "b", "sdp": callee.sdp()});
    let for_caller = media(&ng.request(&answer).unwrap()).unwrap();
    Call { id: id.to_owned(), for_caller, for_callee }
}

/// Two providers, each with its own address and way to the same network of parties.
#[test]
#[ignore = "privileged: namespaces, BPF"]
fn every_packet_leaves_by_the_uplink_of_its_source_address() {
    let ways: [(&str, &[&str]); 6] = [
        ("xdp", &[]),
        ("xdp", &["--endpoint-learning", "delayed"]),
        ("uring", &[]),
        ("uring", &["--output", "stack"]),
        ("epoll", &["--output", "stack"]),
        ("epoll", &["--intake", "bound"]),
    ];
    for (engine, args) in ways {
        let (relay, far) = (Host::new("relay").unwrap(), Host::new("far").unwrap());
        let port = |device, text| Port { device, addr: addr(text) };
        relay.connect(port("up1", "192.0.2.1"), &far, port("f1", "192.0.2.254")).unwrap();
        relay.connect(port("up2", "198.51.100.1"), &far, port("f2", "198.51.100.254")).unwrap();
        let _programs = ["f1", "f2"].map(|device| Program::attach_pass(&far, device).unwrap());
        far.run("ip", ["addr", "add", "203.0.113.10/32", "dev", "lo"]).unwrap();
        // The providers drop what has the other one's source address, as they do (RFC 2827).
        for host in [&relay, &far] {
            host.run("sysctl", ["-qw", "net.ipv4.conf.all.rp_filter=0"]).unwrap();
        }
        for (device, source) in [("f1", "192.0.2.0/24"), ("f2", "198.51.100.0/24")] {
            far.run("sysctl", ["-qw", &format!("net.ipv4.conf.{device}.rp_filter=1")]).unwrap();
            let _ = source;
        }
        relay.run("ip", ["route", "add", "default", "via", "192.0.2.254"]).unwrap();
        relay.run("ip", ["route", "add", "default", "via", "198.51.100.254", "table", "2"]).unwrap();
        relay.run("ip", ["rule", "add", "from", "198.51.100.1", "lookup", "2"]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let interfaces = ["--engine", engine, "--interface", "one/192.0.2.1", "--interface", "two/198.51.100.1"];
        let _daemon = daemon(&relay, &[&interfaces, args].concat(), &folder);
        let mut ng = NgClient::on(&relay).unwrap();
        let party = |port| Party::on(&far, SocketAddr::new(addr("203.0.113.10"), port)).unwrap();
        let (mut caller, mut callee) = (party(4000), party(6000));
        let call = set_up(&mut ng, "1", &caller, &callee, ["one", "two"]);
        call.converse(&mut caller, &mut callee, 20).unwrap_or_else(|error| panic!("{engine} {args:?}: {error}"));
    }
}

/// A host with one address and a static NAT before it, as clouds have them.
#[test]
#[ignore = "privileged: namespaces, BPF"]
fn one_address_serves_several_interfaces() {
    for engine in ENGINES {
        for (near, far_addr, public) in
            [("192.0.2.1", "192.0.2.10", "203.0.113.5"), ("2001:db8::1", "2001:db8::10", "2001:db8:ffff::5")]
        {
            let (relay, far) = (Host::new("relay").unwrap(), Host::new("far").unwrap());
            let port = |device, text: &str| Port { device, addr: addr(text) };
            relay.connect(port("eth0", near), &far, port("eth0", far_addr)).unwrap();
            let _program = Program::attach_pass(&far, "eth0").unwrap();
            let folder = tempfile::tempdir().unwrap();
            let (private, public_one) = (format!("priv/{near}"), format!("pub/{near}!{public}"));
            let args = ["--engine", engine, "--interface", &private, "--interface", &public_one];
            let _daemon = daemon(&relay, &args, &folder);
            let mut ng = NgClient::on(&relay).unwrap();
            let party = |port| Party::on(&far, SocketAddr::new(addr(far_addr), port)).unwrap();
            let (mut caller, mut callee) = (party(4000), party(6000));
            let mut call = set_up(&mut ng, "1", &caller, &callee, ["priv", "pub"]);
            assert_eq!(call.for_callee.ip(), addr(public));
            assert_ne!(call.for_callee.port(), call.for_caller.port(), "the ports are the address' own");
            // What the NAT would do.
            call.for_callee.set_ip(addr(near));
            call.converse(&mut caller, &mut callee, 20).unwrap();
        }
    }
}

/// keepalived's address: it comes, and it goes to another host.
#[test]
#[ignore = "privileged: namespaces, BPF"]
fn an_address_that_comes_later_is_taken_up_when_it_comes() {
    for (engine, args) in [("xdp", &[][..]), ("auto", &[]), ("uring", &[]), ("epoll", &["--intake", "bound"])] {
        for is_there_another in [true, false] {
            let (relay, far) = (Host::new("relay").unwrap(), Host::new("far").unwrap());
            let port = |device, text| Port { device, addr: addr(text) };
            relay.connect(port("eth0", "192.0.2.2"), &far, port("eth0", "192.0.2.10")).unwrap();
            let _program = Program::attach_pass(&far, "eth0").unwrap();
            let folder = tempfile::tempdir().unwrap();
            let others: &[&str] = if is_there_another { &["--interface", "own/192.0.2.2"] } else { &[] };
            let interfaces = ["--engine", engine, "--interface", "float/192.0.2.1"];
            let daemon = daemon(&relay, &[&interfaces, others, args].concat(), &folder);
            let mut ng = NgClient::on(&relay).unwrap();
            let party = |port| Party::on(&far, SocketAddr::new(addr("192.0.2.10"), port)).unwrap();
            let (mut caller, mut callee) = (party(4000), party(6000));
            let call = set_up(&mut ng, "1", &caller, &callee, ["float", "float"]);
            let is_waiting = daemon.log().unwrap().iter().any(|line| line.to_string().contains("no such address"));
            assert!(is_waiting, "and it is said");
            relay.run("ip", ["addr", "add", "192.0.2.1/24", "dev", "eth0"]).unwrap();
            wait_until("the address is taken up", Duration::from_secs(5), || {
                let sent = caller.speak(call.for_caller).unwrap();
                callee.hear().unwrap().is_some_and(|(heard, _)| heard == sent)
            })
            .unwrap();
            call.converse(&mut caller, &mut callee, 10).unwrap();
            if engine == "xdp" {
                wait_until("the stream is on the fast path", Duration::from_secs(5), || {
                    caller.speak(call.for_caller).unwrap();
                    let stream = call.stream(&mut ng, call.for_caller).unwrap_or_default();
                    stream.get("path") == Some(&json!("fast"))
                })
                .unwrap();
            }
        }
    }
}

/// A container as they are by default: one veth device behind a bridge, offloads as the kernel has them.
struct Container {
    relay: Host,
    parties: [Host; 2],
    node: Host,
}

impl Container {
    fn new() -> Self {
        let node = Host::new("node").unwrap();
        node.run("ip", ["link", "add", "br0", "type", "bridge"]).unwrap();
        node.run("ip", ["link", "set", "br0", "up"]).unwrap();
        let host = |role, device: &str, text: &str| {
            let host = Host::new(role).unwrap();
            let netns = host.path().rsplit('/').next().unwrap().to_owned();
            let cable = ["link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", &netns];
            node.run("ip", cable).unwrap();
            node.run("ip", ["link", "set", device, "master", "br0", "up"]).unwrap();
            host.run("ip", ["addr", "add", &format!("{text}/24"), "dev", "eth0"]).unwrap();
            host.run("ip", ["link", "set", "eth0", "up"]).unwrap();
            host
        };
        let parties = [host("caller", "v-caller", "192.0.2.10"), host("callee", "v-callee", "192.0.2.20")];
        Self { relay: host("relay", "v-relay", "192.0.2.1"), parties, node }
    }

    /// Makes a call with all defaults, which lasts until the caller's stream is on this path; then this many packets each way.
    ///
    /// Gives the log's line with the engine, and how many of those the fast and the slow path carried.
    fn call(&self, path: &str, packets: u32) -> (Value, (u64, u64)) {
        let folder = tempfile::tempdir().unwrap();
        let daemon = daemon(&self.relay, &["--interface", "only/192.0.2.1"], &folder);
        let mut ng = NgClient::on(&self.relay).unwrap();
        let [caller, callee] = &self.parties;
        let mut caller = Party::on(caller, SocketAddr::new(addr("192.0.2.10"), 4000)).unwrap();
        let mut callee = Party::on(callee, SocketAddr::new(addr("192.0.2.20"), 6000)).unwrap();
        let call = set_up(&mut ng, "1", &caller, &callee, ["only", "only"]);
        let mut counted = |is_on_path: &mut bool| {
            let stream = call.stream(&mut ng, call.for_caller).unwrap();
            *is_on_path = stream["path"] == path;
            (stream["fast packets"].as_u64().unwrap(), stream["slow packets"].as_u64().unwrap())
        };
        let (mut is_on_path, mut before) = (false, (0, 0));
        // Who is at the next hop is asked when the first packets go there, which takes a moment.
        wait_until("the stream is on its path", Duration::from_secs(5), || {
            call.converse(&mut caller, &mut callee, 10).unwrap();
            before = counted(&mut is_on_path);
            is_on_path
        })
        .unwrap();
        call.converse(&mut caller, &mut callee, packets).unwrap();
        let after = counted(&mut is_on_path);
        let ready = daemon.log().unwrap().into_iter().find(|line| line["fields"]["message"] == "ready").unwrap();
        (ready, (after.0 - before.0, after.1 - before.1))
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn in_a_container_with_default_settings_every_packet_arrives_and_the_log_says_why_it_takes_its_way() {
    let container = Container::new();
    let (ready, counted) = container.call("slow", 100);
    assert_eq!(ready["fields"]["engine"], "uring", "{ready}");
    assert!(ready["fields"]["why"].as_str().unwrap().contains("ethtool -K"), "with what mends it: {ready}");
    assert_eq!(counted, (0, 100));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn in_a_container_whose_veth_takes_frames_the_fast_path_is_taken_and_loses_nothing() {
    for is_finished in [false, true] {
        let container = Container::new();
        container.node.run("ethtool", ["-K", "v-relay", "gro", "on"]).unwrap();
        if is_finished {
            // As if the parties were on other machines: what comes by a card has its checksum.
            for party in &container.parties {
                party.run("ethtool", ["-K", "eth0", "tx", "off"]).unwrap();
            }
        }
        // What a sender on this machine left unfinished is a worker's, though the stream has its entry in the flow table.
        let (ready, counted) = container.call("fast", 100);
        assert_eq!(ready["fields"]["engine"], "xdp", "{ready}");
        assert_eq!(counted, if is_finished { (100, 0) } else { (0, 100) });
    }
}
