//! Number of parameters of a model, part by part.

use serde::{Deserialize, Serialize};

use crate::LlamaConfig;
use crate::adapter::{AdapterConfig, Target};
use crate::span_head::num_params;

/// Numbers of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// The matrices of one block.
    pub block_matrices: u64,
    /// The norms and biases of one block.
    #[serde(alias = "block_norms")]
    pub block_vectors: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// The embedding, or the head: `vocab_size · hidden_size`.
    pub embedding: u64,
    /// 2 if the head is a matrix of its own, 1 if it is tied to the embedding.
    pub embeddings: u64,
    /// The final norm.
    pub norm: u64,
    /// The span head; 0 without one.
    #[serde(default)]
    pub span_head: u64,
    /// The adapter's factors in one block; 0 without an adapter.
    pub block_adapter: u64,
}

impl Size {
    /// Counts a model's parameters and its adapter's.
    pub fn new(model: &LlamaConfig, adapter: Option<&AdapterConfig>) -> Self {
        let matrix = |target: Target| target.dims(model).into_iter().product::<usize>() as u64;
        let factors = |adapter: &AdapterConfig| {
            let targets = adapter.target_modules.iter();
            targets
                .map(|target| (adapter.rank * target.dims(model).iter().sum::<usize>()) as u64)
                .sum()
        };
        let biased = Target::ALL.into_iter().filter(|target| target.has_bias(model));
        let biases: usize = biased.map(|target| target.dims(model)[1]).sum();
        let head_norms = if model.has_head_norms() { 2 * model.head_dim } else { 0 };
        Self {
            block_matrices: Target::ALL.into_iter().map(matrix).sum(),
            block_vectors: (2 * model.hidden_size + head_norms + biases) as u64,
            blocks: model.num_hidden_layers as u64,
            embedding: (model.vocab_size * model.hidden_size) as u64,
            embeddings: if model.tie_word_embeddings { 1 } else { 2 },
            norm: model.hidden_size as u64,
            span_head: if model.span_head { num_params(model.hidden_size) as u64 } else { 0 },
            block_adapter: adapter.map_or(0, factors),
        }
    }

    /// One block without its adapter.
    pub fn block(&self) -> u64 {
        self.block_matrices + self.block_vectors
    }

    /// The model without its adapter.
    pub fn model(&self) -> u64 {
        self.blocks * self.block() + self.embeddings * self.embedding + self.norm + self.span_head
    }

    /// The adapter.
    pub fn adapter(&self) -> u64 {
        self.blocks * self.block_adapter
    }

    /// The trained parameters: those of the adapter, if the model has one, and of the span head;
    /// else all.
    pub fn trained(&self) -> u64 {
        if self.block_adapter > 0 { self.adapter() + self.span_head } else { self.model() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Family;
    use crate::export::parameters;

    fn llama(hidden: usize, intermediate: usize, layers: usize, heads: usize) -> LlamaConfig {
        let text = format!(
            r#"{{"hidden_size": {hidden}, "intermediate_size": {intermediate}, "num_hidden_layers": {layers},
            "num_attention_heads": {heads}, "vocab_size": 32000, "tie_word_embeddings": false}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn parameters_are_those_published() {
        assert_eq!(Size::new(&llama(4096, 11008, 32, 32), None).model(), 6_738_415_616);
        assert_eq!(Size::new(&llama(5120, 13824, 40, 40), None).model(), 13_015_864_320);
    }

    #[test]
    fn parameters_are_those_that_a_model_is_built_of() {
        let grouped = LlamaConfig { num_key_value_heads: 2, ..llama(24, 40, 3, 4) };
        let of = |family| LlamaConfig { family, ..grouped.clone() };
        let tied = LlamaConfig { tie_word_embeddings: true, ..grouped.clone() };
        let biased = of(Family::Llama { attention_bias: true, mlp_bias: true });
        let others = [of(Family::Qwen2), of(Family::Qwen3 { attention_bias: true })];
        let spans = grouped.clone().with_span_head();
        for config in [llama(24, 40, 3, 4), tied, biased, spans].into_iter().chain(others) {
            let built = parameters(&config)
                .into_iter()
                .map(|(_, shape)| shape.iter().product::<usize>() as u64);
            assert_eq!(Size::new(&config, None).model(), built.sum::<u64>());
        }
    }

    #[test]
    fn an_adapter_on_queries_and_values_has_what_peft_says() {
        // `print_trainable_parameters` of PEFT for rank 8 on q_proj and v_proj of LLaMA 7B.
        let target_modules = [Target::QProj, Target::VProj].into();
        let adapter = AdapterConfig { rank: 8, target_modules, ..AdapterConfig::default() };
        assert_eq!(Size::new(&llama(4096, 11008, 32, 32), Some(&adapter)).trained(), 4_194_304);
    }
}
