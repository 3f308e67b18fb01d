//! Programs that are kept from io_uring, as containers keep theirs (seccomp(2)).

use std::collections::BTreeMap;

use anyhow::bail;
use rustix::io::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// `io_uring_setup`, the same number on every architecture.
const IO_URING_SETUP: i64 = 425;

/// Does something on a thread of its own that may not make rings: what it starts may not either.
///
/// # Errors
/// When the filter is refused, or what is done fails.
pub fn without_io_uring<T: Send>(work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    let forbidden = BTreeMap::from([(IO_URING_SETUP, Vec::new())]);
    let refusal = SeccompAction::Errno(Errno::PERM.raw_os_error() as u32);
    let filter = SeccompFilter::new(forbidden, SeccompAction::Allow, refusal, std::env::consts::ARCH.try_into()?)?;
    let filter: BpfProgram = filter.try_into()?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            apply_filter(&filter)?;
            work()
        });
        match thread.join() {
            Ok(done) => done,
            Err(_) => bail!("the work without io_uring panicked"),
        }
    })
}
