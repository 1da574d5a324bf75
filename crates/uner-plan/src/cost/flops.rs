//! Floating-point operations of a token of a step: what the model needs, and what is computed.

use serde::{Deserialize, Serialize};
use uner_model::Flops;

use super::{Layout, Workload};

/// Operations of one token of a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TokenFlops {
    /// What the model needs, whoever trains it ([`Flops`]). What "model FLOPs utilisation" divides
    /// by.
    pub model: f64,
    /// What is computed: attention's scores once more in the backward pass, and the blocks that
    /// keep no graph twice.
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
        // A sixth of attention's backward pass; of the forward pass, which is a third of all, a
        // block's share.
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
        let kept = Layout::default();
        let flops = TokenFlops::new(&work, kept, 1024.5);
        // 6,607,077,376 parameters are in matrices that are multiplied with (all but the embedding
        // and the norms).
        let attention = 12.0 * 32.0 * 4096.0 * 1024.5;
        assert_eq!(flops.model, 6.0 * 6_607_077_376.0 + attention);
        assert_eq!(flops.executed, 6.0 * 6_607_077_376.0 + attention * 14.0 / 12.0);
        // Recomputing every block costs a third more, the head left out.
        let again = TokenFlops::new(&work, Layout { recomputed_blocks: 32, ..kept }, 1024.5);
        assert_eq!(again.executed - flops.executed, 2.0 * 32.0 * 202_375_168.0 + attention / 3.0);
        assert_eq!(again.model, flops.model);
        // A frozen base has no gradients of weights: two thirds.
        let adapter = AdapterConfig::default();
        let frozen = Workload { adapter: Some(OnFrozen { adapter: &adapter, base: None }), ..work };
        let flops = TokenFlops::new(&frozen, kept, 1024.5);
        let adapter = frozen.size().adapter() as f64;
        assert_eq!(flops.model, 4.0 * 6_607_077_376.0 + 6.0 * adapter + attention);
    }
}
