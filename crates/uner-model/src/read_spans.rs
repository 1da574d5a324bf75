//! Makes a model read entities instead of writing them.

use crate::{Llama, LlamaConfig, SpanHead};

impl Llama {
    /// Gives the model a [span head](crate::span_head) in place of its language-model head: its
    /// own, if it has one, else a new one.
    #[must_use]
    pub fn with_span_head(mut self, config: &LlamaConfig, seed: u64) -> Self {
        let device = self.model.norm.weight.val().device();
        self.span_head.get_or_insert_with(|| SpanHead::new(config.hidden_size, seed, &device));
        self.lm_head = None;
        self
    }
}
