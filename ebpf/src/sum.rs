//! The sum over a frame, for one in 65,536 of those that may come with an unfinished checksum: by the kernel's helpers, over a copy.
#![expect(unsafe_code, reason = "the kernel's helpers take pointers")]

use core::ptr;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::{bpf_csum_diff, bpf_xdp_load_bytes};
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use flow::datagram::Frame;

/// The longest piece that is summed up.
const MAX: u32 = 2048;
/// As much as the kernel's helper sums up at a time (before Linux 6.13).
const PIECE: u32 = 512;

/// Room for a copy, and for the zeros behind it. Nothing interrupts a softirq to run the program on the same CPU.
#[map]
static COPY: PerCpuArray<[u8; MAX as usize + 8]> = PerCpuArray::with_max_entries(1, 0);

/// The frame of a program's context.
pub(crate) struct Whole {
    context: *mut xdp_md,
    len: usize,
}

impl Whole {
    /// A frame of so many bytes.
    pub(crate) const fn new(context: *mut xdp_md, len: usize) -> Self {
        Self { context, len }
    }
}

impl Frame for Whole {
    #[inline(always)]
    fn length(&self) -> usize {
        self.len
    }

    #[inline(always)]
    fn sum(&self, start: usize, len: usize) -> Option<u16> {
        let len = len as u32;
        let copy = COPY.get_ptr_mut(0)?.cast::<u8>();
        // Read anew, so that the comparison is of the very value that the helper gets: the verifier knows only that.
        // SAFETY: the pointer comes from a reference.
        let len = unsafe { (&raw const len).read_volatile() };
        if len == 0 || len >= MAX {
            return None;
        }
        // SAFETY: the context is the one that the kernel gave, and the copy has room for so many bytes, which the verifier checks. Nobody writes to
        // the frame meanwhile.
        if unsafe { bpf_xdp_load_bytes(self.context, start as u32, copy.cast(), len) } != 0 {
            return None;
        }
        // The helper sums up words of four bytes.
        // SAFETY: the place is within the copy, whatever the length is below the greatest one.
        unsafe { ptr::write_unaligned(copy.add((len & (MAX - 1)) as usize).cast::<u32>(), 0) };
        let mut sum = 0;
        let mut place = 0;
        while place < MAX {
            let left = if len > place { (len - place + 3) & !3 } else { 0 };
            let piece = if left > PIECE { PIECE } else { left };
            // SAFETY: the piece is within the copy, as the verifier checks; the helper only reads.
            sum = unsafe { bpf_csum_diff(ptr::null_mut(), 0, copy.add(place as usize).cast(), piece, sum as u32) };
            if sum < 0 {
                return None;
            }
            place += PIECE;
        }
        let sum = (sum as u32 & 0xffff) + (sum as u32 >> 16);
        Some(((sum & 0xffff) + (sum >> 16)) as u16)
    }
}
