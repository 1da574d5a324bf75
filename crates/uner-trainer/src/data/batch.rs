//! A micro-batch: packed rows as the model reads them.

use std::collections::HashMap;

use burn::tensor::Device;
use uner_kernels::attention::PADDING;
use uner_kernels::linear_cross_entropy::IGNORE_INDEX;
use uner_kernels::{Labels, Visibility};
use uner_model::span_head::{BEGIN, INSIDE, NOT_ASKED, OUTSIDE};
use uner_model::{Context, LlamaConfig, SpanLabels};

use crate::data::sequence::{AskedType, Sequence, SpanSequence};

/// Packed rows on the host, padded at the end to the length of the longest.
///
/// # Shapes
/// All vectors: `rows × length`, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Number of rows.
    pub rows: usize,
    /// Token ids; 0 at padding.
    pub ids: Vec<i32>,
    /// Position of each token in its sequence.
    pub positions: Vec<i32>,
    /// Number of the sequence in its row; [`PADDING`] at padding.
    pub document: Vec<i32>,
    /// The class of each token, [`IGNORE_INDEX`] where it carries no loss: see [`Sequence`].
    pub labels: Vec<i32>,
    /// The entities of passages, if a span head reads them.
    pub spans: Option<SpanTags>,
    /// The step's key for dropout (see [`dropout_keys`](super::dropout_keys)); `None` outside of
    /// training.
    pub dropout_key: Option<u64>,
}

/// What a span head has to predict: the tag of each token for each type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpanTags {
    /// Indices of the tokens that are tagged, `n`.
    pub tokens: Vec<i32>,
    /// Index of the last token of each type, `t`.
    pub types: Vec<i32>,
    /// 0 outside, 1 at the begin of and 2 inside an entity, or [`NOT_ASKED`]: `n × t`, token by
    /// token.
    pub tags: Vec<i32>,
}

impl Batch {
    /// Builds a batch from the sequences of each row, such as conversations. Passages that a span
    /// head reads come with the types that they are asked, as
    /// [`micro_batches`](super::micro_batches::micro_batches) packs them.
    ///
    /// # Panics
    /// When the type of a passage is missing.
    pub fn new<S: Clone + Into<Sequence>>(rows: &[Vec<S>]) -> Self {
        let sequences = |row: &Vec<S>| row.iter().map(|one| one.clone().into()).collect();
        let rows: Vec<Vec<Sequence>> = rows.iter().map(sequences).collect();
        let row_length = |row: &Vec<Sequence>| row.iter().map(|tokens| tokens.ids.len()).sum();
        let length: usize = rows.iter().map(row_length).max().unwrap_or(0);
        let size = rows.len() * length;
        let mut batch = Self {
            rows: rows.len(),
            ids: Vec::with_capacity(size),
            positions: Vec::with_capacity(size),
            document: Vec::with_capacity(size),
            labels: Vec::with_capacity(size),
            spans: None,
            dropout_key: None,
        };
        let mut starts = Vec::new();
        for (row, end) in rows.iter().zip((length..).step_by(length.max(1))) {
            for (sequence, document) in row.iter().zip(0..) {
                starts.push((batch.ids.len(), sequence));
                batch.push(sequence, document);
            }
            batch.pad(end);
        }
        batch.spans = SpanTags::of(&starts);
        batch
    }

    fn push(&mut self, Sequence { ids, labels, .. }: &Sequence, document: i32) {
        self.ids.extend(ids.iter().map(|&id| id as i32));
        self.positions.extend(0..ids.len() as i32);
        self.document.extend(std::iter::repeat_n(document, ids.len()));
        self.labels.extend(labels);
    }

    fn pad(&mut self, end: usize) {
        self.ids.resize(end, 0);
        self.positions.resize(end, 0);
        self.document.resize(end, PADDING);
        self.labels.resize(end, IGNORE_INDEX);
    }

    /// Tokens that are not padding.
    pub fn num_tokens(&self) -> usize {
        self.document.iter().filter(|&&document| document != PADDING).count()
    }

    /// Tokens that carry loss: those with a label, and those that a span head tags, each counted
    /// once for all its types.
    pub fn num_trained(&self) -> usize {
        let labelled = self.labels.iter().filter(|&&label| label != IGNORE_INDEX).count();
        labelled + self.spans.as_ref().map_or(0, |spans| spans.tokens.len())
    }

    /// Pairs of a token and a token that it sees, itself included: the cost of attention.
    pub fn num_pairs(&self) -> u64 {
        let length = (self.document.len() / self.rows.max(1)).max(1);
        let rows = self.document.chunks(length).flat_map(|row| row.chunk_by(|a, b| a == b));
        let seen =
            rows.filter(|document| document[0] != PADDING).map(|document| document.len() as u64);
        seen.map(|tokens| tokens * (tokens + 1) / 2).sum()
    }

    /// The batch's positions and visibility for the model's blocks.
    pub fn context<'a>(&self, config: &'a LlamaConfig, device: &Device) -> Context<'a> {
        let visibility = Visibility::packed(&self.document, self.rows, device);
        Context::new(config, &self.positions, self.rows, visibility, device)
    }

    /// The batch's tags for the loss of a span head, if it has some.
    pub fn span_labels(&self, device: &Device) -> Option<SpanLabels> {
        let SpanTags { tokens, types, tags } = self.spans.as_ref()?;
        Some(SpanLabels::new(tokens, types, tags, device))
    }

    /// The batch's labels for the loss.
    pub fn labels(&self, device: &Device) -> Labels {
        Labels::new(&self.labels, device)
    }
}

impl SpanTags {
    /// The tags of passages among sequences, which begin at these indices of the batch; `None`
    /// without passages.
    fn of(sequences: &[(usize, &Sequence)]) -> Option<Self> {
        let (passages, types): (Vec<_>, Vec<_>) =
            sequences.iter().partition(|(_, sequence)| sequence.spans.is_some());
        let column: HashMap<&[u32], usize> =
            types.iter().enumerate().map(|(column, (_, one))| (&*one.ids, column)).collect();
        let last = |(start, one): &(usize, &Sequence)| (start + one.ids.len() - 1) as i32;
        let mut tags = Self { types: types.iter().map(last).collect(), ..Self::default() };
        for (start, passage) in &passages {
            let SpanSequence { second, types: asked } = passage.spans.as_ref()?;
            let first = tags.tokens.len();
            tags.tokens.extend((start + second..start + passage.ids.len()).map(|at| at as i32));
            tags.tags.resize(tags.tokens.len() * types.len(), NOT_ASKED);
            let of_passage = &mut tags.tags[first * types.len()..];
            for AskedType { ids, entities } in asked {
                let column = column[&**ids];
                let mut rows = of_passage.chunks_mut(types.len());
                rows.by_ref().for_each(|row| row[column] = OUTSIDE);
                for entity in entities {
                    of_passage[entity.start * types.len() + column] = BEGIN;
                    for token in entity.start + 1..entity.end {
                        of_passage[token * types.len() + column] = INSIDE;
                    }
                }
            }
        }
        (!passages.is_empty()).then_some(tags)
    }
}

#[cfg(test)]
mod tests {
    use uner_prompt::Tokens;

    use super::*;

    #[test]
    fn borders_positions_and_padding() {
        let tokens = |ids: &[u32], trained: &[bool]| Tokens {
            ids: ids.to_vec(),
            loss_mask: trained.to_vec(),
            exchanges: vec![ids.len()],
        };
        let batch = Batch::new(&[
            vec![tokens(&[1, 5, 6], &[false, true, true]), tokens(&[1, 7], &[true, true])],
            vec![tokens(&[1, 8], &[false, true])],
        ]);
        assert_eq!(batch.ids, [1, 5, 6, 1, 7, 1, 8, 0, 0, 0]);
        assert_eq!(batch.positions, [0, 1, 2, 0, 1, 0, 1, 0, 0, 0]);
        assert_eq!(batch.document, [0, 0, 0, 1, 1, 0, 0, -1, -1, -1]);
        // The first token of the second conversation is trained, but no token may predict it.
        assert_eq!(batch.labels, [5, 6, -100, 7, -100, 8, -100, -100, -100, -100]);
        assert_eq!((batch.num_tokens(), batch.num_trained()), (7, 4));
        // Conversations of 3, 2 and 2 tokens.
        assert_eq!(batch.num_pairs(), 6 + 3 + 3);
    }
}
