//! What the generators make: whose frame is the next, and what differs in it from the template.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray};

use crate::frame::WORDS;

/// The generator's plan, by index: see the constants.
#[map]
static PLAN: Array<u64> = Array::with_max_entries(16, 0);
/// How many flows there are.
pub(crate) const FLOWS: u32 = 0;
/// A power of two, minus one, that is at least the number of flows minus one.
const MASK: u32 = 1;
/// The first port, of both sides.
pub(crate) const FIRST_PORT: u32 = 2;
/// The template of the frame.
pub(crate) const TEMPLATE: u32 = 3;
/// Of so many frames of a flood one is a party's.
pub(crate) const EVERY: u32 = 15;

/// The generator's position: how many frames it has made, and where it is in the order of flows.
#[map]
pub(crate) static POSITION: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(1, 0);

/// What differs from packet to packet; port, sequence number and timestamp in network order.
pub(crate) struct Next {
    pub(crate) side: u64,
    pub(crate) port: u64,
    pub(crate) sequence: u64,
    pub(crate) timestamp: u64,
}

impl Next {
    /// The packet of a flow in this round. Flows of both directions in turn: side 0 sends from address .10 to .1, side 1 from .11 to .2.
    #[inline(always)]
    pub(crate) fn of(flow: u64, first_port: u64, round: u64) -> Self {
        let (side, call) = (flow & 1, flow >> 1);
        let port = u64::from(((first_port + 2 * call) as u16).to_be());
        let sequence = u64::from((round as u16).to_be());
        let timestamp = u64::from((round as u32).wrapping_mul(160).to_be());
        Self { side, port, sequence, timestamp }
    }
}

#[inline(always)]
pub(crate) fn next_packet() -> Option<Next> {
    let (flows, mask, first_port) = (plan(FLOWS)?, plan(MASK)?, plan(FIRST_PORT)?);
    let position = POSITION.get_ptr_mut(0)?;
    #[expect(unsafe_code, reason = "the position of this CPU")]
    // SAFETY: the pointer is to this CPU's entry, and the program runs with bottom halves off, so nothing else uses it meanwhile.
    let position = unsafe { &mut *position };
    let (number, flow) = (position[0], next_flow(position, flows, mask));
    position[0] = number + 1;

    Some(Next::of(flow, first_port, number.checked_div(flows)?))
}

/// The next flow in an order that goes through all of them and that no prefetcher knows: a full-period sequence over a power of two, its
/// bits mixed, its members beyond the last flow skipped.
#[inline(always)]
fn next_flow(position: &mut [u64; 2], flows: u64, mask: u64) -> u64 {
    let mut state = position[1];
    let mut flow = 0;
    for _ in 0..8 {
        state = state.wrapping_mul(5).wrapping_add(12_345) & mask;
        let mixed = (state ^ (state >> 7)).wrapping_mul(0x9e5) & mask;
        flow = mixed ^ (mixed >> 5);
        if flow < flows {
            break;
        }
    }
    position[1] = state;
    if flow < flows { flow } else { 0 }
}

#[inline(always)]
pub(crate) fn plan(index: u32) -> Option<u64> {
    PLAN.get(index).copied()
}

/// Writes what differs from packet to packet into a copy of the template; tells the side.
#[inline(always)]
pub(crate) fn write_next(frame: &mut [u64; WORDS], next: Next) -> u64 {
    let Next { side, port, sequence, timestamp } = next;
    // Bytes 26-29 and 30-33 are the addresses: their last bytes are bytes 5 of word 3 and 1 of word 4.
    frame[3] += side << 40;
    frame[4] += side << 8;
    // Bytes 34-35 and 36-37: the ports. Bytes 44-45: the sequence number. Bytes 46-49: the timestamp.
    frame[4] |= port << 16 | port << 32;
    frame[5] |= sequence << 32 | timestamp << 48;
    frame[6] |= timestamp >> 16;
    side
}
