//! The line socket of `rtpengine-ctl`. What is expected was answered by rtpengine 10.5. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use loadtest::rig::host::in_namespace;
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use serde_json::json;

const CLI: &str = "127.0.0.1:9900";

fn say(scene: &Scene, line: &str) -> String {
    let line = line.to_owned();
    let answer = in_namespace(&scene.trunks.relay, move || {
        let mut stream = TcpStream::connect(CLI)?;
        // Who has answered already has hung up.
        let _done = stream.write_all(line.as_bytes()).and_then(|()| stream.shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        let _done = stream.read_to_end(&mut answer);
        Ok(String::from_utf8_lossy(&answer).into_owned())
    });
    answer.unwrap()
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn runbooks_find_their_words_and_what_they_say_is_done() {
    let args = ["--listen-cli", CLI, "--delete-delay", "0"];
    let mut scene = Scene::new(Trunks::dual_stack().unwrap(), "xdp", &args).unwrap();
    let (mut caller, mut callee, call) = scene.call([false, true], &[]).unwrap();
    call.converse(&mut caller, &mut callee, 10).unwrap();
    for (line, expected) in [
        (
            "list numsessions\n",
            "Current sessions own: 1\nCurrent sessions foreign: 0\nCurrent sessions total: 1\nCurrent transcoded media: 0\n\
             Current sessions ipv4 only media: 0\nCurrent sessions ipv6 only media: 0\nCurrent sessions ip mixed  media: 1\n",
        ),
        ("list maxsessions", "Maximum sessions configured on rtpengine: -1\n"),
        ("set maxsessions 7\n", "Success setting maxsessions to 7\n"),
        ("list maxsessions\r\n", "Maximum sessions configured on rtpengine: 7\n"),
        ("set maxsessions -1\n", "Success setting maxsessions to -1\n"),
        ("list maxsessions\n", "Maximum sessions configured on rtpengine: -1\n"),
        ("set maxcpu 10\n", "Success setting maxcpu to 10.0\n"),
        ("list maxcpu\n", "Maximum CPU usage configured on rtpengine: 10.0\n"),
        ("set maxcpu 0\n", "Success setting maxcpu to 0.0\n"),
        ("list timeout\n", "TIMEOUT=60\n"),
        ("set timeout 50\n", "Success setting timeout to 50\n"),
        ("list timeout\n", "TIMEOUT=50\n"),
        ("list silenttimeout\n", "SILENT_TIMEOUT=3600\n"),
        ("set loglevels 5\n", "Success setting loglevel to 5\n"),
        ("list sessions\n", "More parameters required.\n"),
        ("terminate\n", "More parameters required.\n"),
        ("list sessions none\n", "\nCall ID not found (none).\n\n"),
        ("terminate none\n", "\nCall Id not found (none).\n\n"),
        ("call none info\n", "No such call 'none'\n"),
        ("frobnicate\n", "Unknown or incomplete command::frobnicate\n"),
        ("list nonsense\n", "Unknown or incomplete command::nonsense\n"),
        ("set nonsense 1\n", "Unknown or incomplete command::nonsense 1\n"),
        ("\n", ""),
        ("", ""),
    ] {
        assert_eq!(say(&scene, line), expected, "{line:?}");
    }
    for (line, expected) in [
        ("set maxsessions NaN\n", "Fail setting maxsessions to NaN; no digits found"),
        ("set maxload inf\n", "Fail setting maxload to inf; no digits found"),
        ("set timeout 1e18\n", "Fail setting timeout to 1e18; no digits found"),
        (
            "set timeout 999999999999\n",
            "Fail setting timeout to 999999999999; timeout = 999999999999: no call lasts so long",
        ),
        ("set timeout soon\n", "Fail setting timeout to soon; "),
        ("set timeout 0\n", "Fail setting timeout to 0; "),
        (
            "list sessions all\n",
            "callid:                                                       call-1 | deletionmark:  no | created: ",
        ),
        ("list sessions call-1\n", "\ncallid: call-1\ndeletionmark: no\ncreated: "),
        (
            "list interfaces\n",
            "Interface 'pbx1' address '192.0.2.1' (IPv4)\n Port range: 30000 - 40000\n Ports used:     2 / 10000",
        ),
        (
            "list totals\n",
            "\nStatistics over currently running sessions:\n\n Owned sessions                                  :1\n",
        ),
        ("list jsonstats\n", "{\n  \"currentstatistics\": {"),
    ] {
        let answer = say(&scene, line);
        assert!(answer.starts_with(expected), "{line:?}: {answer}");
    }
    let shown = say(&scene, "call call-1 info\n");
    let port = call.for_caller.port();
    let line = format!("-------- Port       192.0.2.1:{port} <>      {}:4000 , SSRC ", Trunk::Pbx1.far());
    assert!(shown.contains(&line), "{shown}");
    // A drain as runbooks have it.
    say(&scene, "set maxsessions 0\n");
    let offer = json!({"command": "offer", "call-id": "next", "from-tag": "a", "sdp": caller.sdp()});
    assert_eq!(scene.ng.request(&offer).unwrap()["error-reason"], "Parallel session limit reached");
    assert_eq!(say(&scene, "terminate call-1\n"), "\nCall Id (call-1) successfully terminated by operator.\n\n");
    caller.speak(call.for_caller).unwrap();
    callee.rtp.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert_eq!(callee.hear().unwrap(), None);
    assert_eq!(say(&scene, "terminate all\n"), "All calls terminated by operator.\n");
    let told = say(&scene, "list totals\n");
    assert!(told.contains("Total forced terminated sessions                :1\n"), "{told}");
    // What takes long, and what is long, keeps nobody.
    let held = in_namespace(&scene.trunks.relay, || Ok(TcpStream::connect(CLI)?)).unwrap();
    let long = say(&scene, &"list ".repeat(10_000));
    assert!(long.len() < 10_000, "{}", long.len());
    let answered =
        wait_until("others are answered", Duration::from_secs(1), || say(&scene, "list timeout\n") == "TIMEOUT=50\n");
    answered.unwrap();
    drop(held);
}
