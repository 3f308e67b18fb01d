//! Help for the tests: files that remove themselves, and synthetic captures of both ends of calls.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::frame::{self, Flow};
use crate::pcap::{CaptureTime, Writer};
use crate::rtp::{self, Sequence, Ssrc, Timestamp};

/// Path of a file of its own, removed on drop.
pub(crate) struct TempFile(PathBuf);

impl TempFile {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("loadtest-{}-{number}.pcap", std::process::id())))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A frame and when it was captured.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub micros: u64,
    pub frame: Vec<u8>,
}

impl Event {
    pub(crate) fn new(micros: u64, src: SocketAddr, dst: SocketAddr, payload: &[u8]) -> Self {
        Self { micros, frame: frame::ethernet_udp(Flow { src, dst }, payload).unwrap() }
    }

    /// The same frame from and to other ports, the checksum right again.
    pub(crate) fn redirected(&self, src: SocketAddr, dst: SocketAddr) -> Self {
        let payload = frame::decode(crate::pcap::LinkType::Ethernet, &self.frame).udp().unwrap().payload;
        Self::new(self.micros, src, dst, payload)
    }
}

/// Writes the frames in the order of their times.
pub(crate) fn save<'a>(events: impl IntoIterator<Item = &'a Event>) -> TempFile {
    let mut events: Vec<_> = events.into_iter().collect();
    events.sort_by_key(|event| event.micros);
    let file = TempFile::new();
    let mut writer = Writer::create(file.path()).unwrap();
    for event in events {
        writer.write(CaptureTime::from_micros(event.micros), &event.frame).unwrap();
    }
    writer.finish().unwrap();
    file
}

/// A call that end A makes to end B through a relay.
#[derive(Debug, Clone)]
pub(crate) struct TestCall {
    pub id: String,
    pub starts_at: u64,
    pub a: SocketAddr,
    pub relay_for_a: SocketAddr,
    pub relay_for_b: SocketAddr,
    pub b: SocketAddr,
    pub ssrc: Ssrc,
    pub first_sequence: Sequence,
    pub packets: u32,
}

impl TestCall {
    /// Call number `number` with 20 packets in each direction. Only ports and Call-ID depend on the number; SSRC and
    /// speech are the same in all calls.
    pub(crate) fn new(number: u16) -> Self {
        let port = 2 * number;
        Self {
            id: format!("call-{number:03}@test"),
            starts_at: 1_000_000,
            a: ([192, 0, 2, 1], 6000 + port).into(),
            relay_for_a: ([192, 0, 2, 9], 30_000 + port).into(),
            relay_for_b: ([198, 51, 100, 9], 40_000 + port).into(),
            b: ([198, 51, 100, 1], 7000 + port).into(),
            ssrc: Ssrc(0xabcd),
            first_sequence: Sequence(100),
            packets: 20,
        }
    }

    /// The frames of the call at both ends, all of them as they should be; 150 us from end to end.
    pub(crate) fn ends(&self) -> Ends {
        let start = self.starts_at;
        let speech = |k: u32| {
            let sequence = Sequence(self.first_sequence.0.wrapping_add(k as u16));
            let header = rtp::header(k == 0, 8, sequence, Timestamp(k.wrapping_mul(160)), self.ssrc);
            let mut bytes = header.to_vec();
            bytes.extend((0..160).map(|place| (k as u8).wrapping_mul(3).wrapping_add(place)));
            bytes
        };
        let events = |delay, src, dst| -> Vec<Event> {
            let time = |k| start + 10_000 + u64::from(k) * 20_000 + delay;
            (0..self.packets).map(|k| Event::new(time(k), src, dst, &speech(k))).collect()
        };
        let sip = |micros, from: IpAddr, to: IpAddr, text: String| {
            Event::new(start + micros, (from, 5060).into(), (to, 5060).into(), text.as_bytes())
        };
        let (a, b) = (self.a.ip(), self.b.ip());
        let (left, right) = (self.relay_for_a.ip(), self.relay_for_b.ip());
        Ends {
            sip_a: vec![sip(0, a, left, invite(&self.id, self.a)), sip(3_000, left, a, ok(&self.id, self.relay_for_a))],
            sip_b: vec![
                sip(1_000, right, b, invite(&self.id, self.relay_for_b)),
                sip(2_000, b, right, ok(&self.id, self.b)),
            ],
            sent_by_a: events(0, self.a, self.relay_for_a),
            received_by_b: events(150, self.relay_for_b, self.b),
            sent_by_b: events(7_000, self.b, self.relay_for_b),
            received_by_a: events(7_150, self.relay_for_a, self.a),
        }
    }
}

/// The frames of one or more calls, as captured at both ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    pub sip_a: Vec<Event>,
    pub sip_b: Vec<Event>,
    pub sent_by_a: Vec<Event>,
    pub received_by_b: Vec<Event>,
    pub sent_by_b: Vec<Event>,
    pub received_by_a: Vec<Event>,
}

impl Ends {
    pub(crate) fn add(&mut self, more: Self) {
        self.sip_a.extend(more.sip_a);
        self.sip_b.extend(more.sip_b);
        self.sent_by_a.extend(more.sent_by_a);
        self.received_by_b.extend(more.received_by_b);
        self.sent_by_b.extend(more.sent_by_b);
        self.received_by_a.extend(more.received_by_a);
    }

    /// The capture of end A and that of end B.
    pub(crate) fn save(&self) -> (TempFile, TempFile) {
        (
            save(self.sip_a.iter().chain(&self.sent_by_a).chain(&self.received_by_a)),
            save(self.sip_b.iter().chain(&self.sent_by_b).chain(&self.received_by_b)),
        )
    }
}

fn sdp(media: SocketAddr) -> String {
    let version = if media.is_ipv4() { 4 } else { 6 };
    format!("v=0\r\nc=IN IP{version} {}\r\nt=0 0\r\nm=audio {} RTP/AVP 8\r\n", media.ip(), media.port())
}

/// An INVITE that offers `media`.
pub(crate) fn invite(call_id: &str, media: SocketAddr) -> String {
    let headers = "INVITE sip:service@test SIP/2.0\r\nVia: SIP/2.0/UDP test\r\nCSeq: 1 INVITE\r\n";
    format!("{headers}Call-ID: {call_id}\r\nContent-Type: application/sdp\r\n\r\n{}", sdp(media))
}

/// The 200 to an INVITE, which answers with `media`.
pub(crate) fn ok(call_id: &str, media: SocketAddr) -> String {
    let headers = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP test\r\nCSeq: 1 INVITE\r\n";
    format!("{headers}Call-ID: {call_id}\r\nContent-Type: application/sdp\r\n\r\n{}", sdp(media))
}
