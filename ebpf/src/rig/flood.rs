//! A flood of strangers' frames, and a party's among them now and then.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use crate::frame::{WORDS, bare_words, words_mut};
use crate::generate::next_frame;
use crate::plan::{EVERY, POSITION, plan};
use crate::sink::count;

/// Writes the next frame of a flood over IPv4: now and then one of the parties', all others from strangers to the same ports.
#[xdp]
fn flood(context: XdpContext) -> u32 {
    next_frame(&context).and_then(|_| disguise(&context)).map_or(XDP_ABORTED, |()| XDP_TX)
}

/// Makes a party's frame a stranger's, unless it is its turn.
#[inline(always)]
fn disguise(context: &XdpContext) -> Option<()> {
    let frame: &mut [u64; WORDS] = words_mut(context)?;
    let number = *POSITION.get(0)?.first()?;
    if number.checked_rem(plan(EVERY)?)? != 0 {
        // Byte 29 is the last of the source address; byte 43 is the payload type, by which sinks know the parties' frames.
        frame[3] += 16 << 40;
        frame[5] &= !(0xff << 24);
    }
    Some(())
}

/// Counts the parties' frames in what comes back of a flood, and drops everything that is no ARP.
#[xdp]
fn sink_parties(context: XdpContext) -> u32 {
    let Some(frame) = bare_words(&context) else { return XDP_PASS };
    let is_udp = u16::from_be((frame[1] >> 32) as u16) == 0x0800 && (frame[2] >> 56) as u8 == 17;
    if !is_udp {
        return XDP_PASS;
    }
    if (frame[5] >> 24) as u8 == 8 {
        count();
    }
    XDP_DROP
}
