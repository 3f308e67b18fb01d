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
    /// There were enough pairs for that; otherwise these are the least and the greatest of all.
    pub is_sure: bool,
}

impl Ratio {
    /// Of pairs (base, this) of costs. `None` when there are none.
    pub fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let mut ratios: Vec<f64> = pairs.iter().map(|(base, this)| this / base).collect();
        ratios.sort_by(f64::total_cmp);
        let count = ratios.len();
        let sure = outside(count);
        let outside = sure.unwrap_or(0);
        Some(Self {
            is_sure: sure.is_some(),
            median: *ratios.get(count / 2)?,
            least: *ratios.get(outside)?,
            greatest: *ratios.get(count.checked_sub(outside + 1)?)?,
        })
    }

    /// Whether it is sure that this build costs more than the base, and by more than this share.
    pub fn is_worse(&self, bound: f64) -> bool {
        self.is_sure && self.least > 1.0 + bound
    }

    /// Whether a slowness of this share could hide in what swings.
    pub fn is_vague(&self, bound: f64) -> bool {
        !self.is_sure || (!self.is_worse(bound) && self.greatest > 1.0 + 2.0 * bound)
    }
}

/// How many of the least, and of the greatest, may be left out of so many ratios: each is on either side of the true median as a coin falls, whatever
/// they are spread like. `None`: there are so few that even all of them may lie on one side.
fn outside(count: usize) -> Option<usize> {
    // The chance that no more than `outside` of them are below the true median.
    let (mut outside, mut term) = (0, 0.5_f64.powi(count as i32));
    let mut tail = term;
    if 2.0 * tail > DOUBT {
        return None;
    }
    loop {
        term *= (count - outside) as f64 / (outside + 1) as f64;
        tail += term;
        if 2.0 * tail > DOUBT {
            return Some(outside);
        }
        outside += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_left_out_as_the_binomial_distribution_allows() {
        // Of 15: one and 15 and 105 of 2^15, on both sides together 0.7 %; with the next 455, it would be 3.5 %.
        let known = [(1, None), (7, None), (8, Some(0)), (11, Some(0)), (15, Some(2)), (21, Some(4)), (25, Some(5))];
        for (count, left_out) in known {
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
    fn few_pairs_are_never_sure() {
        let ratio = Ratio::of(&[(1.0, 2.0); 7]).unwrap();
        assert!(!ratio.is_worse(0.05) && ratio.is_vague(0.05), "{ratio:?}");
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
