//! The word as it is in memory.
#![expect(unsafe_code, reason = "the one place where memory shared with the kernel program is touched")]

use core::cell::UnsafeCell;

/// The integers that one load or store moves whole.
///
/// # Safety
/// `load` and `store` are one whole access each, and on the host atomic ones.
pub(crate) unsafe trait Whole: Copy {
    /// # Safety
    /// The pointer is aligned and valid for reads, and every other access to it is an access by this trait.
    unsafe fn load(at: *mut Self) -> Self;
    /// # Safety
    /// The pointer is aligned and valid for writes, and every other access to it is an access by this trait.
    unsafe fn store(at: *mut Self, value: Self);
}

macro_rules! whole {
    ($integer:ty, $atomic:ident) => {
        // SAFETY: on the host an atomic access, for BPF a volatile one, which the JIT turns into one instruction.
        unsafe impl Whole for $integer {
            #[inline(always)]
            unsafe fn load(at: *mut Self) -> Self {
                #[cfg(target_arch = "bpf")]
                // SAFETY: what the caller promises.
                return unsafe { at.read_volatile() };
                #[cfg(not(target_arch = "bpf"))]
                {
                    // SAFETY: what the caller promises; the kernel's accesses are single instructions too.
                    let word = unsafe { core::sync::atomic::$atomic::from_ptr(at) };
                    word.load(core::sync::atomic::Ordering::Relaxed)
                }
            }

            #[inline(always)]
            unsafe fn store(at: *mut Self, value: Self) {
                #[cfg(target_arch = "bpf")]
                // SAFETY: what the caller promises.
                unsafe {
                    at.write_volatile(value)
                }
                #[cfg(not(target_arch = "bpf"))]
                {
                    // SAFETY: what the caller promises; the kernel's accesses are single instructions too.
                    let word = unsafe { core::sync::atomic::$atomic::from_ptr(at) };
                    word.store(value, core::sync::atomic::Ordering::Relaxed);
                }
            }
        }
    };
}

whole!(u16, AtomicU16);
whole!(u32, AtomicU32);
whole!(u64, AtomicU64);

/// An integer that others may read or write at any time.
///
/// Loads and stores are single and whole. On the host they are atomic; for the BPF target, whose compiler has no atomic load, they are
/// volatile, which the JIT turns into one load or store each.
#[repr(transparent)]
#[derive(Default)]
pub(crate) struct Word<T>(UnsafeCell<T>);

// SAFETY: every access is one whole load or store (see `Whole`), so threads that share a `Word` cannot see a torn value and no reference to
// the inside ever leaves this file.
unsafe impl<T: Whole> Sync for Word<T> {}

impl<T: Whole> Word<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(crate) fn load(&self) -> T {
        // SAFETY: the pointer comes from a live `&self` and is aligned by its type; nobody reaches the inside but by `Whole`.
        unsafe { T::load(self.0.get()) }
    }

    #[inline(always)]
    pub(crate) fn store(&self, value: T) {
        // SAFETY: as in `load`; `UnsafeCell` permits writing through a shared reference.
        unsafe { T::store(self.0.get(), value) }
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
