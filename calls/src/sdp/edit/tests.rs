use super::*;

const CUCM: &[u8] = b"v=0\r\no=CiscoSystemsCCM-SIP 81273 1 IN IP4 192.0.2.10\r\ns=SIP Call\r\nc=IN IP4 192.0.2.33\r\n\
    b=AS:80\r\nt=0 0\r\nm=audio 21504 RTP/AVP 9 0 8 101\r\na=ptime:20\r\na=rtpmap:9 G722/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n";
const ASTERISK: &[u8] = b"v=0\r\no=- 7719 7721 IN IP4 192.0.2.20\r\ns=Asterisk\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
    m=audio 12008 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=maxptime:150\r\na=sendrecv\r\n\
    m=video 0 RTP/AVP 99\r\n";
const TEAMS: &[u8] = b"v=0\r\no=- 55 0 IN IP4 127.0.0.1\r\ns=session\r\nc=IN IP4 192.0.2.40\r\nb=CT:10000000\r\n\
    t=0 0\r\na=ice-lite\r\nm=audio 50010 RTP/SAVP 104 9 101\r\nc=IN IP4 192.0.2.40\r\n\
    a=rtcp:50011 IN IP4 192.0.2.40\r\na=ice-ufrag:aB3d\r\na=ice-pwd:0123456789abcdefghijkl\r\n\
    a=candidate:1 1 UDP 2130706431 192.0.2.40 50010 typ srflx raddr 10.0.0.4 rport 50010\r\na=rtcp-mux\r\n\
    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc|2^31\r\na=rtpmap:104 SILK/16000\r\na=end-of-candidates\r\n";
const FREESWITCH: &[u8] = b"v=0\no=FreeSWITCH 1700 1701 IN IP4 192.0.2.50\ns=FreeSWITCH\nc=IN IP4 192.0.2.50\nt=0 0\n\
    m=audio 27180 RTP/AVP 96 0\na=rtpmap:96 opus/48000/2\na=fmtp:96 useinbandfec=1\na=silenceSupp:off - - - -\n\
    m=image 27190 udptl t38\na=T38FaxVersion:0";

fn to(address: &str, port: u16) -> Option<NewMedia> {
    Some(NewMedia {
        address: address.parse().unwrap(),
        rtp_port: port,
        rtcp_port: port + 1,
        mux: false,
        profile: None,
        crypto: None,
    })
}

fn muxed(address: &str, port: u16) -> Option<NewMedia> {
    to(address, port).map(|new| NewMedia { mux: true, ..new })
}

fn relayed() -> Edit {
    Edit { media: vec![to("203.0.113.1", 30000)], ..Edit::default() }
}

fn run(text: &[u8], plan: &Edit) -> String {
    String::from_utf8_lossy(&edit(&Body::parse(text).unwrap(), plan)).into_owned()
}

/// Asserts that the output is the input with these replacements, each of which must apply once.
fn assert_replaced(text: &[u8], plan: &Edit, replacements: &[(&str, &str)]) {
    let mut expected = String::from_utf8_lossy(text).into_owned();
    for (old, new) in replacements {
        assert_eq!(expected.matches(old).count(), 1, "{old}");
        expected = expected.replace(old, new);
    }
    assert_eq!(run(text, plan), expected);
}

#[test]
fn an_edit_of_nothing_returns_the_input() {
    for text in [CUCM, ASTERISK, TEAMS, FREESWITCH] {
        assert_eq!(edit(&Body::parse(text).unwrap(), &Edit::default()), text);
        let all_flags_but_no_media = Edit {
            replace_origin: true,
            replace_zero_address: true,
            rtcp: RtcpAttribute::Full,
            media: vec![None, None],
            remove_ice: false,
            address: None,
        };
        assert_eq!(edit(&Body::parse(text).unwrap(), &all_flags_but_no_media), text);
    }
}

#[test]
fn a_cucm_body_changes_in_connection_and_port_only() {
    let replacements = [("c=IN IP4 192.0.2.33", "c=IN IP4 203.0.113.1"), ("audio 21504", "audio 30000")];
    assert_replaced(CUCM, &relayed(), &replacements);
}

#[test]
fn an_asterisk_body_keeps_its_rejected_video() {
    let plan = Edit { media: vec![to("203.0.113.1", 30000), None], replace_origin: true, ..Edit::default() };
    let replacements = [
        ("7721 IN IP4 192.0.2.20", "7721 IN IP4 203.0.113.1"),
        ("c=IN IP4 192.0.2.20", "c=IN IP4 203.0.113.1"),
        ("audio 12008", "audio 30000"),
    ];
    assert_replaced(ASTERISK, &plan, &replacements);
}

#[test]
fn a_teams_body_loses_ice_and_keeps_its_keys() {
    let plan = Edit { media: vec![muxed("203.0.113.1", 30000)], remove_ice: true, ..Edit::default() };
    let replacements = [
        ("t=0 0\r\na=ice-lite\r\n", "t=0 0\r\n"),
        ("s=session\r\nc=IN IP4 192.0.2.40\r\n", "s=session\r\nc=IN IP4 203.0.113.1\r\n"),
        ("9 101\r\nc=IN IP4 192.0.2.40\r\n", "9 101\r\nc=IN IP4 203.0.113.1\r\n"),
        ("audio 50010", "audio 30000"),
        ("a=rtcp:50011 IN IP4 192.0.2.40", "a=rtcp:30001 IN IP4 203.0.113.1"),
        ("a=ice-ufrag:aB3d\r\n", ""),
        ("a=ice-pwd:0123456789abcdefghijkl\r\n", ""),
        ("a=candidate:1 1 UDP 2130706431 192.0.2.40 50010 typ srflx raddr 10.0.0.4 rport 50010\r\n", ""),
        ("a=end-of-candidates\r\n", ""),
    ];
    assert_replaced(TEAMS, &plan, &replacements);
}

#[test]
fn a_freeswitch_body_keeps_lf_endings_and_its_missing_final_newline() {
    let plan = Edit { media: vec![to("203.0.113.1", 30000), to("203.0.113.2", 30002)], ..Edit::default() };
    let replacements = [
        ("c=IN IP4 192.0.2.50", "c=IN IP4 203.0.113.1"),
        ("audio 27180", "audio 30000"),
        ("image 27190 udptl t38\n", "image 30002 udptl t38\nc=IN IP4 203.0.113.2\n"),
    ];
    assert_replaced(FREESWITCH, &plan, &replacements);
}

#[test]
fn the_spacing_of_a_media_line_stays_and_its_port_count_goes() {
    for port in ["4000/2", "4000", "30000/2"] {
        let out = run(format!("m= audio\t{port}   RTP/AVP  0 8 \nc=IN IP4 192.0.2.1\n").as_bytes(), &relayed());
        assert_eq!(out, "m= audio\t30000   RTP/AVP  0 8 \nc=IN IP4 203.0.113.1\n");
    }
}

#[test]
fn a_port_that_is_right_already_stays_as_written() {
    assert!(run(b"m=audio 030000 RTP/AVP 0\n", &relayed()).starts_with("m=audio 030000 RTP/AVP 0\n"));
}

#[test]
fn each_media_level_connection_gets_the_address_of_its_section() {
    let text = b"m=audio 4000 RTP/AVP 0\nc=IN IP4 192.0.2.1\nm=video 4002 RTP/AVP 31\nc=IN IP4 192.0.2.2\n";
    let plan = Edit { media: vec![to("203.0.113.1", 30000), to("203.0.113.2", 30002)], ..Edit::default() };
    assert_replaced(
        text,
        &plan,
        &[
            ("192.0.2.1", "203.0.113.1"),
            ("192.0.2.2", "203.0.113.2"),
            ("audio 4000", "audio 30000"),
            ("video 4002", "video 30002"),
        ],
    );
}

#[test]
fn the_session_connection_gets_the_address_of_the_first_changed_section() {
    let text = b"c=IN IP4 192.0.2.1\nm=audio 0 RTP/AVP 0\nm=video 4002 RTP/AVP 31\n";
    let plan = Edit { media: vec![None, to("203.0.113.2", 30002)], ..Edit::default() };
    assert_eq!(run(text, &plan), "c=IN IP4 203.0.113.2\nm=audio 0 RTP/AVP 0\nm=video 30002 RTP/AVP 31\n");
}

#[test]
fn an_inserted_connection_comes_after_the_title() {
    let out = run(b"m=audio 4000 RTP/AVP 0\r\ni=main\r\na=sendrecv\r\n", &relayed());
    assert_eq!(out, "m=audio 30000 RTP/AVP 0\r\ni=main\r\nc=IN IP4 203.0.113.1\r\na=sendrecv\r\n");
}

#[test]
fn a_media_line_without_ending_gets_one_before_an_inserted_line() {
    assert_eq!(run(b"v=0\nm=audio 4 RTP/AVP 0", &relayed()), "v=0\nm=audio 30000 RTP/AVP 0\nc=IN IP4 203.0.113.1\n");
    assert_eq!(run(b"m=audio 4 RTP/AVP 0", &relayed()), "m=audio 30000 RTP/AVP 0\r\nc=IN IP4 203.0.113.1\r\n");
}

#[test]
fn an_untouched_section_keeps_the_old_session_connection() {
    let text = b"c=IN IP4 224.2.1.1/127\nm=audio 4000 RTP/AVP 0\nm=text 4002 RTP/AVP 98\na=x\n";
    let expected =
        "c=IN IP4 203.0.113.1\nm=audio 30000 RTP/AVP 0\nm=text 4002 RTP/AVP 98\nc=IN IP4 224.2.1.1/127\na=x\n";
    assert_eq!(run(text, &relayed()), expected);
}

#[test]
fn an_untouched_section_with_its_own_connection_stays() {
    let text = b"c=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\nm=text 4002 RTP/AVP 98\nc=IN IP4 192.0.2.9\na=rtcp:7\n";
    assert!(run(text, &relayed()).ends_with("\nm=text 4002 RTP/AVP 98\nc=IN IP4 192.0.2.9\na=rtcp:7\n"));
}

#[test]
fn an_untouched_section_needs_no_connection_if_the_session_kept_its_address() {
    let text = b"c=IN IP4 203.0.113.1\nm=audio 4000 RTP/AVP 0\nm=text 4002 RTP/AVP 98\n";
    assert_replaced(text, &relayed(), &[("4000", "30000")]);
}

#[test]
fn a_held_connection_stays_in_the_family_of_the_receiver() {
    let v6 = Edit { media: vec![to("2001:db8::7", 30000)], ..Edit::default() };
    for (text, plan) in
        [("c=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 0\n", &relayed()), ("m=audio 4000 RTP/AVP 0\nc=IN IP6 ::\n", &v6)]
    {
        assert_replaced(text.as_bytes(), plan, &[("4000", "30000")]);
    }
    for (text, plan, new) in [
        ("c=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 0\n", &v6, ("IP4 0.0.0.0", "IP6 ::")),
        ("m=audio 4000 RTP/AVP 0\nc=IN IP6 ::\n", &relayed(), ("IP6 ::", "IP4 0.0.0.0")),
    ] {
        assert_replaced(text.as_bytes(), plan, &[("4000", "30000"), new]);
    }
}

#[test]
fn a_rejected_section_says_nothing_of_the_other_family() {
    let text = b"c=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\nm=video 0 RTP/AVP 31\nc=IN IP6 2001:db8::9\n";
    let plan = Edit { address: Some("203.0.113.1".parse().unwrap()), ..relayed() };
    let replaced = [("IP4 192.0.2.1", "IP4 203.0.113.1"), ("4000", "30000"), ("IP6 2001:db8::9", "IP4 203.0.113.1")];
    assert_replaced(text, &plan, &replaced);
    let all = b"c=IN IP6 2001:db8::9\nm=audio 0 RTP/AVP 0\n";
    let plan = Edit { media: vec![None], ..plan };
    assert_replaced(all, &plan, &[("IP6 2001:db8::9", "IP4 203.0.113.1")]);
}

#[test]
fn a_party_that_will_say_later_where_it_is_is_not_on_hold() {
    for text in [
        "c=IN IP4 0.0.0.0\na=ice-ufrag:u\nm=audio 9 RTP/AVP 0\n",
        "m=audio 9 RTP/AVP 0\nc=IN IP4 0.0.0.0\na=ice-ufrag:u\n",
    ] {
        let out = run(text.as_bytes(), &Edit { remove_ice: true, ..relayed() });
        assert_eq!(
            out,
            text.replace("a=ice-ufrag:u\n", "").replace("0.0.0.0", "203.0.113.1").replace(" 9 ", " 30000 ")
        );
    }
    assert_replaced(b"c=IN IP4 0.0.0.0\nm=audio 9 RTP/AVP 0\n", &relayed(), &[(" 9 ", " 30000 ")]);
}

#[test]
fn a_section_held_by_the_session_gets_no_connection_of_its_own() {
    let text = b"c=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 0\nm=video 4002 RTP/AVP 31\n";
    let plan = Edit { media: vec![to("203.0.113.1", 30000), to("203.0.113.2", 30002)], ..Edit::default() };
    assert_replaced(text, &plan, &[("4000", "30000"), ("4002", "30002")]);
}

#[test]
fn a_held_connection_changes_if_asked_for() {
    let plan = Edit { replace_zero_address: true, ..relayed() };
    let text = b"c=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 0\nc=IN IP6 ::\n";
    let expected = "c=IN IP4 203.0.113.1\nm=audio 30000 RTP/AVP 0\nc=IN IP4 203.0.113.1\na=sendonly\n";
    assert_eq!(run(text, &plan), expected, "and the direction says it instead");
    for (old, new) in [
        ("a=sendrecv\n", "a=sendonly\n"),
        ("a=sendonly\n", "a=sendonly\n"),
        ("a=recvonly\n", "a=inactive\n"),
        ("a=inactive\n", "a=inactive\n"),
    ] {
        let text = format!("c=IN IP6 ::\nm=audio 4000 RTP/AVP 0\n{old}");
        assert_eq!(run(text.as_bytes(), &plan), format!("c=IN IP4 203.0.113.1\nm=audio 30000 RTP/AVP 0\n{new}"));
        let above = format!("c=IN IP6 ::\n{old}m=audio 4000 RTP/AVP 0\n");
        assert!(run(above.as_bytes(), &plan).ends_with(&format!("m=audio 30000 RTP/AVP 0\n{new}")));
    }
}

#[test]
fn an_untouched_section_stays_held_if_the_hold_of_the_session_is_replaced() {
    let plan = Edit { replace_zero_address: true, ..relayed() };
    let text = b"c=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 0\nm=text 4002 RTP/AVP 98\n";
    assert!(run(text, &plan).ends_with("m=text 4002 RTP/AVP 98\nc=IN IP4 0.0.0.0\n"));
}

#[test]
fn a_connection_loses_its_multicast_suffix_and_keeps_its_spacing() {
    let out = run(b"m=audio 4 RTP/AVP 0\nc=in  IP4\t224.2.1.1/127/3 \n", &relayed());
    assert!(out.ends_with("\nc=in  IP4\t203.0.113.1 \n"), "{out}");
}

#[test]
fn a_host_name_is_replaced() {
    assert_eq!(
        run(b"c=IN IP4 pbx.example.org\nm=audio 4 RTP/AVP 0\n", &relayed()),
        "c=IN IP4 203.0.113.1\nm=audio 30000 RTP/AVP 0\n"
    );
}

#[test]
fn another_network_type_is_replaced_with_the_address() {
    let out = run(b"m=audio 4 RTP/AVP 0\nc=ATM NSAP 47.0091\n", &relayed());
    assert!(out.ends_with("\nc=IN IP4 203.0.113.1\n"), "{out}");
}

#[test]
fn the_address_type_follows_the_address() {
    let text = b"o=- 1 2 IN IP4 192.0.2.1\nc=IN IP4 192.0.2.1\nm=audio 4 RTP/AVP 0\na=rtcp:5 IN IP4 192.0.2.1\n";
    let plan = Edit { media: vec![to("2001:db8::7", 30000)], replace_origin: true, ..Edit::default() };
    let expected = "o=- 1 2 IN IP6 2001:db8::7\nc=IN IP6 2001:db8::7\nm=audio 30000 RTP/AVP 0\n\
        a=rtcp:30001 IN IP6 2001:db8::7\n";
    assert_eq!(run(text, &plan), expected);
    assert_eq!(
        run(b"c=IN IP6 2001:db8::7\nm=audio 4 RTP/AVP 0\n", &relayed()),
        "c=IN IP4 203.0.113.1\nm=audio 30000 RTP/AVP 0\n"
    );
}

#[test]
fn an_equal_ipv6_address_keeps_its_spelling() {
    let plan = Edit { media: vec![to("2001:db8::7", 30000)], ..Edit::default() };
    assert!(run(b"c=IN IP6 2001:DB8:0::7\nm=audio 4 RTP/AVP 0\n", &plan).starts_with("c=IN IP6 2001:DB8:0::7\n"));
}

#[test]
fn the_origin_stays_unless_asked_for() {
    let text = b"o=me 1 2 IN IP4 192.0.2.1\nm=audio 4 RTP/AVP 0\n";
    assert!(run(text, &relayed()).starts_with("o=me 1 2 IN IP4 192.0.2.1\n"));
    let plan = Edit { replace_origin: true, ..relayed() };
    assert!(run(text, &plan).starts_with("o=me 1 2 IN IP4 203.0.113.1\n"));
}

#[test]
fn the_origin_changes_with_odd_user_names_and_after_the_connection() {
    let plan = Edit { replace_origin: true, ..relayed() };
    for (old, new) in [
        ("o= 1 2 IN IP4 pbx", "o= 1 2 IN IP4 203.0.113.1"),
        ("o=a b  c 1 2 IN IP4 192.0.2.1", "o=a b  c 1 2 IN IP4 203.0.113.1"),
        ("o=1 2 IP4 192.0.2.1", "o=1 2 IP4 192.0.2.1"),
    ] {
        let text = format!("c=IN IP4 203.0.113.1\n{old}\nm=audio 30000 RTP/AVP 0\n");
        assert_eq!(run(text.as_bytes(), &plan), text.replace(old, new));
    }
}

fn rtcp_line(line: &str, form: RtcpAttribute) -> String {
    let text = format!("m=audio 4 RTP/AVP 0\nc=IN IP4 192.0.2.1\n{line}a=x\n");
    let out = run(text.as_bytes(), &Edit { rtcp: form, ..relayed() });
    out.strip_prefix("m=audio 30000 RTP/AVP 0\nc=IN IP4 203.0.113.1\n").unwrap().to_owned()
}

#[test]
fn the_rtcp_attribute_keeps_its_form() {
    for (old, new) in [
        ("a=rtcp:5\n", "a=rtcp:30001\n"),
        ("a=rtcp: 5 \r\n", "a=rtcp: 30001 \r\n"),
        ("a=rtcp:5 IN IP4 192.0.2.1\n", "a=rtcp:30001 IN IP4 203.0.113.1\n"),
        ("a=rtcp:5  IN IP6 2001:db8::1\n", "a=rtcp:30001  IN IP4 203.0.113.1\n"),
        ("", ""),
    ] {
        assert_eq!(rtcp_line(old, RtcpAttribute::Rewrite), format!("{new}a=x\n"));
    }
}

#[test]
fn a_broken_rtcp_attribute_is_replaced() {
    for (old, new) in [
        ("a=rtcp\n", "a=rtcp:30001\n"),
        ("a=rtcp: \n", "a=rtcp:30001\n"),
        ("a=rtcp:5 IN IP4\n", "a=rtcp:30001 IN IP4 203.0.113.1\n"),
    ] {
        assert_eq!(rtcp_line(old, RtcpAttribute::Rewrite), format!("{new}a=x\n"));
    }
}

#[test]
fn other_rtcp_attributes_stay() {
    for form in [RtcpAttribute::Rewrite, RtcpAttribute::Remove] {
        let others = "a=rtcp-fb:96 nack\na=rtcp-xr\n";
        assert_eq!(rtcp_line(others, form), format!("{others}a=x\n"));
    }
}

#[test]
fn the_full_rtcp_attribute_is_written_in_place() {
    for old in ["a=rtcp:5\n", "a=rtcp:5 IN IP4 192.0.2.1\n"] {
        assert_eq!(rtcp_line(old, RtcpAttribute::Full), "a=rtcp:30001 IN IP4 203.0.113.1\na=x\n");
    }
}

#[test]
fn a_missing_full_rtcp_attribute_is_added_at_the_end_of_its_section() {
    assert_eq!(rtcp_line("", RtcpAttribute::Full), "a=x\na=rtcp:30001 IN IP4 203.0.113.1\n");
    let plan = Edit { rtcp: RtcpAttribute::Full, ..relayed() };
    assert_eq!(
        run(b"m=audio 4 RTP/AVP 0\r\n\r\n", &plan),
        "m=audio 30000 RTP/AVP 0\r\nc=IN IP4 203.0.113.1\r\na=rtcp:30001 IN IP4 203.0.113.1\r\n\r\n"
    );
    let two = b"c=IN IP4 203.0.113.1\nm=audio 4 RTP/AVP 0\na=x\nm=text 4002 RTP/AVP 98";
    let expected = "c=IN IP4 203.0.113.1\nm=audio 30000 RTP/AVP 0\na=x\na=rtcp:30001 IN IP4 203.0.113.1\n\
        m=text 4002 RTP/AVP 98";
    assert_eq!(run(two, &plan), expected);
}

#[test]
fn a_section_without_rtp_gets_no_rtcp_attribute() {
    let plan = Edit { rtcp: RtcpAttribute::Full, ..relayed() };
    assert_replaced(b"m=image 4 udptl t38\nc=IN IP4 203.0.113.1\n", &plan, &[("image 4", "image 30000")]);
}

#[test]
fn the_rtcp_attribute_is_removed_if_asked_for() {
    assert_eq!(rtcp_line("a=rtcp:5 IN IP4 192.0.2.1\n", RtcpAttribute::Remove), "a=x\n");
}

#[test]
fn ice_is_removed_everywhere_and_nothing_else() {
    let text = b"a=ice-options:trickle\na=icecream\nm=audio 4 RTP/AVP 0\na=ice-mismatch\na=remote-candidates:1 x 2\n\
        a=ice-pacing:50\na=ice-ufrag:u\nm=video 0 RTP/AVP 31\na=candidate:9\na=candidates\n";
    let plan = Edit { remove_ice: true, ..Edit::default() };
    assert_eq!(run(text, &plan), "a=icecream\nm=audio 4 RTP/AVP 0\nm=video 0 RTP/AVP 31\na=candidates\n");
}

#[test]
fn ice_stays_unless_asked_for() {
    assert!(run(TEAMS, &relayed()).contains("a=candidate:1 1 UDP"));
}

#[test]
fn binary_bytes_and_unknown_lines_come_out_as_they_came() {
    let text = b"s=\x00\xff\xfe\r\nz\n\r\n=\n?=  q\r\r\nc=IN IP4 203.0.113.1\n\
        m=audio 30000 RTP/AVP 0 \xff\x00\nX: y\n\x00";
    assert_eq!(edit(&Body::parse(text).unwrap(), &relayed()), text);
}

#[test]
fn plans_for_sections_that_do_not_exist_have_no_effect() {
    let text = b"o=- 1 2 IN IP4 192.0.2.1\nc=IN IP4 192.0.2.1\nm=audio 4 RTP/AVP 0\n";
    let plan = Edit { media: vec![None, to("203.0.113.1", 30000)], replace_origin: true, ..Edit::default() };
    assert_eq!(edit(&Body::parse(text).unwrap(), &plan), text);
}

#[test]
fn mutated_bodies_never_panic_and_are_returned_if_nothing_is_to_change() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    let (mut parsed, mut refused) = (0_u32, 0_u32);
    for round in 0..20_000 {
        let mut text = [CUCM, ASTERISK, TEAMS, FREESWITCH][round % 4].to_vec();
        for _ in 0..=random(6) {
            let at = random(text.len());
            match random(5) {
                0 => text[at] = u8::try_from(random(256)).unwrap(),
                1 => drop(text.remove(at)),
                2 => text.insert(at, b" \n\r=:/mcoa09\x00\xff"[random(14)]),
                3 => text.truncate(at.max(1)),
                _ => {
                    let piece = text[at..text.len().min(at + random(60))].to_vec();
                    let to = random(text.len());
                    text.splice(to..to, piece);
                }
            }
            if text.is_empty() {
                text.push(b'v');
            }
        }
        let Ok(body) = Body::parse(&text) else {
            refused += 1;
            continue;
        };
        parsed += 1;
        assert_eq!(edit(&body, &Edit { media: vec![None; body.media().len()], ..Edit::default() }), text);
        let plan = Edit {
            media: body.media().iter().map(|_| if random(3) == 0 { None } else { to("2001:db8::1", 30000) }).collect(),
            replace_origin: random(2) == 0,
            replace_zero_address: random(2) == 0,
            rtcp: [RtcpAttribute::Rewrite, RtcpAttribute::Full, RtcpAttribute::Remove][random(3)],
            remove_ice: random(2) == 0,
            address: (random(2) == 0).then(|| "2001:db8::1".parse().unwrap()),
        };
        let once = edit(&body, &plan);
        let again = Body::parse(&once).unwrap();
        for (media, new) in again.media().iter().zip(&plan.media) {
            let Some(new) = new else { continue };
            assert_eq!(media.port, new.rtp_port);
            assert!(media.is_held() || media.address == Some(new.address), "{}", String::from_utf8_lossy(&once));
        }
        for (old, media) in body
            .media()
            .iter()
            .zip(again.media())
            .zip(&plan.media)
            .filter_map(|(pair, new)| new.is_none().then_some(pair))
        {
            assert!(old.port == 0 || old.endpoint() == media.endpoint(), "{}", String::from_utf8_lossy(&once));
        }
        assert_eq!(edit(&again, &plan), once, "editing twice changes nothing more");
    }
    assert!(parsed > 5_000 && refused > 1_000, "{parsed} parsed, {refused} refused");
}

#[test]
fn a_wish_to_share_a_port_is_kept_added_or_removed() {
    let muxed = Edit { media: vec![muxed("203.0.113.1", 30000)], ..Edit::default() };
    let text = "m=audio 30000 RTP/AVP 0\nc=IN IP4 203.0.113.1\n";
    let with = format!("{text}a=rtcp-mux\n");
    assert_eq!(run(with.as_bytes(), &muxed), with);
    assert_eq!(run(text.as_bytes(), &muxed), with);
    assert_eq!(run(with.as_bytes(), &relayed()), text);
    let fax = "m=image 30000 udptl t38\nc=IN IP4 203.0.113.1\n";
    assert_eq!(run(fax.as_bytes(), &muxed), fax);
}
