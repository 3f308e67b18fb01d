//! The rings between the kernel and an AF_XDP socket, and the memory that frames lie in: mapped, each end written by one side alone
//! (Documentation/networking/af_xdp.rst).
#![expect(unsafe_code, reason = "memory that the kernel reads and writes")]

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use rustix::net::xdp::XdpRingOffset;

/// Bytes of a chunk. In one of 2,048 frames of more than 1,792 bytes would have no room.
pub(super) const CHUNK: usize = 4096;

/// Memory of an own mapping.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is its own and not tied to a thread.
unsafe impl Send for Mapping {}

impl Mapping {
    fn at(start: *mut core::ffi::c_void, len: usize) -> io::Result<Self> {
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))?;
        Ok(Self { start, len })
    }

    /// The memory of a ring.
    fn of_ring(socket: BorrowedFd<'_>, page: u64, len: usize) -> io::Result<Self> {
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists; the kernel refuses a length beyond the ring's.
        let start = unsafe { mmap(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags, socket, page) };
        Self::at(start?, len)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and of this length; whoever has a piece of it borrows from its owner.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

/// The memory of frames: chunks of one size.
pub(super) struct Chunks {
    mapping: Mapping,
    size: usize,
}

impl Chunks {
    /// So many chunks of a size, a power of two.
    ///
    /// # Errors
    /// When there is no memory.
    pub(super) fn new(count: usize, size: usize) -> io::Result<Self> {
        let len = count * size;
        // SAFETY: a new private mapping at an address of the kernel's choice touches nothing that exists.
        let start =
            unsafe { mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) };
        let mapping = Mapping::at(start?, len)?;
        // Fewer entries of the page tables; where there are no huge pages, small ones do.
        // SAFETY: advice changes no value.
        let _as_it_is = unsafe { madvise(mapping.start.as_ptr().cast(), len, Advice::LinuxHugepage) };
        Ok(Self { mapping, size })
    }

    /// Where they begin, and how long they are.
    pub(super) fn place(&self) -> (u64, u64) {
        (self.mapping.start.as_ptr() as u64, self.mapping.len as u64)
    }

    /// A chunk that the kernel has given: in nobody else's hands until it is given back.
    pub(super) fn chunk(&mut self, number: u32) -> &mut [u8] {
        let count = self.mapping.len / self.size;
        let start = number as usize % count * self.size;
        // SAFETY: the chunk is within the mapping, by the line above. The kernel does not write to what it has handed over, and `&mut self` keeps
        // others of this process off.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.start.as_ptr().add(start), self.size) }
    }

    /// Copies a part of a chunk to the beginning of another one; its length.
    pub(super) fn copy(&mut self, from: u32, part: std::ops::Range<usize>, to: u32) -> usize {
        let count = self.mapping.len / self.size;
        let [from, to] = [from, to].map(|number| number as usize % count * self.size);
        let part = part.start.min(self.size)..part.end.min(self.size);
        let len = part.len();
        let start = self.mapping.start.as_ptr();
        // SAFETY: both places are within their chunks, and those within the mapping, by the lines above. The kernel has handed both over, and
        // `&mut self` keeps others of this process off.
        unsafe { start.add(from + part.start).copy_to(start.add(to), len) };
        len
    }
}

/// A ring of entries: a power of two of them.
struct Ring<T> {
    mapping: Mapping,
    offsets: XdpRingOffset,
    mask: u32,
    of: std::marker::PhantomData<T>,
}

impl<T: Copy> Ring<T> {
    fn map(socket: BorrowedFd<'_>, page: u64, offsets: XdpRingOffset, entries: u32) -> io::Result<Self> {
        let len = offsets.desc as usize + entries as usize * size_of::<T>();
        let end = |offset: u64| offset as usize + size_of::<u32>();
        let is_sound = entries.is_power_of_two()
            && [offsets.producer, offsets.consumer].iter().all(|offset| offset % 4 == 0 && end(*offset) <= len)
            && offsets.desc.is_multiple_of(align_of::<T>() as u64);
        if !is_sound {
            return Err(io::Error::other("a ring of another form than this program knows"));
        }
        Ok(Self {
            mapping: Mapping::of_ring(socket, page, len)?,
            offsets,
            mask: entries - 1,
            of: std::marker::PhantomData,
        })
    }

    fn word(&self, offset: u64) -> &AtomicU32 {
        // SAFETY: the word is aligned and within the mapping, as `map` has seen, and both sides access it whole.
        unsafe { AtomicU32::from_ptr(self.mapping.start.as_ptr().add(offset as usize).cast()) }
    }

    fn producer(&self) -> &AtomicU32 {
        self.word(self.offsets.producer)
    }

    fn consumer(&self) -> &AtomicU32 {
        self.word(self.offsets.consumer)
    }

    fn entry(&self, number: u32) -> *mut T {
        let place = self.offsets.desc as usize + (number & self.mask) as usize * size_of::<T>();
        // SAFETY: the mask keeps the entry within the mapping, whose length `map` has computed from it.
        unsafe { self.mapping.start.as_ptr().add(place) }.cast()
    }
}

/// A ring whose entries this process writes and the kernel reads. Nobody but the socket has them, so there is never more to write than it has room
/// for: of each there are as many entries as chunks that can be in it.
pub(super) struct Producer<T> {
    ring: Ring<T>,
    /// Entries that are written, and not the kernel's before they are published.
    written: u32,
}

impl<T: Copy> Producer<T> {
    pub(super) fn map(socket: BorrowedFd<'_>, page: u64, offsets: XdpRingOffset, entries: u32) -> io::Result<Self> {
        let ring: Ring<T> = Ring::map(socket, page, offsets, entries)?;
        let written = ring.producer().load(Ordering::Relaxed);
        Ok(Self { ring, written })
    }

    /// Writes an entry.
    pub(super) fn give(&mut self, entry: T) {
        // SAFETY: the entry is aligned and within the ring; the kernel does not look at it before it is published, and has read what was there
        // before: there are as many entries as chunks.
        unsafe { self.ring.entry(self.written).write(entry) };
        self.written = self.written.wrapping_add(1);
    }

    /// Gives the kernel what was written.
    pub(super) fn publish(&mut self) {
        self.ring.producer().store(self.written, Ordering::Release);
    }

    /// How many entries the kernel has not read yet.
    pub(super) fn waiting(&self) -> u32 {
        self.written.wrapping_sub(self.ring.consumer().load(Ordering::Acquire))
    }
}

/// A ring whose entries the kernel writes and this process reads.
pub(super) struct Consumer<T> {
    ring: Ring<T>,
    /// The next entry, and the one up to which the kernel has written when that was last looked at.
    next: u32,
    end: u32,
}

impl<T: Copy> Consumer<T> {
    pub(super) fn map(socket: BorrowedFd<'_>, page: u64, offsets: XdpRingOffset, entries: u32) -> io::Result<Self> {
        let ring: Ring<T> = Ring::map(socket, page, offsets, entries)?;
        let next = ring.consumer().load(Ordering::Relaxed);
        Ok(Self { ring, next, end: next })
    }

    /// The next entry.
    pub(super) fn take(&mut self) -> Option<T> {
        if self.next == self.end {
            self.end = self.ring.producer().load(Ordering::Acquire);
            if self.next == self.end {
                return None;
            }
        }
        // SAFETY: the entry is aligned and within the ring; the kernel has written it before the index that was read above, and leaves it alone
        // until it is released. Every bit pattern is a valid one of the two types that there are, a number and a descriptor of numbers.
        let entry = unsafe { self.ring.entry(self.next).read() };
        self.next = self.next.wrapping_add(1);
        Some(entry)
    }

    /// Gives the entries that were taken back to the kernel; how far it is.
    pub(super) fn release(&mut self) -> u32 {
        self.ring.consumer().store(self.next, Ordering::Release);
        self.next
    }
}
