//! Threads that go on when a mistake of this program ends what they do: one that dies takes its share of all calls with it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// So long it is waited before something is begun anew: what fails each time must not take the core.
const PAUSE: Duration = Duration::from_millis(10);

/// How often something was given up, and begun anew where it goes on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restarts(Arc<AtomicU64>);

impl Restarts {
    /// So often until now.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Does something once; what panics is given up and counted.
    pub(crate) fn attempt<T>(&self, what: &str, work: impl FnOnce() -> T) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(work)).ok();
        if done.is_none() {
            self.0.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                "{what} was given up in the middle, by a mistake of this program; please report the lines above"
            );
        }
        done
    }

    /// Works until that is done. Work that panics is begun anew, with what it has made of its state: it puts that in order first.
    pub(crate) fn supervise(&self, what: &str, mut work: impl FnMut()) {
        while self.attempt(what, &mut work).is_none() {
            std::thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_panics_is_begun_anew_and_counted_until_it_is_done() {
        let (restarts, mut begun) = (Restarts::default(), 0);
        restarts.supervise("a test", || {
            begun += 1;
            assert!(begun > 2, "not yet");
        });
        assert_eq!((begun, restarts.count()), (3, 2));
    }
}
