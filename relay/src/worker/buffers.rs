//! The buffers that a ring receives into: memory that is given to the kernel and comes back with completions.
#![expect(unsafe_code, reason = "the memory is shared with the kernel")]

use std::io;
use std::mem::size_of;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::worker::handler::{BUFFER_LEN, FILLED_MAX};

/// The buffers, and the ring of entries by which they are given to the kernel.
pub(crate) struct Buffers {
    entries: NonNull<BufRingEntry>,
    buffers: NonNull<u8>,
    /// Buffers that stand in the ring beyond its tail, where the kernel does not look yet.
    given: u16,
    /// How many there are: a power of two.
    count: u16,
    leaked: bool,
}

// SAFETY: the mappings are its own and not tied to a thread.
unsafe impl Send for Buffers {}

impl Buffers {
    /// So many buffers, rounded up to a power of two; none is the kernel's yet.
    ///
    /// # Errors
    /// When there is no memory.
    pub(crate) fn new(count: u16) -> io::Result<Self> {
        let count = count.clamp(1, 1 << 14).next_power_of_two();
        let map = |bytes| -> io::Result<NonNull<u8>> {
            // SAFETY: a new private mapping at an address of the kernel's choice touches nothing that exists.
            let start = unsafe {
                mmap_anonymous(
                    std::ptr::null_mut(),
                    bytes,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::PRIVATE | MapFlags::POPULATE,
                )
            }?;
            NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))
        };
        let (entries, buffers) = Self::lengths(count);
        Ok(Self { entries: map(entries)?.cast(), buffers: map(buffers)?, given: 0, count, leaked: false })
    }

    /// Bytes of the entries, and of the buffers.
    const fn lengths(count: u16) -> (usize, usize) {
        (count as usize * size_of::<BufRingEntry>(), count as usize * BUFFER_LEN)
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> u16 {
        self.count
    }

    /// Where the ring of entries begins; it is page-aligned, and of as many entries as there are buffers.
    pub(crate) fn entries(&self) -> u64 {
        self.entries.as_ptr() as u64
    }

    fn buffer(&self, buffer: u16) -> NonNull<u8> {
        // SAFETY: buffer numbers come from the kernel or from 0..count and are reduced to that range, so the offset is within the mapping.
        unsafe { self.buffers.add(usize::from(buffer % self.count) * BUFFER_LEN) }
    }

    /// A buffer that the kernel has filled. Its number came with a completion, so it is in nobody else's hands until it is given back.
    pub(crate) fn bytes(&mut self, buffer: u16) -> &mut [u8] {
        // SAFETY: the buffer is within the mapping and, by the rule above, not with the kernel; `&mut self` keeps others off.
        unsafe { std::slice::from_raw_parts_mut(self.buffer(buffer).as_ptr(), BUFFER_LEN) }
    }

    fn tail(&self) -> &AtomicU16 {
        // SAFETY: the tail lies within the first entry, is aligned to 2 and is written by this process only; the kernel reads it.
        unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) }
    }

    /// Writes a buffer into the ring. The kernel has it after [`Buffers::publish`].
    pub(crate) fn give(&mut self, buffer: u16) {
        let place = self.tail().load(Ordering::Relaxed).wrapping_add(self.given) & (self.count - 1);
        // SAFETY: the place is within the ring, and beyond the tail the kernel does not look.
        let entry = unsafe { &mut *self.entries.as_ptr().add(usize::from(place)) };
        entry.set_addr(self.buffer(buffer).as_ptr() as u64);
        entry.set_len(FILLED_MAX as u32);
        entry.set_bid(buffer);
        self.given += 1;
    }

    /// Gives the kernel what was written into the ring.
    pub(crate) fn publish(&mut self) {
        let given = std::mem::take(&mut self.given);
        let tail = self.tail();
        tail.store(tail.load(Ordering::Relaxed).wrapping_add(given), Ordering::Release);
    }

    /// Leaves the memory mapped for ever.
    pub(crate) fn leak(&mut self) {
        self.leaked = true;
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if self.leaked {
            return;
        }
        let (entries, buffers) = Self::lengths(self.count);
        // SAFETY: the mappings are ours and of these lengths; the ring has ended all requests before its memory is dropped.
        let unmapped =
            unsafe { munmap(self.entries.as_ptr().cast(), entries).and(munmap(self.buffers.as_ptr().cast(), buffers)) };
        debug_assert!(unmapped.is_ok());
    }
}
