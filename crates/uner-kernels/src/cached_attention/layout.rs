//! Where the tokens of sequences are in a cache.

use std::ops::Range;
use std::sync::Arc;

/// The tokens of a sequence. Its new tokens are the last ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Slots of all tokens, in order.
    pub slots: Vec<Range<usize>>,
    /// Number of new tokens, at least 1.
    pub new: usize,
}

/// The sequences of a call, in the order of their new tokens.
#[derive(Debug, Clone)]
pub struct CacheLayout {
    sequences: Arc<[Sequence]>,
    /// Slots of the new tokens, which every layer writes to.
    new_slots: Arc<[usize]>,
}

impl CacheLayout {
    /// A layout of `sequences`.
    ///
    /// # Panics
    /// When a sequence has no new token, or more new tokens than tokens.
    pub fn new(sequences: Vec<Sequence>) -> Self {
        for Sequence { slots, new } in &sequences {
            let tokens: usize = slots.iter().map(ExactSizeIterator::len).sum();
            assert!((1..=tokens).contains(new), "{new} new tokens of {tokens}");
        }
        let new_slots = sequences.iter().flat_map(Sequence::new_slots).collect();
        Self { sequences: sequences.into(), new_slots }
    }

    /// Number of new tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.new_slots.len()
    }

    /// Slots of the new tokens, in their order.
    pub fn new_slots(&self) -> &[usize] {
        &self.new_slots
    }

    /// Each sequence with the index of its first new token among those of all sequences.
    pub(super) fn with_first(&self) -> impl Iterator<Item = (&Sequence, usize)> {
        self.sequences.iter().scan(0, |next, sequence| {
            let first = *next;
            *next += sequence.new;
            Some((sequence, first))
        })
    }

    /// One past the largest slot.
    pub(super) fn end(&self) -> usize {
        let slots = self.sequences.iter().flat_map(|sequence| &sequence.slots);
        slots.map(|range| range.end).max().unwrap_or(0)
    }
}

impl Sequence {
    /// Number of its tokens.
    pub fn tokens(&self) -> usize {
        self.slots.iter().map(ExactSizeIterator::len).sum()
    }

    fn new_slots(&self) -> impl Iterator<Item = usize> {
        self.slots.iter().cloned().flatten().skip(self.tokens() - self.new)
    }
}
