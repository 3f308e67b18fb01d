//! Times that mean the same to the daemon that comes after this one.

use std::ops::Add;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A time by the host's steady clock, which begins when the host does and never goes back. What a process calls an [`Instant`] means nothing to
/// the next one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) struct Moment(Duration);

impl Moment {
    /// How long after an earlier one it is.
    pub(super) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// What one instant of this process is by the host's steady clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    instant: Instant,
    since_boot: Duration,
}

impl Clock {
    /// The host had run for so long at an instant.
    pub const fn new(instant: Instant, since_boot: Duration) -> Self {
        Self { instant, since_boot }
    }

    /// That instant.
    pub(super) const fn instant(&self) -> Instant {
        self.instant
    }

    /// How long the host had run then.
    pub(super) const fn since_boot(&self) -> Duration {
        self.since_boot
    }

    /// An instant as others understand it; one before the host was booted is none.
    pub(super) fn at(&self, instant: Instant) -> Moment {
        Moment(self.elapsed(instant))
    }

    /// How long the host has run at an instant.
    pub fn elapsed(&self, instant: Instant) -> Duration {
        let later = instant.saturating_duration_since(self.instant);
        let earlier = self.instant.saturating_duration_since(instant);
        (self.since_boot + later).saturating_sub(earlier)
    }
}

/// Of a host that has run for a while, for whoever tells nobody else its times.
impl From<Instant> for Clock {
    fn from(instant: Instant) -> Self {
        Self::new(instant, Duration::from_secs(1 << 20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_same_for_two_processes() {
        let first = Instant::now();
        let second = first + Duration::from_secs(5);
        let clocks = [Clock::new(first, Duration::from_secs(100)), Clock::new(second, Duration::from_secs(105))];
        for instant in [first - Duration::from_secs(7), first, second, second + Duration::from_secs(9)] {
            assert_eq!(clocks[0].at(instant), clocks[1].at(instant));
        }
    }

    #[test]
    fn moments_have_the_order_and_the_distance_of_their_instants() {
        let now = Instant::now();
        let clock = Clock::from(now);
        let [early, late] = [now - Duration::from_secs(1), now + Duration::from_secs(2)].map(|at| clock.at(at));
        assert!(early < late);
        assert_eq!((late.since(early), early.since(late)), (Duration::from_secs(3), Duration::ZERO));
        assert_eq!(early + Duration::from_secs(3), late);
    }
}
