//! Streams that are paced each for itself, and of which every packet is looked for: each stream has a packet in turn, so that all have one in the time
//! of one.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::XdpContext;

use crate::delays::{self, clock};
use crate::frame::{STAMPED_WORDS, words_mut};
use crate::generate::write_frame;
use crate::paced::{stamp, wait};
use crate::plan::{FIRST_PORT, FLOWS, Next, POSITION, plan};
use crate::sink::count;

/// From one stream to the next: a prime, so that all have their turn where they are no multiple of it, and neighbours do not follow each other.
const STRIDE: u64 = 7919;
/// The timestamps' distance: 20 ms at 8 kHz.
const SAMPLES: u32 = 160;

/// What came of a stream, by the side and the port of its receiver: packets; the number that is expected next; those that came after a later one, and
/// in the upper half those that came twice; a bit for each of the last 64 numbers.
#[map]
static STREAMS: Array<[u64; 4]> = Array::with_max_entries(2 << 16, 0);

/// Makes the next packet of the next stream over IPv4 when it is due.
#[xdp]
fn generate_streams(context: XdpContext) -> u32 {
    wait();
    write_frame(&context, next_packet).and_then(|side| stamp(&context, side)).map_or(XDP_ABORTED, |()| XDP_TX)
}

#[inline(always)]
fn next_packet() -> Option<Next> {
    let (flows, first_port) = (plan(FLOWS)?, plan(FIRST_PORT)?);
    let position = POSITION.get_ptr_mut(0)?;
    #[expect(unsafe_code, reason = "the position of this CPU")]
    // SAFETY: the pointer is to this CPU's entry, and the program runs with bottom halves off, so nothing else uses it meanwhile.
    let position = unsafe { &mut *position };
    let number = position[0];
    position[0] = number + 1;
    let round = number.checked_div(flows)?;
    let flow = number.checked_rem(flows)?.wrapping_mul(STRIDE).checked_rem(flows)?;
    Some(Next::of(flow, first_port, round))
}

/// Notes what came of each stream, and how long it was under way; drops everything that is UDP.
#[xdp]
fn sink_streams(context: XdpContext) -> u32 {
    let Some(frame) = words_mut::<STAMPED_WORDS>(&context) else { return XDP_PASS };
    if u16::from_be((frame[1] >> 32) as u16) != 0x0800 || (frame[2] >> 56) as u8 != 17 {
        return XDP_PASS;
    }
    // Byte 43 is the payload type. RTCP and the like are nobody's stream.
    if (frame[5] >> 24) as u8 != 8 {
        return XDP_DROP;
    }
    count();
    // Byte 33 is the last of the receiver's address, bytes 36-37 are its port, 46-49 the timestamp.
    let (side, port) = ((frame[4] >> 8) as u32 & 1, u16::from_be((frame[4] >> 32) as u16));
    let timestamp = u32::from_be((frame[5] >> 48) as u32 | (frame[6] as u32) << 16);
    if let Some(stream) = STREAMS.get_ptr_mut(side << 16 | u32::from(port)) {
        #[expect(unsafe_code, reason = "the entry of the stream")]
        // SAFETY: the pointer is to an entry of the map, and a stream's packets come to one CPU, whose softirq nothing interrupts.
        note(unsafe { &mut *stream }, u64::from(timestamp / SAMPLES));
    }
    delays::note(clock().wrapping_sub(frame[7]));
    XDP_DROP
}

/// A packet of this number has come.
#[inline(always)]
fn note(stream: &mut [u64; 4], number: u64) {
    let [packets, expected, strange, seen] = *stream;
    *stream = if number >= expected {
        let ahead = number - expected + 1;
        let seen = if ahead < 64 { seen << ahead } else { 0 };
        [packets + 1, number + 1, strange, seen | 1]
    } else {
        let behind = expected - 1 - number;
        let bit = if behind < 64 { 1 << behind } else { 0 };
        // One that is too far behind to be known is late.
        let strange = strange + if seen & bit == 0 { 1 } else { 1 << 32 };
        [packets + 1, expected, strange, seen | bit]
    };
}
