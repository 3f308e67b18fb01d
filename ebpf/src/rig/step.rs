//! The frames of test runs, in which a program is measured alone.

use aya_ebpf::bindings::xdp_action::XDP_ABORTED;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::ProgramArray;
use aya_ebpf::programs::XdpContext;

use crate::frame::{WORDS_6, words_mut};

/// The program that is measured alone.
#[map]
static MEASURED: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Makes the frame of a test run the next one of its flow, over IPv4, and hands it to the program that is measured: of one frame again and again,
/// all but the first would be late.
#[xdp]
fn step4(context: XdpContext) -> u32 {
    step(&context, |frame: &mut [u64; WORDS_6]| &mut frame[5], 32)
}

/// The same over IPv6.
#[xdp]
fn step6(context: XdpContext) -> u32 {
    step(&context, |frame: &mut [u64; WORDS_6]| &mut frame[8], 0)
}

/// `shift`: where in its word the sequence number is.
#[inline(always)]
fn step(context: &XdpContext, word: impl FnOnce(&mut [u64; WORDS_6]) -> &mut u64, shift: u32) -> u32 {
    let Some(frame) = words_mut::<WORDS_6>(context) else { return XDP_ABORTED };
    let word = word(frame);
    let next = u16::from_be((*word >> shift) as u16).wrapping_add(1);
    *word = *word & !(0xffff << shift) | u64::from(next.to_be()) << shift;
    #[expect(unsafe_code, reason = "a helper call")]
    // SAFETY: the context is the program's own; where there is no program to go on with, this one does.
    unsafe {
        MEASURED.tail_call(context, 0);
    }
    XDP_ABORTED
}
