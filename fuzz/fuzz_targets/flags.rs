//! Strings of flags through the reader of commands: nothing panics.
#![no_main]

use calls::Intent;
use calls::ng::Dict;
use calls::ng::decode::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let dict = Dict::new().with("command", "offer").with("call-id", "1").with("from-tag", "1").with("sdp", "m=");
    let (intent, _) = decode(&dict.with("rtpp-flags", data)).expect("flags are no error");
    assert!(matches!(intent, Intent::Offer(_)));
});
