//! Parties that want their media protected, and others that do not.

use std::sync::atomic::{AtomicU8, Ordering};

use ::media::srtp::{MasterKey, Suite};
use border::Content;

use super::*;
use crate::intent::Sdes;
use crate::sdp::{Crypto, Profile};

/// Another key each time.
fn entropy(into: &mut [u8]) {
    static SEED: AtomicU8 = AtomicU8::new(1);
    into.fill(SEED.fetch_add(1, Ordering::Relaxed));
}

fn rig() -> Rig {
    let rig = Rig::new();
    Rig { calls: rig.calls.with_entropy(entropy), ..rig }
}

/// A media with these lines of keys.
fn secured(addr: &str, port: u16, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("a=crypto:{line}\r\n")).collect();
    audio(addr, port).replace("RTP/AVP", "RTP/SAVP") + &lines
}

fn lines(sdp: &str) -> Vec<Crypto> {
    let lines = sdp.lines().filter_map(|line| line.strip_prefix("a=crypto:"));
    lines.map(|line| Crypto::parse(line.as_bytes()).unwrap()).collect()
}

fn as_profile(profile: Profile) -> Options {
    Options { profile: Some(profile), ..across() }
}

const KEY_80: &str = "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
const KEY_32: &str = "0 AES_CM_128_HMAC_SHA1_32 inline:ZVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^31";
const OTHER_80: &str = "1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:1";

/// The call of a plain party to one that wants keys, and the line by which the relay protects.
fn to_secured(rig: &mut Rig) -> Crypto {
    let (sdp, _) = rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), as_profile(Profile::Savp)));
    let offered = lines(&sdp);
    assert!(sdp.contains("RTP/SAVP") && offered.len() == Suite::ALL.len(), "{sdp}");
    let ours = offered.into_iter().find(|line| line.suite() == Suite::AesCm128Sha80).unwrap();
    let answered = KEY_80.replacen('1', &ours.tag.to_string(), 1);
    let (sdp, _) = rig.sdp(answer("a", "b", &secured("198.51.100.10", 5000, &[&answered])));
    assert!(sdp.contains("RTP/AVP") && !sdp.contains("crypto"), "{sdp}");
    ours
}

#[test]
fn a_party_without_protection_talks_with_one_that_wants_it() {
    let mut rig = rig();
    let ours = to_secured(&mut rig);
    for local in ["198.51.100.1:30000", "198.51.100.1:30001"] {
        let security = rig.at(local).security.clone().unwrap();
        assert_eq!((&security.ours, security.theirs[0].suite()), (&ours.key, Suite::AesCm128Sha80));
        assert_ne!(security.theirs[0], security.ours);
        assert_eq!(rig.at(local).content, Content::Rtp);
    }
    assert_eq!(rig.at("192.0.2.1:30000").security, None);
    // Either says the same again: no new key.
    let before = rig.at("198.51.100.1:30000").security.clone().unwrap();
    let (sdp, _) = rig.sdp(offer_with("a", Some("b"), &audio("192.0.2.10", 4000), as_profile(Profile::Savp)));
    assert!(lines(&sdp).iter().any(|line| line.key == ours.key), "{sdp}");
    let answered = KEY_80.replacen('1', &ours.tag.to_string(), 1);
    rig.sdp(answer("a", "b", &secured("198.51.100.10", 5000, &[&answered])));
    let (sdp, _) =
        rig.sdp(offer_with("b", Some("a"), &secured("198.51.100.10", 5000, &[KEY_80]), as_profile(Profile::Avp)));
    assert!(sdp.contains("RTP/AVP") && !sdp.contains("crypto"), "{sdp}");
    let (sdp, _) = rig.sdp(answer("b", "a", &audio("192.0.2.10", 4000)));
    assert_eq!(lines(&sdp), [Crypto { tag: 1, ..ours }], "{sdp}");
    let after = rig.at("198.51.100.1:30000").security.clone().unwrap();
    assert_eq!((&after.ours, &after.theirs), (&before.ours, &before.theirs));
    assert!(after.renewals > before.renewals);
    // And then a new one.
    rig.sdp(offer_with("b", Some("a"), &secured("198.51.100.10", 5000, &[OTHER_80]), as_profile(Profile::Avp)));
    assert_eq!(rig.at("198.51.100.1:30000").security.clone().unwrap().theirs, before.theirs, "not before the answer");
    rig.sdp(answer("b", "a", &audio("192.0.2.10", 4000)));
    let renewed = rig.at("198.51.100.1:30000").security.clone().unwrap();
    assert_eq!((renewed.theirs[0].mki().bytes(), &renewed.ours), (&[1][..], &before.ours));
    rig.end();
}

#[test]
fn a_party_that_wants_protection_calls_one_that_does_not() {
    let mut rig = rig();
    let offer = offer_with("a", None, &secured("192.0.2.10", 4000, &[KEY_32, KEY_80]), as_profile(Profile::Avp));
    let (sdp, _) = rig.sdp(offer);
    assert!(sdp.contains("RTP/AVP") && !sdp.contains("crypto"), "{sdp}");
    assert!(rig.installed.values().all(|spec| spec.security.is_none() && spec.blocked), "there are no keys yet");
    let (sdp, _) = rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    let shown = lines(&sdp);
    assert!(sdp.contains("RTP/SAVP") && shown.len() == 1, "{sdp}");
    assert_eq!((shown[0].tag, shown[0].suite()), (0, Suite::AesCm128Sha32), "the first that is known");
    let security = rig.at("192.0.2.1:30000").security.clone().unwrap();
    assert_eq!(security.ours, shown[0].key);
    assert!(rig.installed.values().all(|spec| !spec.blocked));
    rig.end();
}

#[test]
fn what_a_script_wants_of_suites_holds_for_both() {
    let sdes = Sdes { refused: vec![Suite::AesCm128Sha32], pad: true, lifetime: true, ..Sdes::default() };
    let mut rig = rig();
    let options = Options { sdes: sdes.clone(), ..as_profile(Profile::Avp) };
    rig.sdp(offer_with("a", None, &secured("192.0.2.10", 4000, &[KEY_32, KEY_80]), options));
    let Intent::Answer(answer) = answer("a", "b", &audio("198.51.100.10", 5000)) else { panic!("another intent") };
    let options = Options { sdes, ..answer.options.clone() };
    let (sdp, _) = rig.sdp(Intent::Answer(Box::new(Answer { options, ..*answer })));
    assert!(sdp.contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:") && sdp.contains("|2^31\r\n"), "{sdp}");
    rig.end();
    let only = Sdes { only: vec![Suite::Gcm256], ..Sdes::default() };
    let options = Options { sdes: only, ..as_profile(Profile::Savpf) };
    let (sdp, _) = rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), options));
    assert!(sdp.contains("RTP/SAVPF") && lines(&sdp).iter().map(Crypto::suite).eq([Suite::Gcm256]), "{sdp}");
}

#[test]
fn where_no_suite_is_known_nothing_is_begun() {
    let mut rig = rig();
    let unknown = "1 F8_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
    let offer = |lines: &[&str]| offer_with("a", None, &secured("192.0.2.10", 4000, lines), as_profile(Profile::Avp));
    for lines in [&[][..], &[unknown]] {
        assert_eq!(rig.error(offer(lines)), "No supported crypto suite in SDP");
    }
    assert!(rig.calls.is_empty());
    rig.sdp(offer(&[unknown, KEY_80]));
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    rig.end();
    rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), as_profile(Profile::Savp)));
    for lines in [&[][..], &["99 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"]] {
        let answer = answer("a", "b", &secured("198.51.100.10", 5000, lines));
        assert_eq!(rig.error(answer), "No supported crypto suite in SDP", "an answer to no offer");
    }
}

#[test]
fn two_that_are_protected_alike_keep_their_keys_to_themselves_unless_told_otherwise() {
    let mut rig = rig();
    let (sdp, _) = rig.sdp(offer_with("a", None, &secured("192.0.2.10", 4000, &[KEY_80]), across()));
    assert!(sdp.contains(&format!("a=crypto:{KEY_80}")), "{sdp}");
    rig.sdp(answer("a", "b", &secured("198.51.100.10", 5000, &[OTHER_80])));
    assert!(rig.installed.values().all(|spec| spec.security.is_none() && spec.content == Content::SecuredRtp));
    rig.end();
    let options = Options { sdes: Sdes { recrypt: true, ..Sdes::default() }, ..across() };
    let (sdp, _) = rig.sdp(offer_with("a", None, &secured("192.0.2.10", 4000, &[KEY_80]), options));
    assert!(!sdp.contains(KEY_80), "{sdp}");
    let tag = lines(&sdp).iter().find(|line| line.suite() == Suite::AesCm128Sha80).unwrap().tag;
    rig.sdp(answer("a", "b", &secured("198.51.100.10", 5000, &[&OTHER_80.replacen('1', &tag.to_string(), 1)])));
    let keys: Vec<_> = rig.installed.values().map(|spec| spec.security.clone().unwrap()).collect();
    assert!(keys.iter().any(|one| one.theirs != keys[0].theirs) && keys.len() == 4);
    rig.end();
}

#[test]
fn another_daemon_goes_on_with_the_keys() {
    let mut rig = rig();
    to_secured(&mut rig);
    let mut record = Vec::new();
    assert!(rig.calls.record(b"call", &mut record));
    let mut next = self::rig();
    next.calls.restore(b"call", &record, next.now).unwrap();
    let expected: Vec<_> = rig.installed.values().map(|spec| spec.security.clone()).collect();
    let restored: BTreeMap<_, _> = next
        .calls
        .desired()
        .into_iter()
        .filter_map(|op| match op {
            FlowOp::Install(slot, spec) => Some((slot, spec.security)),
            FlowOp::Remove(_) => None,
        })
        .collect();
    assert_eq!(restored.into_values().collect::<Vec<_>>(), expected);
}

/// A plain media with these lines of keys (RFC 8643).
fn opportunistic(addr: &str, port: u16, lines: &[&str]) -> String {
    secured(addr, port, lines).replace("RTP/SAVP", "RTP/AVP")
}

fn with_sdes(sdes: Sdes) -> Options {
    Options { sdes, ..across() }
}

fn may_offer() -> Options {
    with_sdes(Sdes { may_offer: true, ..Sdes::default() })
}

fn may_accept() -> Options {
    with_sdes(Sdes { may_accept: true, ..Sdes::default() })
}

#[test]
fn a_party_that_is_offered_keys_with_plain_rtp_may_take_them_or_leave_them() {
    for takes in [true, false] {
        let mut rig = rig();
        let (sdp, _) = rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), may_offer()));
        let offered = lines(&sdp);
        assert!(sdp.contains("RTP/AVP") && offered.len() == Suite::ALL.len(), "{sdp}");
        let ours = offered.iter().find(|line| line.suite() == Suite::AesCm128Sha80).unwrap();
        let taken = KEY_80.replacen('1', &ours.tag.to_string(), 1);
        let taken: &[&str] = if takes { &[&taken] } else { &[] };
        let (sdp, _) = rig.sdp(answer("a", "b", &opportunistic("198.51.100.10", 5000, taken)));
        assert!(sdp.contains("RTP/AVP") && !sdp.contains("crypto"), "{sdp}");
        assert_eq!(rig.at("198.51.100.1:30000").security.is_some(), takes);
        assert!(rig.installed.values().all(|spec| !spec.blocked), "either is a call");
        // A re-offer of a script that says nothing of it.
        let (sdp, _) = rig.sdp(offer_with("a", Some("b"), &audio("192.0.2.10", 4000), across()));
        assert_eq!(lines(&sdp).iter().any(|line| line.key == ours.key), takes, "{sdp}");
        rig.sdp(answer("a", "b", &opportunistic("198.51.100.10", 5000, taken)));
        assert_eq!(rig.at("198.51.100.1:30000").security.is_some(), takes);
        rig.end();
    }
}

#[test]
fn a_party_that_offers_keys_with_plain_rtp_gets_what_it_would_rather_have_where_a_script_wants_it() {
    let mut rig = rig();
    let offer = |options| offer_with("a", None, &opportunistic("192.0.2.10", 4000, &[KEY_80]), options);
    let (sdp, _) = rig.sdp(offer(may_accept()));
    assert!(sdp.contains("RTP/AVP") && !sdp.contains("crypto"), "{sdp}");
    let (sdp, _) = rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert!(sdp.contains("RTP/AVP") && lines(&sdp).len() == 1, "{sdp}");
    assert!(rig.at("192.0.2.1:30000").security.is_some() && rig.at("198.51.100.1:30000").security.is_none());
    // It says the same again, by a script that does not.
    let again = offer_with("a", Some("b"), &opportunistic("192.0.2.10", 4000, &[KEY_80]), across());
    let (again, _) = rig.sdp(again);
    assert!(!again.contains("crypto"), "{again}");
    let (again, _) = rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!(lines(&again), lines(&sdp));
    rig.end();
    // Otherwise it passes, and the parties agree on it by themselves.
    let (sdp, _) = rig.sdp(offer(across()));
    assert!(sdp.contains(KEY_80), "{sdp}");
    let (sdp, _) = rig.sdp(answer("a", "b", &opportunistic("198.51.100.10", 5000, &[OTHER_80])));
    assert!(sdp.contains(OTHER_80), "{sdp}");
    assert!(rig.installed.values().all(|spec| spec.security.is_none() && !spec.blocked));
    rig.end();
}

#[test]
fn keys_are_ended_on_both_sides_where_one_of_them_may_do_without() {
    let mut rig = rig();
    let offer = offer_with(
        "a",
        None,
        &secured("192.0.2.10", 4000, &[KEY_80]),
        Options { profile: Some(Profile::Avp), ..may_offer() },
    );
    let (sdp, _) = rig.sdp(offer);
    let offered = lines(&sdp);
    assert!(sdp.contains("RTP/AVP") && offered.iter().all(|line| !KEY_80.contains(&line.write(false, false))), "{sdp}");
    let (sdp, _) = rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert!(sdp.contains("RTP/SAVP") && lines(&sdp).len() == 1, "{sdp}");
    assert!(rig.at("192.0.2.1:30000").security.is_some() && rig.at("198.51.100.1:30000").security.is_none());
    rig.end();
}

#[test]
fn nobody_who_is_to_have_srtp_gets_away_with_less() {
    let mut rig = rig();
    rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), as_profile(Profile::Savp)));
    // By a profile that it was not offered, without keys.
    let less = answer("a", "b", &audio("198.51.100.10", 5000));
    assert_eq!(rig.error(less), "No supported crypto suite in SDP");
}

#[test]
fn suites_are_offered_and_taken_in_the_order_that_a_script_wants() {
    let mut rig = rig();
    let order = vec![Suite::AesCm128Sha32, Suite::Gcm128];
    let sdes = Sdes { order: order.clone(), refused: vec![Suite::Gcm128], ..Sdes::default() };
    let options = Options { sdes, ..as_profile(Profile::Savp) };
    let (sdp, _) = rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), options));
    let offered: Vec<_> = lines(&sdp).iter().map(Crypto::suite).collect();
    assert_eq!((offered[0], offered.len()), (order[0], Suite::ALL.len() - 1));
    rig.end();
    let sdes = Sdes { preferred: vec![Suite::Gcm256, Suite::AesCm128Sha80], ..Sdes::default() };
    let options = Options { sdes, ..as_profile(Profile::Avp) };
    rig.sdp(offer_with("a", None, &secured("192.0.2.10", 4000, &[KEY_32, KEY_80]), options));
    let (sdp, _) = rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!(lines(&sdp)[0].suite(), Suite::AesCm128Sha80, "{sdp}");
    rig.end();
}

#[test]
fn a_reoffer_with_keys_silences_nobody_before_its_answer() {
    let mut rig = rig();
    // A call in plain, for the callee has declined.
    rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), may_offer()));
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    rig.sdp(offer_with("a", Some("b"), &audio("192.0.2.10", 4000), may_offer()));
    assert!(rig.installed.values().all(|spec| !spec.blocked && spec.security.is_none()), "as it was agreed on");
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    // The caller would have keys now: not before the answer either.
    let offer = offer_with("a", Some("b"), &opportunistic("192.0.2.10", 4000, &[KEY_80]), may_accept());
    rig.sdp(offer);
    assert!(rig.installed.values().all(|spec| !spec.blocked && spec.security.is_none()));
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    let keys = rig.at("192.0.2.1:30000").security.clone().unwrap();
    // And does without them again, which may be refused.
    rig.sdp(offer_with("a", Some("b"), &audio("192.0.2.10", 4000), across()));
    assert_eq!(rig.at("192.0.2.1:30000").security.clone(), Some(keys));
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!(rig.at("192.0.2.1:30000").security, None);
    rig.end();
}

#[test]
fn whoever_declines_keys_at_first_may_take_them_and_so_may_another_branch() {
    for is_fork in [false, true] {
        let mut rig = rig();
        let (sdp, _) = rig.sdp(offer_with("a", None, &audio("192.0.2.10", 4000), may_offer()));
        let ours = lines(&sdp).into_iter().find(|line| line.suite() == Suite::AesCm128Sha80).unwrap();
        rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
        let tag = if is_fork { "c" } else { "b" };
        let taken = KEY_80.replacen('1', &ours.tag.to_string(), 1);
        let (sdp, _) = rig.sdp(answer("a", tag, &opportunistic("198.51.100.10", 5000, &[&taken])));
        assert!(!sdp.contains("crypto"), "{sdp}");
        assert_eq!(rig.at("198.51.100.1:30000").security.clone().unwrap().ours, ours.key);
        rig.end();
    }
}

#[test]
fn a_party_that_offers_keys_with_plain_rtp_has_them_where_the_other_one_is_offered_some() {
    let mut rig = rig();
    let offer = offer_with("a", None, &opportunistic("192.0.2.10", 4000, &[KEY_80]), may_offer());
    let (sdp, _) = rig.sdp(offer);
    assert!(lines(&sdp).len() > 1 && !sdp.contains(KEY_80), "{sdp}");
    let (sdp, _) = rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert_eq!(lines(&sdp).len(), 1, "{sdp}");
    rig.end();
    // Keys that nobody can read are as good as none.
    let only = Sdes { may_accept: true, only: vec![Suite::Gcm256], ..Sdes::default() };
    rig.sdp(offer_with("a", None, &opportunistic("192.0.2.10", 4000, &[KEY_80]), with_sdes(only)));
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert!(rig.installed.values().all(|spec| spec.security.is_none() && !spec.blocked));
    rig.end();
}

#[test]
fn a_key_that_was_given_up_is_never_used_again() {
    let mut rig = rig();
    let mut used: Vec<MasterKey> = Vec::new();
    for suite in [Suite::AesCm128Sha80, Suite::AesCm128Sha32, Suite::AesCm128Sha80] {
        let to_tag = (!used.is_empty()).then_some("b");
        let (sdp, _) = rig.sdp(offer_with("a", to_tag, &audio("192.0.2.10", 4000), as_profile(Profile::Savp)));
        let ours = lines(&sdp).into_iter().find(|line| line.suite() == suite).unwrap();
        let taken = format!("{} {} inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz", ours.tag, suite.name());
        rig.sdp(answer("a", "b", &secured("198.51.100.10", 5000, &[&taken])));
        assert!(!used.contains(&ours.key), "{}", suite.name());
        used.push(ours.key);
    }
    // A media that is given up and comes back.
    for port in [0, 4000] {
        let (sdp, _) = rig.sdp(offer_with("a", Some("b"), &audio("192.0.2.10", port), as_profile(Profile::Savp)));
        for line in lines(&sdp) {
            assert!(!used.contains(&line.key), "{sdp}");
        }
        if port == 0 {
            rig.sdp(answer("a", "b", &audio("198.51.100.10", 0)));
        }
    }
}
