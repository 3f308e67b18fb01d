//! What the rtpengine module of OpenSIPS writes on a unix stream socket, byte for byte, what it reads of the replies, and media over the
//! ports that it is told. `cargo xtask test` runs these.
//!
//! For each command the module connects, writes a dictionary without cookie at once, reads once, and closes. Its keys are not sorted: first
//! the description, then what the script says as `key=value`, in the script's order, then lists, then who is meant, then `command`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use loadtest::frame;
use loadtest::pcap::Reader;
use loadtest::rig::capture::Capture;
use loadtest::rig::party::{Call, Party, media};
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{FAR_DEVICE, Trunk, Trunks};
use loadtest::rtp::Ssrc;
use serde_json::{Map, Value, json};

const ID: &str = "B2B.481.7135-1@192.0.2.10";
/// Of the caller's INVITE: what `via-branch=1` means in a request, and `via-branch=2` in a reply.
const BRANCH: &str = "z9hG4bKd5a1.3b2c4f07000000000000000000000000.0";

/// A string of bencode.
fn text(text: &str) -> String {
    format!("{}:{text}", text.len())
}

/// A list of strings.
fn list(words: &[&str]) -> String {
    let words: String = words.iter().map(|word| text(word)).collect();
    format!("l{words}e")
}

/// A dictionary with its keys in this order. The values are bencode already.
fn dict(entries: &[(&str, String)]) -> String {
    let entries: String = entries.iter().map(|(key, value)| text(key) + value.as_str()).collect();
    format!("d{entries}e")
}

/// `rtpengine_offer` of an INVITE, with the words `trust-address symmetric replace-origin replace-session-connection RTP/AVP
/// rtcp-mux-demux ICE=remove address-family=IP4 TOS=184 via-branch=1 in-iface=pbx1 out-iface=gateway`, and others that nobody knows.
fn offer(id: &str, sdp: &str) -> String {
    dict(&[
        ("sdp", text(sdp)),
        ("ICE", text("remove")),
        ("address family", text("IP4")),
        ("TOS", text("184")),
        ("no-such-key", text("1")),
        ("no-such-list", dict(&[("a", list(&["b", "c"])), ("d", text("e=f g"))])),
        ("direction", list(&["pbx1", "gateway"])),
        ("flags", list(&["trust-address", "symmetric", "no-such-flag"])),
        ("replace", list(&["origin", "session-connection"])),
        ("transport-protocol", text("RTP/AVP")),
        ("rtcp-mux", list(&["demux"])),
        ("call-id", text(id)),
        ("via-branch", text(BRANCH)),
        ("received-from", list(&["IP4", "192.0.2.10"])),
        ("from-tag", text("caller")),
        ("command", text("offer")),
    ])
}

/// `rtpengine_answer` of the 200, with the words `trust-address symmetric replace-origin replace-session-connection RTP/AVP ICE=remove
/// via-branch=2`.
fn answer(id: &str, sdp: &str) -> String {
    dict(&[
        ("sdp", text(sdp)),
        ("ICE", text("remove")),
        ("flags", list(&["trust-address", "symmetric"])),
        ("replace", list(&["origin", "session-connection"])),
        ("transport-protocol", text("RTP/AVP")),
        ("call-id", text(id)),
        ("via-branch", text(BRANCH)),
        ("received-from", list(&["IP4", "198.51.100.10"])),
        ("from-tag", text("caller")),
        ("to-tag", text("callee")),
        ("command", text("answer")),
    ])
}

/// `rtpengine_delete("delete-delay=0")` of a BYE or CANCEL: without tags.
fn delete(id: &str) -> String {
    dict(&[
        ("delete-delay", "i0e".to_owned()),
        ("call-id", text(id)),
        ("received-from", list(&["IP4", "192.0.2.10"])),
        ("command", text("delete")),
    ])
}

/// What `rtp_relay` ends a call by, with `delete-delay=0`: the tag of the called party alone, and the branch that it counts by itself.
fn relay_delete(id: &str) -> String {
    dict(&[
        ("delete-delay", "i0e".to_owned()),
        ("call-id", text(id)),
        ("via-branch", text("br0")),
        ("received-from", list(&["IP4", "192.0.2.10"])),
        ("to-tag", text("callee")),
        ("command", text("delete")),
    ])
}

/// What `$rtpstat` and `$rtpquery` ask: the tags are those of the message that is being routed.
fn query(id: &str, from: &str, to: &str) -> String {
    dict(&[
        ("call-id", text(id)),
        ("received-from", list(&["IP4", "192.0.2.10"])),
        ("from-tag", text(from)),
        ("to-tag", text(to)),
        ("command", text("query")),
    ])
}

/// What `siprec` has `rtp_relay` ask: where the call comes from it does not know, and the tag is that of a request that it makes up. The first
/// time it has no tag of ours, afterwards always. `interface=pbx2` is what the script says as the media's flags.
fn copy_offer(id: &str, to_tag: Option<&str>, is_paused: bool) -> String {
    let flags = if is_paused { list(&["all", "siprec", "inactive"]) } else { list(&["all", "siprec"]) };
    copy(id, to_tag, &[("flags", flags)], "subscribe request")
}

/// What it says when the recorder has answered.
fn copy_answer(id: &str, to_tag: &str, sdp: &str) -> String {
    copy(id, Some(to_tag), &[("sdp", text(sdp))], "subscribe answer")
}

/// What it says when the recording is over.
fn copy_delete(id: &str, to_tag: &str) -> String {
    copy(id, Some(to_tag), &[], "unsubscribe")
}

fn copy(id: &str, to_tag: Option<&str>, own: &[(&str, String)], command: &str) -> String {
    let mut entries = vec![("call-id", text(id)), ("via-branch", text("br0"))];
    entries.extend(to_tag.map(|tag| ("to-tag", text(tag))));
    entries.extend(own.iter().cloned());
    entries.extend([
        ("interface", text("pbx2")),
        ("received-from", list(&["IP4", "0.0.0.0"])),
        ("from-tag", text("1")),
        ("command", text(command)),
    ]);
    dict(&entries)
}

/// The value at the beginning of some bencode, and what follows it.
fn decode(bytes: &[u8]) -> (Value, &[u8]) {
    match bytes[0] {
        b'i' => {
            let (number, rest) = number(&bytes[1..], b'e');
            (json!(number), rest)
        }
        b'l' => {
            let (mut items, mut rest) = (Vec::new(), &bytes[1..]);
            while rest[0] != b'e' {
                let (item, after) = decode(rest);
                items.push(item);
                rest = after;
            }
            (Value::Array(items), &rest[1..])
        }
        b'd' => {
            let (mut entries, mut rest) = (Map::new(), &bytes[1..]);
            while rest[0] != b'e' {
                let (key, after) = decode(rest);
                let (value, after) = decode(after);
                entries.insert(key.as_str().unwrap().to_owned(), value);
                rest = after;
            }
            (Value::Object(entries), &rest[1..])
        }
        _ => {
            let (length, rest) = number(bytes, b':');
            let (text, rest) = rest.split_at(usize::try_from(length).unwrap());
            (json!(std::str::from_utf8(text).unwrap()), rest)
        }
    }
}

/// The number before an end mark, and what follows the mark.
fn number(bytes: &[u8], end: u8) -> (i64, &[u8]) {
    let place = bytes.iter().position(|byte| *byte == end).unwrap();
    let digits = std::str::from_utf8(&bytes[..place]).unwrap();
    (digits.parse().unwrap(), &bytes[place + 1..])
}

/// `$rtpstat`, of the reply to a query or a delete.
fn rtpstat(reply: &Value) -> String {
    let [rtp, rtcp] = ["RTP", "RTCP"].map(|kind| {
        let totals = &reply["totals"][kind];
        format!("{kind}: {} bytes, {} packets, {} errors", totals["bytes"], totals["packets"], totals["errors"])
    });
    format!("{rtp}; {rtcp}")
}

/// What `$(rtpstat(...)[tag])` looks at: the sources of the streams that a party sends.
fn sources<'a>(reply: &'a Value, tag: &str) -> Vec<&'a Value> {
    let medias = reply["tags"][tag]["medias"].as_array().unwrap().iter();
    let streams = medias.flat_map(|media| media["streams"].as_array().unwrap());
    let numbers = streams.filter_map(|stream| stream.get("SSRC")?.as_i64());
    numbers.map(|number| &reply["SSRC"][number.to_string()]).collect()
}

/// What the daemon needs, in the order in which it must end.
struct Rig {
    scene: Scene,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("ng.sock");
        let path = socket.to_string_lossy().into_owned();
        let scene = Scene::new(Trunks::new().unwrap(), "auto", &["--listen-ng-unix", &path]).unwrap();
        Self { scene, socket, _folder: folder }
    }

    /// A connection on which a request has been written.
    fn ask(&self, request: &str) -> UnixStream {
        let mut client = UnixStream::connect(&self.socket).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        assert_eq!(client.write(request.as_bytes()).unwrap(), request.len());
        client
    }

    /// What one read gives of the reply.
    fn exchange(&self, request: &str) -> Vec<u8> {
        let mut reply = vec![0; 65_535];
        let len = self.ask(request).read(&mut reply).unwrap();
        reply.truncate(len);
        reply
    }

    /// What the reply says.
    fn command(&self, request: &str) -> Value {
        let reply = self.exchange(request);
        let (value, rest) = decode(&reply);
        assert_eq!((value.is_object(), rest), (true, &b""[..]), "{value}");
        value
    }

    /// A call from the first PBX to the gateway.
    fn call(&self) -> (Party, Party, Call) {
        let caller = Party::new(&self.scene.trunks, Trunk::Pbx1, 4000).unwrap();
        let callee = Party::new(&self.scene.trunks, Trunk::Gateway, 6000).unwrap();
        let wishes = "a=rtcp-mux\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n";
        let offered = self.command(&offer(ID, &(caller.sdp() + wishes)));
        let answered = self.command(&answer(ID, &callee.sdp()));
        let sdp = offered["sdp"].as_str().unwrap();
        assert!(sdp.starts_with("v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\n"), "{sdp}");
        assert!(!sdp.contains("a=ice") && !sdp.contains("a=rtcp-mux") && !sdp.contains("192.0.2."), "{sdp}");
        let sdp = answered["sdp"].as_str().unwrap();
        assert!(sdp.starts_with("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n") && sdp.contains("\r\na=rtcp-mux\r\n"), "{sdp}");
        let call =
            Call { id: ID.to_owned(), for_caller: media(&answered).unwrap(), for_callee: media(&offered).unwrap() };
        (caller, callee, call)
    }

    fn assert_no_call(&self) {
        let reply = self.command(&query(ID, "caller", "callee"));
        assert_eq!((&reply["result"], &reply["error-reason"]), (&json!("error"), &json!("Unknown call-id")));
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn opensips_pings() {
    let rig = Rig::new();
    let ping = dict(&[("command", text("ping"))]);
    assert_eq!(ping, "d7:command4:pinge");
    assert_eq!(rig.exchange(&ping), b"d6:result4:ponge");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn opensips_makes_a_call_and_ends_it_without_tags() {
    let rig = Rig::new();
    let (mut caller, mut callee, call) = rig.call();
    let file = rig.scene.folder.path().join("call.pcap");
    let capture = Capture::start(rig.scene.trunks.far(Trunk::Gateway), FAR_DEVICE, &file).unwrap();
    call.converse(&mut caller, &mut callee, 20).unwrap();
    let reader = Reader::open(&capture.stop().unwrap()).unwrap();
    let link = reader.link_type();
    let records: Vec<_> = reader.map(|record| record.unwrap().bytes).collect();
    let datagrams = records.iter().filter_map(|bytes| frame::decode(link, bytes).udp());
    let relayed: Vec<u8> =
        datagrams.filter(|datagram| datagram.src == call.for_callee).map(|datagram| datagram.tos).collect();
    assert_eq!(relayed, [184u8; 20], "the type of service, which came as a string");

    // Where the script uses `$rtpstat`, it is read from this reply too.
    let deleted = rig.command(&delete(ID));
    let expected = "RTP: 6880 bytes, 40 packets, 0 errors; RTCP: 0 bytes, 0 packets, 0 errors";
    assert_eq!((&deleted["result"], rtpstat(&deleted).as_str()), (&json!("ok"), expected));
    rig.assert_no_call();
    caller.speak(call.for_caller).unwrap();
    assert_eq!(callee.hear().unwrap(), None, "the call is over");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn opensips_ends_a_call_that_was_never_answered_and_one_of_which_it_names_the_callee_alone() {
    let rig = Rig::new();
    let sdp = Party::new(&rig.scene.trunks, Trunk::Pbx1, 4000).unwrap().sdp();
    assert_eq!(rig.command(&offer(ID, &sdp))["result"], "ok");
    let deleted = rig.command(&delete(ID));
    assert_eq!((&deleted["result"], deleted.get("warning")), (&json!("ok"), None));
    rig.assert_no_call();

    let _parties_and_call = rig.call();
    let deleted = rig.command(&relay_delete(ID));
    assert_eq!((&deleted["result"], deleted.get("warning")), (&json!("ok"), None));
    rig.assert_no_call();
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn opensips_is_warned_that_a_call_is_unknown() {
    let rig = Rig::new();
    for request in [delete("nobody"), relay_delete("nobody")] {
        let reply = rig.command(&request);
        let warning = json!("Call-ID not found or tags didn't match");
        assert_eq!((&reply["result"], &reply["warning"]), (&json!("ok"), &warning));
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn opensips_reads_statistics_of_the_call_and_of_each_party() {
    let rig = Rig::new();
    let (mut caller, mut callee, call) = rig.call();
    caller.set_ssrc(Ssrc(0xfedc_ba98));
    callee.set_ssrc(Ssrc(7));
    call.converse(&mut caller, &mut callee, 20).unwrap();
    for [from, to] in [["caller", "callee"], ["callee", "caller"]] {
        let reply = rig.command(&query(ID, from, to));
        assert_eq!(reply["result"], "ok");
        assert!(reply["created"].is_i64(), "{reply}");
        let expected = "RTP: 6880 bytes, 40 packets, 0 errors; RTCP: 0 bytes, 0 packets, 0 errors";
        assert_eq!(rtpstat(&reply), expected);
        for (tag, ssrc) in [("caller", "4275878552"), ("callee", "7")] {
            assert!(reply["SSRC"][ssrc].is_object(), "{reply}");
            assert_eq!(sources(&reply, tag), [&reply["SSRC"][ssrc]]);
        }
        // Without these, `$(rtpstat(mos-average))` and the like are null. What is there must be whole numbers.
        for source in reply["SSRC"].as_object().unwrap().values() {
            for mos in ["average MOS", "highest MOS", "lowest MOS"].iter().filter_map(|key| source.get(*key)) {
                assert!(mos["MOS"].is_i64(), "{source}");
                for key in ["jitter", "round-trip time", "packet loss", "reported at"] {
                    assert!(mos.get(key).is_none_or(Value::is_i64), "{key}: {source}");
                }
            }
        }
    }
}

/// What `siprec` reads of the reply: the description, our tag, and for each party the labels of its medias.
fn recording(reply: &Value) -> (String, String, Vec<(String, u32)>) {
    assert_eq!(reply["result"], "ok", "{reply}");
    let [sdp, tag] = ["sdp", "to-tag"].map(|key| reply[key].as_str().unwrap().to_owned());
    let labels = reply["tag-medias"].as_array().unwrap().iter().flat_map(|party| {
        let medias = party["medias"].as_array().unwrap().iter();
        medias.map(|media| {
            let label = media["label"].as_str().unwrap();
            assert!(sdp.contains(&format!("a=label:{label}\r\n")), "{sdp}");
            (party["tag"].as_str().unwrap().to_owned(), label.parse().unwrap())
        })
    });
    let labels = labels.collect();
    (sdp, tag, labels)
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn opensips_has_a_call_recorded_pauses_it_and_goes_on() {
    assert_eq!(
        copy_offer("c1@h", None, false).replace("9:interface4:pbx2", ""),
        "d7:call-id4:c1@h10:via-branch3:br05:flagsl3:all6:siprece13:received-froml3:IP47:0.0.0.0e8:from-tag1:17:command17:subscribe requeste"
    );
    let rig = Rig::new();
    let (mut caller, mut callee, call) = rig.call();
    call.converse(&mut caller, &mut callee, 5).unwrap();
    let recorders = [7000, 7002].map(|port| Party::new(&rig.scene.trunks, Trunk::Pbx2, port).unwrap());
    let ip = recorders[0].addr().ip();
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\na=recvonly\r\nm=audio 7000 RTP/AVP 8\r\nm=audio 7002 RTP/AVP 8\r\n"
    );
    let mut talk = |is_recorded: bool, when: &str| {
        for _ in 0..20 {
            let said = caller.speak(call.for_caller).unwrap();
            assert_eq!(callee.hear().unwrap(), Some((said.clone(), call.for_callee)), "{when}");
            let answered = callee.speak(call.for_callee).unwrap();
            assert_eq!(caller.hear().unwrap(), Some((answered.clone(), call.for_caller)), "{when}");
            for (recorder, said) in recorders.iter().zip([said, answered]).filter(|_| is_recorded) {
                assert_eq!(recorder.hear().unwrap().map(|(heard, _)| heard), Some(said), "{when}");
            }
        }
        for recorder in &recorders {
            recorder.rtp.set_nonblocking(true).unwrap();
            assert_eq!(recorder.hear().unwrap(), None, "{when}: nothing comes twice");
            recorder.rtp.set_nonblocking(false).unwrap();
        }
    };

    let (offered, tag, labels) = recording(&rig.command(&copy_offer(ID, None, false)));
    assert_eq!(labels, [("caller".to_owned(), 0), ("callee".to_owned(), 1)]);
    assert_eq!(offered.matches("a=sendonly\r\n").count(), 2, "{offered}");
    talk(false, "before the recorder has answered");
    assert_eq!(rig.command(&copy_answer(ID, &tag, &sdp))["result"], "ok");
    talk(true, "recorded");

    // With each answer to an INVITE within the call the module asks again, and tells the recorder; meanwhile it goes on.
    let (_, again, _) = recording(&rig.command(&copy_offer(ID, Some(&tag), false)));
    assert_eq!(again, tag);
    talk(true, "asked again");
    // An INVITE of the recorder: its description comes first, and ours is its answer.
    assert_eq!(rig.command(&copy_answer(ID, &tag, &sdp))["result"], "ok");
    recording(&rig.command(&copy_offer(ID, Some(&tag), false)));
    talk(true, "invited by the recorder");

    let (paused, ..) = recording(&rig.command(&copy_offer(ID, Some(&tag), true)));
    assert_eq!((paused.matches("a=inactive\r\n").count(), paused.contains("a=sendonly")), (2, false), "{paused}");
    assert_eq!(rig.command(&copy_answer(ID, &tag, &sdp))["result"], "ok");
    talk(false, "paused");
    let (resumed, ..) = recording(&rig.command(&copy_offer(ID, Some(&tag), false)));
    assert_eq!(resumed.matches("a=sendonly\r\n").count(), 2, "{resumed}");
    assert_eq!(rig.command(&copy_answer(ID, &tag, &sdp))["result"], "ok");
    talk(true, "resumed");

    assert_eq!(rig.command(&copy_delete(ID, &tag))["result"], "ok");
    talk(false, "over");
    assert_eq!(rig.command(&delete(ID))["result"], "ok");
    rig.assert_no_call();
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_process_of_opensips_that_goes_early_keeps_no_other_from_being_served() {
    let rig = Rig::new();
    let sdp = Party::new(&rig.scene.trunks, Trunk::Pbx1, 4000).unwrap().sdp();
    let request = offer(ID, &sdp);
    // One that says nothing, some that leave in the middle of their request, and some that do not wait for the reply.
    let _silent = UnixStream::connect(&rig.socket).unwrap();
    for _ in 0..20 {
        drop(rig.ask(&request[..100]));
        drop(rig.ask(&request));
        assert_eq!(rig.exchange("d7:command4:pinge"), b"d6:result4:ponge");
    }
    // What those asked for who left has been done.
    wait_until("the call is there", Duration::from_secs(2), || {
        rig.command(&query(ID, "caller", "callee"))["result"] == "ok"
    })
    .unwrap();
    let deleted = rig.command(&delete(ID));
    assert_eq!((&deleted["result"], deleted.get("warning")), (&json!("ok"), None));
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_long_reply_is_there_at_the_first_read() {
    let rig = Rig::new();
    let party = Party::new(&rig.scene.trunks, Trunk::Pbx1, 4000).unwrap();
    let attributes: String = (0..300).map(|number| format!("a=x-{number}:{:100}.\r\n", "")).collect();
    let reply = rig.command(&offer(ID, &(party.sdp() + attributes.as_str())));
    assert!(reply["sdp"].as_str().unwrap().ends_with(attributes.as_str()));
}
