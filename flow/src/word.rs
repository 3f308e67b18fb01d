//! A word of memory that the kernel program and the daemon share.

#[cfg(all(test, loom))]
mod modelled;
#[cfg(not(all(test, loom)))]
mod shared;

#[cfg(all(test, loom))]
pub(crate) use modelled::{Word, fence_loads, fence_stores};
#[cfg(not(all(test, loom)))]
pub(crate) use shared::{Word, fence_loads, fence_stores};
