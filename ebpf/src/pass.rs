//! An XDP program that leaves every frame to the stack.
//!
//! For the far ends of test cables: a veth device delivers what its peer sends by XDP_TX only when it has a program of its own.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// Leaves the frame to the stack.
#[xdp]
fn pass(_: XdpContext) -> u32 {
    XDP_PASS
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("This program runs in the kernel of test hosts.");
    std::process::exit(1);
}
