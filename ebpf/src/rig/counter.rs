//! Counts the RTP of whole calls at the device of their end.

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

use crate::count;

/// An Ethernet frame up to the first byte of what UDP bears.
const HEADERS: usize = 48;
/// Where SIP is spoken.
const SIP: u16 = 5060;

/// Counts what leaves.
#[classifier]
fn count_sent(context: TcContext) -> i32 {
    if is_rtp(&context) {
        count();
    }
    TC_ACT_UNSPEC
}

/// Counts what comes, and drops it: nobody listens, and each party's sender would have a copy of each packet made.
#[classifier]
fn count_received(context: TcContext) -> i32 {
    if is_rtp(&context) {
        count();
        return TC_ACT_SHOT;
    }
    TC_ACT_UNSPEC
}

/// Over IPv4, and not RTCP.
#[inline(always)]
fn is_rtp(context: &TcContext) -> bool {
    let (start, end) = (context.data(), context.data_end());
    if start + HEADERS > end {
        return false;
    }
    #[expect(unsafe_code, reason = "the frame")]
    // SAFETY: the words lie within the frame, as just seen; nobody writes to them meanwhile.
    let frame = unsafe { &*(start as *const [u64; HEADERS / 8]) };
    let port = |shift: u32| u16::from_be((frame[4] >> shift) as u16);
    // EtherType, protocol, ports (bytes 34 and 36), the version of RTP, and no type of RTCP.
    u16::from_be((frame[1] >> 32) as u16) == 0x0800
        && (frame[2] >> 56) as u8 == 17
        && port(16) != SIP
        && port(32) != SIP
        && (frame[5] >> 16) as u8 >> 6 == 2
        && !(192..224).contains(&((frame[5] >> 24) as u8))
}
