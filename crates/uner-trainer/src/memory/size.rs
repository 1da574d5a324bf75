//! How many parameters a model has, part by part.

use uner_model::LlamaConfig;

use super::storage::{Adapter, Matrix};

/// Numbers of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// The matrices of one block.
    pub block_matrices: u64,
    /// The norms of one block.
    pub block_norms: u64,
    /// Blocks.
    pub blocks: u64,
    /// The embedding, or the head: `vocab_size · hidden_size`.
    pub embedding: u64,
    /// 2 where the head is a matrix of its own, 1 where it is the embedding.
    pub embeddings: u64,
    /// The final norm.
    pub norm: u64,
    /// The adapter's factors of one block; 0 without an adapter.
    pub block_adapter: u64,
}

impl Size {
    /// Counts a model's parameters and its adapter's.
    pub fn new(model: &LlamaConfig, adapter: Option<&Adapter>) -> Self {
        let matrix = |matrix: Matrix| matrix.dims(model).into_iter().product::<usize>() as u64;
        let factors = |adapter: &Adapter| {
            let targets = Matrix::ALL.into_iter().zip(adapter.targets).filter(|(_, target)| *target);
            targets.map(|(matrix, _)| (adapter.rank * matrix.dims(model).iter().sum::<usize>()) as u64).sum()
        };
        Self {
            block_matrices: Matrix::ALL.into_iter().map(matrix).sum(),
            block_norms: 2 * model.hidden_size as u64,
            blocks: model.num_hidden_layers as u64,
            embedding: (model.vocab_size * model.hidden_size) as u64,
            embeddings: if model.tie_word_embeddings { 1 } else { 2 },
            norm: model.hidden_size as u64,
            block_adapter: adapter.map_or(0, factors),
        }
    }

    /// One block without its adapter.
    pub fn block(&self) -> u64 {
        self.block_matrices + self.block_norms
    }

    /// The model without its adapter.
    pub fn model(&self) -> u64 {
        self.blocks * self.block() + self.embeddings * self.embedding + self.norm
    }

    /// The adapter.
    pub fn adapter(&self) -> u64 {
        self.blocks * self.block_adapter
    }

    /// What is trained: the adapter where there is one, else all.
    pub fn trained(&self) -> u64 {
        if self.block_adapter > 0 { self.adapter() } else { self.model() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::tests::{llama_7b, llama_13b};
    use crate::memory::{Adapter, Base};

    #[test]
    fn parameters_are_those_published() {
        assert_eq!(Size::new(&llama_7b(), None).model(), 6_738_415_616);
        assert_eq!(Size::new(&llama_13b(), None).model(), 13_015_864_320);
    }

    #[test]
    fn an_adapter_on_queries_and_values_has_what_peft_says() {
        // `print_trainable_parameters` of PEFT for rank 8 on q_proj and v_proj of LLaMA 7B.
        let targets = [true, false, true, false, false, false, false];
        let adapter = Adapter { rank: 8, targets, base: Base::Bf16 };
        assert_eq!(Size::new(&llama_7b(), Some(&adapter)).trained(), 4_194_304);
    }
}
