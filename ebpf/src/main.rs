//! The kernel side of Intertrunk: the XDP program that forwards, and the socket lookup program that steers the rest to the workers.
//!
//! Thin by intention: what a frame's fate is, `flow::forward` decides, the same code that runs on the host. Here are only the maps, the way
//! from a context to a frame, and the way from a verdict to an action.
//!
//! On the host this is a stub, so that check, clippy and the workspace's tests see it on any machine.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

mod frame;
mod maps;
mod steer;
mod sum;
mod verdict;

/// The kernel admits some helpers only to programs under a licence compatible with the GPL.
#[cfg(target_arch = "bpf")]
#[expect(unsafe_code, reason = "the section and the symbol by which the kernel's loaders find the licence")]
// SAFETY: the section holds nothing else, and no other symbol has this name.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier admits no endless loop: that the program loads is the proof that this cannot be reached.
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("This program runs in the kernel; `intertrunk serve` loads it.");
    std::process::exit(1);
}
