//! Metrics as Prometheus reads them, while calls are carried; the board and the alert rules that are shipped. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use loadtest::rig::host::in_namespace;
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::Trunks;
use serde_json::{Value, json};

const METRICS: &str = "127.0.0.1:9723";
const HTTP: &str = "127.0.0.1:2225";

fn scene(names: &str) -> Scene {
    let args = [
        "--listen-metrics",
        METRICS,
        "--listen-http",
        HTTP,
        "--metrics-names",
        names,
        "--delete-delay",
        "0",
        "--homer",
        "127.0.0.1:9060",
    ];
    Scene::new(Trunks::new().unwrap(), "xdp", &args).unwrap()
}

/// The answer to a request: its head and its body.
fn get(scene: &Scene, at: &'static str, request: String) -> (String, String) {
    let answer = in_namespace(&scene.trunks.relay, move || {
        let mut stream = TcpStream::connect(at)?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    });
    let answer = answer.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    (head.to_owned(), body.to_owned())
}

fn scrape(scene: &Scene, at: &'static str) -> String {
    let (head, body) = get(scene, at, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned());
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    body
}

/// Each value by its name with labels.
fn values(body: &str) -> BTreeMap<String, f64> {
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap())).unwrap())
        .collect()
}

fn promtool() -> PathBuf {
    let home = |home| Path::new(&home).join(".local/share/intertrunk/bpf");
    let tools = std::env::var_os("INTERTRUNK_BPF_TOOLS").map(PathBuf::from);
    let tools = tools.or_else(|| std::env::var_os("HOME").map(home)).unwrap();
    let fetched = tools.join("bin/promtool");
    if fetched.exists() { fetched } else { "promtool".into() }
}

fn deployed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

/// A call with everything that is counted: carried, lost, of ports without a call, answered with an error, ended.
fn make_history(scene: &mut Scene) {
    let (mut caller, mut callee, call) = scene.call([false; 2], &[]).unwrap();
    call.converse(&mut caller, &mut callee, 30).unwrap();
    scene.wait_for_fast_path(&call, call.for_caller).unwrap();
    caller.set_sequence(1035);
    call.converse(&mut caller, &mut callee, 20).unwrap();
    let nowhere = std::net::SocketAddr::new(call.for_caller.ip(), call.for_caller.port() ^ 0x40);
    caller.speak(nowhere).unwrap();
    drop(scene.ng.request(&json!({"command": "query", "call-id": "none"})));
    scene.ng.request(&json!({"command": "delete", "call-id": "call-1"})).unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn what_is_scraped_is_what_the_parties_have_sent() {
    let mut scene = scene("own");
    let parties = scene.call([false; 2], &[]).unwrap();
    let hops = |state| format!("intertrunk_next_hops{{state=\"{state}\"}}");
    let mut hops_found = BTreeMap::new();
    let found_out = wait_until("two neighbours are known", Duration::from_secs(3), || {
        hops_found = values(&scrape(&scene, METRICS));
        hops_found[&hops("resolved")] == 2.0 && hops_found[&hops("unresolved")] == 0.0
    });
    assert!(found_out.is_ok(), "{hops_found:?}");
    drop(parties);
    scene.ng.request(&json!({"command": "delete", "call-id": "call-1"})).unwrap();
    make_history(&mut scene);
    let mut found = BTreeMap::new();
    let counted = wait_until("all is counted", Duration::from_secs(3), || {
        found = values(&scrape(&scene, METRICS));
        let packets = ["fast", "slow"].map(|path| found[&format!("intertrunk_packets_total{{path=\"{path}\"}}")]);
        packets.iter().sum::<f64>() == 100.0
            && packets[0] > 30.0
            && found.contains_key("intertrunk_program_packets_total{reason=\"no-call\"}")
    });
    assert!(counted.is_ok(), "{found:?}");
    for (name, value) in [
        ("intertrunk_calls", 0.0),
        ("intertrunk_calls_created_total", 2.0),
        ("intertrunk_calls_ended_total{reason=\"deleted\"}", 2.0),
        ("intertrunk_lost_packets", 5.0),
        ("intertrunk_control_request_seconds_count{proxy=\"127.0.0.1\",command=\"offer\"}", 2.0),
        ("intertrunk_control_transport_seconds_count{transport=\"udp\",command=\"offer\"}", 2.0),
        ("intertrunk_control_errors_total{proxy=\"127.0.0.1\"}", 1.0),
        ("intertrunk_journal_written", 1.0),
        ("intertrunk_pinned", 1.0),
        ("intertrunk_packet_errors_total", 0.0),
    ] {
        assert_eq!(found.get(name), Some(&value), "{name}: {found:?}");
    }
    // The same where rtpengine has them, and none of its names unless they are wanted.
    let names = |found: &BTreeMap<String, f64>| found.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&values(&scrape(&scene, HTTP))), names(&found));
    assert!(!found.keys().any(|name| name.starts_with("rtpengine")), "{found:?}");
}

#[test]
#[ignore = "privileged: namespaces, BPF, promtool"]
fn promtool_finds_nothing_wrong_with_metrics_rules_and_configuration() {
    let mut scene = scene("own");
    make_history(&mut scene);
    let mut tool = Command::new(promtool());
    let mut tool = tool
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tool.stdin.take().unwrap().write_all(scrape(&scene, METRICS).as_bytes()).unwrap();
    let judged = tool.wait_with_output().unwrap();
    assert!(judged.status.success() && judged.stderr.is_empty(), "{judged:?}");
    for what in [["rules", "prometheus/intertrunk.rules.yml"], ["config", "prometheus/prometheus.yml"]] {
        let judged = Command::new(promtool()).args(["check", what[0]]).arg(deployed(what[1])).output().unwrap();
        assert!(judged.status.success(), "{judged:?}");
    }
}

/// The names of metrics in an expression.
fn names_in(expression: &str) -> impl Iterator<Item = &str> {
    expression
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("intertrunk_"))
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn every_metric_of_the_board_and_of_the_rules_exists_and_every_metric_is_on_the_board() {
    let mut scene = scene("own");
    make_history(&mut scene);
    // What occurs only when something fails.
    let quiet = ["intertrunk_worker_lost_packets_total", "intertrunk_program_packets_total"];
    let body = scrape(&scene, METRICS);
    let told: BTreeSet<String> = values(&body)
        .keys()
        .map(|name| name.split('{').next().unwrap().to_owned())
        .chain(quiet.map(str::to_owned))
        .collect();
    let board: Value = serde_json::from_slice(&std::fs::read(deployed("grafana/intertrunk.json")).unwrap()).unwrap();
    let targets = board["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let expressions: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    let shown: BTreeSet<&str> = expressions.iter().flat_map(|expression| names_in(expression)).collect();
    let rules = std::fs::read_to_string(deployed("prometheus/intertrunk.rules.yml")).unwrap();
    for name in shown.iter().copied().chain(names_in(&rules)) {
        assert!(told.contains(name), "{name} is nowhere: {told:?}");
    }
    let types = body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for name in types {
        let is_shown = |end: &&str| shown.contains(format!("{name}{end}").as_str());
        assert!(["", "_total", "_bucket", "_count", "_sum"].iter().any(is_shown), "{name} is on no panel");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn those_who_come_from_rtpengine_find_its_names_with_the_same_values() {
    let mut scene = scene("both");
    make_history(&mut scene);
    let mut found = BTreeMap::new();
    let counted = wait_until("all is counted", Duration::from_secs(3), || {
        found = values(&scrape(&scene, HTTP));
        let packets = ["kernel", "userspace"].map(|kind| found[&format!("rtpengine_packets_total{{type=\"{kind}\"}}")]);
        packets.iter().sum::<f64>() == 100.0
    });
    assert!(counted.is_ok(), "{found:?}");
    for (name, value) in [
        ("rtpengine_sessions{type=\"own\"}", 0.0),
        ("rtpengine_sessions_total", 1.0),
        ("rtpengine_closed_sessions_total{reason=\"terminated\"}", 1.0),
        ("rtpengine_requests_total{proxy=\"127.0.0.1\",request=\"delete\"}", 1.0),
        ("rtpengine_errors_total{proxy=\"127.0.0.1\"}", 1.0),
        ("rtpengine_ports{name=\"pbx1\",address=\"192.0.2.1\"}", 10_000.0),
    ] {
        assert_eq!(found.get(name), Some(&value), "{name}: {found:?}");
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn whoever_asks_for_very_much_at_once_keeps_no_proxy_waiting() {
    let args = ["--listen-dashboard", "127.0.0.1:9724", "--listen-metrics", METRICS, "--listen-http", HTTP];
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &args).unwrap();
    for (at, path) in [
        (METRICS, "/metrics"),
        (HTTP, "/metrics"),
        ("127.0.0.1:9724", "/uplot.js"),
        ("127.0.0.1:9724", "/call?id=none"),
    ] {
        let mut stream = in_namespace(&scene.trunks.relay, move || Ok(TcpStream::connect(at)?)).unwrap();
        let mut reader = stream.try_clone().unwrap();
        let reading = std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            while reader.read(&mut buffer).is_ok_and(|len| len > 0) {}
        });
        let many = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").repeat(3000);
        let writing = std::thread::spawn(move || {
            let _closed = stream.write_all(many.as_bytes());
            stream
        });
        // Proxies ask beside it, and none of them waits for a burst.
        let mut longest = Duration::ZERO;
        for _ in 0..50 {
            let asked = std::time::Instant::now();
            assert_eq!(scene.ng.request(&json!({"command": "ping"})).unwrap()["result"], "pong");
            longest = longest.max(asked.elapsed());
        }
        assert!(longest < Duration::from_millis(100), "{at}{path}: {longest:?}");
        let stream = writing.join().unwrap();
        let _gone = stream.shutdown(std::net::Shutdown::Both);
        reading.join().unwrap();
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn at_the_listener_of_metrics_there_is_nothing_else_and_no_page_of_the_web_reads_them() {
    let scene = scene("own");
    for (request, expected) in [
        ("POST /ng HTTP/1.1\r\nContent-Length: 0\r\n", "404"),
        ("GET /ping HTTP/1.1\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n", "405"),
        ("GET /metrics HTTP/1.1\r\nOrigin: http://a\r\n", "403"),
        ("GET /metrics HTTP/1.1\r\n", "200"),
    ] {
        let (head, _) = get(&scene, METRICS, format!("{request}Host: a\r\nConnection: close\r\n\r\n"));
        assert!(head.starts_with(&format!("HTTP/1.1 {expected}")), "{request}: {head}");
    }
}
