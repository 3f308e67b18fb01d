//! Commands in JSON, and what they do.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz::converse(b'{', data));
