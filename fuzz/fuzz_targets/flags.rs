//! Strings of flags through the reader of commands: nothing panics.
#![no_main]

use calls::Command;
use calls::ng::Dict;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let dict = Dict::new().with("command", "offer").with("call-id", "1").with("from-tag", "1").with("sdp", "m=");
    let (command, _) = Command::parse(&dict.with("rtpp-flags", data)).expect("flags are no error");
    assert!(matches!(command, Command::Offer(_)));
});
