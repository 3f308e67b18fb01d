//! Many calls, calls that are not whole, and what else is between two endpoints.

use std::net::SocketAddr;

use super::*;

/// Puts RTCP reports into both directions, one after every packet of RTP, on ports that are `above` those of RTP.
fn add_reports(ends: &mut Ends, above: u16) {
    for events in [&mut ends.sent_by_a, &mut ends.received_by_b, &mut ends.sent_by_b, &mut ends.received_by_a] {
        let report = |(number, event): (usize, &Event)| {
            let datagram = frame::decode(crate::pcap::LinkType::Ethernet, &event.frame).udp().unwrap();
            let up = |address: SocketAddr| SocketAddr::new(address.ip(), address.port() + above);
            let payload = [0x80, 200, 0, 1, 0, 0, 0, 7, number as u8, 0, 0, 0];
            Event::new(event.micros + 10, up(datagram.src), up(datagram.dst), &payload)
        };
        let reports: Vec<_> = events.iter().enumerate().map(report).collect();
        events.extend(reports);
    }
}

#[test]
fn a_hundred_calls_of_the_same_ssrc_and_speech_are_kept_apart() {
    let mut ends = Ends::default();
    (0..100).for_each(|number| ends.add(TestCall::new(number).ends()));
    let all = Report { calls: 100, packets_sent: 4_000, packets_received: 4_000, ..perfect() };
    assert_eq!(judged(&ends), all);
    // What call 3 lost, call 4 gets twice. Matching without regard to ports would be content.
    let lost = ends.received_by_b.remove(3 * 20 + 8);
    let neighbour = &ends.received_by_b[4 * 20].clone();
    let to = frame::decode(crate::pcap::LinkType::Ethernet, &neighbour.frame).udp().unwrap();
    ends.received_by_b.push(lost.redirected(to.src, to.dst));
    let report = judged(&ends);
    assert_eq!((report.packets_lost, report.packets_duplicated), (1, 1));
    assert!(report.failures[0].starts_with("call call-003@test, end A to end B: 1 RTP packet of 20"));
    assert!(report.failures[1].starts_with("call call-004@test, end A to end B: 1 RTP packet arrived more"));
}

#[test]
fn two_calls_that_hear_each_others_speech_are_noticed_although_it_is_the_same() {
    let mut ends = Ends::default();
    (0..2).for_each(|number| ends.add(TestCall::new(number).ends()));
    // Call 1 speaks 50 ms after call 0; each far end hears the other call's packets, byte for byte what it should.
    let flow = |event: &Event| {
        let datagram = frame::decode(crate::pcap::LinkType::Ethernet, &event.frame).udp().unwrap();
        (datagram.src, datagram.dst)
    };
    for event in ends.sent_by_a.iter_mut().skip(20).chain(ends.received_by_b.iter_mut().skip(20)) {
        event.micros += 50_000;
    }
    let (zero, one) = (flow(&ends.received_by_b[0]), flow(&ends.received_by_b[20]));
    for (number, event) in ends.received_by_b.iter_mut().enumerate() {
        let (src, dst) = if number < 20 { one } else { zero };
        *event = event.redirected(src, dst);
    }
    let report = judged(&ends);
    assert!(report.failures.iter().any(|failure| failure.contains("arrived before they were sent")), "{report:#?}");
}

#[test]
fn calls_that_use_the_same_ports_one_after_the_other_are_kept_apart() {
    let mut ends = call();
    let later = TestCall { id: "later@test".into(), starts_at: 90_000_000, ..TestCall::new(0) };
    ends.add(later.ends());
    assert_eq!(judged(&ends), Report { calls: 2, packets_sent: 80, packets_received: 80, ..perfect() });
    ends.received_by_b.remove(20);
    let report = judged(&ends);
    assert_eq!(report.packets_lost, 1);
    assert!(report.failures[0].starts_with("call later@test"), "{:?}", report.failures);
}

#[test]
fn a_call_that_is_known_at_one_end_only_is_a_failure() {
    let mut ends = call();
    ends.add(TestCall::new(1).ends());
    let without_b: Vec<_> = ends.sip_b[..2].to_vec();
    ends.sip_b = without_b;
    let report = judged(&ends);
    assert_eq!((report.calls, report.packets_sent), (1, 40));
    assert_eq!(report.failures, ["call call-001@test: it was captured at end A only"]);
}

#[test]
fn captures_without_a_call_do_not_pass() {
    let report = judged(&Ends::default());
    assert_eq!(report.failures.len(), 1);
    assert_eq!(report.calls, 0);
    assert!(!report.payload_identical);
}

#[test]
fn a_silent_direction_does_not_pass() {
    let mut ends = call();
    ends.sent_by_b.clear();
    ends.received_by_a.clear();
    let sentence = "call call-000@test, end B to end A: no RTP packet left end B from 198.51.100.1:7000 to \
                    198.51.100.9:40000, so that nothing was judged";
    assert_eq!(judged(&ends).failures, [sentence]);
}

#[test]
fn speech_that_goes_to_the_wrong_port_is_lost_there_and_unexpected_here() {
    let mut ends = call();
    let event = &ends.received_by_b[9];
    ends.received_by_b[9] = event.redirected(([198, 51, 100, 9], 40_000).into(), ([198, 51, 100, 1], 7004).into());
    let report = judged(&ends);
    assert_eq!((report.packets_lost, report.unexpected_packets, report.failures.len()), (1, 1, 2));
}

#[test]
fn foreign_packets_are_nobodys_business() {
    let mut ends = call();
    let event = &ends.received_by_b[9];
    let foreign = event.redirected(([198, 51, 100, 9], 40_008).into(), ([198, 51, 100, 1], 7000).into());
    ends.received_by_b.push(foreign);
    assert_eq!(judged(&ends), perfect());
}

#[test]
fn reports_of_rtcp_are_judged_alike_but_counted_apart() {
    for above in [1, 0] {
        let mut ends = call();
        add_reports(&mut ends, above);
        assert_eq!(judged(&ends), Report { rtcp_sent: 40, rtcp_received: 40, ..perfect() });
        ends.received_by_b.remove(20 + 5);
        let report = judged(&ends);
        assert_eq!((report.packets_lost, report.rtcp_lost, report.rtcp_received), (0, 1, 39));
        assert_eq!(report.failures.len(), 1);
        assert!(report.failures[0].contains("1 RTCP packet of 20 did not arrive"), "{:?}", report.failures);
    }
}

#[test]
fn cut_frames_and_fragments_do_not_go_by_in_silence() {
    let mut ends = call();
    ends.received_by_b[3].frame.truncate(100);
    ends.sent_by_a[5].frame[IP + 6] = 0x20;
    let failures = judged(&ends).failures;
    assert!(failures[0].starts_with("the capture at end A has 1 fragments"), "{failures:?}");
    assert!(failures[1].starts_with("the capture at end B has 1 UDP packets that its snap length"), "{failures:?}");
}

#[test]
fn three_captures_hold_the_calls_between_any_two_of_their_ends() {
    let (one, two) = (TestCall::new(0).ends(), TestCall::new(1).ends());
    let (a, b) = one.save();
    let (a2, c) = two.save();
    let report = judge_ends(&[a.path(), b.path(), c.path()]).unwrap();
    assert_eq!(report.failures, ["call call-001@test: it was captured at end C only"]);
    drop(a2);
    let mut both = one;
    both.add(two);
    let (a, _) = both.save();
    let report = judge_ends(&[a.path(), b.path(), c.path()]).unwrap();
    assert_eq!(report, Report { calls: 2, packets_sent: 80, packets_received: 80, ..perfect() });
}

#[test]
fn a_file_that_is_no_capture_is_an_error() {
    let (a, b) = call().save();
    std::fs::write(b.path(), "this is not a capture file").unwrap();
    assert!(matches!(judge(a.path(), b.path()), Err(Error::Read { .. })));
}
