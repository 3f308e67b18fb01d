use super::*;
use crate::call::Unsupported;
use crate::intent::{AttributeEdit, Codecs, Ice, Level, Profile, Steady};

const PHONE: &str = "v=0\r\no=phone 1 7 IN IP4 192.0.2.10\r\ns=x\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\nm=video 4002 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\n";

fn offered(rig: &mut Rig, options: Options) -> String {
    rig.sdp(offer_with("a", None, PHONE, options)).0
}

#[test]
fn codecs_are_stripped_from_the_offer() {
    let codecs = Codecs { strip: vec![b"pcmu".to_vec()], ..Codecs::default() };
    let sdp = offered(&mut Rig::new(), Options { codecs, ..across() });
    assert!(sdp.contains("RTP/AVP 8\r\n") && !sdp.contains("PCMU"), "{sdp}");
}

#[test]
fn a_media_that_is_removed_comes_back_rejected_in_the_answer() {
    let mut rig = Rig::new();
    let options = Options { media_remove: vec![b"video".to_vec()], ..across() };
    let sdp = offered(&mut rig, options.clone());
    assert!(!sdp.contains("m=video") && !sdp.contains("H264"), "{sdp}");
    let (sdp, _) = rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert!(sdp.contains("m=audio 30000 ") && sdp.ends_with("m=video 0 RTP/AVP 99\r\n"), "{sdp}");
    assert_eq!(rig.installed.len(), 4);
    // The callee never sees the line, and the caller always does.
    let (sdp, _) = rig.sdp(offer("b", Some("a"), &audio("198.51.100.10", 5000)));
    assert!(sdp.ends_with("m=video 0 RTP/AVP 99\r\n"), "{sdp}");
    let (sdp, _) = rig.sdp(answer("b", "a", &session("192.0.2.10", &["audio 4000 RTP/AVP 8", "video 0 RTP/AVP 99"])));
    assert!(!sdp.contains("video"), "{sdp}");
    rig.end();
}

#[test]
fn a_profile_is_changed_on_the_way_and_back() {
    let mut rig = Rig::new();
    let sdp = offered(&mut rig, Options { profile: Some(Profile::Avpf), ..across() });
    assert!(sdp.contains("m=audio 30000 RTP/AVPF 0 8\r\n"), "{sdp}");
    let callee = session("198.51.100.10", &["audio 5000 RTP/AVPF 8\r\na=rtcp-fb:* nack", "video 0 RTP/AVPF 99"]);
    let (sdp, _) = rig.sdp(answer("a", "b", &callee));
    assert!(sdp.contains("m=audio 30000 RTP/AVP 8\r\n") && !sdp.contains("rtcp-fb"), "{sdp}");
    let (sdp, _) = rig.sdp(offer("a", Some("b"), PHONE));
    assert!(sdp.contains("RTP/AVPF 0 8"), "it stays for the party: {sdp}");
    let (sdp, _) = rig.sdp(offer("b", Some("a"), &callee));
    assert!(sdp.contains("m=audio 30000 RTP/AVP 8\r\n"), "and the other one keeps its own: {sdp}");
}

#[test]
fn the_version_goes_up_only_when_the_party_sees_a_change() {
    let mut rig = Rig::new();
    let options = Options { steady: Steady { version: true, ..Steady::default() }, ..across() };
    let origin = |sdp: &str| sdp.lines().nth(1).unwrap().to_owned();
    assert_eq!(origin(&offered(&mut rig, options.clone())), "o=phone 1 7 IN IP4 192.0.2.10");
    let again = rig.sdp(offer_with("a", None, &PHONE.replace("1 7 IN", "1 99 IN"), options.clone())).0;
    assert_eq!(origin(&again), "o=phone 1 7 IN IP4 192.0.2.10");
    let changed = rig.sdp(offer_with("a", None, &PHONE.replace("0 8", "8"), options)).0;
    assert_eq!(origin(&changed), "o=phone 1 8 IN IP4 192.0.2.10");
}

#[test]
fn attributes_mids_and_marks_are_added_last() {
    let mut rig = Rig::new();
    let attributes = vec![AttributeEdit::Add(Level::Media(b"audio".to_vec()), b"x".to_vec())];
    let sdp = offered(&mut rig, Options { attributes, generate_mid: true, loop_protect: true, ..across() });
    assert!(sdp.contains("a=rtpmap:0 PCMU/8000\r\na=mid:1\r\na=x\r\nm=video"), "{sdp}");
    assert!(sdp.contains("t=0 0\r\na=rtpengine:mark\r\nm=audio") && sdp.ends_with("a=mid:2\r\n"), "{sdp}");
}

#[test]
fn what_has_passed_this_relay_comes_back_as_it_was() {
    let mut rig = Rig::new();
    let options = || Options { loop_protect: true, ..across() };
    let sdp = offered(&mut rig, options());
    let used = rig.calls.ports().used();
    let (again, ops) = rig.sdp(named(offer_with("z", None, &sdp, options()), "other"));
    assert_eq!((again, ops, rig.calls.len(), rig.calls.ports().used()), (sdp.clone(), vec![], 1, used));
    let without = rig.sdp(named(offer("z", None, &sdp), "other")).0;
    assert_ne!(without, sdp, "only where the script wants it");
}

#[test]
fn candidates_stay_only_where_the_script_wants_them() {
    let body = format!("{PHONE}a=candidate:1 1 UDP 1 192.0.2.10 4002 typ host\r\n");
    for (ice, stays) in [(Ice::Remove, false), (Ice::Pass, true)] {
        let sdp = Rig::new().sdp(offer_with("a", None, &body, Options { ice, ..across() })).0;
        assert_eq!(sdp.contains("a=candidate:1 1 UDP 1 192.0.2.10 4002 typ host"), stays);
    }
}

#[test]
fn an_address_for_media_is_what_the_receiver_sees() {
    let mut rig = Rig::new();
    let media_address = |text: &str| Some(text.parse().unwrap());
    let sdp = offered(&mut rig, Options { media_address: media_address("203.0.113.77"), ..across() });
    assert!(sdp.contains("c=IN IP4 203.0.113.77\r\n") && !sdp.contains("203.0.113.1\r\n"), "{sdp}");
    assert_eq!(rig.peer("192.0.2.1:30000").unwrap(), "192.0.2.10:4000", "and not where the media goes");
    let options = Options { media_address: media_address("192.0.2.77"), ..Options::default() };
    let (sdp, _) = rig.sdp(answer_with("a", "b", &audio("198.51.100.10", 5000), options));
    assert!(sdp.contains("c=IN IP4 192.0.2.77\r\n"), "{sdp}");
    let options = Options { media_address: media_address("2001:db8::77"), ..across() };
    let sdp = offered(&mut Rig::new(), options);
    assert!(sdp.contains("c=IN IP4 203.0.113.1\r\n"), "the relay has no such address there: {sdp}");
}

#[test]
fn what_cannot_be_done_is_refused_where_the_operator_wants_that() {
    let unbuilt = || Options { unbuilt: vec!["key ice=force".to_owned()], ..across() };
    offered(&mut Rig::new(), unbuilt());
    let mut strict = Rig::with(Settings { unsupported: Unsupported::Refuse, ..at_once() }, 30099);
    let text = "key ice=force is not supported by this version of Intertrunk";
    assert_eq!(strict.error(offer_with("a", None, PHONE, unbuilt())), text);
    assert_eq!(strict.calls.ports().used(), 0);
}
