use border::{Path, Reason};

use super::*;

/// Totals of a healthy stream.
pub(super) fn totals() -> SourceTotals {
    SourceTotals {
        fast_packets: 90,
        slow_packets: 10,
        bytes: 17_200,
        errors: 1,
        lost: -1,
        late: 2,
        ssrc_changes: 0,
        jitter_ms: Some(1.25),
        ssrc: Some(0xdee0_ee8f),
        peer: Some("192.0.2.66:4066".parse().unwrap()),
        confirmed: true,
        last_fast: None,
        last_slow: None,
        quality: Vec::new(),
        path: Path::Fast,
        intake: Some(border::Intake::Xsk),
        sinks: Vec::new(),
    }
}

fn query(rig: &mut Rig) -> Dict<'static> {
    let (Reply::Ok(dict), ops) = rig.run(Intent::Query { call_id: b"call".to_vec() }) else { panic!("no reply") };
    assert_eq!(ops, []);
    dict
}

fn streams<'a>(dict: &'a Dict<'static>, tag: &str) -> Vec<&'a Dict<'static>> {
    let media = find(dict, &["tags", tag, "medias"]).items().first().unwrap().as_dict().unwrap();
    find(media, &["streams"]).items().iter().map(|stream| stream.as_dict().unwrap()).collect()
}

fn int(dict: &Dict<'static>, path: &[&str]) -> i64 {
    find(dict, path).as_int().unwrap()
}

fn words(value: &Value<'_>) -> Vec<String> {
    value.items().iter().map(text).collect()
}

#[test]
fn branches_that_have_not_answered_have_names_of_their_own() {
    let mut rig = Rig::new();
    for branch in ["x", "y", "z"] {
        rig.sdp(on_branch(branch, offer("a", None, &audio("192.0.2.10", 4000))));
    }
    let dict = query(&mut rig);
    let tags = find(&dict, &["tags"]).as_dict().unwrap();
    let keys: Vec<_> = tags.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect();
    assert_eq!(keys, ["a", "<untagged 1>", "<untagged 2>", "<untagged 3>"]);
    assert_eq!(text(find(&dict, &["tags", "<untagged 2>", "via-branch"])), "y");
}

#[test]
fn a_query_has_the_structure_of_the_contract() {
    let mut rig = Rig::new();
    rig.call();
    let slot = *rig.installed.keys().next().unwrap();
    let (last_slow, last_fast) = (Some(rig.now), Some(rig.now + Duration::from_secs(2)));
    rig.wait(5);
    rig.meter.0.insert(slot, SourceTotals { last_slow, last_fast, ..totals() });
    let dict = query(&mut rig);
    assert_eq!((int(&dict, &["created"]), int(&dict, &["last signal"])), (1_700_000_000, 1_700_000_000));
    let tag = find(&dict, &["tags", "a"]).as_dict().unwrap();
    assert_eq!(text(find(tag, &["tag"])), "a");
    assert_eq!(text(find(tag, &["in dialogue with"])), "b");
    assert_eq!(int(tag, &["created"]), 1_700_000_000);
    let media = find(tag, &["medias"]).items().first().unwrap().as_dict().unwrap();
    assert_eq!((int(media, &["index"]), text(find(media, &["type"]))), (1, "audio".to_owned()));
    assert_eq!(text(find(media, &["protocol"])), "RTP/AVP");
    assert_eq!(words(find(media, &["flags"])), ["initialized", "send", "recv"]);
    let [rtp, rtcp] = *streams(&dict, "a") else { panic!("not two streams") };
    assert_eq!((int(rtp, &["local port"]), int(rtcp, &["local port"])), (30000, 30001));
    assert_eq!(
        (int(rtp, &["endpoint", "port"]), text(find(rtp, &["endpoint", "address"]))),
        (4066, "192.0.2.66".into())
    );
    assert_eq!(text(find(rtp, &["endpoint", "family"])), "IPv4");
    assert_eq!(int(rtp, &["advertised endpoint", "port"]), 4000);
    assert_eq!(int(rtp, &["last packet"]), 1_699_999_997);
    assert_eq!((int(rtp, &["last user packet"]), int(rtp, &["last kernel packet"])), (1_699_999_995, 1_699_999_997));
    let source = find(rtp, &["ingress SSRCs"]).items().first().unwrap().as_dict().unwrap();
    assert_eq!((int(source, &["SSRC"]), int(source, &["bytes"])), (3_739_283_087, 17_200));
    assert_eq!((find(rtp, &["egress SSRCs"]).items().len(), int(rtp, &["stats_out", "packets"])), (0, 0));
    let [other, _] = *streams(&dict, "b") else { panic!("not two streams") };
    let source = find(other, &["egress SSRCs"]).items().first().unwrap().as_dict().unwrap();
    assert_eq!((int(source, &["SSRC"]), int(other, &["stats_out", "packets"])), (3_739_283_087, 100));
    assert_eq!(int(&dict, &["created_us"]), 1_700_000_000_000_000);
    assert_eq!(text(find(media, &["codec"])), "PCMA/8000");
    assert!(find(tag, &["tag-aliases"]).items().is_empty());
    for key in ["subscriptions", "subscribers"] {
        let other = find(tag, &[key]).items().first().unwrap().as_dict().unwrap();
        assert_eq!((text(find(other, &["tag"])), text(find(other, &["type"]))), ("b".into(), "offer/answer".into()));
    }
    assert_eq!(words(find(rtp, &["flags"])), ["RTP", "filled", "confirmed", "kernelized"]);
    assert_eq!(words(find(rtcp, &["flags"])), ["RTCP", "filled"]);
    assert_eq!((int(rtp, &["stats", "packets"]), int(rtp, &["stats", "bytes"])), (100, 17_200));
    assert_eq!((int(rtp, &["stats", "errors"]), int(rtcp, &["stats", "packets"])), (1, 0));
    assert_eq!(int(rtp, &["SSRC"]), 3_739_283_087);
    assert_eq!(int(&dict, &["totals", "RTP", "packets"]), 100);
    assert_eq!(int(&dict, &["totals", "RTCP", "errors"]), 0);
    assert_eq!(int(&dict, &["SSRC", "3739283087", "jitter us"]), 1250);
    assert_eq!(int(&dict, &["SSRC", "3739283087", "bytes"]), 17_200);
}

#[test]
fn a_query_tells_the_path_of_each_stream_and_why() {
    let mut rig = Rig::new();
    rig.call();
    let slots: Vec<_> = rig.installed.keys().copied().collect();
    rig.meter.0.insert(slots[0], totals());
    rig.meter.0.insert(slots[1], SourceTotals { path: Path::Slow(Reason::NotLearned), jitter_ms: None, ..totals() });
    let dict = query(&mut rig);
    let [rtp, rtcp] = *streams(&dict, "a") else { panic!("not two streams") };
    assert_eq!((text(find(rtp, &["path"])), rtp.get("reason")), ("fast".to_owned(), None));
    assert_eq!(text(find(rtp, &["intake"])), "xsk");
    assert_eq!((int(rtp, &["fast packets"]), int(rtp, &["slow packets"])), (90, 10));
    assert_eq!((int(rtp, &["lost"]), int(rtp, &["out of order"]), int(rtp, &["jitter us"])), (-1, 2, 1250));
    assert_eq!(
        (text(find(rtcp, &["path"])), text(find(rtcp, &["reason"]))),
        ("slow".to_owned(), "not-learned".to_owned())
    );
    assert_eq!(rtcp.get("jitter us"), None);
}

#[test]
fn a_call_that_nobody_answered_can_be_queried() {
    let mut rig = Rig::new();
    rig.sdp(offer("a", None, &audio("192.0.2.10", 4000)));
    let dict = query(&mut rig);
    assert_eq!(find(&dict, &["tags"]).as_dict().unwrap().len(), 2);
    assert_eq!(find(&dict, &["tags", "a"]).as_dict().unwrap().get("in dialogue with"), None);
    assert_eq!(streams(&dict, "<untagged 1>").first().unwrap().get("endpoint"), None);
}

#[test]
fn a_delete_replies_with_the_statistics_unless_it_is_in_a_hurry() {
    let mut rig = Rig::new();
    rig.call();
    let slot = *rig.installed.keys().next().unwrap();
    rig.meter.0.insert(slot, totals());
    let (Reply::Ok(dict), _) = rig.run(delete(Some("a"), None)) else { panic!("no reply") };
    assert_eq!(int(&dict, &["totals", "RTP", "packets"]), 100);
    rig.wait(5);
    rig.call();
    let Intent::Delete(slow) = delete(Some("a"), None) else { panic!("no delete") };
    let reply = rig.run(Intent::Delete(Delete { fast: true, ..slow })).0;
    assert_eq!(reply, Reply::Ok(Dict::new()));
}

#[test]
fn odd_totals_do_no_harm() {
    let mut rig = Rig::new();
    rig.call();
    for (slot, jitter) in rig.installed.keys().zip([f64::NAN, f64::INFINITY, -1.0, f64::MAX]) {
        let odd = SourceTotals { jitter_ms: Some(jitter), bytes: u64::MAX, errors: u64::MAX, ..totals() };
        rig.meter.0.insert(*slot, odd);
    }
    let dict = query(&mut rig);
    assert_eq!(int(&dict, &["totals", "RTP", "bytes"]), i64::MAX);
}

#[test]
fn statistics_tell_the_sessions_and_every_reason_that_has_occurred() {
    let mut rig = Rig::new();
    rig.call();
    let (Reply::Ok(reply), _) = rig.run(Intent::Statistics) else { panic!() };
    let number = |path: &[&str]| find(&reply, path).as_int().unwrap();
    assert_eq!(number(&["statistics", "currentstatistics", "sessionstotal"]), 1);
    assert_eq!(number(&["statistics", "reasons", "program", "stranger"]), 7);
    assert_eq!(number(&["statistics", "reasons", "workers", "no-call"]), 1);
    assert_eq!(["lost", "regained"].map(|turn| number(&["statistics", "fast path", turn])), [2, 1]);
    let program = find(&reply, &["statistics", "reasons", "program"]).as_dict().unwrap();
    assert!(program.get("not-media").is_none(), "what has not occurred is not told");
}

#[test]
fn packets_on_shared_ports_count_once() {
    let mut rig = Rig::new();
    rig.call();
    rig.sdp(answer("a", "b2", &audio("198.51.100.20", 6000)));
    let slot = rig.slot_of("198.51.100.1:30000").unwrap();
    rig.meter.0.insert(slot, totals());
    let dict = query(&mut rig);
    assert_eq!(int(&dict, &["totals", "RTP", "packets"]), totals().packets() as i64);
}
