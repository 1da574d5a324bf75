//! Conflicts of labels: the same mention with different types, in two datasets (whose guidelines
//! differ) or within one (inconsistent annotation, or an ambiguous mention). A model that is
//! trained on both learns to answer at random.
//!
//! The data is read twice. The first pass counts the types of each mention, by a hash of its text
//! in lower case; the second collects the texts of the mentions that are reported. So the memory
//! depends on the number of distinct mentions, up to a limit, and not on the length of the texts.
//!
//! ```
//! use uner_data::{DatasetRef, conflicts::{ConflictConfig, Source, conflicts}};
//!
//! let demo = DatasetRef::Name("demo".to_owned()).resolve()?;
//! let sources = ["validation", "test"].map(|split| Source { dataset: &demo, split });
//! let found = conflicts(&sources, "data".as_ref(), &ConflictConfig::default())?;
//! println!("{}", found.markdown());
//! # Ok::<(), uner_data::DataError>(())
//! ```

mod counts;
mod report;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, path::Path};

pub use report::{Conflict, ConflictReport, Reading, SourceSize, TypePair};

use crate::{DataError, Dataset, Entity, Example, read, seen::folded};
use counts::{Counts, Key};

/// A split of a dataset.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The dataset.
    pub dataset: &'a Dataset,
    /// One of its splits.
    pub split: &'a str,
}

impl Source<'_> {
    fn name(&self) -> String {
        format!("{}:{}", self.dataset.name, self.split)
    }
}

/// What counts as a conflict, and how many are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConflictConfig {
    /// A mention has a type in a split if it has it at least this often there.
    pub min_count: u32,
    /// Largest number of distinct mentions in memory, about 100 bytes each. If there are more, the
    /// rarest are forgotten, and the report says so.
    pub max_mentions: usize,
    /// Number of listed conflicts, and of listed pairs of types.
    pub listed: usize,
    /// Number of texts for each type of a listed conflict.
    pub texts: usize,
}

impl Default for ConflictConfig {
    fn default() -> Self {
        Self { min_count: 1, max_mentions: 5_000_000, listed: 50, texts: 1 }
    }
}

/// Finds the conflicts in and between splits. Spellings of a type that differ in case, white space,
/// `_` and `-` are one type.
///
/// # Errors
/// As [`read`], and the first error of the examples.
pub fn conflicts(
    sources: &[Source<'_>],
    root: &Path,
    config: &ConflictConfig,
) -> Result<ConflictReport, DataError> {
    let mut counts = Counts::new(config);
    let mut sizes = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let mut size = SourceSize { name: source.name(), num_examples: 0, num_entities: 0 };
        for example in read(source.dataset, source.split, root)? {
            let example = example?;
            size.num_examples += 1;
            size.num_entities += example.entities.len();
            example.entities.iter().for_each(|entity| counts.add(index, entity));
        }
        sizes.push(size);
    }
    let mut found = counts.found(sizes);
    let mut texts = Texts::of(&found.wanted(), config.texts);
    for (index, source) in sources.iter().enumerate() {
        for example in read(source.dataset, source.split, root)? {
            texts.add(index, &example?, &counts);
        }
    }
    found.fill(&texts);
    Ok(found.report)
}

/// The hash by which a mention is counted.
fn key(entity: &Entity) -> Key {
    xxhash_rust::xxh3::xxh3_64(folded(&entity.text).as_bytes())
}

/// The texts of the listed mentions.
struct Texts {
    limit: usize,
    /// Each mention as its first occurrence writes it.
    mentions: HashMap<Key, Option<String>>,
    /// By mention, source and type.
    found: HashMap<(Key, usize, usize), Vec<String>>,
}

impl Texts {
    fn of(wanted: &[Key], limit: usize) -> Self {
        let mentions = wanted.iter().map(|key| (*key, None)).collect();
        Self { limit, mentions, found: HashMap::new() }
    }

    fn add(&mut self, source: usize, example: &Example, counts: &Counts) {
        for entity in &example.entities {
            let key = key(entity);
            let Some(mention) = self.mentions.get_mut(&key) else { continue };
            mention.get_or_insert_with(|| entity.text.clone());
            let Some(of_type) = counts.type_index(&entity.entity_type) else { continue };
            let texts = self.found.entry((key, source, of_type)).or_default();
            if texts.len() < self.limit {
                texts.push(around(example, entity));
            }
        }
    }
}

/// Characters before and after a mention that a report shows.
const AROUND: usize = 60;

/// The text around a mention, with the mention in brackets.
fn around(example: &Example, entity: &Entity) -> String {
    let Some(span) = entity.span else { return format!("[{}] (not in the text)", entity.text) };
    let characters: Vec<char> = example.text.chars().collect();
    let (start, end) =
        (span.start.saturating_sub(AROUND), (span.end + AROUND).min(characters.len()));
    let part = |from: usize, to: usize| characters[from..to].iter().collect::<String>();
    format!(
        "{}{}[{}]{}{}",
        if start > 0 { "…" } else { "" },
        part(start, span.start),
        part(span.start, span.end),
        part(span.end, end),
        if end < characters.len() { "…" } else { "" }
    )
}
