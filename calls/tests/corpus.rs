//! Session descriptions as real devices write them, through the whole way from a command to its reply.
//!
//! The snapshots show what has changed and nothing else: a line that is not in them is, byte for byte and with its ending, as it came.
//! After an intended change: `INSTA_UPDATE=always cargo test -p control --test corpus`, and read the difference.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use border::{Interfaces, NoTraffic, Ports};
use calls::Calls;
use calls::call::Settings;
use calls::ng::{Dict, Encoding, Exchange, Proxy, Transport, Value, bencode};

fn bodies() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "sdp"));
    paths.sort();
    paths
}

/// The reply to an offer of the body, to a relay with an address of each family.
fn offered(body: &[u8]) -> Dict<'static> {
    let interfaces = ["trunk/203.0.113.200", "trunk/2001:db8:ffff::200"].map(|text| text.parse().unwrap());
    let ports = Ports::new(&[(40000, 40099); 2]).unwrap();
    let now = Instant::now();
    let mut calls =
        Calls::new(Interfaces::new(interfaces.into()).unwrap(), ports, Settings::default(), b"mark".to_vec(), now);
    let command = Dict::new()
        .with("sdp", body)
        .with("ICE", "remove")
        .with("replace", Value::List(vec!["origin".into(), "session-connection".into()]))
        .with("flags", Value::List(vec!["trust-address".into()]))
        .with("call-id", "call")
        .with("from-tag", "tag")
        .with("command", "offer");
    let message = [b"cookie ", Encoding::Bencode.encode(&command).as_slice()].concat();
    let mut exchange = Exchange::new();
    let local = Proxy::host(SocketAddr::from(([127, 0, 0, 1], 0)).ip(), Transport::Udp);
    let (reply, _) = exchange.datagram(&message, local, &mut calls, now, SystemTime::now(), &NoTraffic).unwrap();
    let Value::Dict(dict) = bencode::decode(&reply[7..]).unwrap() else { panic!("no dictionary") };
    dict.iter().map(|(key, value)| (key.to_vec().into(), owned(value))).collect()
}

fn owned(value: &Value<'_>) -> Value<'static> {
    Value::from(value.as_text().expect("an offer's reply has strings only").into_owned())
}

fn lines(body: &[u8]) -> Vec<&[u8]> {
    body.split_inclusive(|byte| *byte == b'\n').collect()
}

/// A change of a line.
enum Change<'a> {
    Removed(&'a [u8]),
    Added(&'a [u8]),
}

/// The shortest list of changes that turns the one into the other.
fn changes<'a>(before: &[&'a [u8]], after: &[&'a [u8]]) -> Vec<Change<'a>> {
    let mut common = vec![vec![0_usize; after.len() + 1]; before.len() + 1];
    for one in (0..before.len()).rev() {
        for two in (0..after.len()).rev() {
            common[one][two] = match before[one] == after[two] {
                true => common[one + 1][two + 1] + 1,
                false => common[one + 1][two].max(common[one][two + 1]),
            };
        }
    }
    let (mut one, mut two, mut found) = (0, 0, Vec::new());
    while one < before.len() || two < after.len() {
        if one < before.len() && two < after.len() && before[one] == after[two] {
            (one, two) = (one + 1, two + 1);
        } else if two == after.len() || (one < before.len() && common[one + 1][two] >= common[one][two + 1]) {
            found.push(Change::Removed(before[one]));
            one += 1;
        } else {
            found.push(Change::Added(after[two]));
            two += 1;
        }
    }
    found
}

fn shown(before: &[u8], after: &[u8]) -> String {
    let (before, after) = (lines(before), lines(after));
    let changes = changes(&before, &after);
    let mut text = String::new();
    for change in &changes {
        let (sign, line) = match change {
            Change::Removed(line) => ('-', line),
            Change::Added(line) => ('+', line),
        };
        writeln!(text, "{sign} {}", line.escape_ascii()).unwrap();
    }
    let removed = changes.iter().filter(|change| matches!(change, Change::Removed(_))).count();
    writeln!(text, "  {} lines as they were", before.len() - removed).unwrap();
    text
}

#[test]
fn there_are_bodies_of_many_devices() {
    assert!(bodies().len() >= 60, "{}", bodies().len());
}

#[test]
fn every_body_comes_back_with_only_the_lines_changed_that_must_be() {
    for path in bodies() {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let body = std::fs::read(&path).unwrap();
        let reply = offered(&body);
        let text = match reply.get("sdp").and_then(Value::as_text) {
            Some(sdp) => shown(&body, &sdp),
            None => format!("refused: {}\n", reply.get("error-reason").unwrap().as_text().unwrap().escape_ascii()),
        };
        insta::with_settings!({ snapshot_suffix => name, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!("corpus", text);
        });
    }
}

#[test]
fn nothing_but_addresses_ports_and_candidates_is_ever_changed() {
    const TOUCHED: [&str; 15] = [
        "m=",
        "c=",
        "o=",
        "a=rtcp:",
        "a=rtcp-mux",
        "a=candidate:",
        "a=end-of-candidates",
        "a=ice-lite",
        "a=ice-mismatch",
        "a=ice-options",
        "a=ice-pacing",
        "a=ice-pwd",
        "a=ice-ufrag",
        "a=remote-candidates",
        "a=rtcp-fb:",
    ];
    for path in bodies() {
        let body = std::fs::read(&path).unwrap();
        let Some(sdp) = offered(&body).get("sdp").and_then(|sdp| Some(sdp.as_text()?.into_owned())) else { continue };
        for change in changes(&lines(&body), &lines(&sdp)) {
            let (Change::Removed(line) | Change::Added(line)) = change;
            assert!(
                TOUCHED.iter().any(|kind| line.starts_with(kind.as_bytes())),
                "{}: {}",
                path.display(),
                line.escape_ascii()
            );
        }
    }
}
