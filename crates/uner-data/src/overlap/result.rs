//! The result of comparing training data with benchmarks.

use serde::{Deserialize, Serialize};

/// The overlap of training sets with benchmarks. `docs/contamination.md` explains the counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    /// The training sets, in the order in which they were added.
    pub training: Vec<TrainingSet>,
    /// The benchmarks, in the order of the index.
    pub benchmarks: Vec<BenchmarkOverlap>,
}

/// A training set as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingSet {
    /// Its name.
    pub name: String,
    /// Number of passages.
    pub num_passages: usize,
    /// Number of words.
    pub num_words: usize,
    /// Number of gold entities.
    pub num_entities: usize,
}

/// The overlap of one benchmark with the training sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchmarkOverlap {
    /// Its name.
    pub name: String,
    /// Number of passages.
    pub num_passages: usize,
    /// Number of words.
    pub num_words: usize,
    /// Passages with fewer than [`SHORTEST`](super::SHORTEST) words, which have no n-gram.
    pub num_short: usize,
    /// Number of gold entities; repeated mentions count.
    pub num_entities: usize,
    /// The overlap with all training sets together.
    pub merged: Shared,
    /// The overlap with each training set alone, in their order.
    pub by_training_set: Vec<Shared>,
    /// The gold entities of each type, seen in any training set, by descending number.
    pub by_type: Vec<TypeOverlap>,
    /// Passages with an overlap: first those that are training passages, then by descending covered
    /// share.
    pub examples: Vec<SharedPassage>,
}

/// Counts of one benchmark that training data has, too.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Shared {
    /// Passages whose words are those of a training passage.
    pub num_exact: usize,
    /// Passages with an n-gram of a training passage.
    pub num_with_ngram: usize,
    /// Share of a passage's words that are in such n-grams, from 0 to 1: the mean over all passages
    /// with n-grams, and 0 if the benchmark has none.
    pub mean_covered: f64,
    /// Gold entities whose text is that of a gold entity of the training data.
    pub num_entities_seen: usize,
    /// Gold entities whose text and type are those of a gold entity of the training data.
    pub num_entities_seen_with_type: usize,
}

/// The gold entities of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeOverlap {
    /// The type, as written in the benchmark.
    pub entity_type: String,
    /// Number of gold entities.
    pub num_entities: usize,
    /// Those whose text is that of a gold entity of the training data, of any type.
    pub num_seen: usize,
    /// Those whose text and type are.
    pub num_seen_with_type: usize,
}

/// A passage of a benchmark with words that a training passage has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SharedPassage {
    /// Its id in the benchmark.
    pub id: String,
    /// Whether all its words are those of a training passage.
    pub is_exact: bool,
    /// Share of its words in n-grams of training passages, from 0 to 1; 0 if it is too short for
    /// n-grams.
    pub covered: f64,
    /// Its longest part that is covered (all of it if it is too short for n-grams), in words, with
    /// the middle cut out if it is long.
    pub words: String,
    /// The first training set with the passage or, for a part, with its first n-gram.
    pub training_set: String,
    /// The first such passage of that set, by its id.
    pub training_id: String,
}
