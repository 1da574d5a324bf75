//! The index of benchmarks that training passages are looked up in.

use std::ops::Range;

use super::{
    entities::{Entities, EntityKey},
    phrases::{Filter, Phrases},
    scan::Scan,
    words::Words,
};
use crate::{DataError, Example};

/// Number of words of an n-gram.
pub const NGRAM: usize = 13;

/// Smallest number of words of a passage that is compared by n-grams.
pub const SHORTEST: usize = 8;

/// Words, n-grams and gold entities of benchmarks.
#[derive(Debug, Default)]
pub struct Index {
    pub(super) benchmarks: Vec<Benchmark>,
    /// The words of all passages.
    pub(super) words: Words,
    /// Distinct passages.
    pub(super) wholes: Phrases,
    /// Distinct n-grams.
    pub(super) ngrams: Phrases,
    pub(super) entities: Entities,
    /// The first words of all n-grams.
    filter: Filter,
    /// The numbers of words that n-grams have, ascending.
    lengths: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Benchmark {
    pub(super) name: String,
    pub(super) passages: Vec<Passage>,
    pub(super) entities: Vec<EntityKey>,
}

#[derive(Debug)]
pub(super) struct Passage {
    pub(super) id: String,
    /// Its words in those of the index.
    pub(super) words: Range<usize>,
    /// Its number among the distinct passages; `None` without words.
    pub(super) whole: Option<u32>,
    /// Its n-grams by their first word.
    pub(super) ngrams: Vec<u32>,
}

/// The parts of the index that a training passage has.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) num_words: usize,
    pub(super) whole: Option<u32>,
    pub(super) ngrams: Vec<u32>,
    pub(super) mentions: Vec<usize>,
    pub(super) typed: Vec<usize>,
}

impl Index {
    /// Indexes benchmarks: their names (such as `crossner-ai:test`), and their examples.
    ///
    /// # Errors
    /// The first error of the examples.
    ///
    /// # Panics
    /// With 2³² words or more.
    pub fn new<S: Into<String>, E: IntoIterator<Item = Result<Example, DataError>>>(
        benchmarks: impl IntoIterator<Item = (S, E)>,
    ) -> Result<Self, DataError> {
        let mut index = Self::default();
        for (name, examples) in benchmarks {
            let name = name.into();
            let mut benchmark = Benchmark { name, passages: Vec::new(), entities: Vec::new() };
            for example in examples {
                let example = example?;
                benchmark.entities.extend(index.entities.add(&example));
                let passage = index.passage(example);
                benchmark.passages.push(passage);
            }
            index.benchmarks.push(benchmark);
        }
        index.filter = Filter::new(index.ngrams.len());
        for ngram in 0..index.ngrams.len() as u32 {
            let start = index.ngrams.range(ngram).start;
            index.filter.add(index.words.slice(start..start + SHORTEST));
        }
        Ok(index)
    }

    fn passage(&mut self, example: Example) -> Passage {
        let start = self.words.len();
        self.words.append(&example.text);
        let words = start..self.words.len();
        assert!(words.end < u32::MAX as usize, "the benchmarks have {} words", words.end);
        let whole = (!words.is_empty()).then(|| self.wholes.add(&self.words, words.clone()));
        let mut ngrams = Vec::new();
        if let Some(length) = ngram_length(words.len()) {
            if let Err(at) = self.lengths.binary_search(&length) {
                self.lengths.insert(at, length);
            }
            let starts = words.start..=words.end - length;
            ngrams.extend(starts.map(|at| self.ngrams.add(&self.words, at..at + length)));
        }
        Passage { id: example.id, words, whole, ngrams }
    }

    /// Starts the comparison with training data.
    pub fn scan(&self) -> Scan<'_> {
        Scan::new(self)
    }

    /// The parts of the index that an example has. `words` is memory to use.
    pub(super) fn find(&self, example: &Example, words: &mut Words) -> Found {
        words.clear();
        words.append(&example.text);
        let num_words = words.len();
        let mut ngrams = Vec::new();
        for start in 0..(num_words + 1).saturating_sub(SHORTEST) {
            if !self.filter.accepts(words.slice(start..start + SHORTEST)) {
                continue;
            }
            let ends = self.lengths.iter().map(|length| start + length);
            ngrams.extend(
                ends.take_while(|end| *end <= num_words)
                    .filter_map(|end| self.ngrams.find(&self.words, words.slice(start..end))),
            );
        }
        let whole = self.wholes.find(&self.words, words.slice(0..num_words));
        let (mentions, typed) = self.entities.find(example);
        Found { num_words, whole, ngrams, mentions, typed }
    }
}

/// The number of words of the n-grams of a passage with `num_words` words.
pub(super) fn ngram_length(num_words: usize) -> Option<usize> {
    (num_words >= SHORTEST).then_some(num_words.min(NGRAM))
}
