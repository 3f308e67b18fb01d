//! Session descriptions through the editor: nothing panics, an edit of nothing changes nothing, and what was edited can be read again.
#![no_main]

use calls::sdp::{AttributeEdit, Body, Codecs, Edit, Level, NewMedia, Profile, RtcpAttribute, Steady, Told, edit};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [choice, text @ ..] = data else { return };
    let Ok(body) = Body::parse(text) else { return };
    assert_eq!(edit(&body, &Edit::default()), text);
    let address = if choice & 1 == 0 { "203.0.113.1" } else { "2001:db8::1" };
    let new = NewMedia {
        address: address.parse().expect("right"),
        rtp_port: 30000,
        rtcp_port: 30001,
        mux: choice & 2 != 0,
        profile: [None, Some(Profile::Avp), Some(Profile::Avpf), Some(Profile::Savp)][usize::from(choice >> 3) % 4],
        crypto: (choice & 4 != 0).then(|| vec!["a=crypto:1 x".to_owned()]),
    };
    let plan = Edit {
        media: body.media().iter().map(|media| (media.port != 0).then(|| new.clone())).collect(),
        replace_origin: choice & 4 != 0,
        replace_zero_address: choice & 8 != 0,
        rtcp: [RtcpAttribute::Rewrite, RtcpAttribute::Full, RtcpAttribute::Remove][usize::from(choice >> 4) % 3],
        remove_ice: choice & 128 != 0,
        address: (choice & 64 != 0).then_some(new.address),
    };
    let edited = edit(&body, &plan);
    let again = Body::parse(&edited).expect("what was edited can be read");
    assert_eq!(again.media().len(), body.media().len());
    assert_eq!(edit(&again, &plan), edited, "twice is once");
    rework(&edited, again.media().len());
});

/// What scripts may ask for besides: all of it leaves a description that can be read, with as many sections.
fn rework(text: &[u8], sections: usize) {
    let count = |text: &[u8]| Body::parse(text).ok().map(|body| body.media().len());
    let codecs = Codecs {
        strip: vec![b"all".to_vec()],
        except: vec![b"pcma".to_vec()],
        offer: vec![b"101".to_vec()],
        single: true,
    };
    assert_eq!(count(&codecs.select(text)), Some(sections));
    let edits = [
        AttributeEdit::Add(Level::Session, b"x".to_vec()),
        AttributeEdit::Remove(Level::Media(b"audio".to_vec()), b"rtpmap".to_vec()),
        AttributeEdit::Substitute(Level::Media(b"audio".to_vec()), b"sendrecv".to_vec(), b"sendonly".to_vec()),
    ];
    // One more line for each section may be more than a body may have.
    let more = calls::sdp::change(text, &edits);
    assert!(more.len() > 65536 || count(&more) == Some(sections));
    let mids = calls::sdp::generate_mids(text);
    assert_eq!(calls::sdp::generate_mids(&mids), mids);
    let marked = calls::sdp::mark(text, b"me");
    assert!(Body::parse(&marked).map_or(true, |body| body.is_marked(b"me")));
    let steady = Steady { username: true, origin: true, session_name: true, version: true, force_version: false };
    let (first, told) = Told::tell(None, text, steady);
    assert_eq!(Told::tell(told.as_ref(), text, steady).0, first);
    let lines: Vec<_> = calls::sdp::rejections(text).enumerate().step_by(2).collect();
    let hidden: Vec<bool> = (0..sections).map(|at| at % 2 == 0).collect();
    let shown = calls::sdp::hide(text, &hidden);
    assert_eq!(count(&calls::sdp::restore(&shown, &lines)), Some(sections));
}
