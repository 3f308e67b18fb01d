//! From the context of the XDP program to the headers of its frame: the only pointer arithmetic.
#![expect(unsafe_code, reason = "the one place where an address that the kernel gave becomes a reference")]

use aya_ebpf::programs::XdpContext;
use flow::headers::{ETHERTYPE_IPV6, Envelope4, Envelope6, Ethernet, Headers4, Headers6};

/// As much of a frame's headers as it is long enough for.
pub(crate) enum Frame<'a> {
    /// Those of an RTP packet over IPv4, or of something that is not IP at all.
    Whole4(&'a mut Headers4),
    /// Those of an RTP packet over IPv6.
    Whole6(&'a mut Headers6),
    /// Those of a UDP datagram over IPv4, or of something that is not IP at all.
    Short4(&'a Envelope4),
    /// Those of a UDP datagram over IPv6.
    Short6(&'a Envelope6),
    /// Less.
    Runt,
}

/// The headers of the frame, and its length in bytes.
#[inline(always)]
pub(crate) fn headers(context: &mut XdpContext) -> (Frame<'_>, usize) {
    let (start, end) = (context.data(), context.data_end());
    (view(start, end), end - start)
}

#[inline(always)]
fn view<'a>(start: usize, end: usize) -> Frame<'a> {
    if start + size_of::<Headers4>() > end {
        if start + size_of::<Envelope4>() > end {
            return Frame::Runt;
        }
        // SAFETY: the comparison above, which the verifier demands, proves that the bytes are within the frame; they stay for as long as the
        // context and nobody else refers to them; every bit pattern is a valid view; frames begin at an even address.
        return Frame::Short4(unsafe { &*(start as *const Envelope4) });
    }
    // SAFETY: as above; there are at least as many bytes.
    let kind = unsafe { &*(start as *const Ethernet) }.kind;
    if kind != ETHERTYPE_IPV6 {
        // SAFETY: as above, and this is the one reference that is handed out.
        return Frame::Whole4(unsafe { &mut *(start as *mut Headers4) });
    }
    if start + size_of::<Headers6>() <= end {
        // SAFETY: as above, by the comparison in this condition.
        return Frame::Whole6(unsafe { &mut *(start as *mut Headers6) });
    }
    if start + size_of::<Envelope6>() <= end {
        // SAFETY: as above, by the comparison in this condition.
        return Frame::Short6(unsafe { &*(start as *const Envelope6) });
    }
    Frame::Runt
}
