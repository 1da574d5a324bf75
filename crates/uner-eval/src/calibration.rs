//! Whether probabilities are right: of the predictions with probability 0.8, four in five should
//! be correct (Guo et al. 2017, "On Calibration of Modern Neural Networks").

use serde::{Deserialize, Serialize};

/// Number of bins, equally wide from 0 to 1.
const BINS: usize = 10;

/// Counts predictions by their probability.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Calibration([BinCounts; BINS]);

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct BinCounts {
    count: usize,
    correct: usize,
    sum: f64,
}

/// Predictions with similar probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Lower end; the bin is 0.1 wide, and the last includes 1.
    pub from: f64,
    /// Number of predictions.
    pub count: usize,
    /// Mean of their probabilities.
    pub confidence: f64,
    /// Fraction of correct ones.
    pub accuracy: f64,
}

/// A reliability table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// The bins that have a prediction.
    pub bins: Vec<Bin>,
    /// Number of predictions.
    pub count: usize,
    /// Mean distance of confidence and accuracy over the predictions (ECE), from 0 to 1.
    pub expected_calibration_error: f64,
}

impl Calibration {
    /// Adds a prediction.
    pub fn add(&mut self, probability: f64, is_correct: bool) {
        let bin = &mut self.0[((probability * BINS as f64) as usize).min(BINS - 1)];
        bin.count += 1;
        bin.correct += usize::from(is_correct);
        bin.sum += probability;
    }

    /// The table; `None` without a prediction.
    pub fn reliability(&self) -> Option<Reliability> {
        let count: usize = self.0.iter().map(|bin| bin.count).sum();
        let bin = |(index, bin): (usize, &BinCounts)| Bin {
            from: index as f64 / BINS as f64,
            count: bin.count,
            confidence: bin.sum / bin.count as f64,
            accuracy: bin.correct as f64 / bin.count as f64,
        };
        let bins: Vec<Bin> =
            self.0.iter().enumerate().filter(|(_, bin)| bin.count > 0).map(bin).collect();
        let gap = |bin: &Bin| bin.count as f64 * (bin.confidence - bin.accuracy).abs();
        let expected_calibration_error = bins.iter().map(gap).sum::<f64>() / count as f64;
        (count > 0).then_some(Reliability { bins, count, expected_calibration_error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_the_mean_distance_of_confidence_and_accuracy() {
        let mut calibration = Calibration::default();
        assert_eq!(calibration.reliability(), None);
        for is_correct in [true, true, true, false] {
            calibration.add(0.85, is_correct);
        }
        calibration.add(1.0, true);
        let Reliability { bins, count, expected_calibration_error } =
            calibration.reliability().unwrap();
        assert_eq!((bins.len(), bins[0].count, bins[0].accuracy, count), (2, 4, 0.75, 5));
        assert!((bins[0].from - 0.8).abs() < 1e-12 && (bins[0].confidence - 0.85).abs() < 1e-12);
        assert!((expected_calibration_error - 0.4 / 5.0).abs() < 1e-12);
    }
}
