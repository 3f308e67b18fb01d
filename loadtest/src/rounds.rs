//! What several rounds of a measurement have come to.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// A figure of several rounds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

impl Spread {
    /// Of the rounds' values.
    ///
    /// # Errors
    /// When there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> anyhow::Result<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let known = || {
            let (least, greatest) = (*values.first()?, *values.last()?);
            Some(Self { median: *values.get(values.len() / 2)?, least, greatest })
        };
        known().context("nothing was measured")
    }
}

/// The median of the rounds' values: the greater of the two in the middle where they are even in number.
///
/// # Errors
/// When there are none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> anyhow::Result<f64> {
    Ok(Spread::of(values)?.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        let of = |values: &[f64]| median(values.iter().copied()).unwrap();
        assert_eq!([of(&[3.0]), of(&[3.0, 1.0, 2.0]), of(&[4.0, 1.0, 3.0, 2.0])], [3.0, 2.0, 3.0]);
        assert_eq!(Spread::of([2.0, -1.0, 5.0]).unwrap(), Spread { median: 2.0, least: -1.0, greatest: 5.0 });
        assert!(median([]).is_err());
    }
}
