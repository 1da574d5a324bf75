//! Errors of intervals and tests.

use super::Counts;

/// The reason why an interval, a test or a correction cannot be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum UncertaintyError {
    /// A macro average of nothing.
    #[error("the list of datasets is empty: pass at least one")]
    NoDatasets,
    /// A dataset without passages has no score.
    #[error("dataset {dataset} has no passages: leave it out")]
    NoPassages {
        /// The dataset, from 0.
        dataset: usize,
    },
    /// Counts that no passage can have.
    #[error(
        "passage {passage} has `{counts:?}`: `correct` and `partial` together must not be above \
         `predicted` or `gold`"
    )]
    Counts {
        /// The passage, from 0.
        passage: usize,
        /// Its counts.
        counts: Counts,
    },
    /// Two systems with different numbers of passages.
    #[error("the systems have `{a}` and `{b}` passages: score both on the same ones")]
    Lengths {
        /// Passages of the first system.
        a: usize,
        /// Passages of the second system.
        b: usize,
    },
    /// Two systems whose passages are not the same.
    #[error(
        "passage {passage} has `{a}` gold entities for one system and `{b}` for the other: pass \
         the same passages in the same order"
    )]
    Gold {
        /// The passage, from 0.
        passage: usize,
        /// Gold entities for the first system.
        a: u32,
        /// Gold entities for the second system.
        b: u32,
    },
    /// Too few resamples for a standard error.
    #[error("`{0}` resamples are too few: use at least 2")]
    Resamples(usize),
    /// A level that is not a probability, or leaves no interval.
    #[error("the level `{0}` is not between 0 and 1: use 0.95 for 95 %")]
    Level(f64),
    /// A test without rounds.
    #[error("`0` rounds test nothing: use at least 1")]
    Rounds,
    /// A p-value that is not a number from 0 to 1.
    #[error("p-value {index} is `{value}`: it must be from 0 to 1")]
    PValue {
        /// Its index, from 0.
        index: usize,
        /// The value.
        value: f64,
    },
}
