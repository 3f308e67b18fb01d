//! Who is taken for a party under each learning mode, with packets on the wire. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::thread::sleep;
use std::time::{Duration, Instant};

use loadtest::rig::daemon::{Daemon, DaemonOptions, NgClient};
use loadtest::rig::party::{Call, Party};
use loadtest::rig::process::wait_until;
use loadtest::rig::trunks::{Trunk, Trunks};
use serde_json::json;

/// A call on which nobody has spoken yet. Fields in the order in which they must end.
struct Rig {
    call: Call,
    callee: Party,
    ng: NgClient,
    _daemon: Daemon,
    _folder: tempfile::TempDir,
    trunks: Trunks,
}

impl Rig {
    /// The call, and its caller, who is said to be at port 4000.
    fn new(engine: &str, mode: &str, flags: &[&str]) -> (Self, Party) {
        let (trunks, folder) = (Trunks::new().unwrap(), tempfile::tempdir().unwrap());
        let args = ["--endpoint-learning", mode].map(str::to_owned).to_vec();
        let daemon =
            Daemon::start(&trunks, &DaemonOptions { args, ..DaemonOptions::new(engine) }, folder.path()).unwrap();
        let mut ng = NgClient::new(&trunks).unwrap();
        let caller = Party::new(&trunks, Trunk::Pbx1, 4000).unwrap();
        let callee = Party::new(&trunks, Trunk::Gateway, 6000).unwrap();
        let call = Call::set_up(&mut ng, "call-1", (&caller, Trunk::Pbx1), (&callee, Trunk::Gateway), flags).unwrap();
        // Nobody waits for what must not come longer than this.
        for party in [&caller, &callee] {
            party.rtp.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        }
        (Self { call, callee, ng, _daemon: daemon, _folder: folder, trunks }, caller)
    }

    /// Somebody on the caller's host, at another port.
    fn other(&self, port: u16) -> Party {
        let other = Party::new(&self.trunks, Trunk::Pbx1, port).unwrap();
        other.rtp.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        other
    }

    /// Whether what this one sends to the caller's port reaches the callee.
    fn is_heard(&self, party: &mut Party) -> bool {
        let sent = party.speak(self.call.for_caller).unwrap();
        self.callee.hear().unwrap().is_some_and(|(heard, _)| heard == sent)
    }

    /// Whether what the callee sends reaches this one.
    fn hears(&mut self, party: &Party) -> bool {
        let sent = self.callee.speak(self.call.for_callee).unwrap();
        party.hear().unwrap().is_some_and(|(heard, _)| heard == sent)
    }

    fn path(&mut self) -> String {
        let stream = self.call.stream(&mut self.ng, self.call.for_caller).unwrap();
        stream["path"].as_str().unwrap().to_owned()
    }

    fn wait_for_fast_path(&mut self) {
        wait_until("the stream is on the fast path", Duration::from_secs(5), || self.path() == "fast").unwrap();
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn under_every_mode_a_stranger_neither_hears_nor_is_heard_beside_a_party_at_its_address() {
    // The decision is the same on each engine; each has its own way to it, and one mode is enough to see that.
    for (engine, modes) in [
        ("xdp", &["heuristic", "immediate", "delayed", "off"][..]),
        ("uring", &["heuristic"]),
        ("epoll", &["heuristic"]),
    ] {
        for mode in modes {
            for flags in [&[][..], &["strict-source"]] {
                let (mut rig, mut caller) = Rig::new(engine, mode, flags);
                let mut stranger = rig.other(7000);
                assert!(rig.is_heard(&mut caller), "{engine} {mode} {flags:?}");
                assert!(!rig.is_heard(&mut stranger), "{engine} {mode} {flags:?}");
                assert!(!rig.hears(&stranger) && caller.hear().unwrap().is_some(), "{engine} {mode} {flags:?}");
                assert!(rig.is_heard(&mut caller) && rig.hears(&caller), "{engine} {mode} {flags:?}");
            }
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn under_every_mode_that_learns_a_first_comer_gives_way_to_the_party_at_its_address() {
    for mode in ["heuristic", "immediate", "delayed"] {
        let (mut rig, mut caller) = Rig::new("xdp", mode, &[]);
        let mut stranger = rig.other(7000);
        assert!(rig.is_heard(&mut stranger), "{mode}: it could be the party behind a NAT");
        assert!(rig.is_heard(&mut caller) && rig.hears(&caller), "{mode}");
        assert!(!rig.is_heard(&mut stranger), "{mode}");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn delayed_learning_loses_nothing_and_comes_to_the_fast_path() {
    let (mut rig, _caller) = Rig::new("xdp", "delayed", &[]);
    let mut behind_nat = rig.other(5000);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2500) {
        assert!(rig.is_heard(&mut behind_nat) && rig.hears(&behind_nat));
        assert_eq!(rig.path(), "slow");
        sleep(Duration::from_millis(20));
    }
    sleep(Duration::from_millis(600));
    assert!(rig.is_heard(&mut behind_nat));
    rig.wait_for_fast_path();
    assert!(rig.is_heard(&mut behind_nat) && rig.hears(&behind_nat));
    let stream = rig.call.stream(&mut rig.ng, rig.call.for_caller).unwrap();
    assert_eq!((&stream["lost"], &stream["fast packets"]), (&json!(0), &json!(1)));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_party_behind_a_nat_gets_its_port_from_a_stray_packet_that_came_first() {
    for engine in ["xdp", "uring", "epoll"] {
        let (mut rig, _caller) = Rig::new(engine, "heuristic", &[]);
        let (mut stray, mut behind_nat) = (rig.other(7000), rig.other(5000));
        assert!(rig.is_heard(&mut stray));
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(700) {
            assert!(rig.is_heard(&mut behind_nat), "{engine}: it is heard all the time");
            sleep(Duration::from_millis(20));
        }
        assert!(rig.hears(&behind_nat), "{engine}");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn with_strict_source_a_party_that_was_learned_elsewhere_is_moved_to_its_address_and_to_no_other() {
    for engine in ["xdp", "uring", "epoll"] {
        let (mut rig, mut caller) = Rig::new(engine, "heuristic", &["strict-source"]);
        let (mut behind_nat, mut rival) = (rig.other(5000), rig.other(7000));
        assert!(rig.is_heard(&mut behind_nat));
        sleep(Duration::from_millis(3100));
        assert!(!rig.is_heard(&mut rival), "{engine}");
        assert!(rig.is_heard(&mut behind_nat) && rig.hears(&behind_nat), "{engine}");
        assert!(rig.is_heard(&mut caller) && rig.hears(&caller), "{engine}: it is where it said");
        assert!(!rig.is_heard(&mut behind_nat), "{engine}");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn with_media_handover_a_party_may_move_without_being_signalled() {
    for engine in ["xdp", "uring", "epoll"] {
        let (mut rig, mut caller) = Rig::new(engine, "heuristic", &["media-handover"]);
        assert!(rig.is_heard(&mut caller) && rig.hears(&caller));
        let mut moved = rig.other(5000);
        for _ in 0..3 {
            assert!(rig.is_heard(&mut moved) && rig.hears(&moved), "{engine}");
        }
    }
}
