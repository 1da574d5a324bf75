//! Divides examples into training, validation and test data.
//!
//! The texts of a document stay together ([`GroupBy`]), and so do equal texts: otherwise a model is
//! measured on what it was trained on. The groups are divided by iterative stratification
//! (Sechidis, Tsoumakas and Vlahavas 2011), so that each split has its share of the mentions of
//! each entity type. Equal examples, shares and seeds give equal splits.
//!
//! ```
//! use uner_data::{DatasetRef, read, split::{SplitConfig, split_examples}};
//!
//! let demo = DatasetRef::Name("demo".to_owned()).resolve()?;
//! let examples: Vec<_> =
//!     read(&demo, "train", "data".as_ref())?.take(500).collect::<Result<_, _>>()?;
//! let splits = split_examples(examples, &SplitConfig::default())?;
//! assert!(splits.report().splits.iter().all(|split| split.num_examples > 0));
//! # Ok::<(), uner_data::DataError>(())
//! ```

mod groups;
mod report;
mod stratify;
#[cfg(test)]
mod tests;
mod write;

use serde::{Deserialize, Serialize};

pub use report::{SplitReport, SplitSize, TypeRow};
pub use write::{Written, write_splits};

use crate::{DataError, Example};

/// The names of the splits, in order.
pub const NAMES: [&str; 3] = ["train", "validation", "test"];

/// How examples are divided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitConfig {
    /// Shares of `train`, `validation` and `test` of the examples; their sum is 1. A split with the
    /// share 0 is left out.
    pub shares: [f64; 3],
    /// Equal seeds give equal splits.
    pub seed: u64,
    /// The texts that stay together.
    pub group_by: GroupBy,
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self { shares: [0.8, 0.1, 0.1], seed: 1, group_by: GroupBy::default() }
    }
}

/// The texts that stay together, besides equal ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupBy {
    /// Each text is on its own.
    #[default]
    Text,
    /// Texts with the same id.
    Id,
    /// Texts whose ids are equal before the last occurrence of a separator: with `-`, the texts
    /// `report-7-1` and `report-7-2`.
    IdPrefix(String),
}

/// Divided examples.
#[derive(Debug, Clone, PartialEq)]
pub struct Splits {
    /// The examples of `train`, `validation` and `test`, each in their original order.
    pub examples: [Vec<Example>; 3],
    num_groups: [usize; 3],
    /// Texts that occur again, and stay with the first.
    num_repeated_texts: usize,
    /// Whether a split has a share.
    is_wanted: [bool; 3],
}

/// Divides examples.
///
/// # Errors
/// [`DataError::Invalid`] for shares that are negative or do not add up to 1, and if the examples
/// have fewer groups than there are splits.
pub fn split_examples(examples: Vec<Example>, config: &SplitConfig) -> Result<Splits, DataError> {
    check(config)?;
    let is_wanted = config.shares.map(|share| share > 0.0);
    let groups = groups::of(&examples, &config.group_by);
    let num_wanted = is_wanted.iter().filter(|wanted| **wanted).count();
    if groups.members.len() < num_wanted {
        return Err(invalid(format!(
            "{} examples are in {} groups ({:?}), too few for {num_wanted} splits; group them by \
             another rule, or set fewer shares",
            examples.len(),
            groups.members.len(),
            config.group_by
        )));
    }
    let chosen = stratify::assign(&examples, &groups.members, config);
    let mut num_groups = [0; 3];
    let mut split_of = vec![0; examples.len()];
    for (members, &split) in groups.members.iter().zip(&chosen) {
        num_groups[split] += 1;
        for &member in members {
            split_of[member] = split;
        }
    }
    let mut divided: [Vec<Example>; 3] = Default::default();
    for (example, split) in examples.into_iter().zip(split_of) {
        divided[split].push(example);
    }
    let num_repeated_texts = groups.num_repeated_texts;
    Ok(Splits { examples: divided, num_groups, num_repeated_texts, is_wanted })
}

fn check(config: &SplitConfig) -> Result<(), DataError> {
    let shares = config.shares;
    let sum: f64 = shares.iter().sum();
    let sound = shares.iter().all(|share| *share >= 0.0) && (sum - 1.0).abs() < 1e-6;
    if sound {
        return Ok(());
    }
    Err(invalid(format!(
        "the shares of {} are {shares:?}; they must not be negative and must add up to 1",
        NAMES.join(", ")
    )))
}

fn invalid(message: String) -> DataError {
    DataError::Invalid { dataset: "splits".to_owned(), message }
}
