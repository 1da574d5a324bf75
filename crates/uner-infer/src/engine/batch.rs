//! The new tokens of a step.

use burn::tensor::{Device, Int, Tensor, TensorData};
use uner_kernels::cached_attention::{CacheLayout, Sequence};
use uner_kernels::sparse_linear;
use uner_model::{Context, KvCache, Llama, LlamaConfig};

/// New tokens of several sequences.
#[derive(Debug, Default)]
pub(super) struct Batch {
    ids: Vec<i32>,
    positions: Vec<i32>,
    sequences: Vec<Sequence>,
}

impl Batch {
    /// Adds the new tokens of a sequence. Returns the index of the last of them.
    pub(super) fn add(&mut self, sequence: Sequence, new: &[u32]) -> usize {
        let end = sequence.tokens();
        self.ids.extend(new.iter().map(|&id| id as i32));
        self.positions.extend((end - new.len()..end).map(|position| position as i32));
        self.sequences.push(sequence);
        self.ids.len() - 1
    }

    /// Computes the hidden states of the tokens, `[tokens, hidden_size]`, and stores their keys and
    /// values.
    pub(super) fn forward(
        self,
        model: &Llama,
        config: &LlamaConfig,
        cache: &mut KvCache,
        device: &Device,
    ) -> Tensor<2> {
        let layout = CacheLayout::new(self.sequences);
        let context = Context::cached(config, &self.positions, layout, device);
        model.hidden(&self.ids, &context, Some(cache))
    }
}

/// The logits of some tokens of a step, `rows`: of all ids, `[rows, vocab_size]` row by row.
pub(super) fn all_logits(model: &Llama, hidden: Tensor<2>, rows: &[usize]) -> Vec<f32> {
    let device = hidden.device();
    let index: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
    let index = Tensor::<1, Int>::from_data(TensorData::new(index, [rows.len()]), &device);
    read(model.logits(hidden.select(0, index)))
}

/// The logits of some tokens of a step for some ids each, one after the other.
pub(super) fn some_logits<'i>(
    model: &Llama,
    hidden: Tensor<2>,
    rows: impl Iterator<Item = (usize, &'i [u32])>,
) -> Vec<f32> {
    let entries = rows.flat_map(|(row, ids)| ids.iter().map(move |&id| (row, id as usize)));
    read(sparse_linear(hidden, model.head(), entries.collect()))
}

fn read<const D: usize>(logits: Tensor<D>) -> Vec<f32> {
    logits.try_into_vec_as().expect("logits are floats")
}
