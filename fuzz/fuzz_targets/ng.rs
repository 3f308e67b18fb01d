//! Datagrams of the NG protocol through everything behind it, in bencode and JSON: nothing panics, and every dictionary has its reply.
#![no_main]

use std::time::{Instant, SystemTime};

use control::Calls;
use control::call::Settings;
use control::ng::{Exchange, Frame};
use libfuzzer_sys::fuzz_target;
use relay::{Counts, Interfaces, Meter, Ports, SlotIndex, StreamTotals};

struct Nothing;

impl Meter for Nothing {
    fn counts(&self) -> Counts {
        Counts::default()
    }

    fn totals(&self, _: SlotIndex) -> Option<StreamTotals> {
        None
    }
}

fuzz_target!(|data: &[u8]| {
    let interfaces =
        ["pbx/192.0.2.1", "pbx/2001:db8::1", "gateway/198.51.100.1"].map(|text| text.parse().expect("right"));
    let interfaces = Interfaces::new(interfaces.to_vec()).expect("right");
    let ports = Ports::new(3, 30000, 30007).expect("right");
    let (mut calls, now) = (Calls::new(interfaces, ports, Settings::default()), Instant::now());
    let mut exchange = Exchange::new();
    // Several commands, so that one finds the call of another.
    for command in data.split(|byte| *byte == 0) {
        let datagram = [b"cookie", command].concat();
        let is_one = Frame::datagram(&datagram).is_some();
        let reply = exchange.datagram(&datagram, &mut calls, now, SystemTime::UNIX_EPOCH, &Nothing);
        assert!(reply.is_some() || !is_one, "no reply");
    }
});
