//! The words and the sums of the judgement.

use super::matching::{Outcome, compare};
use super::stream::{Channel, Key, Leg, Stream};
use crate::report::Report;

/// Judges one stream: adds its counts and sentences to the report and gives the delays of its RTP packets, in
/// microseconds.
pub(super) fn pronounce(stream: &Stream, report: &mut Report) -> Vec<u64> {
    let rtp = compare(&stream.sent.rtp, &stream.received.rtp);
    let rtcp = compare(&stream.sent.rtcp, &stream.received.rtcp);
    report.packets_sent += rtp.sent;
    report.packets_received += rtp.received;
    report.packets_lost += rtp.lost;
    report.packets_duplicated += rtp.duplicated;
    report.packets_reordered += rtp.reordered;
    report.rtcp_sent += rtcp.sent;
    report.rtcp_received += rtcp.received;
    report.rtcp_lost += rtcp.lost;
    report.rtcp_duplicated += rtcp.duplicated;
    report.rtcp_reordered += rtcp.reordered;
    report.payload_differences += rtp.different + rtcp.different;
    report.unexpected_packets += rtp.unexpected + rtcp.unexpected + stream.misdirected;
    report.bad_checksums += stream.sent.bad_checksums + stream.received.bad_checksums;

    let direction = format!("call {}, {} to {}", stream.call, stream.sent.end, stream.received.end);
    if rtp.sent == 0 {
        report.fail(format!(
            "{direction}: no RTP packet left {} from {} to {}, so that nothing was judged",
            stream.sent.end, stream.sent.flow.src, stream.sent.flow.dst
        ));
    }
    let sentences = faults(Channel::Rtp, &rtp).into_iter().chain(faults(Channel::Rtcp, &rtcp));
    let sentences = sentences.chain(bad_checksums(&stream.sent)).chain(bad_checksums(&stream.received));
    for sentence in sentences.chain(misdirected(stream)) {
        report.fail(format!("{direction}: {sentence}"));
    }
    rtp.delays
}

/// One sentence for every kind of fault of one kind of packets.
fn faults(channel: Channel, outcome: &Outcome) -> Vec<String> {
    let kind = match channel {
        Channel::Rtp => "RTP",
        Channel::Rtcp => "RTCP",
    };
    let first = |key: Option<Key>| key.map_or_else(String::new, |key| format!(" (the first: {})", key.name(channel)));
    let sent = outcome.sent;
    let faults = [
        (outcome.lost, format!("of {sent} did not arrive{}", first(outcome.first_lost))),
        (outcome.duplicated, "arrived more than once".to_owned()),
        (outcome.reordered, "arrived after one that was sent later".to_owned()),
        (outcome.different, format!("arrived with other bytes than were sent{}", first(outcome.first_different))),
        (outcome.early, "arrived before they were sent, so they are another call's".to_owned()),
        (outcome.unexpected, "came from the relay without having been sent".to_owned()),
    ];
    let wrong = faults.into_iter().filter(|(number, _)| *number > 0);
    wrong.map(|(number, what)| format!("{} {what}", packets(number, kind))).collect()
}

fn bad_checksums(leg: &Leg) -> Option<String> {
    let hint = if leg.unfinished_checksums == leg.bad_checksums {
        " (transmit checksum offload leaves such ones: switch it off with `ethtool -K <interface> tx off`)"
    } else {
        ""
    };
    let Leg { end, bad_checksums: number, .. } = *leg;
    (number > 0).then(|| format!("{} captured at {end} with a wrong IP or UDP checksum{hint}", packets(number, "UDP")))
}

fn misdirected(stream: &Stream) -> Option<String> {
    let Stream { received, misdirected: number, .. } = stream;
    (*number > 0).then(|| {
        let (relay, own) = (received.flow.src, received.flow.dst);
        format!("{} went from {relay} (or its RTCP port) elsewhere than to {own}", packets(*number, "RTP or RTCP"))
    })
}

fn packets(number: u64, kind: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {kind} packet{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_fault_has_its_sentence() {
        let outcome = Outcome {
            sent: 9,
            lost: 1,
            duplicated: 2,
            reordered: 3,
            different: 4,
            early: 6,
            unexpected: 5,
            ..Outcome::default()
        };
        assert_eq!(
            faults(Channel::Rtcp, &outcome),
            [
                "1 RTCP packet of 9 did not arrive",
                "2 RTCP packets arrived more than once",
                "3 RTCP packets arrived after one that was sent later",
                "4 RTCP packets arrived with other bytes than were sent",
                "6 RTCP packets arrived before they were sent, so they are another call's",
                "5 RTCP packets came from the relay without having been sent",
            ]
        );
        assert!(faults(Channel::Rtp, &Outcome { sent: 9, received: 9, ..Outcome::default() }).is_empty());
    }
}
