//! What Homer is told of calls, as a capture server reads it. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use loadtest::rig::process::{Process, wait_until};
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::Trunks;
use serde_json::{Value, json};

const HOMER: &str = "127.0.0.1:9060";

/// Numbers of protocols in Homer.
const RTCP: &str = "5";
const QUALITY: &str = "34";
const NG: &str = "61";

fn rtcp(rtp: SocketAddr) -> SocketAddr {
    SocketAddr::new(rtp.ip(), rtp.port() + 1)
}

/// A sender's report with a block about another source, and the sender's name.
fn report(ssrc: u32, about: u32, lost: u32) -> Vec<u8> {
    let words = [0x81c8_000c, ssrc, 0xe000_0000, 7, 160, 20, 3200, about, 0x2000_0000 | lost, 99, 12, 0, 0];
    let description = [0x81ca_0003, ssrc, 0x0104_6140, 0x6263_0000];
    words.into_iter().chain(description).flat_map(u32::to_be_bytes).collect()
}

/// A packet as Kamailio has read it.
#[derive(Debug)]
struct Told {
    carried_by: String,
    from: String,
    to: String,
    protocol: String,
    id: String,
    call_id: String,
    seconds: u64,
    payload: String,
}

/// Kamailio's capture server on the relay's host.
struct Capture {
    process: Process,
    _database: tempfile::TempDir,
}

impl Capture {
    fn start(trunks: &Trunks, folder: &Path) -> Self {
        let database = tempfile::tempdir().unwrap();
        let mut command = trunks.relay.command("kamailio");
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("kamailio/homer.cfg");
        let define = format!("DATABASE=\"text://{}\"", database.path().display());
        command.arg("-f").arg(config).args(["-A", &define, "-m", "64", "-M", "8", "-DD", "-E"]);
        let process = Process::start("kamailio", command, &folder.join("homer.log")).unwrap();
        let listens = || !trunks.relay.run("ss", ["-Hlun", "sport = :9060"]).unwrap_or_default().is_empty();
        wait_until("Kamailio listens", Duration::from_secs(15), listens).unwrap();
        Self { process, _database: database }
    }

    fn told(&self) -> Vec<Told> {
        let log = self.process.output().unwrap();
        // A message has lines of its own.
        let packets = log.split("HEP|").skip(1);
        let told = packets.map(|packet| {
            let mut fields = packet.splitn(10, '|').map(str::to_owned);
            let mut next = || fields.next().unwrap_or_default();
            let carried_by = next();
            let [from, to] = [0, 1].map(|_| format!("{}:{}", next(), next()));
            let (protocol, id, call_id) = (next(), next(), next());
            let seconds = next().parse().unwrap_or(0);
            Told { carried_by, from, to, protocol, id, call_id, seconds, payload: next() }
        });
        told.collect()
    }

    /// What it is told of one kind, once there are so many.
    fn wait_for(&self, protocol: &str, count: usize) -> Vec<Told> {
        let of_kind = || self.told().into_iter().filter(|told| told.protocol == protocol).collect::<Vec<_>>();
        let waited = wait_until("Homer is told", Duration::from_secs(5), || of_kind().len() >= count);
        assert!(waited.is_ok(), "{protocol}: {:?}", self.told());
        of_kind()
    }
}

fn json_of(told: &Told) -> Value {
    let text = told.payload.lines().next().unwrap();
    serde_json::from_str(text).unwrap()
}

#[test]
#[ignore = "privileged: namespaces, BPF, Kamailio"]
fn a_capture_server_reads_the_reports_the_dialogue_and_the_end_of_each_call() {
    let args = ["--homer", HOMER, "--homer-id", "77", "--homer-enable-ng", "--delete-delay", "0"];
    let mut scene = Scene::new(Trunks::dual_stack().unwrap(), "xdp", &args).unwrap();
    let mut capture = Capture::start(&scene.trunks, scene.folder.path());
    for (number, is_ipv6) in [[false; 2], [true; 2]].into_iter().enumerate() {
        let (mut caller, mut callee, call) = scene.call(is_ipv6, &[]).unwrap();
        call.converse(&mut caller, &mut callee, 20).unwrap();
        // Five of the caller's never come.
        caller.set_sequence(1025);
        call.converse(&mut caller, &mut callee, 10).unwrap();
        let said = report(0x0a0b_0c0d, 7, 3);
        caller.rtcp.send_to(&said, rtcp(call.for_caller)).unwrap();
        assert_eq!(callee.hear_rtcp().unwrap().unwrap().0, said);
        let told = capture.wait_for(RTCP, 1 + number);
        let told = &told[number];
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert_eq!((told.carried_by.as_str(), told.id.as_str(), told.call_id.as_str()), ("17", "77", "call-1"));
        assert!(now.abs_diff(told.seconds) <= 3, "{told:?}");
        if !is_ipv6[0] {
            let ends = (caller.rtcp.local_addr().unwrap().to_string(), rtcp(call.for_caller).to_string());
            assert_eq!((&told.from, &told.to), (&ends.0, &ends.1));
        }
        let read = json_of(told);
        assert_eq!((&read["ssrc"], &read["type"]), (&json!(0x0a0b_0c0d), &json!(200)), "{read}");
        assert_eq!(read["sender_information"]["packets"], 20, "{read}");
        let block = &read["report_blocks"][0];
        assert_eq!(
            (&block["source_ssrc"], &block["packets_lost"], &block["fraction_lost"], &block["ia_jitter"]),
            (&json!(7), &json!(3), &json!(32), &json!(12))
        );
        assert_eq!(read["sdes_information"][0]["text"], "a@bc", "{read}");
        scene.ng.request(&json!({"command": "delete", "call-id": "call-1"})).unwrap();
        // One for each direction.
        let told = capture.wait_for(QUALITY, 2 * (1 + number));
        let told: Vec<_> = told.iter().skip(2 * number).map(json_of).collect();
        let of = |port: u16| told.iter().find(|told| told["SRC_PORT"] == port).unwrap();
        let (of_caller, of_callee) = (of(4000), of(6000));
        for (told, lost) in [(of_caller, 5), (of_callee, 0)] {
            assert_eq!(
                (&told["TOTAL_PK"], &told["PACKET_LOSS"], &told["EXPECTED_PK"]),
                (&json!(30), &json!(lost), &json!(30 + lost)),
                "{told}"
            );
            assert_eq!((&told["CORRELATION_ID"], &told["TYPE"]), (&json!("call-1"), &json!("HANGUP")));
        }
        // An offer, an answer and a delete, each with its reply.
        let dialogue = capture.wait_for(NG, 6 * (1 + number));
        let said: Vec<_> = dialogue.iter().skip(6 * number).map(|told| told.payload.as_str()).collect();
        for (place, expected) in [(0, "offer"), (1, "m=audio"), (2, "answer"), (4, "delete"), (5, "ok")] {
            assert!(said[place].contains(expected), "{place}: {said:?}");
        }
        assert!(dialogue.iter().all(|told| told.call_id == "call-1"), "{dialogue:?}");
        assert_eq!(dialogue[0].to, dialogue[1].from, "the reply goes the other way");
    }
    // That it takes its time to end is nobody's business here.
    let _ended = capture.process.stop();
}

/// The next connection, which comes soon.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    wait_until("the daemon connects", Duration::from_secs(10), || {
        accepted = listener.accept().ok();
        accepted.is_some()
    })
    .unwrap();
    let (stream, _) = accepted.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// The next packet of a connection: the numbers and values of its chunks.
fn next_packet(stream: &mut TcpStream) -> Vec<(u16, Vec<u8>)> {
    let mut header = [0; 6];
    stream.read_exact(&mut header).unwrap();
    assert_eq!(&header[..4], b"HEP3");
    let mut rest = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]])) - header.len()];
    stream.read_exact(&mut rest).unwrap();
    let (mut chunks, mut rest) = (Vec::new(), &rest[..]);
    while !rest.is_empty() {
        let word = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
        assert_eq!(word(0), 0, "the vendor");
        let len = usize::from(word(4));
        chunks.push((word(2), rest[6..len].to_vec()));
        rest = &rest[len..];
    }
    chunks
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn by_tcp_homer_may_be_away_and_come_back_and_no_call_waits_for_it() {
    let args = [
        "--homer",
        HOMER,
        "--homer-protocol",
        "tcp",
        "--homer-disable-rtcp-stats",
        "--delete-delay",
        "0",
        "--listen-metrics",
        "127.0.0.1:9104",
    ];
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &args).unwrap();
    let end_a_call = |scene: &mut Scene| {
        let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
        call.converse(&mut caller, &mut callee, 5).unwrap();
        let said = report(1, 7, 0);
        caller.rtcp.send_to(&said, rtcp(call.for_caller)).unwrap();
        assert_eq!(callee.hear_rtcp().unwrap().unwrap().0, said);
        scene.ng.request(&json!({"command": "delete", "call-id": "call-1"})).unwrap();
    };
    let counts = |scene: &Scene| {
        let told = scene.trunks.relay.run("curl", ["-s", "http://127.0.0.1:9104/metrics"]).unwrap();
        ["sent", "lost"].map(|fate| {
            let name = format!("intertrunk_homer_packets_total{{fate=\"{fate}\"}} ");
            told.lines().find_map(|line| line.strip_prefix(&name)?.parse::<f64>().ok()).unwrap()
        })
    };
    let wait_for = |scene: &Scene, expected: [f64; 2]| {
        let waited = wait_until("they are counted", Duration::from_secs(5), || counts(scene) == expected);
        assert!(waited.is_ok(), "{:?}, not {expected:?}", counts(scene));
    };
    // Nobody is there.
    end_a_call(&mut scene);
    wait_for(&scene, [0.0, 2.0]);
    for round in 1..=2 {
        let listener = scene.trunks.relay.tcp(HOMER.parse().unwrap()).unwrap();
        // The next connection is made a second after the last failure.
        std::thread::sleep(Duration::from_millis(1100));
        end_a_call(&mut scene);
        let mut stream = accept(&listener);
        for _ in 0..2 {
            let chunks = next_packet(&mut stream);
            let value = |kind| chunks.iter().find(|(found, _)| *found == kind).map(|(_, value)| value.as_slice());
            assert_eq!((value(11), value(17)), (Some(&[34][..]), Some(&b"call-1"[..])), "RTCP is not wanted");
        }
        let [sent, lost] = [2.0 * f64::from(round), 2.0 * f64::from(round)];
        wait_for(&scene, [sent, lost]);
        drop((stream, listener));
        // A program that another test is starting has them too, for a moment.
        std::thread::sleep(Duration::from_millis(300));
        // It has gone.
        end_a_call(&mut scene);
        wait_for(&scene, [sent, lost + 2.0]);
    }
    // What the daemon ends is told as well.
    let listener = scene.trunks.relay.tcp(HOMER.parse().unwrap()).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
    call.converse(&mut caller, &mut callee, 5).unwrap();
    scene.daemon.process().stop().unwrap();
    let mut stream = accept(&listener);
    assert_eq!((next_packet(&mut stream).len(), next_packet(&mut stream).len()), (12, 12));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn what_is_configured_wrongly_is_refused_with_the_key() {
    for (args, expected) in [
        (&["--homer", "nowhere"][..], "is no place"),
        (&["--homer", HOMER, "--homer-protocol", "sctp"][..], "choose udp or tcp"),
    ] {
        let refused = Scene::new(Trunks::new().unwrap(), "xdp", args);
        let why = format!("{:?}", refused.unwrap_err());
        assert!(why.contains(expected), "{why}");
    }
}
