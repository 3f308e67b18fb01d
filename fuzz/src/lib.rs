//! What the fuzzers of messages share.

use std::time::{Instant, SystemTime};

use calls::Calls;
use calls::call::Settings;
use calls::ng::{Exchange, Frame, Proxy, Transport};
use border::{Interfaces, NoTraffic, Ports};

/// Commands through everything behind the protocol: nothing panics, and every dictionary has its reply. They are separated by zeros, so that one
/// finds the call of another, and all begin with the byte that tells the encoding.
pub fn converse(encoding: u8, data: &[u8]) {
    let interfaces =
        ["pbx/192.0.2.1", "pbx/2001:db8::1", "gateway/198.51.100.1"].map(|text| text.parse().expect("right"));
    let interfaces = Interfaces::new(interfaces.to_vec()).expect("right");
    let ports = Ports::of(&interfaces, (30000, 30007)).expect("right");
    let now = Instant::now();
    let mut calls = Calls::new(interfaces, ports, Settings::default(), b"mark".to_vec(), now);
    let mut exchange = Exchange::new();
    for command in data.split(|byte| *byte == 0) {
        let datagram = [b"cookie ", &[encoding][..], command].concat();
        assert!(Frame::datagram(&datagram).is_some());
        // A stream would read it so.
        let _ = Frame::prefix_with_cookie(&datagram);
        let reply = exchange.datagram(&datagram, Proxy::unix(Transport::Unix), &mut calls, now, SystemTime::UNIX_EPOCH, &NoTraffic);
        assert!(reply.is_some(), "no reply");
    }
    calls.expire(now + std::time::Duration::from_secs(3600), &NoTraffic, 1);
}
