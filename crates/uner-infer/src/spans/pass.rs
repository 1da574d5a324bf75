//! Sequences that the model reads in one pass: a row in which they do not see each other.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};
use uner_kernels::Visibility;
use uner_model::Context;
use uner_model::span_head::indices;

use crate::predict::Predictor;

/// Sequences in one row.
pub(super) struct Pass {
    ids: Vec<i32>,
    positions: Vec<i32>,
    document: Vec<i32>,
    /// The end of each sequence.
    ends: Vec<usize>,
}

impl Pass {
    pub(super) fn new<'a>(sequences: impl Iterator<Item = &'a [u32]>) -> Self {
        let (ids, positions, document, ends) = Default::default();
        let mut pass = Self { ids, positions, document, ends };
        for (ids, number) in sequences.zip(0..) {
            pass.ids.extend(ids.iter().map(|&id| id as i32));
            pass.positions.extend(0..ids.len() as i32);
            pass.document.extend(std::iter::repeat_n(number, ids.len()));
            pass.ends.push(pass.ids.len());
        }
        pass
    }

    /// The tokens of a sequence, without its first `skipped`.
    pub(super) fn tokens(&self, sequence: usize, skipped: usize) -> Range<usize> {
        let start = sequence.checked_sub(1).map_or(0, |before| self.ends[before]);
        start + skipped..self.ends[sequence]
    }

    /// The index of the last token of each sequence.
    pub(super) fn last_tokens(&self, device: &Device) -> Tensor<1, Int> {
        let last: Vec<i32> = self.ends.iter().map(|end| *end as i32 - 1).collect();
        indices(&last, device)
    }
}

/// Cuts sequences of these lengths into passes of at most `most` tokens, or of one sequence.
pub(super) fn passes(
    lengths: impl Iterator<Item = usize>,
    most: usize,
) -> impl Iterator<Item = Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut tokens = 0;
    for (index, length) in lengths.enumerate() {
        tokens += length;
        match ranges.last_mut() {
            Some(range) if tokens <= most => range.end = index + 1,
            _ => {
                tokens = length;
                ranges.push(index..index + 1);
            }
        }
    }
    ranges.into_iter()
}

impl Predictor<'_> {
    /// Tokens of a pass: enough to keep the device busy.
    pub(crate) fn tokens_of_a_pass(&self) -> usize {
        if self.device() == Device::flex() { 1024 } else { 16_384 }
    }

    /// The hidden states of the tokens of a pass, `[tokens, hidden_size]`.
    pub(super) fn hidden(&self, pass: &Pass) -> Tensor<2> {
        let Pass { ids, positions, document, .. } = pass;
        let device = self.device();
        let visibility = Visibility::packed(document, 1, &device);
        let context = Context::new(&self.model_config, positions, 1, visibility, &device);
        self.model.hidden(ids, &context, None)
    }

    /// The logarithms of the probabilities of each token's tags, `[3 · n]` for each type, from the
    /// hidden states of tokens, `[n, hidden_size]`, and the embeddings of types.
    pub(super) fn tag(&self, hidden: Tensor<2>, types: &[&[f32]]) -> Vec<Vec<f32>> {
        let [n, width] = hidden.dims();
        let embeddings = TensorData::new(types.concat(), [types.len(), width]);
        let embeddings = Tensor::from_data(embeddings, &hidden.device());
        let all = self.span_head().log_probabilities(hidden, embeddings).swap_dims(0, 1);
        let values: Vec<f32> = all.try_into_vec_as().expect("f32 of the device");
        values.chunks(3 * n).map(<[f32]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_have_all_sequences_in_order() {
        let cut = |lengths: &[usize]| passes(lengths.iter().copied(), 10).collect::<Vec<_>>();
        assert_eq!(cut(&[4, 4, 4, 12, 1, 9, 1]), [0..2, 2..3, 3..4, 4..6, 6..7]);
        assert!(cut(&[]).is_empty());
    }

    #[test]
    fn a_pass_knows_the_tokens_of_its_sequences() {
        let pass = Pass::new([&[1, 5, 6][..], &[1, 7]].into_iter());
        assert_eq!((pass.tokens(0, 1), pass.tokens(1, 0)), (1..3, 3..5));
        assert_eq!(
            (&pass.positions[..], &pass.document[..]),
            (&[0, 1, 2, 0, 1][..], &[0, 0, 0, 1, 1][..])
        );
        let last: Vec<i32> = pass.last_tokens(&Device::flex()).try_into_vec_as().unwrap();
        assert_eq!(last, [2, 4]);
    }
}
