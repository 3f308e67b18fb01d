//! From the context of the XDP program to the headers of its frame: the only pointer arithmetic.
#![expect(unsafe_code, reason = "the one place where an address that the kernel gave becomes a reference")]

use aya_ebpf::programs::XdpContext;
use flow::Headers;
use flow::headers::Envelope;

/// As much of a frame's headers as it is long enough for.
pub(crate) enum Frame<'a> {
    /// Those of an RTP packet.
    Whole(&'a mut Headers),
    /// Those of a UDP datagram.
    Short(&'a Envelope),
    /// Neither.
    Runt,
}

/// The headers of the frame, and its length in bytes.
#[inline(always)]
pub(crate) fn headers(context: &mut XdpContext) -> (Frame<'_>, usize) {
    let (start, end) = (context.data(), context.data_end());
    let len = end - start;
    if start + size_of::<Headers>() <= end {
        // SAFETY: the comparison above, which the verifier demands, proves that the bytes are within the frame; they stay for as long as the
        // context and nobody else refers to them; every bit pattern is a valid `Headers`; frames begin at an even address.
        return (Frame::Whole(unsafe { &mut *(start as *mut Headers) }), len);
    }
    if start + size_of::<Envelope>() <= end {
        // SAFETY: as above, for the shorter view.
        return (Frame::Short(unsafe { &*(start as *const Envelope) }), len);
    }
    (Frame::Runt, len)
}
