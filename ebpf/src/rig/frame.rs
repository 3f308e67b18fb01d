//! The beginning of a frame, as words.

use aya_ebpf::programs::XdpContext;

/// Words in the beginning of a frame that the generator writes: 56 bytes, the headers of an RTP packet over IPv4 and two bytes more.
pub(crate) const WORDS: usize = 7;
/// The same for IPv6: 72 bytes, the headers without the last two bytes of the SSRC.
pub(crate) const WORDS_6: usize = 9;
/// Words of a frame that bears the time of its making: the headers over IPv4, two bytes more, and eight bytes of payload.
pub(crate) const STAMPED_WORDS: usize = 8;

#[inline(always)]
pub(crate) fn swap_macs(frame: &mut [u64; WORDS]) {
    let (to, from) = (frame[0] & 0xffff_ffff_ffff, frame[0] >> 48 | (frame[1] & 0xffff_ffff) << 16);
    frame[0] = from | to << 48;
    frame[1] = (frame[1] & !0xffff_ffff) | to >> 16;
}

/// The first words of a frame of either family.
#[inline(always)]
pub(crate) fn bare_words(context: &XdpContext) -> Option<&mut [u64; WORDS]> {
    words_mut(context)
}

#[inline(always)]
#[expect(clippy::mut_from_ref, reason = "a context has one frame, and each program asks once")]
pub(crate) fn words_mut<const N: usize>(context: &XdpContext) -> Option<&mut [u64; N]> {
    let start = context.data();
    if start + size_of::<[u64; N]>() > context.data_end() {
        return None;
    }
    #[expect(unsafe_code, reason = "the one place where an address that the kernel gave becomes a reference")]
    // SAFETY: the comparison above, which the verifier demands, proves that the bytes are within the frame; frames of veth devices and of test
    // runs begin at a multiple of eight; nobody else refers to them.
    Some(unsafe { &mut *(start as *mut [u64; N]) })
}
