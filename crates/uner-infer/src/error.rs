//! Errors of models and queries.

use std::path::PathBuf;

use uner_model::WeightsError;
use uner_prompt::PromptError;
use uner_prompt::grounded::GroundingError;

use crate::generate::NotFinite;

/// A model that cannot be read, or a query that cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// The conversation cannot be rendered or encoded.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The prompt and its answer do not fit the model's window.
    #[error(
        "the prompt for `{entity_type}` has {tokens} tokens and its answer up to {max_new_tokens}; the model was made for {} \
         (`{}`): split the text, which starts with `{start}`", .window.0, .window.1
    )]
    TooLong {
        /// The type asked for.
        entity_type: String,
        /// Length of the prompt.
        tokens: usize,
        /// Room for the answer.
        max_new_tokens: usize,
        /// The model's window, and the key of `config.json` that limits it.
        window: (usize, &'static str),
        /// First characters of the text.
        start: String,
    },
    /// A text or a type does not fit the window of a model that reads it with a span head.
    #[error(
        "the text or type that starts with `{start}` has {tokens} tokens, texts being read twice, but the model was made for \
         {} (`{}`); split or shorten it", .window.0, .window.1
    )]
    TooLongTwice {
        /// Length of what the model would read.
        tokens: usize,
        /// The model's window, and the key of `config.json` that limits it.
        window: (usize, &'static str),
        /// First characters of the text.
        start: String,
    },
    /// A chat for a model with a span head.
    #[error("the model reads entities with a span head; it does not chat")]
    Reads,
    /// The model's logits are not finite.
    #[error("{problem}; it was asked for `{entity_type}` in the text that starts with `{start}`")]
    NotFinite {
        /// The problem, with its row of the batch.
        problem: NotFinite,
        /// The type asked for.
        entity_type: String,
        /// First characters of the text.
        start: String,
    },
    /// A file of the model's folder cannot be read; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The model cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The files of a model's folder do not fit each other, or one is missing.
    #[error("`{}`: {problem}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The fault and the remedy.
        problem: String,
    },
    /// The answers to a query cannot be constrained.
    #[error(transparent)]
    Grounding(#[from] GroundingError),
    /// A text cannot be searched.
    #[error("{0}")]
    Text(String),
    /// The progress callback cancelled.
    #[error("stopped before all queries were answered")]
    Stopped,
}

impl InferError {
    pub(crate) fn not_finite(text: &str, entity_type: &str, row: usize) -> Self {
        let (entity_type, start) = (entity_type.to_owned(), start(text));
        Self::NotFinite { problem: NotFinite { row }, entity_type, start }
    }
}

/// The first characters of a text, which identify it in a message.
pub(crate) fn start(text: &str) -> String {
    text.chars().take(40).collect()
}
