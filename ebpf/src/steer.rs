//! The socket lookup program: a datagram for a media port goes to the socket of the worker that carries the port, so that a call costs no
//! socket of its own.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::bpf_sk_lookup;
use aya_ebpf::macros::sk_lookup;
use aya_ebpf::programs::SkLookupContext;
use flow::headers::PROTOCOL_UDP;
use flow::{Addr4, Addr6, Be16, Tables as _};

use crate::maps::{Maps, WORKERS};

/// The kernel's numbers of the families (`AF_INET`, `AF_INET6`).
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
/// Let the lookup go on: to the socket assigned here, or else to whatever socket is bound.
const SK_PASS: u32 = 1;

/// Assigns the worker's socket to a datagram for a media port.
#[sk_lookup]
fn steer(context: SkLookupContext) -> u32 {
    let Some((family, port)) = destination(&context) else { return SK_PASS };
    let locals = Maps.locals();
    let ports = match family {
        Family::V4(addr) => locals.find4(addr),
        Family::V6(addr) => locals.find6(addr),
    };
    if ports.and_then(|ports| ports.slot(port)).is_some() {
        // Without a worker the datagram finds no socket and the kernel says so to its sender.
        let _assigned = WORKERS.redirect_sk_lookup(&context, locals.worker(port), 0);
    }
    SK_PASS
}

/// A local address.
enum Family {
    V4(Addr4),
    V6(Addr6),
}

/// The local address and port of a UDP datagram.
#[inline(always)]
#[expect(unsafe_code, reason = "the context's fields are behind a pointer")]
fn destination(context: &SkLookupContext) -> Option<(Family, Be16)> {
    let lookup = context.as_ptr().cast::<bpf_sk_lookup>();
    // SAFETY: the kernel passes a valid context that nobody writes while the program runs; the verifier rewrites these loads.
    let (family, protocol, port) = unsafe { ((*lookup).family, (*lookup).protocol, (*lookup).local_port) };
    if protocol != u32::from(PROTOCOL_UDP) {
        return None;
    }
    let family = match family {
        // SAFETY: as above.
        AF_INET => Family::V4(Addr4::from_raw(unsafe { (*lookup).local_ip4 })),
        AF_INET6 => {
            // SAFETY: as above; four loads, because the context is read by words of 32 bits only.
            let [a, b, c, d] = unsafe {
                let words = &raw const (*lookup).local_ip6;
                let words = words.cast::<u32>();
                [0, 1, 2, 3].map(|at| u64::from(words.add(at).read_volatile()))
            };
            Family::V6(Addr6::from_raw([b << 32 | a, d << 32 | c]))
        }
        _ => return None,
    };
    Some((family, Be16::new(port as u16)))
}
