//! Counts frames, and drops them.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::XdpContext;

use crate::frame::bare_words;

/// How many frames the sink has seen.
#[map]
static SUNK: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Counts RTP frames and drops them; leaves others (ARP) to the stack.
#[xdp]
fn sink(context: XdpContext) -> u32 {
    let Some(frame) = bare_words(&context) else { return XDP_PASS };
    // EtherType and version in the second word, protocol in the third: IPv4 and UDP, or IPv6 and UDP.
    let kind = (frame[1] >> 32) as u16;
    let is_udp = match u16::from_be(kind) {
        0x0800 => (frame[2] >> 56) as u8 == 17,
        0x86dd => (frame[2] >> 32) as u8 == 17,
        _ => false,
    };
    if !is_udp {
        return XDP_PASS;
    }
    count();
    XDP_DROP
}

#[inline(always)]
pub(crate) fn count() {
    if let Some(count) = SUNK.get_ptr_mut(0) {
        #[expect(unsafe_code, reason = "the counter of this CPU")]
        // SAFETY: the pointer is to this CPU's entry, and nothing interrupts a softirq to run this program on the same CPU.
        unsafe {
            *count += 1;
        }
    }
}
