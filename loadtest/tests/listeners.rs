//! Listeners under clients that mean no good, and web pages. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::{Duration, Instant};

use loadtest::rig::host::{Host, in_namespace};
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::Trunks;

const TCP: &str = "127.0.0.1:2224";
const HTTP: &str = "127.0.0.1:8080";
/// How many places a listener has.
const PLACES: usize = 1024;

fn scene() -> (Scene, String) {
    let socket =
        std::env::temp_dir().join(format!("intertrunk-{}-{:?}.sock", std::process::id(), std::thread::current().id()));
    let path = socket.to_str().unwrap().to_owned();
    let args = ["--listen-tcp-ng", TCP, "--listen-http", HTTP, "--listen-ng-unix", &path];
    (Scene::new(Trunks::new().unwrap(), "uring", &args).unwrap(), path)
}

fn connect(host: &Host, to: &str) -> TcpStream {
    let to: SocketAddr = to.parse().unwrap();
    let stream = in_namespace(host, move || Ok(TcpStream::connect(to)?)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

/// Sends something and returns what comes first.
fn ask(stream: &mut (impl std::io::Read + std::io::Write), question: &[u8]) -> String {
    stream.write_all(question).unwrap();
    let mut buffer = [0; 2048];
    let len = stream.read(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

const PING: &[u8] = b"1 d7:command4:pinge";

fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: relay\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    match stream.read(&mut [0; 64]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_proxy_gets_in_however_many_silent_clients_there_are_and_one_that_has_asked_stays() {
    let (scene, path) = scene();
    let host = &scene.trunks.relay;
    let mut proxy = connect(host, TCP);
    assert_eq!(ask(&mut proxy, PING), "1 d6:result4:ponge");
    let mut silent: Vec<TcpStream> = (0..PLACES + 200).map(|_| connect(host, TCP)).collect();
    let mut late = connect(host, TCP);
    assert_eq!(ask(&mut late, PING), "1 d6:result4:ponge", "the next one gets in");
    assert_eq!(ask(&mut proxy, b"2 d7:command4:pinge"), "2 d6:result4:ponge", "the first one has kept its place");
    assert!(is_closed(&mut silent[0]), "at the cost of one that never asked");

    let mut proxy = UnixStream::connect(&path).unwrap();
    assert_eq!(ask(&mut proxy, b"d7:command4:pinge"), "d6:result4:ponge");
    let _silent: Vec<UnixStream> = (0..PLACES + 200).map(|_| UnixStream::connect(&path).unwrap()).collect();
    assert_eq!(ask(&mut proxy, b"d7:command4:pinge"), "d6:result4:ponge");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn half_requests_and_silent_websockets_shut_nobody_out_of_http() {
    let (scene, _) = scene();
    let host = &scene.trunks.relay;
    let upgrade =
        b"GET / HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ng.rtpengine.com\r\n\r\n";
    let mut open: Vec<TcpStream> = Vec::new();
    for number in 0..1500 {
        let mut stream = connect(host, HTTP);
        if number % 3 == 0 {
            assert!(ask(&mut stream, upgrade).starts_with("HTTP/1.1 101"), "{number}");
        } else {
            stream.write_all(b"POST /ng HTTP/1.1\r\nHost: re").unwrap();
        }
        open.push(stream);
    }
    let mut proxy = connect(host, HTTP);
    assert!(ask(&mut proxy, &post("/ng", "", PING)).contains("1 d6:result4:ponge"));
    let closed = open.iter_mut().take(400).filter_map(|stream| is_closed(stream).then_some(())).count();
    assert!(closed > 300, "{closed} of the first 400 gave their places up");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_request_head_that_does_not_come_and_a_frame_that_does_not_end_take_half_a_minute_at_most() {
    let (scene, path) = scene();
    let host = &scene.trunks.relay;
    let (mut half, mut frame, mut silent) = (connect(host, HTTP), connect(host, TCP), connect(host, TCP));
    let mut unix = UnixStream::connect(path).unwrap();
    half.write_all(b"POST /ng HTTP/1.1\r\nHost: re").unwrap();
    frame.write_all(b"1 d7:command4:pi").unwrap();
    unix.write_all(b"d7:command4:pi").unwrap();
    unix.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    for stream in [&mut half, &mut frame, &mut silent] {
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    }
    let start = Instant::now();
    for stream in [&mut half, &mut frame, &mut silent] {
        let mut buffer = Vec::new();
        let _closed_or_reset = stream.read_to_end(&mut buffer);
    }
    let _closed = unix.read(&mut [0; 64]);
    assert!(start.elapsed() < Duration::from_secs(36), "{:?}", start.elapsed());
}

/// A frame of a megabyte's worth of pieces would be read from its start a million times.
#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_frame_that_comes_byte_by_byte_is_read_once() {
    let (mut scene, path) = scene();
    let mut list = b"1 d7:command4:ping1:xl".to_vec();
    list.extend(b"i1e".repeat(20_000));
    list.extend(b"ee");
    let mut stream = connect(&scene.trunks.relay, TCP);
    stream.set_nodelay(true).unwrap();
    let mut unix = UnixStream::connect(path).unwrap();
    let before = cpu(&mut scene);
    for byte in &list {
        stream.write_all(&[*byte]).unwrap();
    }
    for byte in &list[2..] {
        unix.write_all(&[*byte]).unwrap();
    }
    for stream in [&mut stream as &mut dyn std::io::Read, &mut unix] {
        let mut buffer = [0; 256];
        let len = stream.read(&mut buffer).unwrap();
        assert!(String::from_utf8_lossy(&buffer[..len]).ends_with("d6:result4:ponge"));
    }
    // Each of 60,000 bytes with all before it would be 1.8 billion looks, minutes of a processor; this is a bound on work, not on time.
    let used = cpu(&mut scene) - before;
    assert!(used < Duration::from_secs(10), "{used:?} of a processor");
}

/// The processor time that the daemon has used.
fn cpu(scene: &mut Scene) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", scene.daemon.id())).unwrap();
    let ticks: u64 = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(10 * ticks)
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_web_page_cannot_command_the_relay() {
    let (scene, _) = scene();
    let host = &scene.trunks.relay;
    for (headers, is_page) in [
        ("Origin: https://example.com\r\nContent-Type: text/plain\r\n", true),
        ("Origin: null\r\n", true),
        ("Origin: http://127.0.0.1:8080\r\n", true),
        ("Sec-Fetch-Site: cross-site\r\n", true),
        ("Content-Type: application/x-rtpengine-ng\r\n", false),
        ("", false),
    ] {
        for (path, body) in [("/ng", PING), ("/ng-plain", &PING[2..])] {
            let reply = ask(&mut connect(host, HTTP), &post(path, headers, body));
            let expected = if is_page { "HTTP/1.1 403" } else { "HTTP/1.1 200" };
            assert!(reply.starts_with(expected), "{headers:?}: {reply}");
            assert_eq!(reply.contains("pong"), !is_page);
        }
        let upgrade = format!(
            "GET / HTTP/1.1\r\nHost: relay\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n{headers}\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ng.rtpengine.com\r\n\r\n"
        );
        let reply = ask(&mut connect(host, HTTP), upgrade.as_bytes());
        assert_eq!(reply.starts_with("HTTP/1.1 101"), !is_page, "{headers:?}: {reply}");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn listeners_beyond_loopback_serve_only_those_that_are_named() {
    let args = [
        "--listen-tcp-ng",
        "0.0.0.0:2224",
        "--allow-tcp-ng",
        "192.0.2.10",
        "--listen-http",
        "0.0.0.0:8080",
        "--allow-http",
        "192.0.2.0/24",
    ];
    let scene = Scene::new(Trunks::new().unwrap(), "uring", &args).unwrap();
    use loadtest::rig::trunks::Trunk;
    for (trunk, is_allowed) in [(Trunk::Pbx1, true), (Trunk::Pbx2, false)] {
        let host = scene.trunks.far(trunk);
        for (port, question) in [(2224, PING.to_vec()), (8080, post("/ng", "", PING))] {
            let mut stream = connect(host, &format!("{}:{port}", trunk.near()));
            let _ = stream.write_all(&question);
            let mut buffer = [0; 512];
            let len = stream.read(&mut buffer).unwrap_or(0);
            assert_eq!(String::from_utf8_lossy(&buffer[..len]).contains("pong"), is_allowed, "{trunk:?} {port}");
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_command_that_needs_a_file_is_answered_over_every_socket_and_keeps_no_other_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let datagram = folder.path().join("ng-datagram.sock");
    let path = folder.path().join("ng.sock");
    let args = ["--listen-tcp-ng", TCP, "--listen-http", HTTP, "--listen-ng-unix", path.to_str().unwrap()];
    let args = [&args[..], &["--listen-ng-unixgram", datagram.to_str().unwrap()]].concat();
    let mut scene = Scene::new(Trunks::new().unwrap(), "uring", &args).unwrap();
    let sdp = loadtest::rig::party::sdp("192.0.2.10:4000".parse().unwrap());
    let offer = serde_json::json!({"command": "offer", "call-id": "c", "from-tag": "a", "sdp": sdp});
    assert_eq!(scene.ng.request(&offer).unwrap()["result"], "ok");
    let host = &scene.trunks.relay;
    let file = folder.path().join("none.wav");
    let play = serde_json::json!({"command": "play media", "call-id": "c", "from-tag": "a", "file": file}).to_string();
    let with_cookie = format!("7 {play}");
    let expected = "Failed to start media playback from file";
    assert!(ask(&mut connect(host, TCP), with_cookie.as_bytes()).contains(expected));
    for (url, body) in [("/ng", &with_cookie), ("/ng-plain", &play)] {
        assert!(ask(&mut connect(host, HTTP), &post(url, "", body.as_bytes())).contains(expected), "{url}");
    }
    assert!(ask(&mut UnixStream::connect(&path).unwrap(), play.as_bytes()).contains(expected));
    let client = UnixDatagram::bind(folder.path().join("client.sock")).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // The ping is answered first or second.
    for request in [with_cookie.as_bytes(), PING] {
        client.send_to(request, &datagram).unwrap();
    }
    let mut replies: Vec<String> = (0..2)
        .map(|_| {
            let mut buffer = [0; 2048];
            let len = client.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..len]).into_owned()
        })
        .collect();
    replies.sort();
    assert!(replies[0] == "1 d6:result4:ponge" && replies[1].contains(expected), "{replies:?}");
    let reply = scene.ng.request(&serde_json::from_str(&play).unwrap()).unwrap();
    assert!(reply["error-reason"].as_str().unwrap().starts_with(expected), "{reply}");
}
