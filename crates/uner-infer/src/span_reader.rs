//! What a predictor with a span head keeps between its calls.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uner_prompt::{PromptError, Tokenizer, TwiceEncoder};

/// Embeddings of types that are kept. All are dropped when there are more.
const MOST_TYPES: usize = 10_000;

/// The parts of a predictor with a span head.
#[derive(Debug)]
pub(crate) struct SpanReader {
    pub(crate) encoder: TwiceEncoder,
    /// The embeddings of types that were asked before.
    types: Mutex<HashMap<String, Vec<f32>>>,
}

impl SpanReader {
    pub(crate) fn new(tokenizer: &Tokenizer) -> Result<Self, PromptError> {
        Ok(Self { encoder: TwiceEncoder::new(tokenizer)?, types: Mutex::default() })
    }

    /// The embedding of a type that was asked before.
    pub(crate) fn embedding(&self, name: &str) -> Option<Vec<f32>> {
        self.types().get(name).cloned()
    }

    /// Keeps the embedding of a type.
    pub(crate) fn keep(&self, name: &str, embedding: &[f32]) {
        let mut types = self.types();
        if types.len() >= MOST_TYPES {
            types.clear();
        }
        types.insert(name.to_owned(), embedding.to_vec());
    }

    fn types(&self) -> MutexGuard<'_, HashMap<String, Vec<f32>>> {
        self.types.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
