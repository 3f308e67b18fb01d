//! What the judge found.

use serde::Serialize;

/// Sentences that a report holds; the others are only counted.
const MOST_FAILURES: usize = 20;

/// The judgement over all calls of the captures. Counts of packets are of both directions of all calls.
///
/// `packets_received == packets_sent - packets_lost + packets_duplicated` always holds, and so it does for RTCP.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Calls judged: known with audio at two ends.
    pub calls: u64,
    /// Calls that were seen at two ends but got no audio at either (they were refused, say); not a failure.
    pub calls_unanswered: u64,
    /// RTP packets that left an end.
    pub packets_sent: u64,
    /// RTP packets that arrived and belong to a sent one, duplicates too.
    pub packets_received: u64,
    /// Sent RTP packets that did not arrive.
    pub packets_lost: u64,
    /// RTP packets that arrived again.
    pub packets_duplicated: u64,
    /// RTP packets that arrived after one that was sent later (RFC 4737 section 3.3).
    pub packets_reordered: u64,
    /// At least one packet arrived, and all RTP and RTCP packets that arrived had every byte of what was sent.
    pub payload_identical: bool,
    /// RTP and RTCP packets that arrived with another UDP payload (RTP header included) than the sent one.
    pub payload_differences: u64,
    /// Captured frames of the judged streams, at either end, whose IP or UDP checksum is wrong.
    pub bad_checksums: u64,
    /// RTP or RTCP packets that came from an address of the relay but belong to no sent packet, or went to another
    /// address than that of the call.
    pub unexpected_packets: u64,
    /// RTCP packets that left an end.
    pub rtcp_sent: u64,
    /// RTCP packets that arrived and belong to a sent one, duplicates too.
    pub rtcp_received: u64,
    /// Sent RTCP packets that did not arrive.
    pub rtcp_lost: u64,
    /// RTCP packets that arrived again.
    pub rtcp_duplicated: u64,
    /// RTCP packets that arrived after one that was sent later.
    pub rtcp_reordered: u64,
    /// From leaving one end to arriving at the other, over all RTP packets that arrived, duplicates not counted.
    pub added_delay_us: Delay,
    /// What is wrong, in sentences that name the call and the direction; at most 20. Empty exactly when all is well.
    pub failures: Vec<String>,
    /// Further sentences that `failures` had no room for.
    pub failures_left_out: u64,
}

impl Report {
    /// Nothing is wrong, and something was judged.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// Adds a sentence, or counts it when there are enough.
    pub(crate) fn fail(&mut self, sentence: String) {
        if self.failures.len() < MOST_FAILURES {
            self.failures.push(sentence);
        } else {
            self.failures_left_out += 1;
        }
    }
}

/// Delays in whole microseconds; all 0 when no packet arrived. A packet that seems to arrive before it left (the
/// captures' clocks disagree) counts as 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Delay {
    /// Median.
    pub p50: u64,
    /// 99 of 100 packets took at most this.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

impl Delay {
    /// Percentiles by the nearest-rank method.
    pub(crate) fn of(mut micros: Vec<u64>) -> Self {
        micros.sort_unstable();
        let rank = |percent: usize| {
            let rank = (micros.len() * percent).div_ceil(100).saturating_sub(1);
            micros.get(rank).copied().unwrap_or_default()
        };
        Self { p50: rank(50), p99: rank(99), max: rank(100) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        assert_eq!(Delay::of((1..=200).rev().collect()), Delay { p50: 100, p99: 198, max: 200 });
        assert_eq!(Delay::of(vec![7]), Delay { p50: 7, p99: 7, max: 7 });
        assert_eq!(Delay::of(Vec::new()), Delay::default());
    }

    #[test]
    fn twenty_failures_are_kept_and_the_rest_is_counted() {
        let mut report = Report::default();
        assert!(report.passed());
        (0..23).for_each(|number| report.fail(number.to_string()));
        assert_eq!((report.failures.len(), report.failures_left_out), (20, 3));
        assert_eq!(report.failures.last().map(String::as_str), Some("19"));
        assert!(!report.passed());
    }

    #[test]
    fn a_report_is_an_object_of_plain_fields_in_json() {
        let report = Report { packets_sent: 5, added_delay_us: Delay { p50: 1, p99: 2, max: 3 }, ..Report::default() };
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["packets_sent"], 5);
        assert_eq!(json["added_delay_us"], serde_json::json!({"p50": 1, "p99": 2, "max": 3}));
        assert_eq!(json["failures"], serde_json::json!([]));
    }
}
