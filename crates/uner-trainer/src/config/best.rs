//! The best checkpoint, and early stopping.

use serde::{Deserialize, Serialize};

/// Selects the best checkpoint. It is kept beside the newest, and the file `best` names it. A new
/// best is saved at once, regardless of `save_every`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BestConfig {
    /// The measure that is compared.
    pub by: Measure,
    /// Optional (early stopping): stops the run after this many evaluations in a row that are not
    /// better than the best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
}

/// A measure by which checkpoints are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// The loss of the validation set; less is better.
    ValidationLoss,
    /// The score that [`Scoring`](crate::Scoring) returns; more is better.
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
