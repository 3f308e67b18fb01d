//! What any program could do at most: the limits of the rig.

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_PASS, XDP_TX};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, DevMap};
use aya_ebpf::programs::XdpContext;

use crate::frame::{bare_words, swap_macs};

/// An entry for each flow, as large as the relay's slots and laid out like them: of both sides all even ports, then all odd ones.
#[map]
static ENTRIES: Array<[u64; 4]> = Array::with_max_entries(2 << 16, 0);

/// The device that the bare redirector sends to.
#[map]
static EGRESS: DevMap = DevMap::with_max_entries(1, 0);

/// Leaves the frame to the stack: a veth device delivers what its peer sends by XDP only when it has a program of its own.
#[xdp]
fn pass(_: XdpContext) -> u32 {
    XDP_PASS
}

/// The bare reflector that also looks into the entry of the frame's flow, sends on what it finds there, and counts: the limit of any program
/// that knows its flows.
#[xdp]
fn touch(context: XdpContext) -> u32 {
    let Some(frame) = bare_words(&context) else { return XDP_PASS };
    // Byte 33 is the last of the relay's address, .1 or .2; bytes 36-37 are its port.
    let (side, port) = ((frame[4] >> 8 & 3).wrapping_sub(1) as u32, u16::from_be((frame[4] >> 32) as u16));
    let Some(entry) = ENTRIES.get_ptr_mut(side << 16 | u32::from(port.rotate_right(1))) else { return XDP_PASS };
    #[expect(unsafe_code, reason = "the entry of the flow")]
    // SAFETY: the pointer is to an entry of the map, and the measurement keeps to one CPU, so nothing else uses it meanwhile.
    let entry = unsafe { &mut *entry };
    // The entries are zero but for the counts, which the compiler cannot know: as with the relay, whether and how the frame leaves is not
    // known before the entry is there.
    if entry[1] != 0 {
        return XDP_PASS;
    }
    frame[4] ^= entry[2];
    entry[0] += 1;
    entry[3] += frame[5];
    swap_macs(frame);
    XDP_TX
}

/// The bare reflector: exchanges the MACs and sends the frame back. The limit of the rig.
#[xdp]
fn reflect(context: XdpContext) -> u32 {
    match bare_words(&context) {
        Some(frame) => {
            swap_macs(frame);
            XDP_TX
        }
        None => XDP_PASS,
    }
}

/// The bare redirector: exchanges the MACs and sends the frame to another device.
#[xdp]
fn redirect(context: XdpContext) -> u32 {
    let Some(frame) = bare_words(&context) else { return XDP_PASS };
    swap_macs(frame);
    EGRESS.redirect(0, 0).unwrap_or(XDP_ABORTED)
}
