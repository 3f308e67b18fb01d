//! What one packet costs in the code that both paths share, without any kernel around it: `cargo bench --package benches`.
#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flow::Be16;
use flow::compose::Outgoing;
use flow::headers::TTL;
use flow::memory::{INGRESS, Memory};
use flow::vectors::{FILES, Outcome, Vectors};

fn packets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("packet");
    group.throughput(Throughput::Elements(1));
    for (family, file) in ["IPv4", "IPv6"].into_iter().zip(FILES) {
        let vectors: Vectors = file.parse().unwrap();
        let memory = Memory::new(&vectors);
        let vector = vectors.vectors.iter().find(|vector| matches!(vector.outcome, Outcome::Redirect(_))).unwrap();
        let mut frame = vector.input.clone();
        group.bench_function(format!("forward a G.711 packet, {family}"), |bencher| {
            bencher.iter(|| {
                // The frame has to be as it arrived each time; copying it is a part of what is measured.
                frame.copy_from_slice(&vector.input);
                black_box(memory.run(&mut frame, INGRESS))
            });
        });
        let (_, bearing) = vectors.bearings.first().unwrap();
        let (ports, payload) = ([30002, 6000].map(Be16::new), [0xd5; 172]);
        group.bench_function(format!("compose the headers of a G.711 packet, {family}"), |bencher| {
            bencher.iter(|| black_box(Outgoing::new(black_box(bearing), ports, TTL, black_box(&payload))));
        });
    }
    group.finish();
}

criterion_group!(benches, packets);
criterion_main!(benches);
