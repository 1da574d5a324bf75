//! Floating-point operations of a token, forward and backward, before there is a model to count: [`crate::flops`] counts those of
//! the steps of a run.

use super::{Layout, Setup, Size};

/// Operations of one token of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flops {
    /// What the model needs, whoever trains it: for each parameter of a matrix two forward and four backward (Kaplan et al. 2020),
    /// two backward where the matrix is frozen; for each block `4·q·c` forward and twice that backward for attention over `c`
    /// visible tokens with `q` query channels. What "model FLOPs utilisation" divides by.
    pub model: f64,
    /// What is computed: the head for trained tokens only, attention's scores once more in the backward pass, and the blocks
    /// that keep no graph twice.
    pub executed: f64,
}

impl Flops {
    /// Counts them for tokens that see `visible` tokens on average, themselves included.
    pub fn per_token(setup: &Setup, layout: Layout, visible: f64) -> Self {
        let size = Size::new(setup.model, setup.adapter.as_ref());
        let frozen = setup.adapter.is_some();
        // Backward: the gradient of the input, and that of the weight where it is trained.
        let backward = if frozen { 2.0 } else { 4.0 };
        let blocks = size.blocks as f64;
        let block = size.block_matrices as f64;
        let adapter = 6.0 * size.adapter() as f64;
        let head = (2.0 + backward) * size.embedding as f64;
        let channels = (setup.model.num_attention_heads * setup.model.head_dim) as f64;
        let attention = 4.0 * channels * visible;
        let recomputed = (setup.model.num_hidden_layers - layout.kept_blocks) as f64;
        let once = blocks * (2.0 + backward) * block + adapter;
        let low_rank_again = 2.0 * recomputed * size.block_adapter as f64;
        Self {
            model: once + head + 3.0 * blocks * attention,
            executed: once
                + head * setup.trained_share
                + 3.5 * blocks * attention
                + recomputed * (2.0 * block + attention)
                + low_rank_again,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::llama_7b;
    use super::super::{Adapter, Base, Storage};
    use super::*;

    #[test]
    fn six_for_each_parameter_and_attention_on_top() {
        let model = llama_7b();
        let setup = Setup {
            model: &model,
            storage: Storage::MIXED,
            adapter: None,
            ranks: 1,
            divided: false,
            row_length: 2048,
            step_rows: 1,
            trained_share: 1.0,
            logits_limit: 256 << 20,
        };
        let kept = Layout { micro_batch_rows: 1, kept_blocks: 32, divided: false };
        let flops = Flops::per_token(&setup, kept, 1024.5);
        // 6,607,077,376 parameters are in matrices that are multiplied with (all but the embedding and the norms).
        let attention = 12.0 * 32.0 * 4096.0 * 1024.5;
        assert_eq!(flops.model, 6.0 * 6_607_077_376.0 + attention);
        assert_eq!(flops.executed, 6.0 * 6_607_077_376.0 + attention * 14.0 / 12.0);
        // Recomputing every block costs a third more, the head left out.
        let again = Flops::per_token(&setup, Layout { kept_blocks: 0, ..kept }, 1024.5);
        assert_eq!(again.executed - flops.executed, 2.0 * 32.0 * 202_375_168.0 + attention / 3.0);
        assert_eq!(again.model, flops.model);
        // A frozen base has no gradients of weights: two thirds.
        let frozen = Setup { adapter: Some(Adapter::everywhere(16, Base::Bf16)), ..setup };
        let flops = Flops::per_token(&frozen, kept, 1024.5);
        let adapter = Size::new(&model, frozen.adapter.as_ref()).adapter() as f64;
        assert_eq!(flops.model, 4.0 * 6_607_077_376.0 + 6.0 * adapter + attention);
    }
}
