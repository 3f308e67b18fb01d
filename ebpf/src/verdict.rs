//! The XDP program: from a verdict to an action, and the count of what was not forwarded, in one place.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT, XDP_TX};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use flow::forward::{forward, short};
use flow::{Reason, Verdict};

use crate::frame::{self, Frame};
use crate::maps::{Maps, count, hand_over};
use crate::sum::Whole;

/// Forwards the frame, or leaves it to a worker or to the stack.
#[xdp]
fn relay(mut context: XdpContext) -> u32 {
    let ingress = context.ingress_ifindex() as u32;
    let whole = context.ctx;
    let verdict = match frame::headers(&mut context) {
        (Frame::Whole4(headers), len) => forward(headers, &Whole::new(whole, len), ingress, &Maps),
        (Frame::Whole6(headers), len) => forward(headers, &Whole::new(whole, len), ingress, &Maps),
        (Frame::Short4(envelope), len) => short(envelope, len, &Maps),
        (Frame::Short6(envelope), len) => short(envelope, len, &Maps),
        (Frame::Runt, _) => Verdict::Pass(Reason::NotOurs),
    };
    match verdict {
        Verdict::Pass(Reason::NotOurs) => XDP_PASS,
        Verdict::Pass(reason) if reason.is_for_worker() => {
            count(reason);
            hand_over(ingress, queue(whole))
        }
        Verdict::Pass(reason) => {
            count(reason);
            XDP_PASS
        }
        Verdict::Drop(reason) => {
            count(reason);
            XDP_DROP
        }
        Verdict::Transmit => XDP_TX,
        Verdict::Redirect => XDP_REDIRECT,
    }
}

/// The receive queue that the frame came by.
#[inline(always)]
#[expect(unsafe_code, reason = "the context's fields are behind a pointer")]
fn queue(context: *mut xdp_md) -> u32 {
    // SAFETY: the context is the one that the kernel gave, which nobody writes while the program runs; the verifier rewrites the load.
    unsafe { (*context).rx_queue_index }
}
