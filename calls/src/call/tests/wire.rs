//! Several proxies at once over a network that loses, doubles and reorders: every request is carried out once.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::ng::{Encoding, Exchange, Proxy, Transport};

/// What becomes of a request and of its reply.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// All is well.
    Delivered,
    /// The request does not arrive; the proxy sends it again.
    RequestLost,
    /// The reply does not arrive; the proxy sends the request again, so many times.
    ReplyLost(usize),
    /// The request arrives a second time, after the next one.
    Late,
}

fn any_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Delivered),
        1 => Just(Fate::RequestLost),
        2 => (1..4_usize).prop_map(Fate::ReplyLost),
        1 => Just(Fate::Late),
    ]
}

fn any_request() -> impl Strategy<Value = Dict<'static>> {
    let tag = || prop::sample::select(vec!["a", "b", "c"]);
    let sdp = prop::sample::select(vec![
        audio("192.0.2.10", 4000),
        audio("192.0.2.11", 4002),
        session("198.51.100.10", &["audio 5000 RTP/AVP 8", "video 5002 RTP/AVP 31"]),
        session("0.0.0.0", &["audio 5000 RTP/AVP 8"]),
        session("198.51.100.10", &["audio 0 RTP/AVP 8", "image 5004 udptl t38"]),
    ]);
    let command =
        prop::sample::select(vec!["offer", "offer", "offer", "answer", "answer", "delete", "query", "block media"]);
    let branch = prop::option::of(prop::sample::select(vec!["x", "y"]));
    let call = prop::sample::select(vec!["one", "two"]);
    (command, call, tag(), prop::option::of(tag()), branch, sdp).prop_map(|(command, call, from, to, branch, sdp)| {
        let mut dict = Dict::new().with("supports", Value::List(vec!["load limit".into()]));
        if ["offer", "answer"].contains(&command) {
            dict = dict.with("sdp", sdp);
        }
        dict = dict.with("call-id", call).with("from-tag", from);
        if let Some(to) = to {
            dict = dict.with("to-tag", to);
        }
        if let Some(branch) = branch {
            dict = dict.with("via-branch", branch);
        }
        dict.with("command", command)
    })
}

/// The relay and what it remembers of requests.
struct Daemon {
    rig: Rig,
    exchange: Exchange,
}

impl Daemon {
    /// The reply, and how much the relay was told to do.
    fn receive(&mut self, datagram: &[u8], proxy: u8) -> (bytes::Bytes, usize) {
        let Rig { calls, now, meter, .. } = &mut self.rig;
        let wall = SystemTime::UNIX_EPOCH + WALL;
        let proxy = Proxy::host([127, 0, 0, proxy].into(), Transport::Udp);
        let (reply, ops) = self.exchange.datagram(datagram, proxy, calls, *now, wall, meter).unwrap();
        self.rig.obey(&ops);
        (reply, ops.len())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_network_that_loses_and_doubles_does_nothing_twice(
        steps in vec((0..3_u8, any_request(), any_fate(), 0..2_u64), 1..40),
        last_port in prop::sample::select(vec![30003, 30099]),
    ) {
        let mut daemon = Daemon { rig: Rig::with(at_once(), last_port), exchange: Exchange::new() };
        let mut late: Option<(Vec<u8>, u8, bytes::Bytes)> = None;
        for (number, (proxy, request, fate, seconds)) in steps.into_iter().enumerate() {
            daemon.rig.wait(seconds);
            daemon.rig.tick();
            let cookie = format!("{proxy}_{number} ").into_bytes();
            let datagram = [cookie, Encoding::Bencode.encode(&request)].concat();
            let again = match fate {
                Fate::Delivered | Fate::RequestLost | Fate::Late => 0,
                Fate::ReplyLost(times) => times,
            };
            let (reply, _) = daemon.receive(&datagram, proxy);
            for _ in 0..again {
                daemon.rig.wait(1);
                prop_assert_eq!(daemon.receive(&datagram, proxy), (reply.clone(), 0));
            }
            if let Some((datagram, proxy, reply)) = late.take() {
                prop_assert_eq!(daemon.receive(&datagram, proxy), (reply, 0), "it comes again, late");
            }
            if matches!(fate, Fate::Late) {
                late = Some((datagram, proxy, reply));
            }
        }
        for (number, call) in ["one", "two"].into_iter().enumerate() {
            let dict = Dict::new().with("call-id", call).with("command", "delete");
            daemon.receive(&[format!("end_{number} ").into_bytes(), Encoding::Bencode.encode(&dict)].concat(), 9);
        }
        prop_assert!(daemon.rig.calls.is_empty() && daemon.rig.installed.is_empty());
        prop_assert_eq!(daemon.rig.calls.ports().used(), 0);
    }
}
