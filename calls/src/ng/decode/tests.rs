use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use border::{Family, Learning};
use proptest::collection::vec;
use proptest::prelude::*;

use ::media::srtp::Suite;

use super::*;
use crate::intent::{AttributeEdit, Echo, Finality, Level, Mux, Offer, Options, Party, RtcpForm, Sound, StopPlaying};

fn read(bencode: &[u8]) -> (Intent, Vec<String>) {
    let dict = crate::ng::bencode::decode(bencode).unwrap();
    decode(dict.as_dict().unwrap()).unwrap()
}

fn error(dict: &Dict<'_>) -> String {
    decode(dict).unwrap_err().to_string()
}

/// A complete offer with more keys.
fn offer(more: Dict<'_>) -> (Offer, Vec<String>) {
    let mut dict =
        Dict::new().with("command", "offer").with("call-id", "c").with("from-tag", "a").with("sdp", "v=0\r\n");
    for (key, value) in more.iter() {
        dict.push(key.to_vec(), value.clone());
    }
    let (Intent::Offer(offer), unknown) = decode(&dict).unwrap() else { panic!("no offer") };
    (*offer, unknown)
}

fn list(words: &[&'static str]) -> Value<'static> {
    Value::List(words.iter().map(|word| Value::from(*word)).collect())
}

#[test]
fn a_captured_offer_of_kamailio_is_understood_as_a_whole() {
    let (command, unknown) = read(
        b"d8:supportsl10:load limite3:sdp5:v=0\r\n3:ICE6:remove9:directionl4:pbx17:gatewaye7:replacel6:origine\
        7:call-id17:1-9232@192.0.2.1013:received-froml3:IP410:192.0.2.10e8:from-tag7:c9232-17:command5:offere",
    );
    let expected = Offer {
        call_id: b"1-9232@192.0.2.10".to_vec(),
        from_tag: b"c9232-1".to_vec(),
        to_tag: None,
        via_branch: None,
        sdp: b"v=0\r\n".to_vec(),
        options: Options {
            received_from: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10))),
            from_interface: Some(b"pbx1".to_vec()),
            to_interface: Some(b"gateway".to_vec()),
            replace_origin: true,
            ..Options::default()
        },
        knows_load_limit: true,
    };
    assert_eq!(command, Intent::Offer(Box::new(expected)));
    assert_eq!(unknown, [""; 0]);
}

#[test]
fn a_captured_answer_and_delete_of_kamailio_are_understood() {
    let (command, unknown) = read(
        b"d8:supportsl10:load limite3:sdp5:v=0\r\n3:ICE6:remove7:replacel6:origine7:call-id17:1-9232@192.0.2.10\
        13:received-froml3:IP413:198.51.100.10e8:from-tag7:c9232-16:to-tag7:s9227-17:command6:answere",
    );
    let Intent::Answer(answer) = command else { panic!("no answer") };
    assert_eq!((answer.from_tag.as_slice(), answer.to_tag.as_slice()), (&b"c9232-1"[..], &b"s9227-1"[..]));
    assert!(unknown.is_empty());
    let (command, unknown) = read(
        b"d8:supportsl10:load limite7:call-id17:1-9232@192.0.2.1013:received-froml3:IP410:192.0.2.10e\
        8:from-tag7:c9232-17:command6:deletee",
    );
    let Intent::Delete(delete) = command else { panic!("no delete") };
    assert_eq!((delete.from_tag.as_deref(), delete.to_tag), (Some(&b"c9232-1"[..]), None));
    assert!(unknown.is_empty());
}

#[test]
fn missing_keys_have_the_texts_of_the_contract() {
    let offer = Dict::new().with("command", "offer");
    assert_eq!(error(&offer), "No SDP body in message");
    let offer = offer.with("sdp", "v=0");
    assert_eq!(error(&offer), "No call-id in message");
    let offer = offer.with("call-id", "c");
    assert_eq!(error(&offer), "No from-tag in message");
    let answer = offer.with("from-tag", "a").with("command", "answer");
    assert_eq!(error(&answer), "No to-tag in message");
    for command in ["delete", "query"] {
        assert_eq!(error(&Dict::new().with("command", command)), "No call-id in message");
    }
    assert_eq!(error(&Dict::new().with("call-id", "c")), "Dictionary contains no key \"command\"");
    assert_eq!(error(&answer.with("sdp", "").with("to-tag", "b")), "No SDP body in message");
}

#[test]
fn a_command_that_nobody_knows_is_not_recognized() {
    for command in ["", "offer ", "no such"] {
        assert_eq!(error(&Dict::new().with("command", command)), "Unrecognized command");
    }
    assert_eq!(error(&Dict::new().with("command", Dict::new())), "Dictionary contains no key \"command\"");
}

#[test]
fn a_documented_command_that_we_do_not_have_is_named() {
    for (command, name) in [("start_recording", "start recording"), ("play dtmf", "play DTMF")] {
        let text = format!("{name} is not supported by this version of Intertrunk");
        assert_eq!(error(&Dict::new().with("command", command)), text);
    }
}

#[test]
fn a_list_has_a_limit() {
    let list = |dict: Dict<'_>| decode(&dict.with("command", "list")).map(|(command, _)| command);
    assert_eq!(list(Dict::new()), Ok(Intent::List { limit: 32 }));
    assert_eq!(list(Dict::new().with("limit", "7")), Ok(Intent::List { limit: 7 }));
    for bad in [Value::Int(0), Value::Int(-1), Value::from("x"), Value::List(vec![])] {
        assert_eq!(list(Dict::new().with("limit", bad)), Err(DecodeError::Limit));
    }
}

#[test]
fn flags_are_understood_in_every_spelling() {
    for flag in ["SIP-source-address", "SIP source address", "sip_source_address"] {
        assert!(offer(Dict::new().with("flags", list(&[flag]))).0.options.sip_source_address);
        assert!(offer(Dict::new().with("flags", flag)).0.options.sip_source_address, "a single string");
    }
    let (offer, unknown) = offer(Dict::new().with(
        "flags",
        list(&["trust-address", "symmetric", "asymmetric", "strict source", "full-rtcp-attribute", "replace-origin"]),
    ));
    let options = offer.options;
    assert!(!options.sip_source_address && options.asymmetric && options.strict_source && options.replace_origin);
    assert_eq!(options.rtcp, RtcpForm::Full);
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn replace_words_are_understood() {
    let (offer, unknown) =
        offer(Dict::new().with("replace", list(&["origin", "session-connection", "zero address", "SDP version"])));
    assert!(offer.options.replace_origin && offer.options.replace_zero_address && offer.options.steady.version);
    assert_eq!(unknown, [""; 0]);
}

#[test]
fn unknown_words_are_told_and_do_no_harm() {
    let dict = Dict::new()
        .with("flags", list(&["record-call", "no such"]))
        .with("rtcp-mux", list(&["perhaps"]))
        .with("address family", "IPX")
        .with("ICE", "force")
        .with("TOS", 256)
        .with("transport-protocol", "UDP/TLS/RTP/SAVP")
        .with("strange\nkey", Dict::new());
    let unknown =
        ["flag no-such", "key rtcp-mux=perhaps", "key address-family=ipx", "key tos=256", "key strange\\nkey"];
    let unbuilt = ["flag record-call", "key ice=force", "key transport-protocol=udp/tls/rtp/savp"];
    let (offer, told) = offer(dict);
    assert_eq!(told, [&unknown[..], &unbuilt].concat());
    assert_eq!(offer.options.unbuilt, unbuilt, "what an operator may want to have refused");
}

#[test]
fn harmless_words_are_not_told() {
    let dict = Dict::new()
        .with("ICE", "remove")
        .with("SDES", list(&["off"]))
        .with("DTLS", "off")
        .with("transport protocol", "RTP/AVP")
        .with("address family", "IP4")
        .with("sip-message-type", "sip_request")
        .with("SIP code", 200)
        .with("endpoint learning", "immediate")
        .with("flags", list(&["original-sendrecv", "port latching", "SDES-off", "ICE-remove"]));
    assert_eq!(offer(dict).1, [""; 0]);
}

#[test]
fn there_is_a_limit_to_what_is_told() {
    let flags = Value::List((0..1000).map(|number| Value::from(format!("{number}-{}", "x".repeat(100)))).collect());
    let unknown = offer(Dict::new().with("flags", flags)).1;
    assert_eq!(unknown.len(), 32);
    assert!(unknown.iter().all(|word| word.len() <= 65));
}

#[test]
fn where_the_message_came_from_is_read_in_every_form() {
    let expected: Option<IpAddr> = Some("192.0.2.1".parse().unwrap());
    for value in [list(&["IP4", "192.0.2.1"]), Value::from("192.0.2.1"), Value::from("IP4 192.0.2.1")] {
        assert_eq!(offer(Dict::new().with("received from", value)).0.options.received_from, expected);
    }
    let (offer, unknown) = offer(Dict::new().with("received-from", list(&["IP4", "pbx"])));
    assert_eq!((offer.options.received_from, unknown), (None, vec!["key received-from=ip4 pbx".to_owned()]));
}

#[test]
fn interfaces_are_named_together_or_apart() {
    let names = |dict| {
        let options = offer(dict).0.options;
        (options.from_interface, options.to_interface)
    };
    let both = (Some(b"a".to_vec()), Some(b"b".to_vec()));
    assert_eq!(names(Dict::new().with("direction", list(&["a", "b"]))), both);
    assert_eq!(names(Dict::new().with("from-interface", "a").with("to-interface", "b")), both);
    assert_eq!(names(Dict::new().with("direction", "a")), (Some(b"a".to_vec()), None));
}

#[test]
fn learning_and_type_of_service_are_read() {
    let options = offer(Dict::new().with("endpoint-learning", "off").with("TOS", "184")).0.options;
    assert_eq!((options.learning, options.tos), (Some(Learning::Off), Some(184)));
    assert_eq!(offer(Dict::new()).0.options.learning, None, "as configured");
}

#[test]
fn every_learning_mode_is_understood_as_a_key_as_a_flag_and_in_a_flag_string() {
    for (word, learning) in [
        ("off", Learning::Off),
        ("immediate", Learning::Immediate),
        ("delayed", Learning::Delayed),
        ("heuristic", Learning::Heuristic),
    ] {
        for dict in [
            Dict::new().with("endpoint-learning", word),
            Dict::new().with("Endpoint_Learning", word.to_uppercase()),
            Dict::new().with("flags", format!("endpoint-learning-{word}")),
            Dict::new().with("flags", format!("endpoint learning {word}")),
            Dict::new().with("rtpp-flags", format!("trust-address endpoint-learning={word}")),
            Dict::new().with("rtpp-flags", format!("trust-address endpoint-learning-{word}")),
        ] {
            let (offer, unknown) = offer(dict);
            assert_eq!((offer.options.learning, unknown), (Some(learning), vec![]));
        }
    }
    assert_eq!(offer(Dict::new().with("endpoint-learning", "psychic")).1, ["key endpoint-learning=psychic"]);
}

#[test]
fn the_flags_about_where_a_party_sends_from_are_understood_in_every_spelling() {
    for separator in [" ", "-", "_"] {
        let flag = |words: &str| Value::List(vec![Value::from(words.replace(' ', separator))]);
        let read = |words| offer(Dict::new().with("flags", flag(words)));
        assert_eq!(read("strict source"), read("Strict Source"));
        assert!(read("strict source").0.options.strict_source && !read("strict source").0.options.media_handover);
        assert!(read("media handover").0.options.media_handover && !read("media handover").0.options.strict_source);
        for words in ["strict source", "media handover", "port latching", "no port latching", "asymmetric", "symmetric"]
        {
            assert_eq!(read(words).1, [""; 0]);
        }
    }
    let options = offer(Dict::new().with("rtpp-flags", "media-handover asymmetric strict-source")).0.options;
    assert!(options.media_handover && options.asymmetric && options.strict_source);
}

#[test]
fn interfaces_may_be_named_by_flags() {
    let sides = |dict: Dict<'static>| {
        let (offer, unknown) = offer(dict);
        assert_eq!(unknown, [""; 0]);
        [offer.options.from_interface, offer.options.to_interface]
            .map(|name| name.map(|name| name.escape_ascii().to_string()))
    };
    let both = |from: &str, to: &str| [Some(from.to_owned()), Some(to.to_owned())];
    assert_eq!(sides(Dict::new().with("rtpp-flags", "internal external")), both("internal", "external"));
    assert_eq!(sides(Dict::new().with("rtpp-flags", "External Internal")), both("external", "internal"));
    assert_eq!(sides(Dict::new().with("rtpp-flags", "internal internal external")), both("internal", "internal"));
    assert_eq!(sides(Dict::new().with("flags", list(&["internal", "external"]))), both("internal", "external"));
    let named = Dict::new().with("direction", list(&["pbx", "gateway"])).with("flags", list(&["internal"]));
    assert_eq!(sides(named), both("pbx", "gateway"));
}

#[test]
fn header_extensions_and_echo_are_read() {
    let uri = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
    for (dict, expected) in [
        (Dict::new().with("flags", list(&["strip extmap"])), vec!["all"]),
        (Dict::new().with("flags", list(&["extmap-strip-urn:ietf:params:rtp-hdrext:ssrc-audio-level"])), vec![uri]),
        (Dict::new().with("rtpp-flags", "extmap-mask-http://Example.org/A-b"), vec!["http://Example.org/A-b"]),
        (Dict::new().with("extmap-strip", uri), vec![uri]),
        (
            Dict::new().with("extmap", Value::Dict(Dict::new().with("strip", list(&["x"])).with("mask", "y"))),
            vec!["x", "y"],
        ),
    ] {
        let (offer, unknown) = offer(dict);
        let expected: Vec<Vec<u8>> = expected.into_iter().map(Into::into).collect();
        assert_eq!((offer.options.extmaps, unknown), (expected, vec![]));
    }
    for (word, echo) in [
        ("blackhole", Echo::Nobody),
        ("sinkhole", Echo::Nobody),
        ("forward", Echo::Receiver),
        ("backward", Echo::Sender),
        ("both", Echo::Both),
    ] {
        assert_eq!(offer(Dict::new().with("media-echo", word)).0.options.echo, Some(echo));
        assert_eq!(offer(Dict::new().with("rtpp-flags", format!("media-echo={word}"))).0.options.echo, Some(echo));
        assert_eq!(
            offer(Dict::new().with("flags", Value::List(vec![format!("media-echo-{word}").into()]))).0.options.echo,
            Some(echo)
        );
    }
    assert_eq!(offer(Dict::new().with("media-echo", "loud")).1, ["key media-echo=loud"]);
}

#[test]
fn an_answer_may_say_whether_it_is_the_last() {
    for (dict, expected) in [
        (Dict::new().with("sip-code", 183), Finality::Provisional),
        (Dict::new().with("sip-code", "180"), Finality::Provisional),
        (Dict::new().with("sip-code", 200), Finality::Final),
        (Dict::new().with("sip-code", "x"), Finality::Unknown),
        (Dict::new().with("flags", list(&["provisional"])), Finality::Provisional),
        (Dict::new(), Finality::Unknown),
    ] {
        assert_eq!(offer(dict).0.options.finality, expected);
    }
}

#[test]
fn two_dots_are_a_space_in_an_attribute_flag() {
    let (offer, unknown) =
        offer(Dict::new().with(
            "flags",
            list(&["sdp-attr-substitute-audio-fmtp:101>fmtp:101..0-11", "sdp-attr-add-audio-x:a--b..c"]),
        ));
    let audio = || Level::Media(b"audio".to_vec());
    let expected = [
        AttributeEdit::Substitute(audio(), b"fmtp:101".to_vec(), b"fmtp:101 0-11".to_vec()),
        AttributeEdit::Add(audio(), b"x:a=b c".to_vec()),
    ];
    assert_eq!((offer.options.attributes.as_slice(), unknown), (&expected[..], vec![]));
}

#[test]
fn a_flag_string_says_the_same_as_keys() {
    let text = "replace-origin SIP-source-address ICE=remove direction=pbx direction=gateway TOS=184 RTP/AVP nonsense";
    let (offer, unknown) = offer(Dict::new().with("rtpp_flags", text));
    assert!(offer.options.replace_origin && offer.options.sip_source_address);
    assert_eq!(offer.options.to_interface.as_deref(), Some(&b"gateway"[..]));
    assert_eq!(offer.options.tos, Some(184));
    assert_eq!(unknown, ["flag nonsense"]);
}

#[test]
fn a_flag_string_takes_nothing_back() {
    let (offer, _) = offer(Dict::new().with("rtpp-flags", "sdp=[a=[b]] from-tag=[] call-id= trust-address"));
    assert_eq!((offer.sdp.as_slice(), offer.from_tag.as_slice()), (&b"v=0\r\n"[..], &b"a"[..]));
}

#[test]
fn a_flag_string_does_not_nest() {
    let unknown = offer(Dict::new().with("rtpp-flags", "rtpp-flags=rtpp-flags--x")).1;
    assert_eq!(unknown, ["key rtpp-flags"]);
}

#[test]
fn tags_of_digits_may_come_as_numbers() {
    assert_eq!(offer(Dict::new().with("from-tag", 12345)).0.from_tag, b"12345");
}

#[test]
fn a_delete_says_how() {
    let dict = Dict::new().with("command", "delete").with("call-id", "c").with("delete_delay", "0");
    let (Intent::Delete(delete), unknown) = decode(&dict.with("flags", list(&["fast", "fatal"]))).unwrap() else {
        panic!("no delete")
    };
    assert_eq!((delete.delay, delete.fast, delete.fatal, delete.from_tag), (Some(0), true, true, None));
    assert!(unknown.is_empty());
}

#[test]
fn json_of_the_wrong_shape_is_refused_or_ignored() {
    let parse = |text: &str| {
        let value = crate::ng::json::decode(text.as_bytes()).unwrap();
        decode(value.as_dict().unwrap()).map(|(command, _)| command)
    };
    assert_eq!(parse(r#"{"command":{}}"#), Err(DecodeError::NoCommand));
    assert_eq!(parse(r#"{"command":null}"#), Err(DecodeError::NoCommand));
    assert_eq!(parse(r#"{"command":"offer","sdp":["v=0"],"call-id":"c"}"#), Err(DecodeError::NoSdp));
    assert_eq!(parse(r#"{"command":"query","call-id":{"a":1}}"#), Err(DecodeError::NoCallId));
    let odd = r#"{"command":"ping","flags":{"a":1},"direction":{"x":[]},"replace":[[["origin"]]],"TOS":[1],
        "received-from":[],"supports":3,"rtpp-flags":[],"endpoint-learning":[]}"#;
    assert_eq!(parse(odd), Ok(Intent::Ping));
}

proptest! {
    #[test]
    fn any_values_of_known_keys_do_no_harm(
        command in prop::sample::select(vec!["offer", "answer", "delete", "query", "list", "ping"]),
        values in vec((prop::sample::select(vec![
            "sdp", "call-id", "from-tag", "to-tag", "via-branch", "received-from", "direction", "flags", "replace", "ICE",
            "TOS", "endpoint-learning", "supports", "limit", "delete-delay", "transport-protocol", "rtpp-flags",
        ]), crate::ng::bencode::tests::any_value()), 0..10),
    ) {
        let mut dict = Dict::new().with("command", command);
        for (key, value) in values {
            dict.push(key.as_bytes(), value);
        }
        if let Ok((_, unknown)) = decode(&dict) {
            prop_assert!(unknown.len() <= 32);
        }
    }
}

#[test]
fn the_words_about_a_shared_port_are_read_as_keys_and_as_flags() {
    for (words, expected) in [
        (&["offer"][..], Mux { offer: Some(true), ..Mux::default() }),
        (&["require"], Mux { offer: Some(true), require: true, ..Mux::default() }),
        (&["demux"], Mux { offer: Some(false), accept: Some(true), ..Mux::default() }),
        (&["accept"], Mux { accept: Some(true), ..Mux::default() }),
        (&["reject"], Mux { accept: Some(false), ..Mux::default() }),
        (&["offer", "accept"], Mux { offer: Some(true), accept: Some(true), ..Mux::default() }),
    ] {
        let (by_key, unknown) = offer(Dict::new().with("rtcp-mux", list(words)));
        assert_eq!((by_key.options.mux, unknown), (expected, vec![]));
        let flags = words.iter().map(|word| Value::from(format!("rtcp-mux-{word}").into_bytes())).collect();
        let dict = Dict::new().with("flags", Value::List(flags));
        assert_eq!(offer(dict).0.options.mux, expected);
    }
}

#[test]
fn the_family_of_addresses_is_read() {
    for (word, family) in [("IP4", Family::V4), ("IP6", Family::V6)] {
        let (offer, unknown) = offer(Dict::new().with("address family", word));
        assert_eq!((offer.options.address_family, unknown), (Some(family), vec![]));
    }
}

#[test]
fn what_is_played_to_whom_from_where_and_how_often_is_understood() {
    let play = |more: Dict<'static>| {
        let dict = more.iter().fold(
            Dict::new().with("command", "play media").with("call-id", "c"),
            |mut dict, (key, value)| {
                dict.push(key.to_vec(), value.clone());
                dict
            },
        );
        match decode(&dict) {
            Ok((Intent::Play(play), _)) => Ok(*play),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    };
    let file = || Dict::new().with("file", "/a.wav").with("from-tag", "a").with("to-tag", "b");
    let plain = play(file()).unwrap();
    assert_eq!((&plain.sound, &plain.party), (&Sound::File(b"/a.wav".to_vec()), &Party::Tag(b"a".to_vec())));
    assert_eq!((plain.start, plain.times, plain.longest), (Duration::ZERO, None, None));
    // As numbers, and as texts, as scripts write them.
    for number in [Value::Int(250), Value::from("250")] {
        let more = file().with("start-pos", number.clone()).with("repeat-times", number.clone());
        let all = play(more.with("repeat-duration", number)).unwrap();
        let quarter = Duration::from_millis(250);
        assert_eq!((all.start, all.times, all.longest), (quarter, Some(250), Some(quarter)));
    }
    for (number, times) in [
        (Value::Int(1 << 40), Some(u32::MAX)),
        (Value::from("99999999999999999999"), Some(u32::MAX)),
        (Value::Int(-1), None),
        (Value::from("x"), None),
    ] {
        assert_eq!(play(file().with("repeat-times", number)).unwrap().times, times);
    }
    assert_eq!(play(file().with("repeat-duration", 0)).unwrap().longest, None);
    assert_eq!(play(file().with("flags", list(&["all"]))).unwrap().party, Party::All);
    assert_eq!(play(file().with("label", "x")).unwrap().party, Party::Label(b"x".to_vec()));
    assert_eq!(play(file().with("address", "192.0.2.1")).unwrap().party, Party::Address("192.0.2.1".parse().unwrap()));
    let blob = [
        &b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x07\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\x02\0\0\0"[..],
        &[0xff, 0x80],
    ]
    .concat();
    let Sound::Recording(recording) = play(Dict::new().with("from-tag", "a").with("blob", blob)).unwrap().sound else {
        panic!()
    };
    assert_eq!(recording.octets(media::Law::Mu), &[0xff, 0x80][..]);
    for (dict, error) in [
        (Dict::new().with("from-tag", "a"), "No media file specified"),
        (Dict::new().with("file", "/a.wav"), "No participant party specified"),
        (
            Dict::new().with("from-tag", "a").with("blob", "x"),
            "Failed to start media playback from blob: it is no WAV file",
        ),
    ] {
        assert_eq!(play(dict).unwrap_err(), error);
    }
    let stop = decode(&Dict::new().with("command", "stop media").with("call-id", "c").with("from-tag", "a")).unwrap().0;
    assert_eq!(stop, Intent::StopPlaying(StopPlaying { call_id: b"c".to_vec(), party: Party::Tag(b"a".to_vec()) }));
}

#[test]
fn no_name_is_longer_than_255_bytes() {
    for (key, field) in [
        ("call-id", "call-id"),
        ("from-tag", "from-tag"),
        ("to-tag", "to-tag"),
        ("via-branch", "via-branch"),
        ("label", "label"),
        ("set-label", "set-label"),
        ("to-label", "to-label"),
        ("from-tags", "from-tags"),
        ("from label", "label"),
        ("via_branch", "via-branch"),
    ] {
        for command in ["offer", "answer", "delete", "query", "subscribe request"] {
            let of = |len: usize| {
                let dict = Dict::new().with("command", command).with("call-id", "c").with("from-tag", "a");
                let dict = dict.with("to-tag", "b").with("sdp", "v=0\r\n").with("set-label", "l");
                dict.with(key, "x".repeat(len))
            };
            assert!(decode(&of(255)).is_ok(), "{command} {key}");
            assert_eq!(error(&of(256)), format!("{field} is longer than 255 bytes"), "{command}");
        }
    }
    let in_flags = Dict::new().with("command", "query").with("rtpp-flags", format!("call-id={}", "x".repeat(256)));
    assert_eq!(error(&in_flags), "call-id is longer than 255 bytes");
}

#[test]
fn what_a_script_wants_of_keys_is_read_in_every_form() {
    let suites = "order:AES_CM_128_HMAC_SHA1_32;AEAD_AES_128_GCM;AES_CM_128_HMAC_SHA1_32;";
    let (by_key, told) = offer(
        Dict::new()
            .with(
                "SDES",
                list(&[suites, "offerer_pref:AES_256_CM_HMAC_SHA1_80;", "no-AES_CM_128_HMAC_SHA1_80", "prefer"]),
            )
            .with("OSRTP", list(&["offer-RFC", "accept"])),
    );
    assert_eq!(told, [""; 0]);
    let sdes = by_key.options.sdes;
    assert_eq!(sdes.order, [Suite::AesCm128Sha32, Suite::Gcm128]);
    assert_eq!((sdes.preferred, sdes.refused), (vec![Suite::AesCm256Sha80], vec![Suite::AesCm128Sha80]));
    assert!(sdes.may_offer && sdes.may_accept);
    let flags =
        list(&["SDES-order:AES_CM_128_HMAC_SHA1_32;AEAD_AES_128_GCM", "OSRTP-accept-RFC", "OSRTP-offer-legacy"]);
    let (by_flag, told) = offer(Dict::new().with("flags", flags));
    assert_eq!(told, ["OSRTP offer-legacy"]);
    let sdes = by_flag.options.sdes;
    assert_eq!((sdes.order, sdes.may_offer, sdes.may_accept), (vec![Suite::AesCm128Sha32, Suite::Gcm128], false, true));
}
