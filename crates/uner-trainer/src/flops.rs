//! How much arithmetic a training step needs, for the model FLOPs utilisation (MFU) of Chowdhery et al. 2022 (PaLM).
//!
//! A weight of `n` numbers takes `2n` floating-point operations for each token that passes it forward, `2n` for the gradient
//! of what came in, and, where it is trained, `2n` for its own: 6 a number, 4 of a frozen one. The weights of the blocks see
//! every token, the head only the trained ones. Attention takes `4q` a visible pair of tokens and layer forward and twice
//! that backward, with `q` query channels. Norms, activations, the embedding and what is computed a second time do not count.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use uner_model::{Llama, LlamaConfig};

/// The floating-point operations of a model's training step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flops {
    /// For each token.
    token: f64,
    /// For each trained token, in the head.
    trained: f64,
    /// For each token and each token that it sees, itself included.
    pair: f64,
}

impl Flops {
    /// Counts a model's weights, frozen ones apart.
    pub fn new(model: &Llama, config: &LlamaConfig) -> Self {
        let mut weights = Weights::default();
        let layers = model.model.layers.clone().train();
        layers.visit(&mut weights);
        let mut head = Weights::default();
        model.head_layer().clone().train().visit(&mut head);
        let queries = config.num_attention_heads * config.head_dim;
        Self {
            token: weights.operations,
            trained: head.operations,
            pair: 12.0 * (queries * config.num_hidden_layers) as f64,
        }
    }

    /// Those of a step with these tokens, trained tokens, and pairs of tokens of which one sees the other.
    pub fn of_step(&self, tokens: usize, trained_tokens: usize, pairs: u64) -> f64 {
        self.token * tokens as f64 + self.trained * trained_tokens as f64 + self.pair * pairs as f64
    }
}

/// Adds up what the matrices of a module need for a token.
#[derive(Default)]
struct Weights {
    operations: f64,
}

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values = param.val();
        if D == 2 {
            let each = if values.is_require_grad() { 6.0 } else { 4.0 };
            self.operations += each * values.dims().iter().product::<usize>() as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use uner_model::weights::random;

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
        let model = random(&config, 1, &Device::flex());
        // A block has four matrices of 8 × 8 and three of 8 × 16.
        let block = 4 * 64 + 3 * 128;
        let trained = Flops::new(&model, &config);
        assert_eq!(trained.of_step(10, 0, 0), f64::from(6 * 2 * block * 10));
        assert_eq!(trained.of_step(0, 3, 0), f64::from(6 * 32 * 8 * 3));
        assert_eq!(trained.of_step(0, 0, 5), f64::from(12 * 8 * 2 * 5));
        let frozen = Flops::new(&model.no_grad(), &config);
        assert_eq!(frozen.of_step(10, 3, 0), f64::from(4 * (2 * block * 10 + 32 * 8 * 3)));
    }
}
