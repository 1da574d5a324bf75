//! Counts of a corpus.

use std::path::PathBuf;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Counts of a corpus by subset.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CorpusSummary {
    /// The counts of each subset, in the order in which they were met.
    pub subsets: IndexMap<String, SubsetSummary>,
    /// The first 20 problems of documents that cannot be read, with file and line.
    pub problems: Vec<String>,
    /// Files in folders of the corpus that were not read, as their names say no format.
    pub ignored_files: Vec<PathBuf>,
}

/// Counts of a subset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SubsetSummary {
    /// Documents that were read.
    pub documents: usize,
    /// Documents with only white space among them, which have no passages.
    pub blank: usize,
    /// Lines or rows of the files that are not documents: invalid UTF-8, invalid JSON, a missing
    /// key. They are not in `documents`. If a key names the subsets, they are counted with the
    /// subset of the configuration.
    pub unreadable: usize,
    /// Characters of the documents.
    pub characters: usize,
    /// Passages that the documents were cut to.
    pub passages: usize,
    /// Passages among them with fewer than `min_characters` characters.
    pub too_short: usize,
    /// Passages among the others that are similar to one before.
    pub duplicates: usize,
    /// Passages that were drawn from the rest.
    pub sampled: usize,
    /// Characters of the drawn passages.
    pub sampled_characters: usize,
}

impl SubsetSummary {
    /// Number of passages from which the sample is drawn.
    pub fn distinct(&self) -> usize {
        self.passages - self.too_short - self.duplicates
    }
}

impl CorpusSummary {
    /// The sum over all subsets.
    pub fn total(&self) -> SubsetSummary {
        let mut total = SubsetSummary::default();
        for subset in self.subsets.values() {
            total.documents += subset.documents;
            total.blank += subset.blank;
            total.unreadable += subset.unreadable;
            total.characters += subset.characters;
            total.passages += subset.passages;
            total.too_short += subset.too_short;
            total.duplicates += subset.duplicates;
            total.sampled += subset.sampled;
            total.sampled_characters += subset.sampled_characters;
        }
        total
    }
}
