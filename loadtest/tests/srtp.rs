//! What becomes of calls between parties that protect their media, each in its own way. `cargo xtask test` runs these.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod secured;

use std::net::SocketAddr;
use std::time::Duration;

use ::media::srtp::Suite;
use loadtest::rig::party::{Party, media};
use loadtest::rig::process::wait_until;
use loadtest::rig::scene::Scene;
use loadtest::rig::trunks::{Trunk, Trunks};
use loadtest::rtp::Ssrc;
use secured::{Call, ID, Phone, WAYS, Wish, ask};
use serde_json::{Value, json};

const SHORT: Wish = Wish::Secured(Suite::AesCm128Sha32);
const LONG: Wish = Wish::Secured(Suite::AesCm128Sha80);
const GCM: Wish = Wish::Secured(Suite::Gcm256);

fn paths(scene: &mut Scene) -> Vec<Value> {
    let query = ask(scene, &json!({"command": "query", "call-id": ID}));
    let medias = query["tags"].as_object().unwrap().values().map(|tag| &tag["medias"][0]["streams"][0]["path"]);
    medias.cloned().collect()
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn parties_with_suites_and_keys_of_their_own_talk_and_report_by_every_way() {
    for (number, (engine, args)) in WAYS.into_iter().enumerate() {
        let mut scene = Scene::new(Trunks::dual_stack().unwrap(), engine, args).unwrap();
        for (place, wishes) in [[SHORT, LONG], [LONG, GCM], [GCM, SHORT]].into_iter().enumerate() {
            let is_ipv6 = [(number + place) % 2 == 0, (number + place) % 3 == 0];
            let mut call = Call::new(&mut scene, wishes, is_ipv6, &json!({"flags": ["recrypt"]}));
            let when = format!("{engine} {args:?} {wishes:?}");
            call.talk(3, &when);
            call.report(&when);
            let totals = call.end(&mut scene);
            assert_eq!(
                (&totals["totals"]["RTP"]["packets"], &totals["totals"]["RTCP"]["packets"]),
                (&json!(6), &json!(2))
            );
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn what_two_parties_protect_between_themselves_passes_on_the_fast_path() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let mut call = Call::new(&mut scene, [LONG, LONG], [false; 2], &json!({}));
    call.talk(3, "first");
    wait_until("both are on the fast path", Duration::from_secs(5), || {
        paths(&mut scene).iter().all(|path| path == "fast")
    })
    .unwrap();
    call.talk(20, "then");
    call.report("then");
    // By keys of their own from now on, and back.
    for (flags, path) in [(json!(["recrypt"]), "slow"), (json!([]), "fast")] {
        call.negotiate(&mut scene, 0, &json!({"flags": flags}));
        call.talk(3, path);
        wait_until(path, Duration::from_secs(5), || paths(&mut scene).iter().all(|found| found == path)).unwrap();
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn who_may_do_without_protection_gets_it_where_the_other_one_can() {
    let suite = Suite::AesCm128Sha80;
    let opportunistic = Wish::Opportunistic(suite);
    let (offer, accept, nothing) = (json!({"OSRTP": ["offer"]}), json!({"OSRTP": ["accept"]}), json!({}));
    let to_savp = json!({"transport-protocol": "RTP/SAVP", "OSRTP": ["accept"]});
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    for (wishes, options, expected) in [
        ([Wish::Plain, opportunistic], &offer, [false, true]),
        ([Wish::Plain, Wish::Plain], &offer, [false, false]),
        ([opportunistic, Wish::Plain], &accept, [true, false]),
        ([opportunistic, Wish::Plain], &nothing, [false, false]),
        ([opportunistic, opportunistic], &nothing, [true, true]),
        ([opportunistic, LONG], &to_savp, [true, true]),
    ] {
        let mut call = Call::new(&mut scene, wishes, [false; 2], options);
        let when = format!("{wishes:?} {options}");
        assert_eq!([&call.phones[0], &call.phones[1]].map(|phone| phone.is_secured()), expected, "{when}");
        call.talk(3, &when);
        call.report(&when);
        call.negotiate(&mut scene, 0, &nothing);
        call.talk(3, &format!("{when}, again"));
        call.end(&mut scene);
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_protected_call_is_held_and_resumed_and_gets_new_keys_and_counts_anew() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let (out, back) = (json!({"transport-protocol": "RTP/SAVP"}), json!({"transport-protocol": "RTP/AVP"}));
    let mut call = Call::new(&mut scene, [Wish::Plain, LONG], [false; 2], &out);
    // Through a turn of their sequence numbers.
    for sequence in [65_000, 30_000, 50_000, 65_530] {
        call.phones.iter_mut().for_each(|phone| phone.party.set_sequence(sequence));
        call.talk(10, "at first");
    }
    for direction in ["inactive", "sendrecv"] {
        call.phones[1].direction = direction;
        call.phones[0].direction = direction;
        call.negotiate(&mut scene, 1, &back);
    }
    call.talk(3, "resumed, by the same keys and turns");
    call.phones[1].renew(23);
    call.negotiate(&mut scene, 1, &back);
    call.talk(3, "by a new key of the protected party");
    call.negotiate(&mut scene, 0, &out);
    call.talk(3, "after the other one has offered again");
    // Another source, and the one before again.
    let first = call.phones[1].party.ssrc();
    for source in [Ssrc(0x1122_3344), first] {
        call.phones[1].party.set_ssrc(source);
        call.talk(3, "by another source, and by the first one again");
    }
    call.negotiate(&mut scene, 1, &back);
    call.phones[1].begin_anew();
    call.talk(3, "counted anew after an offer, by the same key");
    call.end(&mut scene);
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn either_party_hands_its_call_to_another_one_that_has_keys_of_its_own() {
    for (engine, args) in WAYS {
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, args).unwrap();
        let (out, back) = (json!({"transport-protocol": "RTP/SAVP"}), json!({"transport-protocol": "RTP/AVP"}));
        let mut call = Call::new(&mut scene, [Wish::Plain, LONG], [false; 2], &out);
        call.talk(3, engine);
        // The protected one to a telephone beside it, with another suite; the plain one as well; and the first one again, by another key.
        for (place, port, wish, options) in
            [(1, 6100, SHORT, &back), (0, 4100, Wish::Plain, &out), (1, 6200, LONG, &back), (0, 4200, LONG, &out)]
        {
            let trunk = [Trunk::Pbx1, Trunk::Gateway][place];
            let next = Phone::new(Party::new(&scene.trunks, trunk, port).unwrap(), wish, 40 + port as u8);
            let mut before = std::mem::replace(&mut call.phones[place], next);
            call.negotiate(&mut scene, place, options);
            let when = format!("{engine} {args:?}, handed to {port}");
            call.talk(3, &when);
            call.report(&when);
            // Who has left the call neither hears it nor is heard.
            before.speak(call.at[place]);
            call.talk(3, &when);
            before.party.rtp.set_nonblocking(true).unwrap();
            assert_eq!(before.party.hear().unwrap(), None, "{when}");
        }
        call.end(&mut scene);
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn every_branch_of_a_forked_call_has_keys_of_its_own() {
    for (engine, args) in WAYS {
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, args).unwrap();
        let [caller, callee] = Call::parties(&scene.trunks, [false; 2]);
        let phones = [Phone::new(caller, Wish::Plain, 1), Phone::new(callee, SHORT, 2)];
        let mut call = Call { phones, at: [SocketAddr::from(([0; 4], 0)); 2] };
        let mut lines = Vec::new();
        for (trunk, wish, tag) in [(Trunk::Gateway, SHORT, "b"), (Trunk::Pbx2, LONG, "c")] {
            if tag == "c" {
                call.phones[1] = Phone::new(Party::new(&scene.trunks, trunk, 6000).unwrap(), wish, 3);
            }
            let offer = json!({"command": "offer", "call-id": ID, "from-tag": "a", "via-branch": tag,
                "sdp": call.phones[0].offer(), "direction": ["pbx1", trunk.name()], "transport-protocol": "RTP/SAVP"});
            let offered = ask(&mut scene, &offer);
            let sdp = offered["sdp"].as_str().unwrap();
            lines.extend(sdp.lines().filter_map(|line| Some(line.split_once("inline:")?.1.to_owned())));
            let answer = json!({"command": "answer", "call-id": ID, "from-tag": "a", "to-tag": tag,
                "via-branch": tag, "sdp": call.phones[1].answer(sdp)});
            let answered = ask(&mut scene, &answer);
            call.at = [media(&answered).unwrap(), media(&offered).unwrap()];
            call.talk(3, &format!("{engine} {args:?} {tag}"));
        }
        let count = lines.len();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), count, "a key that two branches have: {lines:?}");
        ask(&mut scene, &json!({"command": "delete", "call-id": ID, "from-tag": "a"}));
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn the_quality_of_a_protected_leg_is_told_as_that_of_any_other() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let mut call = Call::new(&mut scene, [Wish::Plain, LONG], [false; 2], &json!({"transport-protocol": "RTP/SAVP"}));
    call.talk(5, "first");
    // A sender report of the plain party, and a receiver report of the protected one about it.
    let [caller, callee] = call.phones.each_mut().map(|phone| phone.party.next_packet()[8..12].to_vec());
    let time = [0, 0, 0x12, 0x34, 0x56, 0x78, 0, 0];
    let sender = [&[0x80, 200, 0, 6][..], &caller, &time, &[0; 12]].concat();
    let block =
        [&caller[..], &[26, 0, 0, 3], &[0, 0, 0x03, 0xed], &[0, 0, 0, 8], &[0x12, 0x34, 0x56, 0x78], &[0, 0, 0, 1]];
    let report = [&[0x81, 201, 0, 7][..], &callee, &block.concat()].concat();
    // Of whoever is only heard for now nobody believes a report.
    for _ in 0..2 {
        call.talk(2, "between reports");
        std::thread::sleep(Duration::from_millis(300));
        call.phones[0].report(&sender, call.at[0]);
        assert_eq!(call.phones[1].hear_report().as_ref(), Some(&sender));
        call.phones[1].report(&report, call.at[1]);
        assert_eq!(call.phones[0].hear_report().as_ref(), Some(&report));
    }
    let mut told = Value::Null;
    let waited = wait_until("the report is told", Duration::from_secs(3), || {
        told = ask(&mut scene, &json!({"command": "query", "call-id": ID}));
        told["SSRC"].as_object().is_some_and(|sources| {
            sources.values().any(|source| source["cumulative loss"] == 3 && !source["average MOS"].is_null())
        })
    });
    assert!(waited.is_ok(), "{told}");
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_protected_party_hears_what_is_played_also_by_another_key() {
    for (engine, args) in WAYS {
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, args).unwrap();
        let out = json!({"transport-protocol": "RTP/SAVP"});
        let mut call = Call::new(&mut scene, [Wish::Plain, LONG], [false; 2], &out);
        call.talk(3, engine);
        let samples: Vec<u8> = (0..8000_u32).flat_map(|at| (((at * 37 % 2000) as i16) - 1000).to_le_bytes()).collect();
        let file = scene.folder.path().join("tone.wav");
        let header = |len: u32| {
            let mut wav = b"RIFF".to_vec();
            wav.extend((36 + len).to_le_bytes());
            wav.extend(b"WAVEfmt ");
            wav.extend([16, 0, 0, 0, 1, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x80, 0x3e, 0, 0, 2, 0, 16, 0]);
            wav.extend(b"data");
            wav.extend(len.to_le_bytes());
            wav
        };
        std::fs::write(&file, [header(samples.len() as u32), samples].concat()).unwrap();
        ask(
            &mut scene,
            &json!({"command": "play media", "call-id": ID, "from-tag": "b", "file": file.to_str().unwrap()}),
        );
        for number in 0..10 {
            if number == 5 {
                // Another suite, and so another key of the relay's.
                call.phones[1].wish = SHORT;
                call.phones[1].renew(31);
                call.negotiate(&mut scene, 1, &json!({"transport-protocol": "RTP/AVP"}));
                while call.phones[1].party.rtp.set_nonblocking(true).is_ok()
                    && call.phones[1].party.hear().is_ok_and(|heard| heard.is_some())
                {}
                call.phones[1].party.rtp.set_nonblocking(false).unwrap();
            }
            let heard = call.phones[1].hear();
            let (packet, from) = heard.unwrap_or_else(|| panic!("{engine} {args:?}: nothing at {number}"));
            assert_eq!((packet.len(), packet[1] & 0x7f, from), (172, 8, call.at[1]), "{engine} {args:?}");
        }
        call.end(&mut scene);
    }
}

fn to_savp() -> Value {
    json!({"transport-protocol": "RTP/SAVP"})
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_plain_party_talks_with_a_protected_one_by_every_suite_and_every_way() {
    for (number, (engine, args)) in WAYS.into_iter().enumerate() {
        let mut scene = Scene::new(Trunks::dual_stack().unwrap(), engine, args).unwrap();
        for (place, suite) in Suite::ALL.into_iter().enumerate() {
            let is_ipv6 = [(number + place) % 2 == 0, (number + place) % 3 == 0];
            let mut call = Call::new(&mut scene, [Wish::Plain, Wish::Secured(suite)], is_ipv6, &to_savp());
            call.talk(3, &format!("{engine} {args:?} {} {is_ipv6:?}", suite.name()));
            let totals = call.end(&mut scene);
            assert_eq!(totals["totals"]["RTP"]["packets"], 6, "{totals}");
        }
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn who_has_no_key_is_neither_heard_nor_taken_for_the_party() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let mut call = Call::new(&mut scene, [Wish::Plain, LONG], [false; 2], &to_savp());
    let stranger = Party::new(&scene.trunks, Trunk::Gateway, 6100).unwrap();
    let mut forger = Phone::new(stranger, LONG, 8);
    forger.begin_anew();
    // Before the party, beside it, and by what it has sent.
    for when in ["before", "beside"] {
        for _ in 0..5 {
            forger.speak(call.at[1]);
        }
        call.talk(3, when);
    }
    // Beside a party that is certain they are nobody's, and end before.
    let mut workers = json!(null);
    let counted = wait_until("they are counted", Duration::from_secs(2), || {
        workers = ask(&mut scene, &json!({"command": "statistics"}))["statistics"]["reasons"]["workers"].take();
        workers["srtp-forged"] == 5
    });
    assert!(counted.is_ok(), "{workers}");
    assert_eq!(forger.party.hear().unwrap(), None);
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_protected_call_outlives_its_daemon() {
    let mut scene = Scene::new(Trunks::new().unwrap(), "xdp", &[]).unwrap();
    let mut call = Call::new(&mut scene, [Wish::Plain, LONG], [false; 2], &to_savp());
    // Through a turn of their sequence numbers, which packets do not tell.
    for sequence in [65_000, 30_000, 50_000, 65_530] {
        call.phones.iter_mut().for_each(|phone| phone.party.set_sequence(sequence));
        call.talk(10, "before");
    }
    // What was counted is noted once a second.
    std::thread::sleep(Duration::from_millis(1200));
    scene.daemon.kill().unwrap();
    scene.daemon.restart().unwrap();
    call.talk(10, "after");
    wait_until("all is counted", Duration::from_secs(3), || {
        let query = ask(&mut scene, &json!({"command": "query", "call-id": ID}));
        query["totals"]["RTP"]["packets"] == 100
    })
    .unwrap();
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn a_recorder_hears_both_sides_of_a_protected_call_in_plain() {
    for (engine, args) in WAYS {
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, args).unwrap();
        let mut call = Call::new(&mut scene, [SHORT, LONG], [false; 2], &json!({"flags": ["recrypt"]}));
        call.talk(3, engine);
        let recorders = [7000, 7002].map(|port| Party::new(&scene.trunks, Trunk::Pbx2, port).unwrap());
        let asked = json!({"command": "subscribe request", "call-id": ID, "flags": ["all"], "interface": "pbx2"});
        let offer = ask(&mut scene, &asked);
        let sdp = offer["sdp"].as_str().unwrap();
        assert!(sdp.matches("RTP/AVP").count() == 2 && !sdp.contains("crypto"), "{sdp}");
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\na=recvonly\r\n\
             m=audio 7000 RTP/AVP 8\r\nm=audio 7002 RTP/AVP 8\r\n",
            ip = recorders[0].addr().ip()
        );
        let tag = &offer["to-tag"];
        ask(&mut scene, &json!({"command": "subscribe answer", "call-id": ID, "to-tag": tag, "sdp": sdp}));
        for _ in 0..10 {
            for (from, recorder) in recorders.iter().enumerate() {
                let said = call.phones[from].speak(call.at[from]);
                assert_eq!(call.phones[1 - from].hear().unwrap().0, said, "{engine} {args:?}");
                assert_eq!(recorder.hear().unwrap().unwrap().0, said, "{engine} {args:?}");
            }
        }
        call.end(&mut scene);
    }
}

#[test]
#[ignore = "privileged: namespaces, BPF"]
fn neither_strangers_nor_numbers_that_go_back_silence_a_party_towards_a_protected_one() {
    for (engine, args) in [("xdp", &[][..]), ("epoll", &["--intake=xsk"])] {
        let mut scene = Scene::new(Trunks::new().unwrap(), engine, args).unwrap();
        let mut call = Call::new(&mut scene, [Wish::Plain, LONG], [false; 2], &to_savp());
        // Somebody is before the party, by very many sources.
        let mut stranger = Party::new(&scene.trunks, Trunk::Pbx1, 4100).unwrap();
        for ssrc in 0..300 {
            stranger.set_ssrc(Ssrc(ssrc));
            stranger.speak(call.at[0]).unwrap();
        }
        std::thread::sleep(Duration::from_millis(300));
        call.phones[1].party.rtp.set_nonblocking(true).unwrap();
        while call.phones[1].hear().is_some() {}
        call.phones[1].party.rtp.set_nonblocking(false).unwrap();
        for sequence in [5000, 3000, 33_000, 3000] {
            call.phones[0].party.set_sequence(sequence);
            for _ in 0..20 {
                let said = call.phones[0].speak(call.at[0]);
                let heard = call.phones[1].hear().unwrap_or_else(|| panic!("{engine}: nothing from {sequence} on")).0;
                assert_eq!((&heard[..2], &heard[4..]), (&said[..2], &said[4..]), "{engine}");
            }
        }
        call.end(&mut scene);
    }
}
