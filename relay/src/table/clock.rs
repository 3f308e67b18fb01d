//! Times for whoever counts in nanoseconds: the workers, and the process that comes after this one.

use std::time::{Duration, Instant};

/// An instant by both clocks, which are the same one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    instant: Instant,
    ns: u64,
}

impl Clock {
    /// Now.
    pub(crate) fn now() -> Self {
        Self { instant: Instant::now(), ns: clock_ns() }
    }

    /// Nanoseconds since the host was booted, at an instant.
    pub(crate) fn ns(&self, at: Instant) -> u64 {
        let later = at.saturating_duration_since(self.instant).as_nanos() as u64;
        let earlier = self.instant.saturating_duration_since(at).as_nanos() as u64;
        self.ns.wrapping_add(later).wrapping_sub(earlier)
    }

    /// The instant at which the host had run for so long.
    pub(crate) fn instant(&self, ns: u64) -> Instant {
        let between = Duration::from_nanos(self.ns.abs_diff(ns));
        let moved = if ns < self.ns { self.instant.checked_sub(between) } else { self.instant.checked_add(between) };
        moved.unwrap_or(self.instant)
    }
}

/// Nanoseconds by a steady clock: that of [`Instant`].
pub(crate) fn clock_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_are_those_of_instants_before_and_after() {
        let clock = Clock::now();
        let now = Instant::now();
        let second = Duration::from_secs(1);
        for at in [now - second, now, now + second] {
            assert_eq!(clock.instant(clock.ns(at)), at);
        }
        assert_eq!(clock.ns(now + second) - clock.ns(now - second), 2_000_000_000);
        assert!(clock_ns().abs_diff(clock.ns(Instant::now())) < 1_000_000_000);
    }
}
