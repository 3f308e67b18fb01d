//! What one packet costs in the code that both paths share, without any kernel around it: `cargo bench --package benches`.
#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flow::compose::Outgoing;
use flow::forward::forward;
use flow::vectors::{IPV4, Outcome, Vectors};
use flow::{Headers, HopCell, HopId, Locals, Slot, SlotIndex, Tables};
use zerocopy::{FromBytes as _, IntoBytes as _};

struct Memory {
    vectors: Vectors,
    slots: Vec<Slot>,
    hops: Vec<HopCell>,
}

impl Tables for Memory {
    fn locals(&self) -> &Locals {
        &self.vectors.locals
    }

    fn slot(&self, index: SlotIndex) -> Option<&Slot> {
        self.slots.get(index.0 as usize)
    }

    fn hop(&self, id: HopId) -> Option<&HopCell> {
        self.hops.get(usize::from(id.0))
    }

    fn redirect(&self, _: u16) -> bool {
        true
    }

    fn clock(&self) -> u64 {
        0
    }
}

fn memory() -> Memory {
    let vectors: Vectors = IPV4.parse().unwrap();
    let slots: Vec<Slot> = std::iter::repeat_with(Slot::default).take(vectors.slots).collect();
    for (index, rule) in &vectors.rules {
        slots.get(index.0 as usize).unwrap().program(*rule);
    }
    let hops: Vec<HopCell> = std::iter::repeat_with(HopCell::default).take(16).collect();
    for (id, hop) in &vectors.hops {
        hops.get(usize::from(id.0)).unwrap().write(Some(*hop));
    }
    Memory { vectors, slots, hops }
}

fn packets(criterion: &mut Criterion) {
    let memory = memory();
    let mut group = criterion.benchmark_group("packet");
    group.throughput(Throughput::Elements(1));

    let vector = memory.vectors.vectors.iter().find(|vector| matches!(vector.outcome, Outcome::Redirect(_))).unwrap();
    let mut words = vec![0u16; vector.input.len().div_ceil(2)];
    group.bench_function("forward a G.711 packet", |bencher| {
        bencher.iter(|| {
            // The frame has to be as it arrived each time; copying it is a part of what is measured.
            let bytes = words.as_mut_bytes();
            bytes.get_mut(..vector.input.len()).unwrap().copy_from_slice(&vector.input);
            let (headers, _) = Headers::mut_from_prefix(bytes).unwrap();
            black_box(forward(headers, vector.input.len(), 1, &memory))
        });
    });

    let (_, rule) = memory.vectors.rules.first().unwrap();
    let payload = [0xd5; 172];
    group.bench_function("compose the headers of a G.711 packet", |bencher| {
        bencher.iter(|| black_box(Outgoing::new(black_box(rule), black_box(&payload))));
    });
    group.finish();
}

criterion_group!(benches, packets);
criterion_main!(benches);
