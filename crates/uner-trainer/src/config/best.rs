//! `[train.best]`: which checkpoint is the best, and when a run that gets no better stops.

use serde::{Deserialize, Serialize};

/// `[train.best]`: the best checkpoint is kept beside the newest, and the file `best` names it. A
/// new best is saved at once, whatever `save_every` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestConfig {
    /// What is compared.
    pub by: Measure,
    /// Optional: stops the run after so many evaluations in a row that were not better than the
    /// best.
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

impl Measure {
    /// Whether a value is better than the best so far.
    pub(crate) fn is_better(self, value: f64, best: f64) -> bool {
        match self {
            Self::ValidationLoss => value < best,
            Self::Score => value > best,
        }
    }
}
