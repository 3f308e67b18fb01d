//! The XDP program: from a verdict to an action, and the count of what was not forwarded, in one place.

use aya_ebpf::bindings::xdp_action::{XDP_PASS, XDP_REDIRECT, XDP_TX};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use flow::{Reason, Verdict, forward};

use crate::frame;
use crate::maps::{Maps, count};

/// Forwards the frame, or leaves it to the stack.
#[xdp]
fn relay(mut context: XdpContext) -> u32 {
    // A frame that is too short for RTP headers is not RTP, but may be anything else.
    let ingress = context.ingress_ifindex() as u32;
    let verdict = match frame::headers(&mut context) {
        Some((headers, len)) => forward(headers, len, ingress, &Maps),
        None => Verdict::Pass(Reason::NotOurs),
    };
    match verdict {
        Verdict::Pass(Reason::NotOurs) => XDP_PASS,
        Verdict::Pass(reason) => {
            count(reason);
            XDP_PASS
        }
        Verdict::Transmit => XDP_TX,
        Verdict::Redirect => XDP_REDIRECT,
    }
}

/// Leaves every frame to the stack: for the devices at the other end of a test's cable, which deliver redirected frames only when they have
/// a program of their own.
#[xdp]
fn pass(_: XdpContext) -> u32 {
    XDP_PASS
}
