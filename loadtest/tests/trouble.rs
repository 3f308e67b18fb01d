//! What one call's trouble is to another's on the slow path: nothing. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use loadtest::rig::party::{Call, Party};
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use serde_json::{Value, json};

/// Every way in which the slow path can run.
const WAYS: [[&str; 2]; 4] = [["uring", "steered"], ["epoll", "steered"], ["uring", "bound"], ["epoll", "bound"]];

/// A call that has trouble, from the first PBX to the gateway, and another one, to the second PBX; one worker carries both.
struct Calls {
    scene: Scene,
    troubled: (Party, Option<Party>, Call),
    other: (Party, Party, Call),
}

impl Calls {
    fn new([engine, intake]: [&str; 2]) -> Self {
        let args = ["--intake", intake, "--workers", "1"];
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, &args).unwrap();
        let (caller, callee, call) = scene.call([false; 2], &[]).unwrap();
        let other_caller = Party::new(&scene.trunks, Trunk::Pbx1, 4100).unwrap();
        let other_callee = Party::new(&scene.trunks, Trunk::Pbx2, 6000).unwrap();
        let ends = ((&other_caller, Trunk::Pbx1), (&other_callee, Trunk::Pbx2));
        let other_call = Call::set_up(&mut scene.ng, "call-2", ends.0, ends.1, &[]).unwrap();
        callee.rtp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut calls =
            Self { scene, troubled: (caller, Some(callee), call), other: (other_caller, other_callee, other_call) };
        assert!(calls.troubled_hears());
        calls.other_goes_on(10);
        calls
    }

    fn troubled_speaks(&mut self) -> Vec<u8> {
        let (caller, _, call) = &mut self.troubled;
        caller.speak(call.for_caller).unwrap()
    }

    fn troubled_hears(&mut self) -> bool {
        let sent = self.troubled_speaks();
        let (_, callee, call) = &self.troubled;
        // The kernel may have kept older ones while it looked for the party.
        let heard = std::iter::from_fn(|| callee.as_ref().unwrap().hear().unwrap());
        heard.take(10).any(|datagram| datagram == (sent.clone(), call.for_callee))
    }

    /// Every packet of the other call arrives.
    fn other_goes_on(&mut self, packets: u32) {
        let (caller, callee, call) = &mut self.other;
        for number in 0..packets {
            let sent = caller.speak(call.for_caller).unwrap();
            assert_eq!(callee.hear().unwrap(), Some((sent, call.for_callee)), "packet {number}");
        }
    }

    /// What the relay says that it could not send.
    fn send_failed(&mut self) -> i64 {
        let statistics = self.scene.ng.request(&json!({"command": "statistics"})).unwrap();
        statistics["statistics"]["reasons"]["workers"]["send-failed"].as_i64().unwrap_or(0)
    }

    /// Of the troubled caller's stream: the packets that were sent on, and those that could not be.
    fn account(&mut self) -> (i64, i64) {
        let (_, _, call) = &self.troubled;
        let stream = call.stream(&mut self.scene.ng, call.for_caller).unwrap();
        (stream["stats"]["packets"].as_i64().unwrap(), stream["stats"]["errors"].as_i64().unwrap())
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_dead_party_is_nothing_to_the_others_and_hears_again_when_it_is_back() {
    for way in WAYS {
        let mut calls = Calls::new(way);
        calls.troubled.1 = None;
        for _ in 0..50 {
            // The party's host says that nobody is there, each time.
            calls.troubled_speaks();
            calls.other_goes_on(1);
        }
        let callee = Party::new(&calls.scene.trunks, Trunk::Gateway, 6000).unwrap();
        callee.rtp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        calls.troubled.1 = Some(callee);
        wait_until("the party hears again", Duration::from_secs(2), || calls.troubled_hears()).unwrap();
        calls.other_goes_on(10);
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn ten_thousand_packets_a_second_on_one_port_cost_another_call_nothing() {
    for way in WAYS {
        let mut calls = Calls::new(way);
        let (start, mut sent) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(2) {
            // Ten of them every millisecond, and one of the other call's every ten.
            for _ in 0..10 {
                calls.troubled_speaks();
            }
            sent += 10;
            if sent % 100 == 0 {
                calls.other_goes_on(1);
            }
            std::thread::sleep((start + Duration::from_micros(sent * 100)).saturating_duration_since(Instant::now()));
        }
        assert!(sent > 15_000, "{way:?}: only {sent} packets in two seconds");
        calls.other_goes_on(10);
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn what_a_full_device_refuses_is_counted_and_costs_only_the_calls_that_leave_by_it() {
    for way in [["uring", "steered"], ["epoll", "steered"]] {
        let mut calls = Calls::new(way);
        // A kilobyte a second, and room for a few packets.
        let shape =
            ["qdisc", "replace", "dev", "gateway", "root", "tbf", "rate", "8kbit", "burst", "1600", "limit", "1600"];
        calls.scene.trunks.relay.run("tc", shape).unwrap();
        let (sent_before, failed_before) = (calls.account(), calls.send_failed());
        for _ in 0..100 {
            calls.troubled_speaks();
            calls.other_goes_on(1);
        }
        // That a packet could not be sent is told some time after it was given away.
        let (mut sent, mut errors, mut failed) = ((0, 0), 0, 0);
        let told = wait_until("all are counted", Duration::from_secs(5), || {
            (sent, failed) = (calls.account(), calls.send_failed() - failed_before);
            errors = sent.1 - sent_before.1;
            failed >= 50 && errors == failed
        });
        assert!(told.is_ok(), "{way:?}: {failed} refused, {errors} of the stream");
        assert_eq!(sent.0 - sent_before.0, 100, "{way:?}: every packet that came is in the stream's account");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_link_that_is_down_costs_only_the_calls_that_leave_by_it() {
    for way in WAYS {
        let mut calls = Calls::new(way);
        calls.scene.trunks.relay.run("ip", ["link", "set", "gateway", "down"]).unwrap();
        let before = calls.send_failed();
        for _ in 0..50 {
            calls.troubled_speaks();
            calls.other_goes_on(1);
        }
        // That a packet could not be sent is told some time after it was given away.
        let told = wait_until("all are counted", Duration::from_secs(5), || calls.send_failed() - before >= 50);
        assert_eq!(calls.send_failed() - before, 50, "{way:?}: {told:?}");
        // What is not there now must not come later: the log is written by a thread of its own.
        std::thread::sleep(Duration::from_millis(300));
        let log: String = calls.scene.daemon.log().unwrap().iter().map(Value::to_string).collect();
        assert!(!log.contains("ERROR"), "{log}");
        calls.scene.trunks.relay.run("ip", ["link", "set", "gateway", "up"]).unwrap();
        wait_until("the party hears again", Duration::from_secs(5), || calls.troubled_hears()).unwrap();
    }
}
