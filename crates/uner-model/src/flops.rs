//! Floating-point operations (FLOPs) of a training step, for the model FLOPs utilisation (MFU) of
//! Chowdhery et al. 2022 (PaLM).
//!
//! A weight of `n` numbers takes `2n` FLOPs per token in the forward pass, `2n` for the gradient of
//! its input and, if it is trained, `2n` for its own gradient: 6 per number, or 4 if it is frozen.
//! The weights of the blocks see every token, the head only the trained ones. Attention takes `4q`
//! per layer and visible pair of tokens in the forward pass and twice that in the backward pass,
//! with `q` query channels. Norms, biases, activations, the embedding and recomputation do not
//! count.

use crate::adapter::AdapterConfig;
use crate::{LlamaConfig, Size};

/// The FLOPs of a model's training step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flops {
    /// Per token.
    pub per_token: f64,
    /// Per trained token, in the head.
    pub per_trained_token: f64,
    /// Per pair of a token and a token that it sees, itself included.
    pub per_pair: f64,
}

impl Flops {
    /// Counts the FLOPs of a model; with an adapter, the model is frozen.
    pub fn new(model: &LlamaConfig, adapter: Option<&AdapterConfig>) -> Self {
        let size = Size::new(model, adapter);
        let each = if adapter.is_some() { 4.0 } else { 6.0 };
        let queries = model.num_attention_heads * model.head_dim;
        Self {
            per_token: each * (size.blocks * size.block_matrices) as f64
                + 6.0 * size.adapter() as f64,
            per_trained_token: if model.span_head {
                6.0 * size.span_head as f64
            } else {
                each * size.embedding as f64
            },
            per_pair: 12.0 * (queries * model.num_hidden_layers) as f64,
        }
    }

    /// Counts the FLOPs of a step; `pairs` are the pairs of tokens of which one sees the other.
    pub fn of_step(&self, tokens: usize, trained_tokens: usize, pairs: u64) -> f64 {
        self.per_token * tokens as f64
            + self.per_trained_token * trained_tokens as f64
            + self.per_pair * pairs as f64
    }
}

#[cfg(test)]
mod tests {
    use crate::adapter::Target;

    use super::*;

    fn config() -> LlamaConfig {
        serde_json::from_str(
            r#"{"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 32}"#,
        )
        .unwrap()
    }

    #[test]
    fn six_for_each_number_and_token_and_four_where_it_is_frozen() {
        let config = config();
        // A block has four matrices of 8 × 8 and three of 8 × 16.
        let block = 4 * 64 + 3 * 128;
        let trained = Flops::new(&config, None);
        assert_eq!(trained.of_step(10, 0, 0), f64::from(6 * 2 * block * 10));
        assert_eq!(trained.of_step(0, 3, 0), f64::from(6 * 32 * 8 * 3));
        assert_eq!(trained.of_step(0, 0, 5), f64::from(12 * 8 * 2 * 5));
        // An adapter of rank 3 on `up_proj` has factors of 3 × 8 and 16 × 3 in each of two blocks.
        let adapter = AdapterConfig {
            rank: 3,
            alpha: 6.0,
            dropout: 0.0,
            target_modules: [Target::UpProj].into(),
        };
        let frozen = Flops::new(&config, Some(&adapter));
        assert_eq!(
            frozen.of_step(10, 3, 0),
            f64::from((4 * block + 6 * 3 * 24) * 2 * 10 + 4 * 32 * 8 * 3)
        );
    }
}
