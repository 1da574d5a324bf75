//! Distinct phrases (sequences of words), and a filter for those that a text cannot have.

use std::ops::Range;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::words::Words;

/// Distinct phrases of a list of words, numbered in the order of their first occurrence. A phrase
/// is stored as the range of that occurrence.
#[derive(Debug, Default)]
pub(crate) struct Phrases {
    table: HashTable<u32>,
    /// First word and number of words of each phrase.
    ranges: Vec<(u32, u32)>,
}

impl Phrases {
    /// Number of phrases.
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The words of a phrase, as a range.
    pub(crate) fn range(&self, phrase: u32) -> Range<usize> {
        range(self.ranges[phrase as usize])
    }

    /// The number of the phrase at a range of `words`, which is added if it is new.
    pub(crate) fn add(&mut self, words: &Words, at: Range<usize>) -> u32 {
        let text = words.slice(at.clone());
        let Self { table, ranges } = self;
        let is_equal = |other: &u32| words.slice(range(ranges[*other as usize])) == text;
        let hash_of = |other: &u32| hash(words.slice(range(ranges[*other as usize])));
        let new = ranges.len() as u32;
        let phrase = *table.entry(hash(text), is_equal, hash_of).or_insert(new).get();
        if phrase == new {
            ranges.push((at.start as u32, at.len() as u32));
        }
        phrase
    }

    /// The number of the phrase with a text. `words` is the list of all calls of `add`.
    pub(crate) fn find(&self, words: &Words, text: &str) -> Option<u32> {
        let is_equal = |other: &u32| words.slice(self.range(*other)) == text;
        self.table.find(hash(text), is_equal).copied()
    }
}

fn range((first, num_words): (u32, u32)) -> Range<usize> {
    first as usize..(first + num_words) as usize
}

/// The hash decides how fast phrases are found, not which.
fn hash(text: &str) -> u64 {
    xxh3_64(text.as_bytes())
}

/// A Bloom filter with one hash: refuses nearly all texts that were not added, and none that was.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    bits: Vec<u64>,
}

impl Filter {
    /// A filter for a number of texts, with at least 16 bits for each: it accepts at most one of 16
    /// other texts.
    pub(crate) fn new(num_texts: usize) -> Self {
        Self { bits: vec![0; (num_texts / 4 + 1).next_power_of_two()] }
    }

    pub(crate) fn add(&mut self, text: &str) {
        let (word, bit) = self.location(text);
        self.bits[word] |= bit;
    }

    pub(crate) fn accepts(&self, text: &str) -> bool {
        let (word, bit) = self.location(text);
        self.bits[word] & bit != 0
    }

    fn location(&self, text: &str) -> (usize, u64) {
        let hash = hash(text);
        ((hash >> 6) as usize & (self.bits.len() - 1), 1 << (hash & 63))
    }
}
