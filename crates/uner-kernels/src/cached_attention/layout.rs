//! Where the tokens of sequences are in a cache.

use std::ops::Range;
use std::sync::Arc;
#[cfg(feature = "cube")]
use std::sync::OnceLock;

#[cfg(feature = "cube")]
use super::tables::Tables;

/// The tokens of a sequence, in order: those that other sequences may share, then its own. Its new
/// tokens are the last ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sequence {
    /// Slots of the tokens that several sequences begin with, such as a passage before its
    /// questions. One sequence at most has new tokens among them, and none of its own.
    pub shared: Vec<Range<usize>>,
    /// Slots of the other tokens.
    pub own: Vec<Range<usize>>,
    /// Number of new tokens, at least 1.
    pub new: usize,
}

/// The sequences of a call, in the order of their new tokens.
#[derive(Debug, Clone)]
pub struct CacheLayout {
    sequences: Arc<[Sequence]>,
    /// Slots of the new tokens, which every layer writes to.
    new_slots: Arc<[usize]>,
    /// The tables on the GPU of the first call, which all layers read.
    #[cfg(feature = "cube")]
    tables: Arc<OnceLock<Arc<Tables>>>,
}

impl CacheLayout {
    /// A layout of `sequences`.
    ///
    /// # Panics
    /// When a sequence has no new token, more new tokens than tokens, or tokens of its own and new
    /// ones before these.
    pub fn new(sequences: Vec<Sequence>) -> Self {
        for sequence @ Sequence { own, new, .. } in &sequences {
            let tokens = sequence.tokens();
            assert!((1..=tokens).contains(new), "{new} new tokens of {tokens}");
            let own = count(own);
            assert!(own == 0 || *new <= own, "{new} new tokens, but only {own} of its own");
        }
        let new_slots = sequences.iter().flat_map(Sequence::new_slots).collect();
        Self {
            sequences: sequences.into(),
            new_slots,
            #[cfg(feature = "cube")]
            tables: Arc::default(),
        }
    }

    /// Number of new tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.new_slots.len()
    }

    /// Slots of the new tokens, in their order.
    pub fn new_slots(&self) -> &[usize] {
        &self.new_slots
    }

    /// The tables of the first call, made by `make`. They are on its device.
    #[cfg(feature = "cube")]
    pub(super) fn tables(&self, make: impl FnOnce() -> Arc<Tables>) -> &Arc<Tables> {
        self.tables.get_or_init(make)
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
        let ranges = self.sequences.iter().flat_map(Sequence::ranges);
        ranges.map(|range| range.end).max().unwrap_or(0)
    }
}

impl Sequence {
    /// Number of its tokens.
    pub fn tokens(&self) -> usize {
        count(&self.shared) + count(&self.own)
    }

    /// Slots of all tokens, in order.
    pub(super) fn slots(&self) -> impl Iterator<Item = usize> {
        self.ranges().cloned().flatten()
    }

    fn ranges(&self) -> impl Iterator<Item = &Range<usize>> {
        self.shared.iter().chain(&self.own)
    }

    fn new_slots(&self) -> impl Iterator<Item = usize> {
        self.slots().skip(self.tokens() - self.new)
    }
}

/// Number of slots in ranges.
pub(super) fn count(ranges: &[Range<usize>]) -> usize {
    ranges.iter().map(ExactSizeIterator::len).sum()
}
