//! From the context of the XDP program to the headers of its frame: the only pointer arithmetic.
#![expect(unsafe_code, reason = "the one place where an address that the kernel gave becomes a reference")]

use aya_ebpf::programs::XdpContext;
use flow::Headers;

/// The headers of the frame and its length in bytes; `None` when it is too short for the headers of an RTP packet.
#[inline(always)]
pub(crate) fn headers(context: &mut XdpContext) -> Option<(&mut Headers, usize)> {
    let (start, end) = (context.data(), context.data_end());
    if start + size_of::<Headers>() > end {
        return None;
    }
    // SAFETY: the comparison above, which the verifier demands, proves that the bytes are within the frame; they stay for as long as the
    // context and nobody else refers to them; every bit pattern is a valid `Headers`; frames begin at an even address.
    let headers = unsafe { &mut *(start as *mut Headers) };
    Some((headers, end - start))
}
