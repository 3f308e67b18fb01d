//! The socket lookup program: a datagram for a media port goes to the socket of the worker that carries the port, so that a call costs no
//! socket of its own. One for a port without a call goes nowhere.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::bpf_sk_lookup;
use aya_ebpf::macros::sk_lookup;
use aya_ebpf::programs::SkLookupContext;
use flow::headers::PROTOCOL_UDP;
use flow::slot::Flags;
use flow::{Addr4, Addr6, Be16, Knocker, Reason, Slot, SlotIndex, Tables as _};

use crate::maps::{Maps, WORKERS, count};

/// The kernel's numbers of the families (`AF_INET`, `AF_INET6`).
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
/// Let the lookup go on: to the socket assigned here, or else to whatever socket is bound.
const SK_PASS: u32 = 1;
/// There is no socket for this datagram, whatever is bound.
const SK_DROP: u32 = 0;

/// Assigns the worker's socket to a datagram for a media port that a call has.
#[sk_lookup]
fn steer(context: SkLookupContext) -> u32 {
    let Some((local, port)) = destination(&context) else { return SK_PASS };
    let locals = Maps.locals();
    let ports = match local {
        Family::V4(addr) => locals.find4(addr),
        Family::V6(addr) => locals.find6(addr),
    };
    let Some(index) = ports.and_then(|ports| ports.slot(port)) else { return SK_PASS };
    if let Some(reason) = refusal(index, &context, &local) {
        count(reason);
        return SK_DROP;
    }
    // Without a worker the datagram finds no socket and the kernel says so to its sender.
    let _assigned = WORKERS.redirect_sk_lookup(&context, locals.worker(port), 0);
    SK_PASS
}

/// Why a datagram goes nowhere: no call has the slot, which then remembers the sender, or its peer is beyond doubt and somebody else.
#[inline(always)]
fn refusal(index: SlotIndex, context: &SkLookupContext, local: &Family) -> Option<Reason> {
    let Some(slot) = Maps.slot(index) else { return Some(Reason::NoCall) };
    let state = slot.state();
    if !state.flags().has(Flags::CALL) {
        slot.knock(state, Knocker::new(sender(context, local).fold()), Maps.epoch());
        return Some(Reason::NoCall);
    }
    let is_certain = state.flags().has(Flags::ACTIVE.with(Flags::SETTLED));
    (is_certain && !is_peer(slot, context, local) && slot.still(state)).then_some(Reason::Stranger)
}

#[inline(always)]
fn is_peer(slot: &Slot, context: &SkLookupContext, local: &Family) -> bool {
    let port = sender_port(context);
    match sender(context, local) {
        Family::V4(addr) => slot.is_peer4(addr, port),
        Family::V6(addr) => slot.is_peer6(addr, port, |id| Maps.hop(id)),
    }
}

/// The sender's address.
#[inline(always)]
#[expect(unsafe_code, reason = "the context's fields are behind a pointer")]
fn sender(context: &SkLookupContext, local: &Family) -> Family {
    let lookup = context.as_ptr().cast::<bpf_sk_lookup>();
    match local {
        // SAFETY: the kernel passes a valid context that nobody writes while the program runs; the verifier rewrites these loads.
        Family::V4(_) => Family::V4(Addr4::from_raw(unsafe { (*lookup).remote_ip4 })),
        // SAFETY: as above.
        Family::V6(_) => Family::V6(address6(unsafe { &raw const (*lookup).remote_ip6 }.cast())),
    }
}

/// The sender's port.
#[inline(always)]
#[expect(unsafe_code, reason = "the context's fields are behind a pointer")]
fn sender_port(context: &SkLookupContext) -> Be16 {
    let lookup = context.as_ptr().cast::<bpf_sk_lookup>();
    // SAFETY: as in `sender`; two bytes of the field may be read by every kernel, as they lie in a header.
    Be16::from_raw(unsafe { (*lookup).remote_port })
}

/// An IPv6 address of the context: four loads, because it is read by words of 32 bits only.
#[inline(always)]
#[expect(unsafe_code, reason = "the context's fields are behind a pointer")]
fn address6(words: *const u32) -> Addr6 {
    // SAFETY: both callers pass the address of a field of four words in a valid context.
    let [a, b, c, d] = unsafe { [0, 1, 2, 3].map(|at| u64::from(words.add(at).read_volatile())) };
    Addr6::from_raw([b << 32 | a, d << 32 | c])
}

/// An address.
enum Family {
    V4(Addr4),
    V6(Addr6),
}

impl Family {
    #[inline(always)]
    fn fold(&self) -> u32 {
        match self {
            Self::V4(addr) => addr.fold(),
            Self::V6(addr) => addr.fold(),
        }
    }
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
        // SAFETY: as above.
        AF_INET6 => Family::V6(address6(unsafe { &raw const (*lookup).local_ip6 }.cast())),
        _ => return None,
    };
    Some((family, Be16::new(port as u16)))
}
