use super::*;
use crate::call::Unreadable;
use crate::call::dialogue::Call;

/// What has been written down of calls, by their names.
#[derive(Default)]
pub(super) struct Records(BTreeMap<Vec<u8>, Vec<u8>>);

impl Records {
    /// Writes down what has changed.
    pub(super) fn write(&mut self, calls: &mut Calls) {
        for call_id in calls.take_changed() {
            let mut record = Vec::new();
            if calls.record(&call_id, &mut record) {
                self.0.insert(call_id, record);
            } else {
                self.0.remove(&call_id);
            }
        }
    }

    /// The calls of a daemon that comes after another one.
    pub(super) fn successor(&self, interfaces: &[&str], last_port: u16, now: Instant) -> Calls {
        let mut calls = Rig::on(interfaces, at_once(), last_port).calls;
        for (call_id, record) in &self.0 {
            assert_eq!(calls.restore(call_id, record, now), Ok(()), "{}", call_id.escape_ascii());
        }
        calls
    }
}

/// A call without what is in no record.
fn lasting(call: &Call, as_of: &Call) -> Call {
    let mut call = call.clone();
    call.alive = as_of.alive;
    call.playing.clear();
    call
}

/// Two daemons have the same calls, and want the same of their relays.
pub(super) fn assert_same(before: &Calls, after: &Calls) {
    assert_eq!(before.calls.len(), after.calls.len());
    for (call_id, entry) in &before.calls {
        let restored = &after.calls[call_id];
        let expected = lasting(&entry.call, &restored.call);
        assert_eq!(restored.call, expected);
        assert_eq!(restored.installed, desired(&expected, &before.interfaces));
        assert_eq!(restored.ends, entry.ends);
    }
    assert_eq!((before.ports().used(), &before.ends), (after.ports().used(), &after.ends));
}

const PLACES: [&str; 2] = ["pbx/192.0.2.1", "gateway/198.51.100.1!203.0.113.1"];

fn written(rig: &mut Rig) -> Vec<u8> {
    let mut record = Vec::new();
    assert!(rig.calls.record(b"call", &mut record));
    record
}

#[test]
fn a_call_goes_on_in_another_daemon_as_if_nothing_had_happened() {
    let mut rig = Rig::new();
    let mut records = Records::default();
    rig.call();
    records.write(&mut rig.calls);
    let mut after = Rig { calls: records.successor(&PLACES, 30099, rig.now), ..Rig::new() };
    assert_same(&rig.calls, &after.calls);
    let ops = after.calls.desired();
    after.obey(&ops);
    assert_eq!(after.installed, rig.installed);
    // An offer without change, one with a change, and the end.
    for sdp in [audio("198.51.100.10", 5000), audio("198.51.100.10", 5008)] {
        assert_eq!(after.sdp(offer("b", Some("a"), &sdp)), rig.sdp(offer("b", Some("a"), &sdp)));
        let answered = audio("192.0.2.10", 4000);
        assert_eq!(after.sdp(answer("b", "a", &answered)), rig.sdp(answer("b", "a", &answered)));
    }
    assert_eq!(after.run(delete(Some("a"), None)), rig.run(delete(Some("a"), None)));
    assert_eq!((after.calls.len(), after.calls.ports().used()), (0, 0));
}

#[test]
fn an_ended_call_has_no_record() {
    let mut rig = Rig::new();
    let mut records = Records::default();
    rig.call();
    records.write(&mut rig.calls);
    assert_eq!((records.0.len(), rig.calls.take_changed().len()), (1, 0));
    rig.run(delete(Some("a"), None));
    records.write(&mut rig.calls);
    assert!(records.0.is_empty());
}

#[test]
fn interfaces_may_have_other_places_in_another_configuration_and_one_that_is_gone_is_named() {
    let mut rig = Rig::new();
    rig.call();
    let record = written(&mut rig);
    let others = ["third/203.0.113.7", PLACES[1], PLACES[0]];
    let mut after = Rig::on(&others, at_once(), 30099);
    after.calls.restore(b"call", &record, rig.now).unwrap();
    let ops = after.calls.desired();
    after.obey(&ops);
    let before: Vec<_> = rig.installed.values().map(|spec| (spec.local, spec.party)).collect();
    let mut now: Vec<_> = after.installed.values().map(|spec| (spec.local, spec.party)).collect();
    now.sort_by_key(|(local, _)| before.iter().position(|(known, _)| known == local));
    assert_eq!(now, before);
    let mut without = Rig::on(&PLACES[..1], at_once(), 30099).calls;
    let refused = without.restore(b"call", &record, rig.now);
    assert_eq!(refused, Err(Unreadable::NoInterface("gateway/198.51.100.1".to_owned())));
    assert_eq!((without.len(), without.ports().used()), (0, 0));
}

#[test]
fn a_call_whose_ports_are_not_to_be_had_takes_none() {
    let mut rig = Rig::new();
    rig.call();
    let record = written(&mut rig);
    let mut after = Rig::new().calls;
    after.restore(b"call", &record, rig.now).unwrap();
    let used = after.ports().used();
    assert_eq!(after.restore(b"call", &record, rig.now), Err(Unreadable::Twice));
    assert_eq!(after.restore(b"other", &record, rig.now), Err(Unreadable::NoPort(30000)));
    assert_eq!((after.len(), after.ports().used()), (1, used));
}

#[test]
fn what_nobody_has_written_is_no_call_and_harms_none() {
    let mut rig = Rig::new();
    rig.call();
    let record = written(&mut rig);
    let mut after = Rig::new().calls;
    assert_eq!(after.restore(b"call", &[9, 9, 0], rig.now), Err(Unreadable::Format(0x0909)));
    assert!(matches!(after.restore(b"call", &[1], rig.now), Err(Unreadable::Damaged(_))));
    for len in 2..record.len() {
        assert!(matches!(after.restore(b"call", &record[..len], rig.now), Err(Unreadable::Damaged(_))), "{len}");
    }
    assert_eq!((after.len(), after.ports().used()), (0, 0));
    for at in 2..record.len() {
        for bit in 0..8 {
            let mut record = record.clone();
            record[at] ^= 1 << bit;
            let mut after = Rig::new().calls;
            // Whatever comes of it, it can be ended, and then nothing is left.
            if after.restore(b"call", &record, rig.now).is_ok() {
                after.handle(delete(None, None), rig.now, SystemTime::UNIX_EPOCH + WALL, &NoTraffic);
            }
            assert!(after.is_empty() && after.ports().used() == 0, "{at} {bit}");
        }
    }
}

/// A call that has a bit of everything, as the first build that could write calls down has written it. When this fails the format has changed: its
/// number must change, too, with a file of its own.
#[test]
fn the_format_is_the_one_that_its_number_stands_for() {
    let mut rig = Rig::new();
    let options = Options { label: Some(b"A".to_vec()), received_from: Some([192, 0, 2, 9].into()), ..across() };
    rig.sdp(on_branch("x", offer_with("a", None, &audio("192.0.2.10", 4000), options)));
    rig.sdp(on_branch("x", answer("a", "b", &session("198.51.100.10", &["audio 5000 RTP/AVP 8\r\na=rtcp-mux"]))));
    rig.run(block(Party::Tag(b"a".to_vec()), true));
    rig.sdp(copies::subscribe(vec![Party::All]));
    rig.sdp(offer("b", Some("a"), &audio("198.51.100.10", 5008)));
    let record: String = written(&mut rig).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(record, include_str!("record-3.hex").split_whitespace().collect::<String>());
}
