//! One 64-bit word of memory that the kernel program and the daemon share.
#![expect(unsafe_code, reason = "the one place where memory shared with the kernel program is touched")]

use core::cell::UnsafeCell;

/// A 64-bit word that others may read or write at any time.
///
/// Loads and stores are single and whole. On the host they are atomic; for the BPF target, whose compiler has no atomic load, they are
/// volatile, which the JIT turns into one load or store each.
#[repr(transparent)]
#[derive(Default)]
pub(crate) struct Word(UnsafeCell<u64>);

// SAFETY: every access is one whole 64-bit load or store (see `load` and `store`), so threads that share a `Word` cannot see a torn value
// and no reference to the inside ever leaves this file.
unsafe impl Sync for Word {}

impl Word {
    pub(crate) const fn new(value: u64) -> Self {
        Self(UnsafeCell::new(value))
    }

    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    pub(crate) fn load(&self) -> u64 {
        // SAFETY: the pointer comes from a live `&self`, aligned to 8 by its type.
        unsafe { self.0.get().read_volatile() }
    }

    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    pub(crate) fn store(&self, value: u64) {
        // SAFETY: as in `load`; `UnsafeCell` permits writing through a shared reference.
        unsafe { self.0.get().write_volatile(value) }
    }

    #[cfg(not(target_arch = "bpf"))]
    #[inline]
    pub(crate) fn load(&self) -> u64 {
        self.atomic().load(core::sync::atomic::Ordering::Relaxed)
    }

    #[cfg(not(target_arch = "bpf"))]
    #[inline]
    pub(crate) fn store(&self, value: u64) {
        self.atomic().store(value, core::sync::atomic::Ordering::Relaxed);
    }

    #[cfg(not(target_arch = "bpf"))]
    fn atomic(&self) -> &core::sync::atomic::AtomicU64 {
        // SAFETY: the pointer is valid for as long as `self`, aligned to 8 by its type, and every other access in this process goes through
        // the same atomic; the kernel's accesses are single 64-bit instructions.
        unsafe { core::sync::atomic::AtomicU64::from_ptr(self.0.get()) }
    }
}

/// Loads before this stay before loads after it.
#[inline(always)]
pub(crate) fn fence_loads() {
    // The BPF target has no fence; volatile keeps the compiler's order and x86 keeps the order of loads.
    #[cfg(not(target_arch = "bpf"))]
    core::sync::atomic::fence(core::sync::atomic::Ordering::Acquire);
}

/// Stores before this are seen before stores after it.
#[inline(always)]
pub(crate) fn fence_stores() {
    #[cfg(not(target_arch = "bpf"))]
    core::sync::atomic::fence(core::sync::atomic::Ordering::Release);
}
