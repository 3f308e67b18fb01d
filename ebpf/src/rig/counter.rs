//! Counts the RTP of whole calls at the device of their end.

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::{classifier, map};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::TcContext;

use crate::sink::count;

/// An Ethernet frame up to the first byte of what UDP bears.
const HEADERS: usize = 48;
/// Where SIP is spoken.
const SIP: u16 = 5060;

/// How many came to each port.
#[map]
static HEARD: PerCpuArray<u64> = PerCpuArray::with_max_entries(1 << 16, 0);

/// Counts what leaves.
#[classifier]
fn count_sent(context: TcContext) -> i32 {
    if rtp(&context).is_some() {
        count();
    }
    TC_ACT_UNSPEC
}

/// Counts what comes, and drops it: nobody listens, and each party's sender would have a copy of each packet made.
#[classifier]
fn count_received(context: TcContext) -> i32 {
    let Some(port) = rtp(&context) else { return TC_ACT_UNSPEC };
    count();
    if let Some(heard) = HEARD.get_ptr_mut(u32::from(port)) {
        #[expect(unsafe_code, reason = "the counter of this CPU")]
        // SAFETY: the pointer is to this CPU's entry, and nothing interrupts a softirq to run this program on the same CPU.
        unsafe {
            *heard += 1;
        }
    }
    TC_ACT_SHOT
}

/// The port that an RTP packet goes to; over IPv4, and not RTCP.
#[inline(always)]
fn rtp(context: &TcContext) -> Option<u16> {
    let (start, end) = (context.data(), context.data_end());
    if start + HEADERS > end {
        return None;
    }
    #[expect(unsafe_code, reason = "the frame")]
    // SAFETY: the words lie within the frame, as just seen; nobody writes to them meanwhile.
    let frame = unsafe { &*(start as *const [u64; HEADERS / 8]) };
    let port = |shift: u32| u16::from_be((frame[4] >> shift) as u16);
    // EtherType, protocol, ports (bytes 34 and 36), the version of RTP, and no type of RTCP.
    let is_rtp = u16::from_be((frame[1] >> 32) as u16) == 0x0800
        && (frame[2] >> 56) as u8 == 17
        && port(16) != SIP
        && port(32) != SIP
        && (frame[5] >> 16) as u8 >> 6 == 2
        && !(192..224).contains(&((frame[5] >> 24) as u8));
    is_rtp.then(|| port(32))
}
