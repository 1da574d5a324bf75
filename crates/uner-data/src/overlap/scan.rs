//! One pass over training data.

use rayon::prelude::*;

use super::{
    index::{Found, Index},
    result::{BenchmarkOverlap, Overlap, TrainingSet},
    summary,
    words::Words,
};
use crate::{DataError, Example};

/// Largest number of passages in a chunk. Two chunks are in memory at a time.
const CHUNK: usize = 1_000;
/// A chunk ends with the passage at which its texts have this many bytes.
const CHUNK_BYTES: usize = 16 << 20;

/// The comparison of training sets with the benchmarks of an index.
#[derive(Debug)]
pub struct Scan<'a> {
    index: &'a Index,
    sets: Vec<TrainingSet>,
    /// The parts of the index that each set has.
    by_set: Vec<Marks>,
    /// The parts that any set has.
    merged: Marks,
    first: Firsts,
}

/// The parts of an index that training data has, by their numbers.
#[derive(Debug, Clone)]
pub(super) struct Marks {
    pub(super) wholes: Vec<bool>,
    pub(super) ngrams: Vec<bool>,
    pub(super) mentions: Vec<bool>,
    pub(super) typed: Vec<bool>,
}

impl Marks {
    fn new(index: &Index) -> Self {
        Self {
            wholes: vec![false; index.wholes.len()],
            ngrams: vec![false; index.ngrams.len()],
            mentions: vec![false; index.entities.num_mentions()],
            typed: vec![false; index.entities.num_typed()],
        }
    }

    fn add(&mut self, found: &Found) {
        found.whole.iter().for_each(|&whole| self.wholes[whole as usize] = true);
        found.ngrams.iter().for_each(|&ngram| self.ngrams[ngram as usize] = true);
        found.mentions.iter().for_each(|&mention| self.mentions[mention] = true);
        found.typed.iter().for_each(|&typed| self.typed[typed] = true);
    }
}

/// The first training passage with each passage and n-gram of an index.
#[derive(Debug)]
pub(super) struct Firsts {
    /// Indices into `passages`, valid where the scan has found the part.
    pub(super) wholes: Vec<u32>,
    pub(super) ngrams: Vec<u32>,
    /// Training set and id.
    pub(super) passages: Vec<(usize, String)>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(index: &'a Index) -> Self {
        let first = Firsts {
            wholes: vec![0; index.wholes.len()],
            ngrams: vec![0; index.ngrams.len()],
            passages: Vec::new(),
        };
        Self { index, sets: Vec::new(), by_set: Vec::new(), merged: Marks::new(index), first }
    }

    /// Compares a training set, on all threads of rayon's pool. The result does not depend on their
    /// number. `name` is for reports, such as `crossner-ai:train`.
    ///
    /// # Errors
    /// The first error of the examples. The scan then has a part of the set and is of no use.
    pub fn add(
        &mut self,
        name: impl Into<String>,
        examples: impl IntoIterator<Item = Result<Example, DataError>, IntoIter: Send>,
    ) -> Result<(), DataError> {
        let mut examples = examples.into_iter();
        let name = name.into();
        self.sets.push(TrainingSet { name, num_passages: 0, num_words: 0, num_entities: 0 });
        self.by_set.push(Marks::new(self.index));
        let mut chunk = next_chunk(&mut examples)?;
        while !chunk.is_empty() {
            let (found, next) =
                rayon::join(|| find_all(self.index, &chunk), || next_chunk(&mut examples));
            for (example, found) in chunk.iter().zip(&found) {
                self.take(example, found);
            }
            chunk = next?;
        }
        Ok(())
    }

    fn take(&mut self, example: &Example, found: &Found) {
        let set = self.sets.len() - 1;
        self.sets[set].num_passages += 1;
        self.sets[set].num_words += found.num_words;
        self.sets[set].num_entities += example.entities.len();
        self.by_set[set].add(found);
        let passage = self.first.passages.len() as u32;
        let mut is_first = false;
        for &whole in found.whole.iter().filter(|whole| !self.merged.wholes[**whole as usize]) {
            self.first.wholes[whole as usize] = passage;
            is_first = true;
        }
        for &ngram in found.ngrams.iter().filter(|ngram| !self.merged.ngrams[**ngram as usize]) {
            self.first.ngrams[ngram as usize] = passage;
            is_first = true;
        }
        if is_first {
            self.first.passages.push((set, example.id.clone()));
        }
        self.merged.add(found);
    }

    /// The overlap with everything that was added. Each benchmark lists at most `num_examples`
    /// passages: first those that are training passages, then those with the largest covered share.
    pub fn overlap(&self, num_examples: usize) -> Overlap {
        let Self { index, sets, by_set, merged, first } = self;
        let benchmarks = index.benchmarks.iter().map(|benchmark| BenchmarkOverlap {
            by_training_set: by_set.iter().map(|of| summary::shared(benchmark, of)).collect(),
            examples: summary::examples(index, benchmark, merged, first, sets, num_examples),
            ..summary::benchmark(index, benchmark, merged)
        });
        Overlap { benchmarks: benchmarks.collect(), training: sets.clone() }
    }
}

/// The parts of the index that each example has.
fn find_all(index: &Index, examples: &[Example]) -> Vec<Found> {
    let examples = examples.par_iter();
    examples.map_init(Words::default, |words, example| index.find(example, words)).collect()
}

fn next_chunk(
    examples: &mut impl Iterator<Item = Result<Example, DataError>>,
) -> Result<Vec<Example>, DataError> {
    let (mut chunk, mut num_bytes) = (Vec::new(), 0);
    while chunk.len() < CHUNK && num_bytes < CHUNK_BYTES {
        let Some(example) = examples.next().transpose()? else { break };
        num_bytes += example.text.len();
        chunk.push(example);
    }
    Ok(chunk)
}
