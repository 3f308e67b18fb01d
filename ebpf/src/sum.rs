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
        let copy = COPY.get_ptr_mut(0)?.cast::<u8>();
        // Read anew, so that the compiler knows nothing of it and leaves the mask in place: by that the verifier knows the range, also that of Linux 6.1,
        // which forgets comparisons of what lay on the stack. What it would change is compared at the end.
        let asked = len as u32;
        // SAFETY: the pointer comes from a reference.
        let asked = unsafe { (&raw const asked).read_volatile() };
        let len = (asked.wrapping_sub(1) & (MAX - 1)) + 1;
        // SAFETY: the context is the one that the kernel gave, and the copy has room for so many bytes, which the verifier checks. Nobody writes to
        // the frame meanwhile.
        if unsafe { bpf_xdp_load_bytes(self.context, start as u32, copy.cast(), len) } != 0 {
            return None;
        }
        // The helper sums up words of four bytes.
        // SAFETY: the place is within the copy, or right behind what it has for the longest piece.
        unsafe { ptr::write_unaligned(copy.add(len as usize).cast::<u32>(), 0) };
        // By a division and no comparisons, for the same reason.
        let (whole, rest) = ((len + 3) / PIECE, ((len + 3) % PIECE) & !3);
        let mut sum = 0;
        for number in 0..MAX / PIECE {
            let size = match number {
                number if number < whole => PIECE,
                number if number == whole => rest,
                _ => break,
            };
            let piece = copy.wrapping_add((number * PIECE) as usize);
            // SAFETY: the piece is within the copy, as the verifier checks; the helper only reads.
            sum = unsafe { bpf_csum_diff(ptr::null_mut(), 0, piece.cast(), size, sum as u32) };
            if sum < 0 {
                return None;
            }
        }
        if asked > MAX {
            return None;
        }
        let sum = (sum as u32 & 0xffff) + (sum as u32 >> 16);
        Some(((sum & 0xffff) + (sum >> 16)) as u16)
    }
}
