//! How long frames were under way.

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::{classifier, map};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::TcContext;

use crate::frame::STAMPED_WORDS;
use crate::sink::count;

/// How long frames were under way: counts by delay, see [`bucket`].
#[map]
static DELAYS: PerCpuArray<u64> = PerCpuArray::with_max_entries(BUCKETS, 0);
/// Eight buckets for each power of two, of nanoseconds.
const BUCKETS: u32 = 64 * 8;

/// Counts stamped frames and their delays, and drops everything that is no ARP. By the stack: XDP on a veth device would first have a frame
/// that a socket has sent copied, at the expense of the relay that is measured.
#[classifier]
fn sink_delays(context: TcContext) -> i32 {
    let (start, end) = (context.data(), context.data_end());
    if start + STAMPED_WORDS * 8 > end {
        return TC_ACT_UNSPEC;
    }
    #[expect(unsafe_code, reason = "the frame")]
    // SAFETY: the words lie within the frame, as just seen; nobody writes to them meanwhile.
    let frame = unsafe { &*(start as *const [u64; STAMPED_WORDS]) };
    let is_udp = u16::from_be((frame[1] >> 32) as u16) == 0x0800 && (frame[2] >> 56) as u8 == 17;
    if !is_udp {
        return TC_ACT_UNSPEC;
    }
    // Byte 43 is the payload type. ICMP, RTCP and the like are no frames of the plan.
    if (frame[5] >> 24) as u8 == 8 {
        count();
        note(clock().wrapping_sub(frame[7]));
    }
    TC_ACT_SHOT
}

/// A frame was under way for so many nanoseconds.
#[inline(always)]
pub(crate) fn note(delay: u64) {
    if let Some(delays) = DELAYS.get_ptr_mut(bucket(delay)) {
        #[expect(unsafe_code, reason = "the counter of this CPU")]
        // SAFETY: the pointer is to this CPU's entry, and nothing interrupts a softirq to run this program on the same CPU.
        unsafe {
            *delays += 1;
        }
    }
}

/// The bucket of a delay: the number of its highest bit, and the three bits behind that.
#[inline(always)]
fn bucket(delay: u64) -> u32 {
    let high = 63 - (delay | 8).leading_zeros();
    (high * 8 + (delay >> (high - 3)) as u32 % 8) % BUCKETS
}

#[inline(always)]
pub(crate) fn clock() -> u64 {
    #[expect(unsafe_code, reason = "a helper call")]
    // SAFETY: the helper takes no arguments and only reads a clock.
    unsafe {
        aya_ebpf::helpers::bpf_ktime_get_ns()
    }
}
