//! The calls that two captures tell of.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::End;
use super::stream::{Leg, Stream};
use crate::frame::Flow;
use crate::pcap::CaptureTime;
use crate::report::Report;
use crate::signalling::{CallId, CallMedia, Signalling};

/// A call's audio as one of its ends knows it.
#[derive(Debug, Clone, Copy)]
struct Side {
    end: End,
    offered_at: CaptureTime,
    own: SocketAddr,
    relay: SocketAddr,
}

impl Side {
    /// What this end sends.
    fn leaving(self) -> Leg {
        Leg::new(self.end, self.offered_at, Flow { src: self.own, dst: self.relay })
    }

    /// What this end shall receive.
    fn arriving(self) -> Leg {
        Leg::new(self.end, self.offered_at, Flow { src: self.relay, dst: self.own })
    }
}

/// A call that is known with audio at two ends.
#[derive(Debug, Clone)]
pub(super) struct Call {
    id: CallId,
    caller: Side,
    callee: Side,
}

impl Call {
    /// The end where the INVITE was captured first is the caller's. There, the offer is the end's own; at the other end
    /// the offer came from the relay.
    fn new(one: (End, &CallMedia), other: (End, &CallMedia)) -> Self {
        let (first, second) = if one.1.offered_at <= other.1.offered_at { (one, other) } else { (other, one) };
        let (caller, callee) = (first.1, second.1);
        Self {
            id: caller.call_id.clone(),
            caller: Side { end: first.0, offered_at: caller.offered_at, own: caller.offer, relay: caller.answer },
            callee: Side { end: second.0, offered_at: callee.offered_at, own: callee.answer, relay: callee.offer },
        }
    }

    /// Both directions, that of the lower end first.
    pub(super) fn streams(self) -> [Stream; 2] {
        let Self { id, caller, callee } = self;
        let (one, other) = if caller.end <= callee.end { (caller, callee) } else { (callee, caller) };
        [Stream::new(id.clone(), one.leaving(), other.arriving()), Stream::new(id, other.leaving(), one.arriving())]
    }
}

/// Finds the calls known with audio at exactly two ends, and reports those that should be but are not.
pub(super) fn pair(told: &[Signalling], report: &mut Report) -> Vec<Call> {
    let mut seen: BTreeMap<&CallId, Vec<(End, Option<&CallMedia>)>> = BTreeMap::new();
    for (place, signalling) in told.iter().enumerate() {
        for (id, media) in &signalling.calls {
            seen.entry(id).or_default().push((End(place), media.as_ref()));
        }
    }
    let mut calls = Vec::new();
    for (id, ends) in seen {
        match *ends.as_slice() {
            [(one, Some(at_one)), (other, Some(at_other))] => calls.push(Call::new((one, at_one), (other, at_other))),
            [(_, None), (_, None)] => report.calls_unanswered += 1,
            [(end, Some(_)), (other, None)] | [(other, None), (end, Some(_))] => {
                report.fail(format!("call {id}: it got audio at {end} but not at {other}"));
            }
            [(end, _)] => report.fail(format!("call {id}: it was captured at {end} only")),
            _ => report.fail(format!("call {id}: it was captured at {} ends, which makes no sense", ends.len())),
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "192.0.2.1:1";
    const ANSWER: &str = "192.0.2.2:2";

    fn media(micros: u64) -> CallMedia {
        CallMedia {
            call_id: CallId("x".into()),
            offered_at: CaptureTime::from_micros(micros),
            offer: OFFER.parse().unwrap(),
            answer: ANSWER.parse().unwrap(),
            offer_was_sent_by: "192.0.2.1".parse().unwrap(),
        }
    }

    fn told(media: Option<CallMedia>) -> Signalling {
        Signalling { calls: [(CallId("x".into()), media)].into(), ..Signalling::default() }
    }

    #[test]
    fn the_end_with_the_earlier_invite_made_the_call() {
        for (at_a, at_b, a_own, b_own) in [(1, 2, OFFER, ANSWER), (2, 1, ANSWER, OFFER)] {
            let mut report = Report::default();
            let calls = pair(&[told(Some(media(at_a))), told(Some(media(at_b)))], &mut report);
            let [a_to_b, b_to_a] = calls[0].clone().streams();
            assert_eq!((a_to_b.sent.end, a_to_b.received.end), (End(0), End(1)));
            assert_eq!(a_to_b.sent.flow.src, a_own.parse().unwrap());
            assert_eq!(a_to_b.received.flow.dst, b_own.parse().unwrap());
            assert_eq!(b_to_a.sent.flow.src, b_own.parse().unwrap());
            assert_eq!(b_to_a.received.flow.dst, a_own.parse().unwrap());
            assert!(report.passed());
        }
    }

    #[test]
    fn a_call_of_three_trunks_is_paired_wherever_it_was_seen() {
        let mut report = Report::default();
        let calls = pair(&[told(Some(media(2))), Signalling::default(), told(Some(media(1)))], &mut report);
        let [forth, _] = calls[0].clone().streams();
        assert_eq!((forth.sent.end, forth.received.end, report.passed()), (End(0), End(2), true));
    }

    #[test]
    fn a_call_without_its_counterpart_is_a_failure() {
        let cases = [
            (vec![told(Some(media(1))), Signalling::default()], "call x: it was captured at end A only"),
            (vec![Signalling::default(), told(None)], "call x: it was captured at end B only"),
            (vec![told(None), told(Some(media(1)))], "call x: it got audio at end B but not at end A"),
            (vec![told(None), told(None), told(None)], "call x: it was captured at 3 ends, which makes no sense"),
        ];
        for (told, sentence) in cases {
            let mut report = Report::default();
            assert!(pair(&told, &mut report).is_empty());
            assert_eq!(report.failures, [sentence]);
        }
    }

    #[test]
    fn a_call_without_audio_at_both_ends_is_only_counted() {
        let mut report = Report::default();
        assert!(pair(&[told(None), told(None)], &mut report).is_empty());
        assert_eq!((report.calls_unanswered, report.passed()), (1, true));
    }
}
