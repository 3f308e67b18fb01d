//! What the relay has carried on all sources together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use border::{Traffic, Volume};

/// Sums over all sources, those that have ended too.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    fast: Sum,
    slow: Sum,
    errors: AtomicU64,
}

#[derive(Debug, Default)]
struct Sum {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Sum {
    fn add(&self, volume: Volume) {
        self.packets.fetch_add(volume.packets, Ordering::Relaxed);
        self.bytes.fetch_add(volume.bytes, Ordering::Relaxed);
    }

    fn read(&self) -> Volume {
        Volume { packets: self.packets.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }
}

impl Sums {
    /// Adds what was folded into a source's totals.
    pub(crate) fn add(&self, [fast, slow]: [Volume; 2]) {
        self.fast.add(fast);
        self.slow.add(slow);
    }

    /// Adds packets that could not be sent on.
    pub(crate) fn fail(&self, packets: u32) {
        self.errors.fetch_add(u64::from(packets), Ordering::Relaxed);
    }

    /// The sums, and how much has come in a second since the last reading, which was so long ago.
    pub(crate) fn read(&self, last: &Traffic, ago: Duration) -> Traffic {
        let (fast, slow, errors) = (self.fast.read(), self.slow.read(), self.errors.load(Ordering::Relaxed));
        let seconds = ago.as_secs_f64().max(0.001);
        let rate = |now: u64, then: u64| (now.saturating_sub(then) as f64 / seconds).round() as u64;
        let since = |now: Volume, then: Volume| Volume {
            packets: rate(now.packets, then.packets),
            bytes: rate(now.bytes, then.bytes),
        };
        Traffic {
            fast,
            slow,
            errors,
            fast_rate: since(fast, last.fast),
            slow_rate: since(slow, last.slow),
            error_rate: rate(errors, last.errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_a_second_however_long_ago_the_last_reading_was() {
        let sums = Sums::default();
        sums.add([Volume { packets: 100, bytes: 17_200 }, Volume::default()]);
        sums.fail(1);
        let first = sums.read(&Traffic::default(), Duration::from_secs(2));
        assert_eq!(
            (first.fast.packets, first.fast_rate, first.error_rate),
            (100, Volume { packets: 50, bytes: 8600 }, 1)
        );
        let second = sums.read(&first, Duration::from_secs(1));
        assert_eq!((second.fast.packets, second.fast_rate.packets, second.errors), (100, 0, 1));
    }
}
