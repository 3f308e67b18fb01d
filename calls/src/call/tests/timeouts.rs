use super::super::ExpiredCall;
use super::query::totals;
use super::*;
use crate::outcome::End;

impl Rig {
    fn expire(&mut self) -> Vec<ExpiredCall> {
        let (expired, ops) = self.calls.expire(self.now, &self.meter, 1);
        self.obey(&ops);
        expired
    }

    /// A packet arrives at a local endpoint.
    fn packet(&mut self, local: &str) {
        let local: SocketAddr = local.parse().unwrap();
        let (slot, _) = self.installed.iter().find(|(_, spec)| spec.local == local).unwrap();
        self.meter.0.insert(*slot, SourceTotals { last_fast: Some(self.now), ..totals() });
    }
}

#[test]
fn a_call_without_packets_ends_a_minute_after_the_last_command() {
    let mut rig = Rig::new();
    rig.call();
    rig.wait(59);
    assert_eq!(rig.expire(), []);
    rig.wait(1);
    let idle = Duration::from_secs(60);
    assert_eq!(rig.expire(), [ExpiredCall { call_id: b"call".to_vec(), timeout: End::Timeout, idle }]);
    assert!(rig.calls.is_empty() && rig.installed.is_empty());
    assert_eq!(rig.calls.ports().used(), 0);
}

#[test]
fn a_packet_on_any_stream_keeps_the_call() {
    let mut rig = Rig::new();
    rig.call();
    for local in ["192.0.2.1:30000", "198.51.100.1:30001"] {
        rig.wait(50);
        rig.packet(local);
        rig.wait(50);
        assert_eq!(rig.expire(), []);
    }
    rig.wait(10);
    assert_eq!(rig.expire().len(), 1);
}

#[test]
fn a_command_keeps_the_call() {
    let mut rig = Rig::new();
    rig.call();
    rig.wait(50);
    rig.sdp(offer("a", Some("b"), &audio("192.0.2.10", 4000)));
    rig.wait(50);
    assert_eq!(rig.expire(), []);
}

#[test]
fn a_phone_may_ring_for_long_but_not_for_ever() {
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    rig.wait(3599);
    assert_eq!(rig.expire(), []);
    rig.wait(1);
    assert_eq!(rig.expire().first().unwrap().timeout, End::OfferTimeout);
}

#[test]
fn a_call_on_hold_may_be_silent_for_long() {
    for held in [audio("0.0.0.0", 4000), audio("192.0.2.10", 4000) + "a=inactive\r\n"] {
        let mut rig = Rig::new();
        rig.call();
        rig.sdp(offer("a", Some("b"), &held));
        rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
        rig.wait(3599);
        assert_eq!(rig.expire(), []);
        rig.wait(1);
        assert_eq!(rig.expire().first().unwrap().timeout, End::SilentTimeout);
    }
}

#[test]
fn a_call_that_is_taken_off_hold_must_not_be_silent() {
    let mut rig = Rig::new();
    rig.call();
    for address in ["0.0.0.0", "192.0.2.10"] {
        rig.sdp(offer("a", Some("b"), &audio(address, 4000)));
        rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    }
    rig.wait(60);
    assert_eq!(rig.expire().len(), 1);
}
