//! Greedy decoding of many prompts at once.

use std::ops::ControlFlow;

use uner_model::{Llama, LlamaConfig};

use crate::engine::{Answer, Engine, FreeDecoder, Limits, Prompt, Sampling, Stop};

/// A model that continues prompts.
#[derive(Debug, Clone, Copy)]
pub struct Generator<'a> {
    /// The model.
    pub model: &'a Llama,
    /// Its dimensions.
    pub config: &'a LlamaConfig,
}

/// The model's logits are not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the model's logits are infinite or not numbers (NaN): its weights are damaged, or too large \
     for its precision; `uner probe` writes logits and gradients to compare"
)]
pub struct NotFinite {
    /// Index of the prompt.
    pub row: usize,
}

impl Generator<'_> {
    /// Continues each prompt greedily, by at most `max_new_tokens` tokens. Stops before a token for
    /// which `ends` is true. The first of equally probable tokens wins.
    ///
    /// # Errors
    /// [`NotFinite`], for a prompt that has not ended and whose logits are not finite.
    ///
    /// # Panics
    /// When a prompt is empty.
    pub fn greedy(
        &self,
        prompts: &[Vec<u32>],
        max_new_tokens: usize,
        ends: impl Fn(u32) -> bool + Sync,
    ) -> Result<Vec<Vec<u32>>, NotFinite> {
        let mut answers = vec![Vec::new(); prompts.len()];
        if max_new_tokens == 0 {
            return Ok(answers);
        }
        let limits = Limits { max_new_tokens, prompts: usize::MAX, slots: usize::MAX };
        let mut engine = Engine::new(self.model, self.config, limits, Sampling::Greedy);
        let prompt = |ids: &Vec<u32>| Prompt::new(ids.clone(), FreeDecoder::new(&ends));
        let finished = |row: usize, mut answer: Vec<Answer>| {
            answers[row] = answer.swap_remove(0).ids;
            ControlFlow::Continue(())
        };
        match engine.run(prompts.iter().map(|ids| vec![prompt(ids)]), finished) {
            Ok(()) => Ok(answers),
            Err(Stop::NotFinite(row, _)) => Err(NotFinite { row }),
            Err(Stop::Cancelled) => unreachable!("nothing cancels"),
        }
    }
}
