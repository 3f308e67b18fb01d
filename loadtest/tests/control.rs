//! The daemon's control sockets and its start, from outside. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use loadtest::rig::daemon::{Daemon, DaemonOptions, NG, NgClient, binary};
use loadtest::rig::host::{Host, in_namespace};
use loadtest::rig::party::sdp;
use loadtest::rig::trunks::Trunks;
use serde_json::{Value, json};

struct Rig {
    _daemon: Daemon,
    folder: tempfile::TempDir,
    trunks: Trunks,
}

impl Rig {
    fn new(args: &[&str]) -> Self {
        let (trunks, folder) = (Trunks::new().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        let mut all = vec![
            "--listen-ng-unix".to_owned(),
            path("ng.sock"),
            "--listen-ng-unixgram".to_owned(),
            path("ng-datagram.sock"),
        ];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        let options = DaemonOptions { args: all, ..DaemonOptions::new("uring") };
        let daemon = Daemon::start(&trunks, &options, folder.path()).unwrap();
        Self { _daemon: daemon, folder, trunks }
    }

    fn udp(&self) -> UdpSocket {
        let socket = in_namespace(&self.trunks.relay, || Ok(UdpSocket::bind("127.0.0.1:0")?)).unwrap();
        socket.connect(NG).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        socket
    }
}

fn exchange(socket: &UdpSocket, request: &[u8]) -> String {
    socket.send(request).unwrap();
    let mut buffer = [0; 65536];
    let len = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

fn offer(id: &str) -> Value {
    json!({"command": "offer", "call-id": id, "from-tag": "a", "sdp": sdp("192.0.2.10:4000".parse().unwrap()), "direction": ["pbx1", "gateway"]})
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_ping_is_answered_in_the_encoding_it_came_in() {
    let rig = Rig::new(&[]);
    let socket = rig.udp();
    assert_eq!(exchange(&socket, b"c-1 d7:command4:pinge"), "c-1 d6:result4:ponge");
    assert_eq!(exchange(&socket, br#"c-2 {"command":"ping"}"#), r#"c-2 {"result":"pong"}"#);
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_retransmitted_offer_gets_the_same_reply_and_no_second_ports() {
    let rig = Rig::new(&["--port-min", "30000", "--port-max", "30001"]);
    let socket = rig.udp();
    let request = format!("cookie {}", offer("call-1"));
    let reply = exchange(&socket, request.as_bytes());
    assert!(reply.contains("m=audio 30000 "), "{reply}");
    assert_eq!(exchange(&socket, request.as_bytes()), reply);
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn when_the_ports_are_used_up_the_proxy_is_told_and_nothing_stays_allocated() {
    let rig = Rig::new(&["--port-min", "30000", "--port-max", "30003"]);
    let mut ng = NgClient::new(&rig.trunks).unwrap();
    for id in ["call-1", "call-2"] {
        assert_eq!(ng.request(&offer(id)).unwrap()["result"], "ok");
    }
    for _ in 0..3 {
        let reply = ng.request(&offer("call-3")).unwrap();
        assert_eq!((&reply["result"], &reply["error-reason"]), (&json!("error"), &json!("Ran out of ports")));
    }
    assert_eq!(ng.request(&json!({"command": "list"})).unwrap()["calls"].as_array().unwrap().len(), 2);
    assert_eq!(ng.request(&json!({"command": "delete", "call-id": "call-1"})).unwrap()["result"], "ok");
    std::thread::sleep(Duration::from_millis(3100));
    assert_eq!(ng.request(&offer("call-3")).unwrap()["result"], "ok", "the ports of the deleted call have rested");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn the_unix_stream_socket_speaks_without_cookies_as_opensips_does() {
    let rig = Rig::new(&["--unix-mode", "0600"]);
    let path = rig.folder.path().join("ng.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // Connect, one write, one read, close.
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"d7:command4:pinge").unwrap();
    let mut reply = [0; 65536];
    let len = client.read(&mut reply).unwrap();
    assert_eq!(&reply[..len], b"d6:result4:ponge");
    // A request in pieces, and two at once, are served too.
    for piece in [&b"d7:comm"[..], b"and4:pi", b"nge{\"command\":\"ping\"}"] {
        client.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, r#"d6:result4:ponge{"result":"pong"}"#);
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn noise_on_the_unix_stream_socket_gets_an_error_and_the_end_of_the_connection() {
    let rig = Rig::new(&[]);
    let mut client = UnixStream::connect(rig.folder.path().join("ng.sock")).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut reply = String::new();
    client.read_to_string(&mut reply).unwrap();
    assert!(reply.contains("Invalid NG data format"), "{reply}");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn the_unix_datagram_socket_speaks_with_cookies() {
    let rig = Rig::new(&[]);
    let client = UnixDatagram::bind(rig.folder.path().join("client.sock")).unwrap();
    client.send_to(b"c-1 d7:command4:pinge", rig.folder.path().join("ng-datagram.sock")).unwrap();
    let mut reply = [0; 1024];
    let len = client.recv(&mut reply).unwrap();
    assert_eq!(&reply[..len], b"c-1 d6:result4:ponge");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn bad_requests_get_the_texts_of_the_contract() {
    let rig = Rig::new(&[]);
    let socket = rig.udp();
    for (request, text) in [
        ("c-1 hello", "Invalid NG data format"),
        ("c-2 d7:command4:ping", "Could not decode bencode dictionary"),
        ("c-3 de", "Dictionary contains no key \"command\""),
        ("c-4 d7:command5:dancee", "Unrecognized command"),
        ("c-5 {\"command\":\"offer\"}", "No SDP body in message"),
        ("c-5b {\"command\":\"offer\",\"sdp\":\"v=0\"}", "No call-id in message"),
        (
            "c-6 {\"command\":\"answer\",\"call-id\":\"x\",\"from-tag\":\"a\",\"to-tag\":\"b\",\"sdp\":\"v=0\\r\\nm=audio 1 RTP/AVP 0\\r\\n\"}",
            "Unknown call-id",
        ),
        ("c-7 {\"command\":\"query\",\"call-id\":\"x\"}", "Unknown call-id"),
        ("c-8 {\"command\":\"delete\",\"call-id\":\"x\"}", "Call-ID not found or tags didn't match"),
        ("c-9 {\"command\":\"offer\",\"call-id\":\"x\",\"from-tag\":\"a\",\"sdp\":\"hello\"}", "Failed to parse SDP"),
    ] {
        let reply = exchange(&socket, request.as_bytes());
        assert!(reply.replace('\\', "").contains(text), "{request}: {reply}");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_reply_too_long_for_a_datagram_leaves_its_details_out() {
    let rig = Rig::new(&[]);
    let mut ng = NgClient::new(&rig.trunks).unwrap();
    let media: String = (0..64).map(|number| format!("m=audio {} RTP/AVP 8\r\n", 4000 + 2 * number)).collect();
    let sdp = format!("v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n{media}");
    let offer =
        json!({"command": "offer", "call-id": "many", "from-tag": "a", "sdp": sdp, "direction": ["pbx1", "gateway"]});
    assert_eq!(ng.request(&offer).unwrap()["result"], "ok");
    let reply = ng.request(&json!({"command": "delete", "call-id": "many"})).unwrap();
    assert_eq!((&reply["result"], reply.get("tags")), (&json!("ok"), None));
    assert!(reply["totals"].is_object() && reply["warning"].is_string());
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_client_that_does_not_read_keeps_nobody_else_waiting() {
    let rig = Rig::new(&[]);
    let socket = rig.folder.path().join("ng-datagram.sock");
    let deaf = UnixDatagram::bind(rig.folder.path().join("deaf.sock")).unwrap();
    deaf.set_nonblocking(true).unwrap();
    for number in 0..200 {
        // Replies pile up until its buffer is full; then they are lost.
        let _sent = deaf.send_to(format!("{number} d7:command4:pinge").as_bytes(), &socket);
        std::thread::sleep(Duration::from_millis(1));
    }
    let client = UnixDatagram::bind(rig.folder.path().join("client.sock")).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    client.send_to(b"c-1 d7:command4:pinge", &socket).unwrap();
    let mut reply = [0; 1024];
    let len = client.recv(&mut reply).unwrap();
    assert_eq!(&reply[..len], b"c-1 d6:result4:ponge");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn white_space_on_the_unix_stream_socket_means_nothing() {
    let rig = Rig::new(&[]);
    let mut client = UnixStream::connect(rig.folder.path().join("ng.sock")).unwrap();
    for _ in 0..100 {
        client.write_all(&[b'\n'; 4096]).unwrap();
    }
    client.write_all(b"d7:command4:pinge\n").unwrap();
    let mut reply = [0; 1024];
    let len = client.read(&mut reply).unwrap();
    assert_eq!(&reply[..len], b"d6:result4:ponge");
}

/// What the daemon says when it is started on a host and fails.
fn failure(host: &Host, args: &[&str], wrap: &[&str]) -> String {
    let program = binary().unwrap().to_string_lossy().into_owned();
    let words: Vec<&str> =
        wrap.iter().copied().chain([program.as_str(), "serve"]).chain(args.iter().copied()).collect();
    // One that starts after all must not be waited for.
    let output = host.command("timeout").arg("20").args(words).output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // The last line is the sentence; the log may have said things before.
    text.lines().last().unwrap_or_default().to_owned()
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_start_that_must_fail_says_why_in_one_sentence() {
    let trunks = Trunks::new().unwrap();
    let relay = &trunks.relay;
    let good = ["--interface", "pbx/192.0.2.1"];
    let with = |more: &[&'static str]| [&good[..], more].concat();

    let text = failure(relay, &["--interface", "a/192.0.2.1", "--interface", "b/192.0.2.1 ports 20000-20099"], &[]);
    assert!(text.contains("one address"), "{text}");
    let text = failure(relay, &with(&["--listen-ng", "192.0.2.1:2223"]), &[]);
    assert!(text.contains("allow-ng"), "{text}");
    let text = failure(relay, &["--interface", "local/127.0.0.1", "--engine", "xdp"], &[]);
    assert!(text.contains("loopback"), "{text}");
    let text = failure(relay, &with(&["--listen-ng", "203.0.113.99:2223", "--allow-ng", "203.0.113.98"]), &[]);
    assert!(text.contains("NG cannot listen on 203.0.113.99:2223"), "{text}");
    let text = failure(relay, &with(&["--listen-ng-unix", "/nowhere/at/all/ng.sock"]), &[]);
    assert!(text.contains("/nowhere/at/all/ng.sock"), "{text}");
    let text = failure(relay, &with(&["--config", "/nowhere/intertrunk.toml"]), &[]);
    assert!(text.contains("/nowhere/intertrunk.toml"), "{text}");
    // As somebody without any capability.
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
    let text = failure(relay, &with(&["--intake", "steered"]), &nobody);
    assert!(text.contains("CAP_BPF"), "{text}");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_second_daemon_finds_the_port_busy_and_leaves_the_first_alone() {
    let rig = Rig::new(&[]);
    let text = failure(&rig.trunks.relay, &["--interface", "pbx/192.0.2.1"], &[]);
    assert!(text.contains("NG port 127.0.0.1:2223 is in use by another program"), "{text}");
    let socket = rig.folder.path().join("ng.sock");
    let path = socket.to_string_lossy().into_owned();
    let text = failure(
        &rig.trunks.relay,
        &["--interface", "pbx/192.0.2.1", "--listen-ng", "127.0.0.1:2224", "--listen-ng-unix", &path],
        &[],
    );
    assert!(text.contains("in use by another process"), "{text}");
    assert_eq!(exchange(&rig.udp(), b"c-1 d7:command4:pinge"), "c-1 d6:result4:ponge");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_clean_stop_leaves_nothing_behind() {
    let (trunks, folder) = (Trunks::new().unwrap(), tempfile::tempdir().unwrap());
    let socket = folder.path().join("ng.sock");
    let args = vec!["--listen-ng-unix".to_owned(), socket.to_string_lossy().into_owned()];
    let mut daemon =
        Daemon::start(&trunks, &DaemonOptions { args, ..DaemonOptions::new("xdp") }, folder.path()).unwrap();
    let has_xdp = || trunks.relay.run("ip", ["link", "show", "pbx1"]).unwrap().contains("xdp");
    assert!(has_xdp() && socket.exists());
    assert!(daemon.process().stop().unwrap().success());
    assert!(!has_xdp() && !socket.exists());
}
