//! How many values there were of which size.

/// Values by size.
#[derive(Clone, PartialEq, Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what is greater than all.
    counts: Vec<u64>,
    sum: f64,
    squares: f64,
}

impl Histogram {
    /// None yet. The bounds ascend; a value that is equal to one is below it.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0, squares: 0.0 }
    }

    /// One more.
    pub fn add(&mut self, value: f64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
        self.sum += value;
        self.squares += value * value;
    }

    /// The values of another one with the same bounds as well.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// Each bound, and how many values are between the one before and it; the last is infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        self.bounds.iter().copied().chain([f64::INFINITY]).zip(self.counts.iter().copied())
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    pub const fn sum(&self) -> f64 {
        self.sum
    }

    /// The sum of their squares.
    pub const fn squares(&self) -> f64 {
        self.squares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_below_the_first_bound_that_holds_them() {
        let mut histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 9.0] {
            histogram.add(value);
        }
        let mut other = Histogram::new(&[1.0, 2.0]);
        other.add(2.0);
        histogram.merge(&other);
        let buckets: Vec<_> = histogram.buckets().collect();
        assert_eq!(buckets, [(1.0, 2), (2.0, 2), (f64::INFINITY, 1)]);
        assert_eq!((histogram.count(), histogram.sum(), histogram.squares()), (5, 14.0, 88.5));
    }
}
