use std::sync::Arc;

use ::media::{Law, Recording};
use border::{Announcement, Event};

use super::*;
use crate::intent::{Play, Sound, StopPlaying};
use crate::outcome::Refusal;

/// A tenth of a second.
fn recording() -> Arc<Recording> {
    Arc::new(Recording::new(&[1000; 800]))
}

fn play_to(party: Party) -> Play {
    Play {
        call_id: b"call".to_vec(),
        party,
        sound: Sound::Recording(recording()),
        start: Duration::ZERO,
        times: None,
        longest: None,
        ticket: None,
    }
}

pub(super) fn tag(tag: &str) -> Party {
    Party::Tag(tag.as_bytes().to_vec())
}

pub(super) fn play(party: Party) -> Intent {
    Intent::Play(Box::new(play_to(party)))
}

pub(super) fn stop(party: Party) -> Intent {
    Intent::StopPlaying(StopPlaying { call_id: b"call".to_vec(), party })
}

/// What the party at a local endpoint is to hear.
fn heard(rig: &Rig, local: &str) -> Option<Arc<Announcement>> {
    rig.slot_of(local).and_then(|slot| rig.installed[&slot].announcement.clone())
}

/// The number of a reply.
fn number(reply: &Reply, key: &str) -> i64 {
    let Reply::Ok(dict) = reply else { panic!("{reply:?}") };
    dict.get(key).unwrap().as_int().unwrap()
}

const A: &str = "192.0.2.1:30000";
const B: &str = "198.51.100.1:30000";

#[test]
fn a_party_hears_a_recording_in_the_codec_that_both_have_named() {
    for (offered, answered, payload_type, law) in [
        ("8 0", "8", 8, Law::A),
        ("8 0", "0", 0, Law::Mu),
        ("18 0 8", "18 8", 8, Law::A),
        ("97\r\na=rtpmap:97 pcmu/8000/1", "0", 97, Law::Mu),
    ] {
        let mut rig = Rig::new();
        let phone = |address: &str, formats| session(address, &[&format!("audio 4000 RTP/AVP {formats}")]);
        rig.sdp(offer("a", None, &phone("192.0.2.10", offered)));
        rig.sdp(answer("a", "b", &phone("198.51.100.10", answered)));
        let (reply, ops) = rig.run(play(tag("a")));
        assert_eq!((number(&reply, "duration"), ops.len()), (100, 1));
        let announcement = heard(&rig, A).unwrap();
        assert_eq!((announcement.payload_type, announcement.octets), (payload_type, 800), "{offered}");
        assert_eq!(announcement.sound, recording().octets(law));
        assert!(heard(&rig, B).is_none());
        rig.end();
    }
}

#[test]
fn what_is_repeated_lasts_as_often_and_as_long_as_was_said() {
    let (ms, second) = (Duration::from_millis, Duration::from_secs(1));
    for (start, times, longest, octets) in [
        (0, None, None, 800),
        (0, Some(0), None, 800),
        (0, Some(3), None, 2400),
        (50, Some(3), None, 2000),
        (0, None, Some(second), 8000),
        (0, Some(2), Some(second), 1600),
        (0, Some(99), Some(ms(150)), 1200),
        (0, Some(u32::MAX), None, 800 * u64::from(u32::MAX)),
    ] {
        let mut rig = Rig::new();
        rig.call();
        rig.run(Intent::Play(Box::new(Play { start: ms(start), times, longest, ..play_to(tag("b")) })));
        assert_eq!(heard(&rig, B).unwrap().octets, octets, "{start} {times:?} {longest:?}");
    }
}

#[test]
fn a_second_recording_takes_the_place_of_the_first_and_a_stop_tells_how_far_it_was() {
    let mut rig = Rig::new();
    rig.call();
    rig.run(play(tag("a")));
    let first = heard(&rig, A).unwrap();
    rig.run(play(tag("a")));
    let second = heard(&rig, A).unwrap();
    assert_ne!((first.id, first.ssrc), (second.id, second.ssrc));
    second.played.set(320);
    assert_eq!(number(&rig.run(stop(tag("a"))).0, "last-frame-pos"), 40);
    assert!(heard(&rig, A).is_none());
    assert_eq!(number(&rig.run(stop(tag("a"))).0, "last-frame-pos"), 0, "nothing is played any more");
    rig.end();
    assert!(rig.calls.announced.is_empty());
}

#[test]
fn a_recording_is_for_whoever_is_meant() {
    let named = Options { label: Some(b"caller".to_vec()), ..across() };
    for (party, a, b) in [
        (Party::All, true, true),
        (tag("b"), false, true),
        (Party::Label(b"caller".to_vec()), true, false),
        (Party::Address("198.51.100.10".parse().unwrap()), false, true),
    ] {
        let mut rig = Rig::new();
        rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), named.clone()));
        rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
        rig.run(play(party.clone()));
        assert_eq!((heard(&rig, A).is_some(), heard(&rig, B).is_some()), (a, b), "{party:?}");
        rig.run(stop(party));
        assert_eq!((heard(&rig, A), heard(&rig, B)), (None, None));
    }
}

#[test]
fn a_caller_whom_nobody_has_answered_hears_a_recording_and_goes_on_hearing_it_when_somebody_does() {
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    rig.run(play(tag("a")));
    let announcement = heard(&rig, A).unwrap();
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!(heard(&rig, A), Some(announcement));
    rig.end();
}

#[test]
fn what_is_over_is_forgotten_with_the_event_or_when_events_were_lost() {
    for is_lost in [false, true] {
        let mut rig = Rig::new();
        rig.call();
        rig.run(play(Party::All));
        let over = heard(&rig, A).unwrap();
        let event = match is_lost {
            true => Event::Dropped(3),
            false => Event::Ended { call: 0, slot: rig.slot_of(A).unwrap(), id: over.id },
        };
        let ops = rig.calls.hear(event, rig.now);
        assert_eq!(ops, [], "it is not over yet");
        over.played.set(over.octets);
        let ops = rig.calls.hear(event, rig.now);
        rig.obey(&ops);
        assert_eq!((heard(&rig, A).is_some(), heard(&rig, B).is_some()), (false, true));
        assert_eq!(rig.calls.announced.len(), 1);
        assert_eq!(rig.calls.hear(event, rig.now), [], "once");
    }
}

#[test]
fn what_cannot_be_played_is_refused_and_changes_nothing() {
    let mut rig = Rig::new();
    let secured = |address: &str| session(address, &["audio 4000 RTP/SAVP 8"]);
    assert_eq!(rig.error(play(tag("a"))), "Unknown call-ID");
    assert_eq!(rig.error(stop(tag("a"))), "Unknown call-ID");
    rig.sdp(offer("a", None, &session("192.0.2.10", &["audio 4000 RTP/AVP 18", "video 4002 RTP/AVP 96"])));
    let neither = "Failed to start media playback: no party takes PCMU or PCMA, unencrypted";
    assert_eq!(rig.error(play(tag("a"))), neither);
    assert_eq!(rig.error(play(tag("x"))), "From-tag given, but no such tag exists");
    rig.end();
    rig.sdp(offer("a", None, &secured("192.0.2.10")));
    assert_eq!(rig.error(play(Party::All)), neither);
    rig.end();
    rig.call();
    let late = Play { start: Duration::from_millis(100), ..play_to(tag("a")) };
    assert!(rig.error(Intent::Play(Box::new(late))).ends_with("start-pos is beyond its end"));
    for (sound, why) in
        [(Sound::Unreadable("no such file".to_owned()), "no such file"), (Sound::File(b"/x".to_vec()), "nobody")]
    {
        let error = rig.error(Intent::Play(Box::new(Play { sound, ..play_to(tag("a")) })));
        assert!(error.starts_with(&format!("Failed to start media playback from file: {why}")), "{error}");
    }
}

#[test]
fn a_recording_that_had_to_be_read_is_not_heard_by_whom_a_later_command_was_about() {
    let waiting = |rig: &mut Rig, party: Party| rig.calls.await_recording(&play_to(party)).unwrap();
    let come = |ticket| Intent::Play(Box::new(Play { ticket: Some(ticket), ..play_to(Party::All) }));
    let overtaken = "Failed to start media playback: a later command has taken its place";
    let mut rig = Rig::new();
    rig.call();
    // A stop, another recording, and another that has to be read.
    let ticket = waiting(&mut rig, tag("a"));
    rig.run(stop(tag("a")));
    assert_eq!(rig.error(come(ticket)), overtaken);
    let ticket = waiting(&mut rig, tag("a"));
    rig.run(play(tag("a")));
    assert_eq!(rig.error(come(ticket)), overtaken);
    let (first, second) = (waiting(&mut rig, tag("a")), waiting(&mut rig, tag("a")));
    assert_eq!(rig.error(come(first)), overtaken);
    rig.run(stop(tag("b")));
    rig.run(come(second));
    assert!(heard(&rig, A).is_some() && heard(&rig, B).is_none(), "only whom it was for");
    assert_eq!(rig.error(come(second)), overtaken, "once");
    // Of two parties, one was stopped.
    let ticket = waiting(&mut rig, Party::All);
    rig.run(stop(tag("a")));
    rig.run(come(ticket));
    assert_eq!((heard(&rig, A).is_some(), heard(&rig, B).is_some()), (false, true));
    // Another call of the same name.
    let ticket = waiting(&mut rig, Party::All);
    rig.end();
    assert_eq!(rig.error(come(ticket)), "Unknown call-ID");
    rig.call();
    assert_eq!(rig.error(come(ticket)), overtaken);
    assert_eq!(rig.calls.await_recording(&play_to(tag("x"))), Err(Refusal::NoSuchTag));
    let tickets: Vec<_> = (0..40).map(|_| waiting(&mut rig, tag("a"))).collect();
    assert_eq!(rig.error(come(tickets[0])), overtaken);
}

#[test]
fn who_has_hung_up_hears_nothing_more_while_late_packets_may_still_arrive() {
    let mut rig = Rig::with(Settings { delete_delay: Duration::from_secs(30), ..Settings::default() }, 30099);
    rig.call();
    rig.run(play(Party::All));
    rig.run(delete(Some("a"), Some("b")));
    assert!(rig.slot_of(A).is_some() && heard(&rig, A).is_none() && heard(&rig, B).is_none());
}

#[test]
fn an_offer_that_nobody_has_answered_ends_no_recording() {
    let mut rig = Rig::new();
    rig.call();
    rig.run(play(tag("a")));
    let announcement = heard(&rig, A);
    rig.sdp(offer("a", Some("b"), &session("192.0.2.10", &["audio 4000 RTP/AVP 18"])));
    assert!(announcement.is_some() && heard(&rig, A) == announcement);
    rig.run(play(tag("a")));
    assert_eq!(heard(&rig, A).unwrap().payload_type, 8, "by what is agreed on");
}

#[test]
fn a_party_of_a_fork_that_is_not_the_one_at_its_ports_is_refused() {
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    rig.sdp(answer("a", "c", &audio("198.51.100.11", 5000)));
    let neither = "Failed to start media playback: no party takes PCMU or PCMA, unencrypted";
    assert_eq!(rig.error(play(tag("b"))), neither);
    rig.run(play(tag("c")));
    assert!(heard(&rig, B).is_some());
}

#[test]
fn a_party_that_changes_to_another_codec_hears_no_more_until_it_is_back() {
    let mut rig = Rig::new();
    rig.call();
    rig.run(play(tag("a")));
    let announcement = heard(&rig, A);
    let g729 = |address: &str| session(address, &["audio 4000 RTP/AVP 18"]);
    rig.sdp(offer("a", Some("b"), &g729("192.0.2.10")));
    rig.sdp(answer("a", "b", &g729("198.51.100.10")));
    assert_eq!(heard(&rig, A), None);
    rig.sdp(offer("a", Some("b"), &audio("192.0.2.10", 4000)));
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!(heard(&rig, A), announcement);
    rig.run(delete(Some("a"), Some("b")));
    assert!(rig.calls.announced.is_empty() && rig.installed.is_empty());
}
