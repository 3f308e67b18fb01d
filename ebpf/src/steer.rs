//! The socket lookup program: a datagram for a media port goes to the socket of the worker that carries the port, so that a call costs no
//! socket of its own.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::bpf_sk_lookup;
use aya_ebpf::macros::sk_lookup;
use aya_ebpf::programs::SkLookupContext;
use flow::headers::PROTOCOL_UDP;
use flow::{Addr4, Be16, Tables as _};

use crate::maps::{Maps, WORKERS};

/// The kernel's number of IPv4 (`AF_INET`).
const AF_INET: u32 = 2;
/// Let the lookup go on: to the socket assigned here, or else to whatever socket is bound.
const SK_PASS: u32 = 1;

/// Assigns the worker's socket to a datagram for a media port.
#[sk_lookup]
fn steer(context: SkLookupContext) -> u32 {
    let Some((local, port)) = destination(&context) else { return SK_PASS };
    let Some(ports) = Maps.locals().find(local) else { return SK_PASS };
    if ports.slot(port).is_some() {
        // Without a worker the datagram finds no socket and the kernel says so to its sender.
        let _assigned = WORKERS.redirect_sk_lookup(&context, ports.worker(port), 0);
    }
    SK_PASS
}

/// The local address and port of an IPv4 UDP datagram.
#[inline(always)]
#[expect(unsafe_code, reason = "the context's fields are behind a pointer")]
fn destination(context: &SkLookupContext) -> Option<(Addr4, Be16)> {
    let lookup = context.as_ptr().cast::<bpf_sk_lookup>();
    // SAFETY: the kernel passes a valid context that nobody writes while the program runs; the verifier rewrites these loads.
    let (family, protocol, addr, port) =
        unsafe { ((*lookup).family, (*lookup).protocol, (*lookup).local_ip4, (*lookup).local_port) };
    if family != AF_INET || protocol != u32::from(PROTOCOL_UDP) {
        return None;
    }
    Some((Addr4::from_raw(addr), Be16::new(port as u16)))
}
