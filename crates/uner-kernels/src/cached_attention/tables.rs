//! A layout as the kernels read it. Sequences that share a beginning are one document.

use std::collections::HashMap;
use std::ops::Range;

use super::layout::{CacheLayout, Sequence, count};
use crate::attention::mma::{CachePlaces, QUERIES, TILE};
use crate::cube::Ints;

/// The tables on the device.
#[derive(Debug)]
pub(crate) struct Tables {
    /// Where the tokens of documents are.
    pub(crate) places: CachePlaces,
    /// Slots of the new tokens.
    pub(crate) new_slots: Ints,
}

/// The numbers of [`CachePlaces`] on the host.
#[derive(Debug, Default)]
struct Lists {
    tiles: Vec<usize>,
    queries: Vec<usize>,
    slots: Vec<usize>,
    branches: Vec<usize>,
}

impl Tables {
    /// The tables of a layout; `put` copies numbers to the device.
    pub(crate) fn new(layout: &CacheLayout, mut put: impl FnMut(&[usize]) -> Ints) -> Self {
        let lists = Lists::of(layout);
        let places = CachePlaces {
            tiles: put(&lists.tiles),
            queries: put(&lists.queries),
            slots: put(&lists.slots),
            branches: put(&lists.branches),
        };
        Self { places, new_slots: put(layout.new_slots()) }
    }
}

impl Lists {
    fn of(layout: &CacheLayout) -> Self {
        let mut lists = Self::default();
        for document in documents(layout) {
            lists.add(&document);
        }
        lists
    }

    /// Adds a document: its sequences, with the first row of each.
    fn add(&mut self, document: &[(&Sequence, usize)]) {
        let (base, shared) = (self.slots.len(), &document[0].0.shared);
        let prefix = count(shared);
        self.keys(shared, 0);
        // Queries of the shared beginning come first, so that their tiles see nothing else.
        let in_prefix = |entry: &&(&Sequence, usize)| entry.0.own.is_empty();
        let mut queries: Vec<(usize, usize)> = Vec::new();
        for (sequence, row) in document.iter().filter(in_prefix) {
            queries.extend((0..sequence.new).map(|new| (row + new, prefix - sequence.new + new)));
        }
        self.tiles_of(&queries, [base, prefix, 0]);
        queries.clear();
        // The place at which the branch of each query begins.
        let mut begins = Vec::new();
        for (branch, (sequence, row)) in
            document.iter().filter(|entry| !in_prefix(entry)).enumerate()
        {
            let begin = self.slots.len() - base;
            self.keys(&sequence.own, branch + 1);
            let end = self.slots.len() - base;
            queries.extend((0..sequence.new).map(|new| (row + new, end - sequence.new + new)));
            begins.extend(std::iter::repeat_n(begin, sequence.new));
        }
        for (queries, begins) in queries.chunks(QUERIES).zip(begins.chunks(QUERIES)) {
            self.tiles_of(queries, [base, prefix, begins[0] - prefix]);
        }
    }

    fn keys(&mut self, ranges: &[Range<usize>], branch: usize) {
        self.slots.extend(ranges.iter().cloned().flatten());
        self.branches.resize(self.slots.len(), branch);
    }

    /// Adds queries, `(row, place)` by place, and their tiles.
    fn tiles_of(&mut self, queries: &[(usize, usize)], [base, prefix, hidden]: [usize; 3]) {
        for queries in queries.chunks(QUERIES) {
            let last = queries[queries.len() - 1].1;
            let first = self.queries.len() / 2;
            let tile = [first, queries.len(), base, prefix, hidden, last + 1 - hidden];
            self.tiles.extend::<[usize; TILE]>(tile);
            self.queries.extend(queries.iter().flat_map(|&(row, place)| [row, place]));
        }
    }
}

/// The sequences of each document, with the first row of each.
fn documents(layout: &CacheLayout) -> Vec<Vec<(&Sequence, usize)>> {
    let (mut documents, mut numbers) = (Vec::<Vec<_>>::new(), HashMap::new());
    for (sequence, row) in layout.with_first() {
        // Sequences that share nothing are documents of their own.
        let alone = sequence.shared.is_empty().then_some(row);
        let number = *numbers.entry((&sequence.shared, alone)).or_insert(documents.len());
        if number == documents.len() {
            documents.push(Vec::new());
        }
        documents[number].push((sequence, row));
    }
    documents
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys that each row sees, as slots, read from the lists as the kernel reads them.
    fn seen(lists: &Lists, rows: usize) -> Vec<Vec<usize>> {
        let mut seen = vec![Vec::new(); rows];
        for tile in lists.tiles.chunks(TILE) {
            let &[first, count, base, prefix, hidden, keys] = tile else { unreachable!() };
            let place = |key: usize| if key < prefix { key } else { key + hidden };
            for query in first..first + count {
                let [row, at] = [lists.queries[2 * query], lists.queries[2 * query + 1]];
                let branch = lists.branches[base + at];
                let visible = |key: &usize| {
                    let other = lists.branches[base + key];
                    *key <= at && (other == 0 || other == branch)
                };
                let keys = (0..keys).map(place).filter(visible);
                seen[row] = keys.map(|key| lists.slots[base + key]).collect();
            }
        }
        seen
    }

    #[test]
    fn every_query_sees_the_tokens_of_its_sequence_up_to_its_own() {
        let sequence = |shared: &[Range<usize>], own: &[Range<usize>], new| Sequence {
            shared: shared.to_vec(),
            own: own.to_vec(),
            new,
        };
        let passage = [7..9, 100..170];
        let mut sequences = vec![
            sequence(&passage, &[], 66),
            sequence(&[], &[20..33], 13),
            sequence(&[300..310], &[], 1),
            sequence(&[], &[40..41], 1),
        ];
        sequences.extend((0..9).map(|branch| {
            let start = 400 + branch * 20;
            sequence(&passage, &[start..start + 3, start + 5..start + 12], 1 + branch)
        }));
        let layout = CacheLayout::new(sequences.clone());
        let seen = seen(&Lists::of(&layout), layout.tokens());
        for (sequence, first) in layout.with_first() {
            let slots: Vec<usize> = sequence.slots().collect();
            for new in 0..sequence.new {
                assert_eq!(seen[first + new], slots[..=slots.len() - sequence.new + new]);
            }
        }
    }
}
