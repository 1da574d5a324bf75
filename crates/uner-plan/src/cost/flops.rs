//! Floating-point operations per token of a step: those of the model, and those that run.

use serde::{Deserialize, Serialize};
use uner_model::Flops;

use super::{Layout, Workload};

/// Operations per token of a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TokenFlops {
    /// Operations of the model, however it is trained ([`Flops`]): the numerator of model FLOPs
    /// utilisation (MFU).
    pub model: f64,
    /// Operations that run: the backward pass recomputes the scores of attention, and the forward
    /// pass of each recomputed block.
    pub executed: f64,
}

impl TokenFlops {
    /// Counts them for tokens that see `visible` tokens on average, themselves included.
    pub fn new(work: &Workload, layout: Layout, visible: f64) -> Self {
        let size = work.size();
        let flops = Flops::new(work.model, work.adapter.map(|frozen| frozen.adapter));
        let attention = flops.per_pair * visible;
        let others = flops.per_token + flops.per_trained_token * work.trained_share;
        let recomputed = layout.recomputed_blocks as f64;
        // The scores are a sixth of attention's operations (2 of 12 per pair); the forward pass is
        // a third, of which a block has its share.
        let scores_again = attention / 6.0;
        let block = 2.0 * (size.block_matrices + size.block_adapter) as f64
            + attention / 3.0 / work.model.num_hidden_layers as f64;
        Self {
            model: others + attention,
            executed: others + attention + scores_again + recomputed * block,
        }
    }
}

#[cfg(test)]
mod tests {
    use uner_model::AdapterConfig;

    use super::super::tests::llama_7b;
    use super::super::{OnFrozen, Storage};
    use super::*;

    #[test]
    fn six_for_each_parameter_and_attention_on_top() {
        let model = llama_7b();
        let work = Workload {
            model: &model,
            storage: Storage::MIXED,
            adapter: None,
            ranks: 1,
            must_shard: false,
            row_length: 2048,
            step_rows: 1,
            trained_share: 1.0,
            logits_limit: 256 << 20,
        };
        let layout = Layout::default();
        let flops = TokenFlops::new(&work, layout, 1024.5);
        // 6,607,077,376 parameters belong to matrix products (all but the embedding and the norms).
        let attention = 12.0 * 32.0 * 4096.0 * 1024.5;
        assert_eq!(flops.model, 6.0 * 6_607_077_376.0 + attention);
        assert_eq!(flops.executed, 6.0 * 6_607_077_376.0 + attention * 14.0 / 12.0);
        // Recomputing every block costs a third more, except for the head.
        let again = TokenFlops::new(&work, Layout { recomputed_blocks: 32, ..layout }, 1024.5);
        assert_eq!(again.executed - flops.executed, 2.0 * 32.0 * 202_375_168.0 + attention / 3.0);
        assert_eq!(again.model, flops.model);
        // A frozen base has no gradients of weights: two thirds of the operations.
        let adapter = AdapterConfig::default();
        let frozen = Workload { adapter: Some(OnFrozen { adapter: &adapter, base: None }), ..work };
        let flops = TokenFlops::new(&frozen, layout, 1024.5);
        let adapter = frozen.size().adapter() as f64;
        assert_eq!(flops.model, 4.0 * 6_607_077_376.0 + 6.0 * adapter + attention);
    }
}
