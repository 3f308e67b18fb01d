//! The vectors, through the code on the host.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::cell::Cell;

use flow::forward::{forward, short};
use flow::headers::Envelope;
use flow::vectors::{IPV4, Outcome, Vectors};
use flow::{Headers, Hop, HopCell, HopId, Locals, Reason, Slot, SlotIndex, Tables, Verdict};
use zerocopy::FromBytes;

/// The device that the vectors' frames come in by.
const INGRESS: u32 = 1;

struct Memory {
    locals: Locals,
    slots: Vec<Slot>,
    hops: Vec<HopCell>,
    ports: Vec<u16>,
    redirects: Cell<u32>,
}

impl Memory {
    fn new(vectors: &Vectors) -> Self {
        let slots: Vec<Slot> = std::iter::repeat_with(Slot::default).take(vectors.slots).collect();
        for (index, rule) in &vectors.rules {
            slots[index.0 as usize].program(*rule);
        }
        let hops: Vec<HopCell> = std::iter::repeat_with(HopCell::default).take(8).collect();
        for (HopId(id), hop) in &vectors.hops {
            hops[usize::from(*id)].write(Some(Hop { ..*hop }));
        }
        let addrs = ["192.0.2.1", "198.51.100.1"].map(|addr| addr.parse::<std::net::Ipv4Addr>().unwrap().into());
        let locals = Locals::new(&addrs, 30000, 30019, 1).unwrap();
        assert_eq!(locals.words(), vectors.locals.words(), "the file's addresses and ports");
        Self { locals, slots, hops, ports: vectors.ports.clone(), redirects: Cell::new(0) }
    }
}

impl Tables for Memory {
    fn locals(&self) -> &Locals {
        &self.locals
    }

    fn slot(&self, index: SlotIndex) -> Option<&Slot> {
        self.slots.get(index.0 as usize)
    }

    fn hop(&self, id: HopId) -> Option<&HopCell> {
        self.hops.get(usize::from(id.0))
    }

    fn redirect(&self, port: u16) -> bool {
        self.redirects.set(self.redirects.get() + 1);
        self.ports.contains(&port)
    }

    fn clock(&self) -> u64 {
        0
    }
}

/// The frame in memory aligned as the kernel aligns it.
fn run(memory: &Memory, frame: &mut [u8]) -> Verdict {
    let mut words = vec![0u16; frame.len().div_ceil(2)];
    let bytes = zerocopy::IntoBytes::as_mut_bytes(words.as_mut_slice());
    bytes[..frame.len()].copy_from_slice(frame);
    let bytes = &mut bytes[..frame.len()];
    if let Ok((headers, _)) = Headers::mut_from_prefix(bytes) {
        let verdict = forward(headers, frame.len(), INGRESS, memory);
        frame.copy_from_slice(bytes);
        return verdict;
    }
    let reason =
        Envelope::ref_from_prefix(bytes).map_or(Reason::NotOurs, |(envelope, _)| short(envelope, frame.len(), memory));
    Verdict::Pass(reason)
}

#[test]
fn every_vector_comes_out_as_written() {
    let vectors: Vectors = IPV4.parse().unwrap();
    assert!(vectors.vectors.len() > 50);
    for vector in &vectors.vectors {
        let memory = Memory::new(&vectors);
        let mut frame = vector.input.clone();
        let outcome = match run(&memory, &mut frame) {
            Verdict::Pass(reason) => {
                assert_eq!(frame, vector.input, "{}: passed, but not untouched", vector.name);
                Outcome::Pass(reason)
            }
            Verdict::Transmit => Outcome::Transmit(frame),
            Verdict::Redirect => Outcome::Redirect(frame),
        };
        assert_eq!(outcome, vector.outcome, "{}", vector.name);
    }
}

#[test]
fn what_is_forwarded_is_counted_once_and_what_is_passed_is_not() {
    let vectors: Vectors = IPV4.parse().unwrap();
    for vector in &vectors.vectors {
        let memory = Memory::new(&vectors);
        run(&memory, &mut vector.input.clone());
        let counted: u32 = memory.slots.iter().map(|slot| slot.counters.read().packets).sum();
        let forwarded = !matches!(vector.outcome, Outcome::Pass(_));
        assert_eq!(counted, u32::from(forwarded), "{}", vector.name);
    }
}

#[test]
fn every_reason_of_the_fast_path_has_a_vector() {
    let vectors: Vectors = IPV4.parse().unwrap();
    let provoked = |reason| vectors.vectors.iter().any(|vector| vector.outcome == Outcome::Pass(reason));
    // `Reprogrammed` needs a writer in the middle of a packet; `slot` tests it.
    for reason in Reason::ALL.into_iter().take_while(|reason| *reason != Reason::NoDestination) {
        assert!(provoked(reason) || reason == Reason::Reprogrammed, "{}", reason.name());
    }
}
