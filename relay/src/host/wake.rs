//! Waking a thread that waits for descriptors.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{EventfdFlags, eventfd};

/// Becomes readable when it is rung, until somebody hushes it.
#[derive(Debug)]
pub(crate) struct Wake(OwnedFd);

impl Wake {
    /// One that nobody has rung.
    ///
    /// # Errors
    /// When the kernel gives no descriptor.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Wakes whoever waits, now or later.
    pub(crate) fn ring(&self) {
        // A full counter wakes as well.
        let _already_rung = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Forgets that it was rung. To be done before what it was rung for is looked at, or something would wait for the next time.
    pub(crate) fn hush(&self) {
        let mut counter = [0; 8];
        let _was_silent = rustix::io::read(&self.0, &mut counter);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Wake {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
