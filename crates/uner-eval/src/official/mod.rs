//! The score of the released UniversalNER evaluator, bit for bit. For each query, gold answer and
//! output are parsed ([`parse`]) into sets of normalised strings ([`normalize`]). Hits are counted
//! over all queries (micro).
//!
//! ```text
//! precision = correct / (predicted + 1e-10)      recall = correct / (gold + 1e-10)
//! f1 = 2 · precision · recall / (precision + recall + 1e-10)
//! ```
//!
//! Spans are not used, the same string may be right for several types, and a query with two empty
//! answers adds nothing. Peculiarities of the original are kept: an entity with `]` loses the
//! whole answer, articles and punctuation vanish, `The` becomes the empty string.
//!
//! Source: universal-ner/universal-ner, `src/eval/evaluate.py` and `get_response` of
//! `src/utils.py`. A known limit of the port: lower-casing follows the Unicode version of the Rust
//! library, not of Python. A lone surrogate (`\ud83d`), which is allowed in Python's strings,
//! becomes a private-use character here ([`uner_data::as_python_reads`]).

mod normalize;
mod parse;
mod python;

use serde::{Deserialize, Serialize};

pub use normalize::normalize;
pub use parse::{get_response, mentions, parse};
pub(crate) use python::split;

/// The released evaluator adds this to every denominator.
const EPSILON: f64 = 1e-10;

/// Counts over queries. The order of adding and merging does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OfficialCounts {
    /// Predicted strings that are gold.
    pub n_correct: usize,
    /// Predicted strings, distinct per query.
    pub n_pred: usize,
    /// Gold strings, distinct per query.
    pub n_gold: usize,
    /// Queries.
    pub n_queries: usize,
}

impl OfficialCounts {
    /// Counts one query, from the text of its gold answer and of the model's response. Apply
    /// [`get_response`] to a model's output first.
    pub fn of_query(gold_answer: &str, response: &str) -> Self {
        let (gold, predicted) = (parse(gold_answer), parse(response));
        Self {
            n_correct: predicted.iter().filter(|item| gold.contains(item)).count(),
            n_pred: predicted.len(),
            n_gold: gold.len(),
            n_queries: 1,
        }
    }

    /// Adds the counts of further queries.
    pub fn merge(&mut self, other: Self) {
        self.n_correct += other.n_correct;
        self.n_pred += other.n_pred;
        self.n_gold += other.n_gold;
        self.n_queries += other.n_queries;
    }

    /// Precision, recall and F1 with the official denominators.
    pub fn score(self) -> OfficialScore {
        let correct = self.n_correct as f64;
        let precision = correct / (self.n_pred as f64 + EPSILON);
        let recall = correct / (self.n_gold as f64 + EPSILON);
        let f1 = 2.0 * precision * recall / (precision + recall + EPSILON);
        let Self { n_correct, n_pred, n_gold, n_queries } = self;
        OfficialScore { precision, recall, f1, n_correct, n_pred, n_gold, n_queries }
    }
}

/// The official score, from 0 to 1, with its counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OfficialScore {
    /// Correct over predicted.
    pub precision: f64,
    /// Correct over gold.
    pub recall: f64,
    /// Harmonic mean; even a perfect score is about `1e-10` below 1.
    pub f1: f64,
    /// Predicted strings that are gold.
    pub n_correct: usize,
    /// Predicted strings, distinct per query.
    pub n_pred: usize,
    /// Gold strings, distinct per query.
    pub n_gold: usize,
    /// Queries.
    pub n_queries: usize,
}
