//! How much more one costs than another, and how sure that is.

use serde::Serialize;

/// How seldom a span of ratios may miss the true median: one time in a hundred, both sides together.
const DOUBT: f64 = 0.01;

/// Of pairs that were measured one right after the other: the cost of this build, as a share of the base's.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Ratio {
    /// The median of the pairs' ratios.
    pub median: f64,
    /// The true median is not below, as sure as 99 in 100.
    pub least: f64,
    /// Nor above.
    pub greatest: f64,
}

impl Ratio {
    /// Of pairs (base, this) of costs. `None` when there are none.
    pub fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let mut ratios: Vec<f64> = pairs.iter().map(|(base, this)| this / base).collect();
        ratios.sort_by(f64::total_cmp);
        let count = ratios.len();
        let outside = outside(count);
        Some(Self {
            median: *ratios.get(count / 2)?,
            least: *ratios.get(outside)?,
            greatest: *ratios.get(count.checked_sub(outside + 1)?)?,
        })
    }

    /// Whether it is sure that this build costs more than the base, and by more than this share.
    pub fn is_worse(&self, bound: f64) -> bool {
        self.least > 1.0 + bound
    }
}

/// How many of the least, and of the greatest, may be left out of so many ratios: each is on either side of the true median as a coin falls, whatever
/// they are spread like.
fn outside(count: usize) -> usize {
    let (mut outside, mut tail, mut term) = (0, 0.0, 0.5_f64.powi(count as i32));
    loop {
        tail += term;
        if 2.0 * tail > DOUBT || 2 * (outside + 1) >= count {
            return outside;
        }
        outside += 1;
        term *= (count - outside + 1) as f64 / outside as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_left_out_as_the_binomial_distribution_allows() {
        // From tables of the sign test, at 1 % on both sides together.
        for (count, left_out) in [(1, 0), (5, 0), (8, 1), (11, 1), (15, 3), (21, 5), (25, 6)] {
            assert_eq!(outside(count), left_out, "{count}");
        }
    }

    #[test]
    fn what_swings_as_much_as_it_differs_is_not_sure() {
        let pairs: Vec<_> = (0..15).map(|number| (1.0, if number % 2 == 0 { 0.9 } else { 1.2 })).collect();
        let ratio = Ratio::of(&pairs).unwrap();
        assert!(!ratio.is_worse(0.05) && ratio.least < 1.0 && ratio.greatest > 1.0, "{ratio:?}");
    }

    #[test]
    fn what_is_slower_in_almost_every_pair_is_sure() {
        let pairs: Vec<_> = (0..15).map(|number| (2.0, if number == 7 { 1.0 } else { 2.3 })).collect();
        let ratio = Ratio::of(&pairs).unwrap();
        assert!(ratio.is_worse(0.05) && (ratio.median - 1.15).abs() < 1e-9, "{ratio:?}");
    }

    #[test]
    fn a_drift_of_the_machine_is_in_both_of_a_pair() {
        let pairs: Vec<_> = (1..16).map(|number| (f64::from(number), f64::from(number) * 1.01)).collect();
        assert!(!Ratio::of(&pairs).unwrap().is_worse(0.05));
    }

    #[test]
    fn of_nothing_there_is_no_ratio() {
        assert_eq!(Ratio::of(&[]), None);
    }
}
