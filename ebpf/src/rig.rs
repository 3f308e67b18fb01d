//! The programs of test hosts: what stands at the far ends of test cables, and makes and counts frames at rates that no socket reaches.
//!
//! They measure the relay from outside and know nothing of it.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[path = "rig/bare.rs"]
mod bare;
#[path = "rig/counter.rs"]
mod counter;
#[path = "rig/delays.rs"]
mod delays;
#[path = "rig/flood.rs"]
mod flood;
#[path = "rig/frame.rs"]
mod frame;
#[path = "rig/generate.rs"]
mod generate;
#[path = "rig/paced.rs"]
mod paced;
#[path = "rig/plan.rs"]
mod plan;
#[path = "rig/sink.rs"]
mod sink;
#[path = "rig/step.rs"]
mod step;
#[path = "rig/streams.rs"]
mod streams;

#[cfg(target_arch = "bpf")]
#[expect(unsafe_code, reason = "the section and the symbol by which the kernel's loaders find the licence")]
// SAFETY: the section holds nothing else, and no other symbol has this name.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("These programs run in the kernel of test hosts.");
    std::process::exit(1);
}
