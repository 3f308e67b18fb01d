//! What the relay has carried on all streams together.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::meter::{Traffic, Volume};

/// Sums over all streams, those that have ended too.
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
    /// Adds what was folded into a stream's totals.
    pub(crate) fn add(&self, [fast, slow]: [Volume; 2]) {
        self.fast.add(fast);
        self.slow.add(slow);
    }

    /// Adds a packet that could not be sent on.
    pub(crate) fn fail(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// The sums, and what has come since the last reading, which was a second ago.
    pub(crate) fn read(&self, last: &Traffic) -> Traffic {
        let (fast, slow, errors) = (self.fast.read(), self.slow.read(), self.errors.load(Ordering::Relaxed));
        let since = |now: Volume, then: Volume| Volume {
            packets: now.packets.saturating_sub(then.packets),
            bytes: now.bytes.saturating_sub(then.bytes),
        };
        Traffic {
            fast,
            slow,
            errors,
            fast_rate: since(fast, last.fast),
            slow_rate: since(slow, last.slow),
            error_rate: errors.saturating_sub(last.errors),
        }
    }
}
