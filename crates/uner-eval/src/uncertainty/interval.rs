//! The percentile interval of resampled values.

use serde::{Deserialize, Serialize};

/// A score with its uncertainty, in the unit of the score (from 0 to 1, a difference from -1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The score of all passages.
    pub estimate: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// The level of the interval, 0.95 for 95 %.
    pub level: f64,
    /// Standard deviation of the resampled scores.
    pub standard_error: f64,
    /// Number of resamples.
    pub resamples: usize,
}

impl Interval {
    /// The percentile interval (Efron & Tibshirani 1993, section 13.3): its ends are the quantiles
    /// `(1 - level) / 2` and `(1 + level) / 2` of at least two resampled values.
    pub(super) fn percentile(estimate: f64, mut values: Vec<f64>, level: f64) -> Self {
        let standard_error = standard_deviation(&values);
        values.sort_unstable_by(f64::total_cmp);
        let tail = (1.0 - level) / 2.0;
        Self {
            estimate,
            low: quantile(&values, tail),
            high: quantile(&values, 1.0 - tail),
            level,
            standard_error,
            resamples: values.len(),
        }
    }
}

/// The sample standard deviation, divided by `n - 1`. Values are shifted by the first, so that it
/// is exactly 0 if all are equal.
fn standard_deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let shift = values[0];
    let mean = values.iter().map(|value| value - shift).sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - shift - mean).powi(2)).sum();
    (squares / (count - 1.0)).sqrt()
}

/// The quantile of sorted values, interpolated linearly (definition 7 of Hyndman & Fan 1996, as in
/// numpy and scipy).
fn quantile(sorted: &[f64], probability: f64) -> f64 {
    let position = probability * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (position - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        let quantiles = [0.0, 1.0 / 6.0, 0.5, 1.0].map(|p| quantile(&sorted, p));
        assert_eq!(quantiles, [1.0, 1.5, 3.0, 8.0]);
    }

    #[test]
    fn the_standard_error_is_the_sample_deviation() {
        let interval = Interval::percentile(2.5, vec![4.0, 1.0, 3.0, 2.0], 0.5);
        assert!((interval.standard_error - (5.0_f64 / 3.0).sqrt()).abs() < 1e-15);
        assert_eq!((interval.low, interval.high, interval.resamples), (1.75, 3.25, 4));
        assert_eq!(Interval::percentile(0.1, vec![0.1; 7], 0.95).standard_error, 0.0);
    }
}
