//! The tables of the fast path in plain memory: what tests, fuzzers and benches run it on.

use std::collections::HashSet;
use std::iter::repeat_with;
use std::vec;
use std::vec::Vec;

use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::checksum::Sum;
use crate::counters::{Counters, Timing};
use crate::datagram::Frame;
use crate::forward::{forward, short};
use crate::headers::{ETHERTYPE_IPV6, Envelope4, Envelope6, Ethernet, Headers4, Headers6};
use crate::vectors::Vectors;
use crate::{Epoch, HopCell, HopId, Locals, Reason, Slot, SlotIndex, Tables, Verdict};

/// The device that the vectors' frames come in by.
pub const INGRESS: u32 = 1;

/// The tables that a file of vectors wants.
pub struct Memory {
    locals: Locals,
    slots: Vec<Slot>,
    timings: Vec<Timing>,
    hops: Vec<HopCell>,
    ports: HashSet<u16>,
}

impl Memory {
    /// The tables of these vectors.
    pub fn new(vectors: &Vectors) -> Self {
        let slots: Vec<Slot> = repeat_with(Slot::default).take(vectors.slots).collect();
        let hops: Vec<HopCell> = repeat_with(HopCell::default).take(16).collect();
        vectors.program(&slots, &hops);
        Self {
            locals: vectors.locals(),
            slots,
            timings: repeat_with(Timing::default).take(vectors.slots).collect(),
            hops,
            ports: vectors.ports.iter().copied().collect(),
        }
    }

    /// What was counted, slot by slot.
    pub fn counters(&self) -> impl Iterator<Item = Counters> {
        self.slots.iter().zip(&self.timings).map(|(slot, timing)| slot.counters(timing))
    }

    /// What becomes of a frame, as the XDP program decides; the frame lies in memory aligned as the kernel aligns it.
    pub fn run(&self, frame: &mut [u8], ingress: u32) -> Verdict {
        let mut words = vec![0u16; frame.len().div_ceil(2)];
        let bytes = words.as_mut_bytes().get_mut(..frame.len()).unwrap_or_default();
        bytes.copy_from_slice(frame);
        let whole = Bytes(bytes.to_vec());
        let is_ipv6 = Ethernet::ref_from_prefix(bytes).is_ok_and(|(ethernet, _)| ethernet.kind == ETHERTYPE_IPV6);
        let verdict = if is_ipv6 {
            if let Ok((headers, _)) = Headers6::mut_from_prefix(bytes) {
                forward(headers, &whole, ingress, self)
            } else {
                let envelope = Envelope6::ref_from_prefix(bytes);
                envelope.map_or(Verdict::Pass(Reason::NotOurs), |(envelope, _)| short(envelope, frame.len(), self))
            }
        } else if let Ok((headers, _)) = Headers4::mut_from_prefix(bytes) {
            forward(headers, &whole, ingress, self)
        } else {
            let envelope = Envelope4::ref_from_prefix(bytes);
            envelope.map_or(Verdict::Pass(Reason::NotOurs), |(envelope, _)| short(envelope, frame.len(), self))
        };
        frame.copy_from_slice(bytes);
        verdict
    }
}

/// A frame in plain memory.
struct Bytes(Vec<u8>);

impl Frame for Bytes {
    fn length(&self) -> usize {
        self.0.len()
    }

    fn sum(&self, start: usize, len: usize) -> Option<u16> {
        Some(!Sum::default().bytes(self.0.get(start..start + len)?).finish())
    }
}

impl Tables for Memory {
    fn locals(&self) -> &Locals {
        &self.locals
    }

    fn slot(&self, index: SlotIndex) -> Option<&Slot> {
        self.slots.get(index.0 as usize)
    }

    fn timing(&self, index: SlotIndex) -> Option<&Timing> {
        self.timings.get(index.0 as usize)
    }

    fn hop(&self, id: HopId) -> Option<&HopCell> {
        self.hops.get(usize::from(id.0))
    }

    fn redirect(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    fn has_unfinished(&self) -> bool {
        true
    }

    fn owns_ports(&self) -> bool {
        true
    }

    fn epoch(&self) -> Epoch {
        Epoch::FIRST
    }

    fn clock(&self) -> u64 {
        0
    }
}
