//! What commands cost, ordinary ones and the worst that a peer's description or a script's flags can ask for.
//!
//! The names of the hostile ones end in what they are to stay under: a millisecond, in which a worker relays hundreds of packets.

use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime};

use border::{Interfaces, NoTraffic, Ports};
use calls::Calls;
use calls::call::Settings;
use calls::ng::{Dict, Encoding, Exchange, Proxy, Transport, Value};
use criterion::{Criterion, criterion_group, criterion_main};

/// The protocol and the calls, without sockets and without a relay.
struct Daemon {
    calls: Calls,
    exchange: Exchange,
    requests: u64,
    now: Instant,
}

impl Daemon {
    fn new() -> Self {
        let interfaces = ["pbx/192.0.2.1", "gateway/198.51.100.1"].map(|text| text.parse().expect("right"));
        let interfaces = Interfaces::new(interfaces.to_vec()).expect("right");
        let ports = Ports::of(&interfaces, (1024, 65535)).expect("right");
        let now = Instant::now();
        let settings = Settings { delete_delay: Duration::ZERO, ..Settings::default() };
        let calls = Calls::new(interfaces, ports, settings, b"mark".to_vec(), now);
        Self { calls, exchange: Exchange::new(), requests: 0, now }
    }

    /// Every request is a new one; ports that rest are rested soon.
    fn send(&mut self, message: &[u8]) -> usize {
        self.requests += 1;
        self.now += Duration::from_millis(10);
        let datagram = [format!("{} ", self.requests).as_bytes(), message].concat();
        let (calls, wall) = (&mut self.calls, SystemTime::UNIX_EPOCH);
        self.exchange
            .datagram(&datagram, Proxy::unix(Transport::Unix), calls, self.now, wall, &NoTraffic)
            .map_or(0, |(reply, _)| reply.len())
    }
}

fn message(command: &'static str, sdp: &[u8], more: Dict<'static>) -> Vec<u8> {
    let mut dict = Dict::new().with("supports", Value::List(vec!["load limit".into()]));
    if !sdp.is_empty() {
        dict.push(&b"sdp"[..], sdp.to_vec());
    }
    for (key, value) in more.iter() {
        dict.push(key.to_vec(), value.clone());
    }
    let dict = dict.with("call-id", "1-9232@192.0.2.10").with("from-tag", "a").with("to-tag", "b");
    Encoding::Bencode.encode(&dict.with("command", command))
}

fn phone(address: &str) -> Vec<u8> {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=pbx\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio 10000 RTP/AVP 8 0 18 101\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
    )
    .into_bytes()
}

fn ordinary(criterion: &mut Criterion) {
    let mut daemon = Daemon::new();
    let offer = message("offer", &phone("192.0.2.10"), Dict::new());
    let answer = message("answer", &phone("198.51.100.10"), Dict::new());
    let delete = message("delete", b"", Dict::new());
    criterion.bench_function("a whole call", |bencher| {
        bencher.iter(|| black_box(daemon.send(&offer) + daemon.send(&answer) + daemon.send(&delete)));
    });
}

/// As much of a line as fits a body, behind a phone's.
fn filled(line: &str, lines: usize) -> Vec<u8> {
    let mut body = phone("192.0.2.10");
    for _ in 0..lines {
        if body.len() + line.len() > 49_000 {
            break;
        }
        body.extend_from_slice(line.as_bytes());
    }
    body
}

fn hostile(criterion: &mut Criterion) {
    let everything = || {
        let list = |words: &[&'static str]| Value::List(words.iter().map(|word| Value::from(*word)).collect());
        let codec = Dict::new().with("strip", list(&["all"])).with("except", list(&["PCMA", "opus/48000/2", "101"]));
        let audio = Dict::new().with("add", list(&["x"])).with("remove", list(&["fmtp", "y", "z"]));
        Dict::new()
            .with("codec", codec)
            .with("sdp-attr", Dict::new().with("audio", audio))
            .with("sdp-media-remove", list(&["video"]))
            .with("replace", list(&["origin", "SDP version", "username", "session name"]))
            .with("flags", list(&["generate mid", "loop protect", "full rtcp attribute"]))
    };
    let bodies: [(&str, Vec<u8>); 8] = [
        ("lines of attributes", filled("a=rtpmap:96 opus/48000/2\r\n", 1480)),
        ("empty lines", filled("\n", 1480)),
        ("too many lines", filled("\n", 65_000)),
        ("connections", filled("c=IN IP4 192.0.2.10\r\n", 1480)),
        ("candidates", filled("a=candidate:1 1 UDP 1 192.0.2.10 4002 typ host\r\n", 1480)),
        ("formats", format!("c=IN IP4 192.0.2.10\r\nm=audio 4000 RTP/AVP{}\r\n", " 8".repeat(24_000)).into_bytes()),
        ("sections", filled(&format!("m=audio 4000 RTP/AVP{}\r\n", " 96".repeat(300)), 63)),
        (
            "one long line",
            format!("c=IN IP4 192.0.2.10\r\nm=audio 4000 RTP/AVP 8\r\na=x:{}", "y ".repeat(24_000)).into_bytes(),
        ),
    ];
    for (name, body) in bodies {
        let mut daemon = Daemon::new();
        let offer = message("offer", &body, everything());
        criterion.bench_function(&format!("description of {name}, 1 ms"), |bencher| {
            bencher.iter(|| black_box(daemon.send(&offer)));
        });
    }
    let flags: [(&str, String); 4] = [
        ("keys", (0..1000).map(|number| format!("k{number}=x ")).collect()),
        ("flags", "codec-strip-x ".repeat(580)),
        ("brackets", format!("a={}", "[".repeat(8000))),
        ("nested keys", "a=[b=[c=[d=[e=[f=[g=[h=x]]]]]]] ".repeat(250)),
    ];
    for (name, text) in flags {
        let mut daemon = Daemon::new();
        let offer = message("offer", &phone("192.0.2.10"), Dict::new().with("rtpp-flags", text));
        criterion.bench_function(&format!("flag string of {name}, 1 ms"), |bencher| {
            bencher.iter(|| black_box(daemon.send(&offer)));
        });
    }
    let messages: [(&str, Vec<u8>); 4] = [
        ("nested lists", [&b"d1:a"[..], &b"l".repeat(60_000)].concat()),
        ("short strings", [&b"d5:flagsl"[..], &b"1:x".repeat(21_000), b"ee"].concat()),
        ("empty keys", [&b"d"[..], &b"0:0:".repeat(16_000), b"e"].concat()),
        ("JSON words", format!("{{\"flags\":[{}\"x\"]}}", "\"x\",".repeat(15_000)).into_bytes()),
    ];
    for (name, bytes) in messages {
        let mut daemon = Daemon::new();
        criterion.bench_function(&format!("message of {name}, 1 ms"), |bencher| {
            bencher.iter(|| black_box(daemon.send(&bytes)));
        });
    }
}

criterion_group!(benches, ordinary, hostile);
criterion_main!(benches);
