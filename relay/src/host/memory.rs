//! Memory that lies outside Rust's heap: shared with the kernel program, or anonymous where there is none.
#![expect(unsafe_code, reason = "the one place where mapped memory becomes a slice")]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use flow::counters::{Carried, Order, Timing};
use flow::{HopCell, Slot};
use rustix::mm::{Advice, MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// Bytes of a page, or a part of one: advice is for pages.
const PAGE: usize = 4096;

/// Types of which zeroed memory is a valid value and that others may change at any time.
///
/// # Safety
/// The type consists of words with interior mutability whose every bit pattern is valid.
pub(crate) unsafe trait Shareable: Sync {}

// SAFETY: words of `flow::word`, accessed whole, any value valid.
unsafe impl Shareable for Slot {}
// SAFETY: such words.
unsafe impl Shareable for Timing {}
// SAFETY: such words.
unsafe impl Shareable for HopCell {}
// SAFETY: such words.
unsafe impl Shareable for Carried {}
// SAFETY: such a word.
unsafe impl Shareable for Order {}

// SAFETY: atomic words, any value valid.
unsafe impl<const LEN: usize> Shareable for [AtomicU64; LEN] {}

/// A mapped array, unmapped when dropped.
pub(crate) struct Mapped<T> {
    start: NonNull<T>,
    len: usize,
}

// SAFETY: it owns its mapping, which is not tied to a thread, and `T` is `Sync` by `Shareable`'s bound.
unsafe impl<T: Shareable> Send for Mapped<T> {}
// SAFETY: only `&T` is handed out, and `T` is `Sync`.
unsafe impl<T: Shareable> Sync for Mapped<T> {}

impl<T: Shareable> Mapped<T> {
    /// Zeroed memory of this process alone.
    pub(crate) fn anonymous(len: usize) -> io::Result<Self> {
        let bytes = Self::bytes(len)?;
        // SAFETY: a new private mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe {
            mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }?;
        Self::at(start, len)
    }

    /// The values of a BPF array that was created with `BPF_F_MMAPABLE`, whose value is a `T` and which has at least `len` of them.
    pub(crate) fn of_map(map: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let bytes = Self::bytes(len)?;
        // SAFETY: a new shared mapping at an address of the kernel's choice; the kernel refuses a length beyond the map's.
        let start =
            unsafe { mmap(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, map, 0) }?;
        Self::at(start, len)
    }

    /// The values of a file from an offset on, a multiple of the page's size: written by processes of the same layout, or zeroes. The file is long
    /// enough and has room on its device, or a write would end the process.
    pub(crate) fn of_file(file: &File, offset: u64, len: usize) -> io::Result<Self> {
        let bytes = Self::bytes(len)?;
        if file.metadata()?.len() < offset + bytes as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file that is too short to be mapped"));
        }
        let (protection, file) = (ProtFlags::READ | ProtFlags::WRITE, file.as_fd());
        // SAFETY: a new shared mapping at an address of the kernel's choice, of a file that is as long.
        let start = unsafe { mmap(std::ptr::null_mut(), bytes, protection, MapFlags::SHARED, file, offset) }?;
        Self::at(start, len)
    }

    /// Has the first touch of some values, which then need not be in memory yet, cost nothing later: no command waits for the kernel to find their
    /// pages. Where it does not know of that (before Linux 5.14), each is found when it is touched.
    pub(crate) fn populate(&self, first: usize, count: usize) {
        let Some(values) = self.get(first..first + count).filter(|values| !values.is_empty()) else { return };
        let start = values.as_ptr().addr() & !(PAGE - 1);
        let bytes = values.as_ptr_range().end.addr() - start;
        // SAFETY: the pages hold values of this mapping, which begins at a page; that they are made writable in advance changes no value.
        let populated = unsafe {
            rustix::mm::madvise(
                self.start.as_ptr().cast::<u8>().with_addr(start).cast(),
                bytes,
                Advice::LinuxPopulateWrite,
            )
        };
        if let Err(error) = populated {
            tracing::debug!(%error, "memory cannot be populated in advance");
        }
    }

    fn bytes(len: usize) -> io::Result<usize> {
        len.checked_mul(size_of::<T>())
            .filter(|bytes| *bytes > 0)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "an empty or impossibly large table"))
    }

    fn at(start: *mut core::ffi::c_void, len: usize) -> io::Result<Self> {
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))?;
        Ok(Self { start, len })
    }
}

impl<T> Deref for Mapped<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the mapping is page-aligned, `len` values long, zeroed by the kernel or written by the same types, valid in every state by
        // `Shareable`, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, of this length, and no reference into it outlives `self`.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len * size_of::<T>()) };
        debug_assert!(unmapped.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_memory_is_zeroed_and_aligned() {
        let slots: Mapped<Slot> = Mapped::anonymous(1000).unwrap();
        assert_eq!(slots.len(), 1000);
        assert!(slots.iter().all(|slot| slot.read() == Some(flow::Rule::INACTIVE)));
        assert_eq!(slots.as_ptr() as usize % 64, 0);
    }

    #[test]
    fn memory_that_is_populated_in_advance_is_what_it_was() {
        let slots: Mapped<Slot> = Mapped::anonymous(1000).unwrap();
        for (first, count) in [(0, 1000), (7, 300), (999, 1), (0, 0), (1000, 5)] {
            slots.populate(first, count);
        }
        assert!(slots.iter().all(|slot| slot.read() == Some(flow::Rule::INACTIVE)));
    }

    #[test]
    fn an_empty_table_is_an_error() {
        assert!(Mapped::<Slot>::anonymous(0).is_err());
    }
}
