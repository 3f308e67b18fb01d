//! Makes frames as fast as they can be sent.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_TX};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use crate::frame::{WORDS, WORDS_6, words_mut};
use crate::plan::{Next, TEMPLATE, next_packet, plan, write_next};

/// Makes the next frame of the plan and sends it. Run by `BPF_PROG_RUN` on live frames, which come back used: every word that anyone on the
/// way may have written is written anew.
#[xdp]
fn generate(context: XdpContext) -> u32 {
    next_frame(&context).map_or(XDP_ABORTED, |_| XDP_TX)
}

/// Writes the next frame; tells its side.
#[inline(always)]
pub(crate) fn next_frame(context: &XdpContext) -> Option<u64> {
    write_frame(context, next_packet)
}

/// Writes a frame with this packet; tells its side.
#[inline(always)]
pub(crate) fn write_frame(context: &XdpContext, packet: impl FnOnce() -> Option<Next>) -> Option<u64> {
    let frame: &mut [u64; WORDS] = words_mut(context)?;
    let next = packet()?;
    for (word, index) in frame.iter_mut().zip(TEMPLATE..) {
        *word = plan(index)?;
    }
    Some(write_next(frame, next))
}

/// The same for IPv6.
#[xdp]
fn generate6(context: XdpContext) -> u32 {
    next_frame6(&context).map_or(XDP_ABORTED, |()| XDP_TX)
}

#[inline(always)]
fn next_frame6(context: &XdpContext) -> Option<()> {
    let frame: &mut [u64; WORDS_6] = words_mut(context)?;
    let Next { side, port, sequence, timestamp } = next_packet()?;
    for (word, index) in frame.iter_mut().zip(TEMPLATE..) {
        *word = plan(index)?;
    }
    // Bytes 22-37 and 38-53 are the addresses: their last bytes are bytes 5 of word 4 and 5 of word 6.
    frame[4] += side << 40;
    frame[6] += side << 40;
    // Bytes 54-55 and 56-57: the ports. Bytes 64-65: the sequence number. Bytes 66-69: the timestamp.
    frame[6] |= port << 48;
    frame[7] |= port;
    frame[8] |= sequence | timestamp << 16;
    Some(())
}
