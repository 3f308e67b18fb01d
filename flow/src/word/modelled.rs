//! The word of the models: loom tries every order in which threads may see each other's stores.

use std::sync::OnceLock;

use loom::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering, fence};

/// The integers that one load or store moves whole.
pub(crate) trait Whole: Copy {
    type Atomic;
    fn atomic(self) -> Self::Atomic;
    fn load(atomic: &Self::Atomic) -> Self;
    fn store(atomic: &Self::Atomic, value: Self);
}

macro_rules! whole {
    ($integer:ty, $atomic:ident) => {
        impl Whole for $integer {
            type Atomic = $atomic;

            fn atomic(self) -> $atomic {
                $atomic::new(self)
            }

            fn load(atomic: &$atomic) -> Self {
                atomic.load(Ordering::Relaxed)
            }

            fn store(atomic: &$atomic, value: Self) {
                atomic.store(value, Ordering::Relaxed);
            }
        }
    };
}

whole!(u16, AtomicU16);
whole!(u32, AtomicU32);
whole!(u64, AtomicU64);

/// As the product's word; loom's atomics are made by the first who comes, because they cannot be made in constants.
pub(crate) struct Word<T: Whole> {
    first: T,
    atomic: OnceLock<T::Atomic>,
}

impl<T: Whole + Default> Default for Word<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Whole> Word<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { first: value, atomic: OnceLock::new() }
    }

    pub(crate) fn load(&self) -> T {
        T::load(self.atomic())
    }

    pub(crate) fn store(&self, value: T) {
        T::store(self.atomic(), value);
    }

    fn atomic(&self) -> &T::Atomic {
        self.atomic.get_or_init(|| self.first.atomic())
    }
}

/// Loads before this stay before loads after it.
pub(crate) fn fence_loads() {
    fence(Ordering::Acquire);
}

/// Stores before this are seen before stores after it.
pub(crate) fn fence_stores() {
    fence(Ordering::Release);
}
