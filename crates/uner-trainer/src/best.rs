//! Which checkpoint is the best so far, and when a run that gets no better stops.

use serde::{Deserialize, Serialize};

/// `[train.best]`: the best checkpoint is kept beside the newest, and the file `best` names it. A new best is saved at once,
/// whatever `save_every` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestConfig {
    /// What is compared.
    pub by: Measure,
    /// Optional: stops the run after so many evaluations in a row that were not better than the best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
}

/// What checkpoints are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// The loss of the validation set; less is better.
    ValidationLoss,
    /// The score that [`Scoring`](crate::Scoring) gives; more is better.
    #[serde(rename = "f1")]
    Score,
}

/// How good a run is so far. Part of every checkpoint, so that a resumed run goes on comparing where it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The best evaluation.
    pub best: Option<Best>,
    /// Evaluations since then.
    pub without_better: u64,
    /// Whether the evaluations due after the last step are still to be done, because an interrupt came first.
    pub cut_short: bool,
}

/// The best evaluation of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// What was compared.
    pub by: Measure,
    /// Steps done then.
    pub step: u64,
    /// The loss or score.
    #[serde(with = "exact")]
    pub value: f64,
}

impl Standing {
    /// Takes an evaluation in, and tells whether it is the best. Equally good is not better, and NaN is never the best.
    pub(crate) fn judge(&mut self, by: Measure, step: u64, value: f64) -> bool {
        let better = match self.best {
            // Another measure was compared before the run was resumed: its values say nothing about these.
            Some(best) if best.by == by => by.is_better(value, best.value),
            _ => value.is_finite(),
        };
        if better {
            self.best = Some(Best { by, step, value });
            self.without_better = 0;
        } else {
            self.without_better += 1;
        }
        better
    }

    /// Whether the recipe's patience is at its end.
    pub fn is_exhausted(&self, config: Option<BestConfig>) -> bool {
        config.and_then(|config| config.patience).is_some_and(|patience| self.without_better >= patience)
    }
}

impl Measure {
    fn is_better(self, value: f64, best: f64) -> bool {
        match self {
            Self::ValidationLoss => value < best,
            Self::Score => value > best,
        }
    }
}

/// Numbers as text: JSON readers may miss the last bit of a number, and then a tie would be a new best after a resume.
mod exact {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(by: Measure, values: &[f64]) -> (Vec<bool>, Standing) {
        let mut standing = Standing::default();
        let better = values.iter().zip(1..).map(|(&value, step)| standing.judge(by, step, value)).collect();
        (better, standing)
    }

    #[test]
    fn less_loss_and_more_score_are_better_and_ties_and_nan_are_not() {
        let (better, standing) = judged(Measure::ValidationLoss, &[f64::NAN, 2.0, 2.0, 1.5, f64::NAN, 1.6]);
        assert_eq!(better, [false, true, false, true, false, false]);
        assert_eq!(standing.best, Some(Best { by: Measure::ValidationLoss, step: 4, value: 1.5 }));
        assert_eq!(standing.without_better, 2);
        let (better, _) = judged(Measure::Score, &[0.0, 0.5, 0.5, 0.4, 0.6]);
        assert_eq!(better, [true, true, false, false, true]);
    }

    #[test]
    fn patience_counts_evaluations_since_the_best() {
        let config = |patience| Some(BestConfig { by: Measure::Score, patience });
        let (_, standing) = judged(Measure::Score, &[0.5, 0.4, 0.3]);
        assert!(standing.is_exhausted(config(Some(2))));
        assert!(!standing.is_exhausted(config(Some(3))));
        assert!(!standing.is_exhausted(config(None)) && !standing.is_exhausted(None));
    }

    #[test]
    fn another_measure_starts_anew() {
        let (_, mut standing) = judged(Measure::ValidationLoss, &[0.1]);
        assert!(standing.judge(Measure::Score, 2, 0.05), "a loss is no score");
    }

    #[test]
    fn values_read_back_to_the_last_bit() {
        for value in [0.1 + 0.2, 1.0 / 3.0, f64::MIN_POSITIVE, 2.0f64.powi(60) + 256.0] {
            let best = Best { by: Measure::Score, step: 1, value };
            let text = serde_json::to_string(&best).unwrap();
            assert_eq!(serde_json::from_str::<Best>(&text).unwrap(), best, "{text}");
        }
    }
}
