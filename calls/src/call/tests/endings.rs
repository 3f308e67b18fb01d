use super::*;
use crate::outcome::End;

/// Deleted calls go on for ten seconds.
fn rig() -> Rig {
    let mut rig = Rig::with(Settings { delete_delay: Duration::from_secs(10), ..Settings::default() }, 30099);
    rig.call();
    rig
}

#[test]
fn calls_are_looked_at_in_parts_and_each_has_its_turn() {
    let mut rig = Rig::new();
    for number in 0..7 {
        rig.sdp(named(offer("a", None, &audio("192.0.2.10", 4000)), &number.to_string()));
    }
    rig.wait(3600);
    let mut ended = Vec::new();
    // What takes an ended call's place waits for the next round.
    for _ in 0..8 {
        let (expired, ops) = rig.calls.expire(rig.now, &rig.meter, 4);
        assert!(expired.len() <= 2);
        rig.obey(&ops);
        ended.extend(expired);
    }
    assert_eq!((ended.len(), rig.calls.len()), (7, 0));
}

#[test]
fn a_deleted_call_goes_on_for_the_delay() {
    let mut rig = rig();
    let (reply, ops) = rig.run(delete(Some("a"), None));
    let Reply::Ok(dict) = reply else { panic!("{reply:?}") };
    assert!(dict.get("totals").is_some() && ops.is_empty());
    rig.wait(9);
    rig.tick();
    assert_eq!(rig.installed.len(), 4);
    rig.wait(1);
    assert_eq!(rig.tick(), [], "it did not time out");
    assert!(rig.calls.is_empty());
    assert_eq!(rig.calls.ports().used(), 0);
}

#[test]
fn a_delete_that_comes_twice_does_not_prolong_the_call() {
    let mut rig = rig();
    rig.run(delete(Some("a"), None));
    rig.wait(5);
    assert!(matches!(rig.run(delete(Some("a"), None)).0, Reply::Ok(_)));
    rig.wait(5);
    rig.tick();
    assert!(rig.calls.is_empty());
}

#[test]
fn an_answer_that_crossed_the_cancel_keeps_the_call() {
    let mut rig = rig();
    rig.run(delete(Some("a"), None));
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    rig.wait(20);
    rig.tick();
    assert_eq!(rig.installed.len(), 4);
}

#[test]
fn a_delete_may_say_how_long_it_takes() {
    for (seconds, is_there) in [(0, false), (60, true)] {
        let mut rig = rig();
        let Intent::Delete(mut command) = delete(Some("a"), None) else { panic!() };
        command.delay = Some(seconds);
        rig.run(Intent::Delete(command));
        rig.wait(30);
        rig.tick();
        assert_eq!(!rig.calls.is_empty(), is_there, "{seconds}");
    }
}

#[test]
fn an_offer_may_say_how_long_the_calls_delete_takes() {
    let mut rig = Rig::new();
    let options = Options { delete_delay: Some(5), ..across() };
    rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), options));
    rig.run(delete(Some("a"), None));
    assert!(!rig.calls.is_empty());
    rig.wait(5);
    rig.tick();
    assert!(rig.calls.is_empty());
}

#[test]
fn a_call_may_not_last_longer_than_the_final_timeout() {
    let mut rig = Rig::with(Settings { final_timeout: Some(Duration::from_secs(600)), ..at_once() }, 30099);
    rig.call();
    for _ in 0..11 {
        rig.wait(50);
        rig.sdp(offer("a", Some("b"), &audio("192.0.2.10", 4000)));
        assert_eq!(rig.tick(), []);
    }
    rig.wait(50);
    assert_eq!(rig.tick().first().unwrap().timeout, End::FinalTimeout);
    assert!(rig.calls.is_empty());
}

#[test]
fn every_end_is_counted_under_its_name() {
    let mut rig = Rig::new();
    rig.call();
    rig.run(delete(None, None));
    rig.call();
    rig.wait(60);
    rig.tick();
    let (reply, _) = rig.run(Intent::Statistics);
    let Reply::Ok(dict) = reply else { panic!("{reply:?}") };
    let total = |key: &str| find(&dict, &["statistics", "totalstatistics", key]).clone();
    assert_eq!(total("managedsessions"), Value::Int(2));
    assert_eq!(total("regularterminatedsessions"), Value::Int(1));
    assert_eq!(total("timeoutsessions"), Value::Int(1));
    assert_eq!(total("totalcallsduration"), Value::from("60.000000"));
    assert_eq!(total("uptime"), Value::from("60"));
}

#[test]
fn a_call_that_is_deleted_and_revived_again_and_again_is_on_the_list_once() {
    let mut rig = rig();
    for _ in 0..20 {
        rig.run(delete(Some("a"), None));
        rig.wait(1);
        rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    }
    rig.run(delete(Some("a"), None));
    assert!(rig.calls.ends.len() <= 1, "{:?}", rig.calls.ends);
    for _ in 0..11 {
        rig.wait(1);
        rig.tick();
    }
    assert!(rig.calls.is_empty());
}
