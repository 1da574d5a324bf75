//! The conversations of a step, packed into rows: a pure function of (data, seed, step).

use std::num::NonZeroUsize;

use crate::config::TrainConfig;
use crate::data::batch::Batch;
use crate::data::dropout_keys;
use crate::data::micro_batches::micro_batches;
use crate::data::shuffle::permutation;
use crate::data::store::TokenStore;
use crate::distributed::Group;

/// Draws the conversations of any step.
#[derive(Debug, Clone, Copy)]
pub struct Loader<'a> {
    store: &'a TokenStore,
    config: &'a TrainConfig,
    micro_batch_rows: NonZeroUsize,
    seed: u64,
}

/// Everything one optimizer step trains on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepData {
    /// Packed rows, `micro_batch_rows` at a time.
    pub micro_batches: Vec<Batch>,
    /// Indices of the conversations in the store.
    pub conversations: Vec<usize>,
    /// Tokens without padding.
    pub tokens: usize,
    /// Tokens that carry loss: the divisor of the summed loss.
    pub trained_tokens: usize,
    /// Pairs of a token and a token that it sees, itself included.
    pub pairs: u64,
    /// Queries dropped because the conversation is longer than a row.
    pub dropped_queries: usize,
}

impl StepData {
    /// The micro-batches of a rank: every `world_size`-th.
    pub fn micro_batches_of(&self, group: &Group) -> impl Iterator<Item = &Batch> {
        self.micro_batches.iter().skip(group.rank()).step_by(group.world_size())
    }

    /// The largest number of micro-batches on a rank. Every rank has this many or one less.
    pub fn rounds(&self, group: &Group) -> usize {
        self.micro_batches.len().div_ceil(group.world_size())
    }
}

impl<'a> Loader<'a> {
    /// A loader of the conversations in `store`.
    pub fn new(
        store: &'a TokenStore,
        config: &'a TrainConfig,
        micro_batch_rows: NonZeroUsize,
        seed: u64,
    ) -> Self {
        Self { store, config, micro_batch_rows, seed }
    }

    /// The data of step `step` (from 0).
    ///
    /// A step has exactly `global_batch_size` conversations (or all, if there are fewer). Every
    /// epoch has its own order. Packing, micro-batches and devices do not change which
    /// conversations are drawn.
    pub fn step(&self, step: u64) -> StepData {
        let per_epoch = self.config.steps_per_epoch(self.store.len());
        let dropout_key = Some(dropout_keys::of_step(self.seed, step));
        let (epoch, step) = (step / per_epoch, (step % per_epoch) as usize);
        let order = permutation(self.store.len(), self.seed, epoch, 0);
        let size = self.config.global_batch_size.min(order.len());
        let conversations = order[step * size..(step + 1) * size].to_vec();
        let mut dropped_queries = 0;
        let sequences = conversations
            .iter()
            .map(|&index| {
                let (sequence, dropped) = self.store.sequence(index, self.seed, epoch);
                dropped_queries += dropped;
                sequence
            })
            .collect();
        let rows = self.micro_batch_rows.get();
        let micro_batches = micro_batches(sequences, self.config.max_seq_len, rows);
        let micro_batches: Vec<Batch> =
            micro_batches.into_iter().map(|batch| Batch { dropout_key, ..batch }).collect();
        StepData {
            tokens: micro_batches.iter().map(Batch::num_tokens).sum(),
            trained_tokens: micro_batches.iter().map(Batch::num_trained).sum(),
            pairs: micro_batches.iter().map(Batch::num_pairs).sum(),
            micro_batches,
            conversations,
            dropped_queries,
        }
    }
}

/// All conversations of a store in their stored order, packed `global_batch_size` at a time, for
/// the validation loss.
pub fn in_order<'a>(
    store: &'a TokenStore,
    config: &'a TrainConfig,
    micro_batch_rows: NonZeroUsize,
) -> impl Iterator<Item = Batch> + 'a {
    let indices: Vec<usize> = (0..store.len()).collect();
    let chunks: Vec<Vec<usize>> =
        indices.chunks(config.global_batch_size).map(<[usize]>::to_vec).collect();
    chunks.into_iter().flat_map(move |chunk| {
        let sequences = chunk.into_iter().map(|index| store.sequence(index, 0, 0).0).collect();
        micro_batches(sequences, config.max_seq_len, micro_batch_rows.get())
    })
}
