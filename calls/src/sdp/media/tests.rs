use super::*;
use crate::sdp::Body;

fn with<T>(text: &str, look: impl Fn(&Media<'_>) -> T) -> T {
    look(&Body::parse(text.as_bytes()).unwrap().media()[0])
}

/// Audio on 192.0.2.1:4000 with more lines.
fn audio<T>(lines: &str, look: impl Fn(&Media<'_>) -> T) -> T {
    with(&format!("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\n{lines}"), look)
}

fn socket(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn a_media_line_is_read_whatever_its_spacing() {
    let line = "m= audio\t4000/2  RTP/AVP 0   101 ";
    assert_eq!(with(line, |media| (media.kind.to_vec(), media.port)), (b"audio".to_vec(), 4000));
    assert_eq!(with(line, |media| media.formats.concat()), b"0101");
}

#[test]
fn formats_may_be_missing() {
    assert!(with("m=video 0 RTP/AVP\n", |media| media.formats.is_empty() && media.clock_rate.is_none()));
}

#[test]
fn every_transport_is_told_apart() {
    for (transports, expected) in [
        (&["RTP/AVP", "RTP/AVPF", "rtp/avp"][..], Transport::Rtp),
        (&["RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"], Transport::Srtp),
        (&["udptl", "UDPTL"], Transport::Udptl),
        (&["TCP/RTP/AVP"], Transport::Other(b"TCP/RTP/AVP")),
    ] {
        for transport in transports {
            assert!(with(&format!("m=x 4 {transport} 0"), |media| media.transport == expected), "{transport}");
        }
    }
}

#[test]
fn the_connection_of_the_section_goes_before_that_of_the_session() {
    let session = "c=IN IP4 192.0.2.7\nm=audio 4000 RTP/AVP 0\n";
    assert_eq!(with(session, |media| media.endpoint()), socket("192.0.2.7:4000"));
    assert_eq!(with(&format!("{session}c=IN IP4 192.0.2.8\n"), |media| media.endpoint()), socket("192.0.2.8:4000"));
}

#[test]
fn an_address_may_have_a_multicast_suffix() {
    assert_eq!(with("c=IN IP4 224.2.1.1/127/3\nm=audio 4 RTP/AVP 0", |media| media.endpoint()), socket("224.2.1.1:4"));
}

#[test]
fn an_ipv6_address_is_read() {
    let text = "c=IN IP6 2001:db8::5\nm=audio 4 RTP/AVP 0\n";
    assert_eq!(with(text, |media| media.rtcp_endpoint()), socket("[2001:db8::5]:5"));
}

#[test]
fn a_section_without_a_known_address_has_no_endpoint() {
    for line in ["", "c=IN IP4 pbx.example.org\n", "c=ATM IP4 192.0.2.1\n"] {
        let text = format!("{line}m=audio 4 RTP/AVP 0\n");
        assert!(with(&text, |media| media.address.is_none() && media.endpoint().is_none()), "{line}");
        assert_eq!(with(&text, |media| media.rtcp_endpoint()), None);
        assert!(!with(&text, |media| media.is_held()));
    }
}

#[test]
fn a_host_name_in_the_section_hides_the_address_of_the_session() {
    let text = "c=IN IP4 192.0.2.1\nm=audio 4 RTP/AVP 0\nc=IN IP4 pbx.example.org\n";
    assert_eq!(with(text, |media| media.address), None);
}

#[test]
fn a_zero_address_is_a_hold() {
    for line in ["c=IN IP4 0.0.0.0", "c=IN IP6 ::"] {
        let text = format!("{line}\nm=audio 4 RTP/AVP 0\na=rtcp:5 IN IP4 192.0.2.1\n");
        assert!(with(&text, |media| media.is_held()));
        assert_eq!(with(&text, |media| (media.endpoint(), media.rtcp_endpoint())), (None, None));
    }
    assert!(!audio("", |media| media.is_held()));
}

#[test]
fn a_rejected_section_has_no_endpoints() {
    let text = "c=IN IP4 192.0.2.1\nm=audio 0 RTP/AVP 0\na=rtcp:5\n";
    assert_eq!(with(text, |media| (media.endpoint(), media.rtcp_endpoint())), (None, None));
}

#[test]
fn rtcp_goes_to_the_next_port_by_default() {
    assert_eq!(audio("", |media| (media.rtcp, media.rtcp_endpoint())), (Rtcp::NextPort, socket("192.0.2.1:4001")));
}

#[test]
fn there_is_no_port_after_the_last() {
    assert_eq!(with("c=IN IP4 192.0.2.1\nm=audio 65535 RTP/AVP 0\n", |media| media.rtcp_endpoint()), None);
}

#[test]
fn rtcp_may_have_a_port_of_its_own() {
    let found = audio("a=rtcp:5000\r\n", |media| (media.rtcp, media.rtcp_endpoint()));
    assert_eq!(found, (Rtcp::Port(5000), socket("192.0.2.1:5000")));
}

#[test]
fn rtcp_may_have_an_address_of_its_own() {
    let found = audio("a=rtcp:5000 IN IP6 2001:db8::9\r\n", |media| media.rtcp_endpoint());
    assert_eq!(found, socket("[2001:db8::9]:5000"));
}

#[test]
fn an_rtcp_attribute_with_a_host_name_counts_for_its_port() {
    assert_eq!(audio("a=rtcp:5000 IN IP4 pbx\r\n", |media| media.rtcp), Rtcp::Port(5000));
}

#[test]
fn an_rtcp_attribute_that_cannot_be_read_says_nothing() {
    for line in ["a=rtcp:", "a=rtcp", "a=rtcp:65536", "a=rtcp:x", "a=rtcp-fb:0 nack"] {
        assert_eq!(audio(line, |media| media.rtcp), Rtcp::NextPort, "{line}");
    }
}

#[test]
fn multiplexed_rtcp_goes_to_the_rtp_port() {
    let found = audio("a=rtcp:5000\na=rtcp-mux\n", |media| (media.rtcp, media.rtcp_endpoint()));
    assert_eq!(found, (Rtcp::Mux, socket("192.0.2.1:4000")));
}

#[test]
fn where_rtcp_goes_without_multiplexing_is_not_forgotten() {
    let found = audio("a=rtcp-mux\na=rtcp:5000\n", |media| media.rtcp_endpoint_without_mux());
    assert_eq!(found, socket("192.0.2.1:5000"));
}

#[test]
fn each_direction_is_read() {
    for (line, expected) in [
        ("", Direction::SendRecv),
        ("a=sendrecv", Direction::SendRecv),
        ("a=sendonly \r\n", Direction::SendOnly),
        ("a=recvonly", Direction::RecvOnly),
        ("a=inactive", Direction::Inactive),
        ("a=inactivex", Direction::SendRecv),
    ] {
        assert_eq!(audio(line, |media| media.direction), expected, "{line}");
    }
}

#[test]
fn the_direction_of_the_session_is_inherited() {
    let session = "a=inactive\nm=audio 4 RTP/AVP 0\n";
    assert_eq!(with(session, |media| media.direction), Direction::Inactive);
    assert_eq!(with(&format!("{session}a=sendrecv\n"), |media| media.direction), Direction::SendRecv);
}

#[test]
fn the_clock_rate_is_that_of_the_first_format() {
    let text = "m=audio 4 RTP/AVP 96 0\na=rtpmap:0 PCMU/8000\na=rtpmap:96 opus/48000/2\n";
    assert_eq!(with(text, |media| media.clock_rate), Some(48000));
}

#[test]
fn a_mapping_goes_before_the_static_clock_rate() {
    assert_eq!(audio("a=rtpmap:0 X/16000\n", |media| media.clock_rate), Some(16000));
}

#[test]
fn a_mapping_that_cannot_be_read_is_ignored() {
    for line in ["a=rtpmap:0", "a=rtpmap:0 X", "a=rtpmap:0 X/0", "a=rtpmap:0 X/y", "a=rtpmap:00 X/1"] {
        assert_eq!(audio(line, |media| media.clock_rate), Some(8000), "{line}");
    }
}

#[test]
fn static_payload_types_have_the_clock_rate_of_their_table() {
    for (payload_types, rate) in [
        (&[0, 3, 4, 5, 7, 8, 9, 12, 13, 15, 18][..], Some(8000)),
        (&[6], Some(16000)),
        (&[10, 11], Some(44100)),
        (&[16], Some(11025)),
        (&[17], Some(22050)),
        (&[14, 25, 26, 28, 31, 32, 33, 34], Some(90000)),
        (&[1, 2, 19, 24, 27, 29, 30, 35, 95, 96, 127, 255], None),
    ] {
        for payload_type in payload_types {
            assert_eq!(static_clock_rate(*payload_type), rate, "{payload_type}");
        }
    }
}

#[test]
fn only_rtp_has_static_payload_types() {
    assert_eq!(with("m=audio 4 RTP/SAVP 8\n", |media| media.clock_rate), Some(8000));
    assert_eq!(with("m=application 4 DTLS/SCTP 8\n", |media| media.clock_rate), None);
    assert_eq!(with("m=image 4 udptl t38\n", |media| media.clock_rate), None);
}
