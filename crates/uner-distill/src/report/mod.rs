//! The report on distilled data, before anyone trains on it.

mod markdown;
mod published;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;
use uner_data::Example;
use uner_data::overlap::Overlap;
use uner_data::stats::{Distribution, Stats};
use uner_endpoint::Tokens;

use crate::error::DistillError;
use crate::filter::Reasons;

pub use published::{PUBLISHED, PublishedBand};
pub(crate) use tally::Tally;

/// The report on distilled data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DistillReport {
    /// Counts of passages and entities.
    pub counts: Counts,
    /// The same for each subset of the corpus.
    pub subsets: BTreeMap<String, Counts>,
    /// The entities that were dropped, by reason.
    pub dropped: Reasons,
    /// The first unparseable answers.
    pub unparseable: Vec<Unparseable>,
    /// Types, lengths and entities of the passages that were kept.
    pub statistics: Stats,
    /// Distinct types per passage.
    pub types: Distribution,
    /// The teachers' answers.
    pub teachers: BTreeMap<String, Answers>,
    /// Overlap with the test sets of benchmarks, if it was computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
}

/// Counts of passages and entities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All passages.
    pub passages: u64,
    /// Passages without an answer, which are left out.
    pub unanswered: u64,
    /// Passages whose answer is unparseable, which are dropped.
    pub unparseable: u64,
    /// Passages that were kept.
    pub annotated: u64,
    /// Those of them whose answer was an empty list.
    pub without_entities: u64,
    /// Those of them whose entities were all dropped.
    pub emptied: u64,
    /// Those of them whose answer was cut off: further entities may be missing.
    pub cut_off: u64,
    /// Entities that were kept.
    pub entities: u64,
    /// Entities that were dropped.
    pub dropped: u64,
}

/// An answer that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unparseable {
    /// The id of the passage.
    pub passage: String,
    /// The start and the end of the answer.
    pub answer: String,
}

/// The answers of a model to a prompt.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Answers {
    /// The number of answers.
    pub answers: u64,
    /// Those without a count of tokens, which the sums lack.
    pub without_tokens: u64,
    /// The tokens of the others.
    pub tokens: Tokens,
    /// The price of these tokens; 0 without prices.
    pub money: f64,
    /// When the first answer came, in seconds since 1970 (UTC).
    pub first: u64,
    /// When the last answer came.
    pub last: u64,
}

impl DistillReport {
    /// The report as JSON.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn json(&self) -> Result<String, DistillError> {
        Ok(serde_json::to_string_pretty(self).map_err(std::io::Error::from)? + "\n")
    }

    /// The report as Markdown.
    pub fn markdown(&self) -> String {
        markdown::report(self)
    }
}

/// The table of types on UniversalNER's project page, for any examples, beside the published one.
///
/// # Errors
/// The first error of the examples.
pub fn types_table(
    examples: impl IntoIterator<Item = Result<Example, uner_data::DataError>>,
) -> Result<String, DistillError> {
    Ok(markdown::types(&uner_data::stats::stats(examples)?))
}
