//! A micro-batch: packed rows as the model reads them.

use burn::tensor::Device;
use uner_kernels::attention::PADDING;
use uner_kernels::linear_cross_entropy::IGNORE_INDEX;
use uner_kernels::{Labels, Visibility};
use uner_model::{Context, LlamaConfig};

use crate::data::sequence::Sequence;

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
    /// The step's key for dropout (see [`dropout_keys`](super::dropout_keys)); `None` outside of
    /// training.
    pub dropout_key: Option<u64>,
}

impl Batch {
    /// Builds a batch from the sequences of each row, such as conversations.
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
            dropout_key: None,
        };
        for (row, end) in rows.iter().zip((length..).step_by(length.max(1))) {
            for (sequence, document) in row.iter().zip(0..) {
                batch.push(sequence, document);
            }
            batch.pad(end);
        }
        batch
    }

    fn push(&mut self, Sequence { ids, labels }: &Sequence, document: i32) {
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

    /// Tokens that carry loss.
    pub fn num_trained(&self) -> usize {
        self.labels.iter().filter(|&&label| label != IGNORE_INDEX).count()
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

    /// The batch's labels for the loss.
    pub fn labels(&self, device: &Device) -> Labels {
        Labels::new(&self.labels, device)
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
