//! Frames through the fast path's code, over the vectors' tables: whatever is forwarded is forwarded right, and nothing panics. The first
//! byte chooses the family.
#![no_main]

use flow::judge::judge;
use flow::memory::{INGRESS, Memory};
use flow::vectors::{FILES, Vectors};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static TABLES: Vec<(Vectors, Memory)> = FILES
        .iter()
        .map(|file| {
            let vectors: Vectors = file.parse().expect("the vectors are well-formed");
            let memory = Memory::new(&vectors);
            (vectors, memory)
        })
        .collect();
}

fuzz_target!(|data: &[u8]| {
    let [family, before @ ..] = data else { return };
    TABLES.with(|tables| {
        let (vectors, memory) = &tables[usize::from(family & 1)];
        let mut after = before.to_vec();
        let verdict = memory.run(&mut after, INGRESS);
        if let Err(fault) = judge(vectors, before, &after, verdict) {
            panic!("{fault}");
        }
    });
});
