//! Session descriptions through the editor: nothing panics, an edit of nothing changes nothing, and what was edited can be read again.
#![no_main]

use control::sdp::{Body, Edit, NewMedia, RtcpAttribute, edit};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [choice, text @ ..] = data else { return };
    let Ok(body) = Body::parse(text) else { return };
    assert_eq!(edit(&body, &Edit::default()), text);
    let address = if choice & 1 == 0 { "203.0.113.1" } else { "2001:db8::1" };
    let new =
        NewMedia { address: address.parse().expect("right"), rtp_port: 30000, rtcp_port: 30001, mux: choice & 2 != 0 };
    let plan = Edit {
        media: body.media().iter().map(|media| (media.port != 0).then_some(new)).collect(),
        replace_origin: choice & 4 != 0,
        replace_zero_address: choice & 8 != 0,
        rtcp: [RtcpAttribute::Rewrite, RtcpAttribute::Full, RtcpAttribute::Remove][usize::from(choice >> 4) % 3],
        remove_ice: choice & 128 != 0,
    };
    let edited = edit(&body, &plan);
    let again = Body::parse(&edited).expect("what was edited can be read");
    assert_eq!(again.media().len(), body.media().len());
    assert_eq!(edit(&again, &plan), edited, "twice is once");
});
