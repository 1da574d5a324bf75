//! The sequences of a step in micro-batches.
//!
//! A span head compares the tokens of passages with entity types, so a micro-batch has the types of
//! its passages as sequences of their own, each once.

use indexmap::IndexSet;

use super::batch::Batch;
use super::pack::{pack, pack_tokens};
use super::sequence::Sequence;

/// Packs sequences into rows of at most `max_seq_len` tokens, `rows` to a micro-batch.
///
/// # Panics
/// When one exceeds `max_seq_len`, of a passage together with its types.
pub fn micro_batches(sequences: Vec<Sequence>, max_seq_len: usize, rows: usize) -> Vec<Batch> {
    if sequences.iter().all(|sequence| sequence.spans.is_none()) {
        return pack_tokens(sequences, max_seq_len).chunks(rows).map(Batch::new).collect();
    }
    let mut batches = Vec::new();
    let mut open = Passages::default();
    for passage in sequences {
        let types = open.new_types(&passage);
        if !open.has_room(&passage, &types, max_seq_len, rows) {
            batches.push(std::mem::take(&mut open).batch(max_seq_len));
        }
        open.add(passage);
    }
    batches.push(open.batch(max_seq_len));
    batches
}

/// Passages of a micro-batch, and their types.
#[derive(Default)]
struct Passages {
    passages: Vec<Sequence>,
    /// The token ids of each type.
    types: IndexSet<Vec<u32>>,
}

impl Passages {
    /// The lengths of the types that only `passage` asks.
    fn new_types(&self, passage: &Sequence) -> Vec<usize> {
        let types = passage.spans.iter().flat_map(|spans| &spans.types);
        let new = types.filter(|asked| !self.types.contains(&asked.ids));
        new.map(|asked| asked.ids.len()).collect()
    }

    /// Whether the micro-batch has room for another passage with its new types; an empty one always
    /// has.
    fn has_room(
        &self,
        passage: &Sequence,
        types: &[usize],
        max_seq_len: usize,
        rows: usize,
    ) -> bool {
        let own = self.passages.iter().chain([passage]).map(|passage| passage.ids.len());
        let lengths = own.chain(self.types.iter().map(Vec::len)).chain(types.iter().copied());
        let lengths: Vec<usize> = lengths.collect();
        self.passages.is_empty() || pack(&lengths, max_seq_len).len() <= rows
    }

    fn add(&mut self, passage: Sequence) {
        let types = passage.spans.iter().flat_map(|spans| &spans.types);
        self.types.extend(types.map(|asked| asked.ids.clone()));
        self.passages.push(passage);
    }

    fn batch(self, max_seq_len: usize) -> Batch {
        let types = self.types.into_iter().map(Sequence::of_type);
        let all: Vec<Sequence> = self.passages.into_iter().chain(types).collect();
        Batch::new(&pack_tokens(all, max_seq_len))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sequence::{AskedType, SpanSequence};
    use super::*;

    fn passage(tokens: u32, types: &[u32]) -> Sequence {
        let asked = |&name: &u32| AskedType { ids: vec![1, 90 + name], entities: vec![0..1, 2..4] };
        let second = tokens as usize / 2;
        let spans = SpanSequence { second, types: types.iter().map(asked).collect() };
        Sequence::of_spans((0..tokens).collect(), spans)
    }

    #[test]
    fn a_micro_batch_has_each_type_once_and_tags_for_the_asked_ones() {
        let batches = micro_batches(vec![passage(10, &[0, 1]), passage(8, &[1])], 16, 2);
        let [batch] = &batches[..] else { panic!("{batches:?}") };
        assert_eq!((batch.rows, batch.num_tokens(), batch.num_trained()), (2, 10 + 8 + 2 + 2, 9));
        let spans = batch.spans.as_ref().unwrap();
        let at = |index: &i32| batch.ids[*index as usize];
        assert_eq!(spans.tokens.iter().map(at).collect::<Vec<_>>(), [5, 6, 7, 8, 9, 4, 5, 6, 7]);
        assert_eq!(spans.types.iter().map(at).collect::<Vec<_>>(), [90, 91]);
        // Outside, begin and inside for each type; the second passage is not asked the first one.
        let tags = [1, 1, 0, 0, 1, 1, 2, 2, 0, 0, -1, 1, -1, 0, -1, 1, -1, 2];
        assert_eq!(spans.tags, tags);
    }

    #[test]
    fn no_passage_is_lost_and_no_row_is_too_long() {
        let passages: Vec<Sequence> =
            (0..40).map(|index| passage(8 + index % 5, &[index % 7, index % 3])).collect();
        let tagged = |index: u32| (8 + index % 5).div_ceil(2) as usize;
        let batches = micro_batches(passages, 20, 3);
        assert!(batches.iter().all(|batch| batch.rows <= 3 && batch.ids.len() <= 60));
        let found: usize = batches.iter().map(Batch::num_trained).sum();
        assert_eq!(found, (0..40).map(tagged).sum::<usize>());
    }
}
