//! The client of drachtio applications, over each of its transports, and media over the ports that it is told. `cargo xtask test` runs
//! these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

use loadtest::rig::party::{Call, Party, media};
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use serde_json::{Value, json};

/// `loadtest/drachtio/call.js`, running on the relay's host.
struct Application {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// What it has to complain about.
    log: PathBuf,
}

impl Application {
    fn start(scene: &Scene, transport: &str, port: u16, [caller, callee]: [SocketAddr; 2]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("drachtio/call.js");
        let log = scene.folder.path().join("call.log");
        let mut command = scene.trunks.relay.command("node");
        command.arg(script).args([transport, "127.0.0.1", &port.to_string(), &caller.to_string(), &callee.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout, log }
    }

    /// The next replies that it prints, which it has found to be right.
    fn replies(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "{}", self.complaint());
        serde_json::from_str(&line).unwrap()
    }

    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"go on\n").unwrap();
    }

    fn finish(&mut self) {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.complaint());
    }

    fn complaint(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        // It has ended, unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn a_call_by(transport: &str, port: u16) {
    let args = ["--listen-tcp-ng", "127.0.0.1:2224", "--listen-http", "127.0.0.1:8080"];
    let scene = Scene::new(Trunks::new().unwrap(), "auto", &args).unwrap();
    let mut caller = Party::new(&scene.trunks, Trunk::Pbx1, 4000).unwrap();
    let mut callee = Party::new(&scene.trunks, Trunk::Gateway, 6000).unwrap();
    let mut application = Application::start(&scene, transport, port, [caller.addr(), callee.addr()]);

    let up = application.replies();
    let call = Call {
        id: up["list"]["calls"][0].as_str().unwrap().to_owned(),
        for_caller: media(&up["answer"]).unwrap(),
        for_callee: media(&up["offer"]).unwrap(),
    };
    let near = [Trunk::Pbx1, Trunk::Gateway].map(|trunk| IpAddr::from(trunk.near()));
    assert_eq!([call.for_caller.ip(), call.for_callee.ip()], near);
    call.converse(&mut caller, &mut callee, 20).unwrap();

    application.go_on();
    let over = application.replies();
    application.finish();
    for reply in ["query", "delete"] {
        let totals = &over[reply]["totals"];
        assert_eq!((&totals["RTP"]["packets"], &totals["RTP"]["errors"]), (&json!(40), &json!(0)), "{reply}: {totals}");
    }
    caller.speak(call.for_caller).unwrap();
    assert_eq!(callee.hear().unwrap(), None, "the call is over");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn drachtio_makes_a_call_by_udp() {
    a_call_by("udp", 2223);
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn drachtio_makes_a_call_by_tcp() {
    a_call_by("tcp", 2224);
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn drachtio_makes_a_call_by_web_socket() {
    a_call_by("ws", 8080);
}
