//! The judge over whole synthetic captures.

mod calls;

use super::*;
use crate::report::Delay;
use crate::rtp::Sequence;
use crate::testing::{Ends, Event, TestCall};

/// Where the headers begin in the frames of IPv4 calls.
const IP: usize = 14;
const UDP: usize = 34;
/// A byte of speech: Ethernet, IPv4, UDP and RTP headers come before.
const SPEECH: usize = 34 + 8 + 12 + 5;

fn judged(ends: &Ends) -> Report {
    let (a, b) = ends.save();
    judge(a.path(), b.path()).unwrap()
}

fn call() -> Ends {
    TestCall::new(0).ends()
}

/// What the judge says of a call in which nothing is wrong.
fn perfect() -> Report {
    Report {
        calls: 1,
        packets_sent: 40,
        packets_received: 40,
        payload_identical: true,
        added_delay_us: Delay { p50: 150, p99: 150, max: 150 },
        ..Report::default()
    }
}

/// The same frame with other bytes in its UDP payload and the checksum right again.
fn with_other_payload(event: &Event, change: impl FnOnce(&mut Vec<u8>)) -> Event {
    let datagram = frame::decode(crate::pcap::LinkType::Ethernet, &event.frame).udp().unwrap();
    let mut payload = datagram.payload.to_vec();
    change(&mut payload);
    Event::new(event.micros, datagram.src, datagram.dst, &payload)
}

#[test]
fn a_perfect_call_passes() {
    let report = judged(&call());
    assert_eq!(report, perfect());
    assert!(report.passed());
}

#[test]
fn the_order_of_the_captures_does_not_matter() {
    let (a, b) = call().save();
    assert_eq!(judge(b.path(), a.path()).unwrap(), perfect());
}

#[test]
fn a_call_over_ipv6_is_judged_alike() {
    let mut call = TestCall::new(0);
    call.a = "[2001:db8:a::1]:6000".parse().unwrap();
    call.relay_for_a = "[2001:db8:a::9]:30000".parse().unwrap();
    assert_eq!(judged(&call.ends()), perfect(), "IPv6 at end A, IPv4 at end B");
    call.relay_for_b = "[2001:db8:b::9]:40000".parse().unwrap();
    call.b = "[2001:db8:b::1]:7000".parse().unwrap();
    let mut ends = call.ends();
    assert_eq!(judged(&ends), perfect());
    ends.received_by_b[3].frame[14 + 40 + 6..][..2].fill(0);
    assert_eq!(judged(&ends).bad_checksums, 1, "there is no zero checksum in IPv6");
}

#[test]
fn a_lost_packet_is_missed() {
    let mut ends = call();
    ends.received_by_b.remove(7);
    let expected = Report {
        packets_received: 39,
        packets_lost: 1,
        failures: vec![
            "call call-000@test, end A to end B: 1 RTP packet of 20 did not arrive \
             (the first: SSRC 0x0000abcd, sequence number 107)"
                .to_owned(),
        ],
        ..perfect()
    };
    assert_eq!(judged(&ends), expected);
}

#[test]
fn a_direction_of_which_nothing_arrives_is_all_lost() {
    let mut ends = call();
    ends.received_by_a.clear();
    ends.received_by_b.clear();
    let report = judged(&ends);
    assert_eq!((report.packets_lost, report.packets_received, report.payload_identical), (40, 0, false));
    assert_eq!(report.failures.len(), 2);
}

#[test]
fn a_duplicated_packet_is_found() {
    let mut ends = call();
    let again = Event { micros: ends.received_by_a[4].micros + 900, ..ends.received_by_a[4].clone() };
    ends.received_by_a.push(again);
    let expected = Report {
        packets_received: 41,
        packets_duplicated: 1,
        failures: vec!["call call-000@test, end B to end A: 1 RTP packet arrived more than once".to_owned()],
        ..perfect()
    };
    assert_eq!(judged(&ends), expected);
}

#[test]
fn a_flipped_byte_of_speech_is_found_though_the_checksum_fits() {
    let mut ends = call();
    ends.received_by_b[7] = with_other_payload(&ends.received_by_b[7], |payload| payload[100] ^= 1);
    let expected = Report {
        payload_identical: false,
        payload_differences: 1,
        failures: vec![
            "call call-000@test, end A to end B: 1 RTP packet arrived with other bytes than were sent \
             (the first: SSRC 0x0000abcd, sequence number 107)"
                .to_owned(),
        ],
        ..perfect()
    };
    assert_eq!(judged(&ends), expected);
}

#[test]
fn a_changed_rtp_header_or_length_is_a_difference_too() {
    let changes: [fn(&mut Vec<u8>); 4] = [
        |payload| payload[1] ^= 0x80,
        |payload| payload[7] ^= 1,
        |payload| payload.push(0),
        |payload| payload.truncate(171),
    ];
    for change in changes {
        let mut ends = call();
        ends.received_by_b[7] = with_other_payload(&ends.received_by_b[7], change);
        let report = judged(&ends);
        assert_eq!((report.payload_differences, report.packets_lost, report.failures.len()), (1, 0, 1));
    }
}

#[test]
fn a_changed_sequence_number_is_one_packet_lost_and_one_unexpected() {
    let mut ends = call();
    ends.received_by_b[7] = with_other_payload(&ends.received_by_b[7], |payload| payload[2] ^= 0x40);
    let report = judged(&ends);
    assert_eq!((report.packets_lost, report.unexpected_packets, report.failures.len()), (1, 1, 2));
}

#[test]
fn a_wrong_udp_checksum_is_found_at_either_end() {
    for (pick, end) in [(0, "end A"), (1, "end B")] {
        let mut ends = call();
        let event = if pick == 0 { &mut ends.sent_by_a[3] } else { &mut ends.received_by_b[3] };
        event.frame[UDP + 6] ^= 1;
        let sentence = "1 UDP packet captured at";
        let expected = Report {
            bad_checksums: 1,
            failures: vec![format!(
                "call call-000@test, end A to end B: {sentence} {end} with a wrong IP or UDP checksum"
            )],
            ..perfect()
        };
        assert_eq!(judged(&ends), expected);
    }
}

#[test]
fn a_byte_flipped_on_the_wire_is_a_wrong_checksum_and_a_difference() {
    let mut ends = call();
    ends.received_by_b[3].frame[SPEECH] ^= 0x10;
    let report = judged(&ends);
    assert_eq!((report.bad_checksums, report.payload_differences, report.failures.len()), (1, 1, 2));
}

#[test]
fn a_wrong_ip_checksum_is_found() {
    let mut ends = call();
    ends.received_by_b[3].frame[IP + 8] -= 1;
    let report = judged(&ends);
    assert_eq!((report.bad_checksums, report.failures.len()), (1, 1));
    ends.received_by_b[3].frame[UDP + 6] ^= 1;
    assert_eq!(judged(&ends).bad_checksums, 1, "one frame counts once");
}

#[test]
fn a_zero_udp_checksum_is_no_fault_in_ipv4() {
    let mut ends = call();
    ends.sent_by_a[3].frame[UDP + 6..UDP + 8].fill(0);
    ends.received_by_b[3].frame[UDP + 6..UDP + 8].fill(0);
    assert_eq!(judged(&ends), perfect());
}

#[test]
fn a_checksum_left_to_the_network_card_is_explained() {
    let mut ends = call();
    for event in &mut ends.sent_by_a {
        // Pseudo header of 192.0.2.1 to 192.0.2.9 with 180 bytes of UDP.
        let sum = 0xc000u32 + 0x0201 + 0xc000 + 0x0209 + 17 + 180;
        let folded = ((sum >> 16) + (sum & 0xffff)) as u16;
        event.frame[UDP + 6..UDP + 8].copy_from_slice(&folded.to_be_bytes());
    }
    let report = judged(&ends);
    assert_eq!(report.bad_checksums, 20);
    assert!(report.failures[0].contains("ethtool"), "{:?}", report.failures);
}

#[test]
fn reordered_packets_are_counted_apart() {
    let mut ends = call();
    ends.received_by_b[5].micros += 25_000;
    let expected = Report {
        packets_reordered: 1,
        added_delay_us: Delay { p50: 150, p99: 25_150, max: 25_150 },
        failures: vec![
            "call call-000@test, end A to end B: 1 RTP packet arrived after one that was sent later".to_owned(),
        ],
        ..perfect()
    };
    assert_eq!(judged(&ends), expected);
}

#[test]
fn sequence_numbers_wrap_within_a_call() {
    let mut ends = TestCall { first_sequence: Sequence(65_530), ..TestCall::new(0) }.ends();
    assert_eq!(judged(&ends), perfect());
    ends.received_by_b.remove(6);
    let report = judged(&ends);
    assert_eq!(report.packets_lost, 1);
    assert!(report.failures[0].ends_with("sequence number 0)"), "{:?}", report.failures);
}

#[test]
fn a_call_of_more_than_65536_packets_is_judged_turn_by_turn() {
    let mut ends = TestCall { packets: 66_000, ..TestCall::new(0) }.ends();
    ends.sent_by_b.truncate(20);
    ends.received_by_a.truncate(20);
    ends.received_by_b.remove(65_636);
    ends.received_by_b.remove(20);
    let report = judged(&ends);
    assert_eq!((report.packets_sent, report.packets_lost, report.packets_duplicated), (66_020, 2, 0));
    assert_eq!((report.payload_differences, report.packets_reordered), (0, 0));
    assert_eq!(report.added_delay_us.max, 150);
}
