//! How long packets took: counts by delay, in buckets as the kernel's sinks keep them too.

use std::time::Duration;

/// Buckets for each power of two of nanoseconds.
const FINE: u32 = 8;

/// How many packets took how long.
#[derive(Clone, Debug)]
pub(crate) struct Histogram(Vec<u64>);

impl Default for Histogram {
    fn default() -> Self {
        Self(vec![0; (u64::BITS * FINE) as usize])
    }
}

impl Histogram {
    /// Of a sink's buckets.
    pub(crate) const fn of_buckets(buckets: Vec<u64>) -> Self {
        Self(buckets)
    }

    /// A packet took so long.
    pub(crate) fn count(&mut self, delay: Duration) {
        let nanos = (delay.as_nanos() as u64).max(u64::from(FINE));
        let high = nanos.ilog2();
        let bucket = high * FINE + (nanos >> (high - FINE.ilog2())) as u32 % FINE;
        if let Some(count) = self.0.get_mut(bucket as usize) {
            *count += 1;
        }
    }

    /// With those of another.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(count, more)| *count += more);
    }

    /// Those that came after this was taken of the same sink.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self(self.0.iter().zip(&before.0).map(|(after, before)| after.saturating_sub(*before)).collect())
    }

    /// What so great a share of them stayed within, in microseconds, to an eighth of a power of two.
    pub(crate) fn within_us(&self, share: f64) -> f64 {
        let total: u64 = self.0.iter().sum();
        let mut seen = 0;
        let bucket = self.0.iter().position(|count| {
            seen += count;
            seen as f64 >= share * total as f64 && seen > 0
        });
        let (high, rest) = bucket.map_or((0, 0), |bucket| (bucket as u32 / FINE, bucket as u32 % FINE));
        f64::from(FINE + rest + 1) * (f64::from(high) - f64::from(FINE.ilog2())).exp2() / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(micros: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        micros.into_iter().for_each(|micros| histogram.count(Duration::from_micros(micros)));
        histogram
    }

    #[test]
    fn delays_are_told_to_an_eighth() {
        let histogram = of(1..=10_000);
        for (share, expected) in [(0.5, 5_000.0), (0.99, 9_900.0), (0.9999, 9_999.0)] {
            let told = histogram.within_us(share);
            assert!(told >= expected && told <= expected * 1.125, "{share}: {told}");
        }
        assert!(Histogram::default().within_us(0.99) < 0.01);
    }

    #[test]
    fn what_came_in_between_is_the_difference() {
        let (before, mut after) = (of([10; 5]), of([10; 5]));
        after.add(&of([900; 3]));
        let between = after.since(&before).within_us(0.01);
        assert!((900.0..=1_012.5).contains(&between), "{between}");
    }
}
