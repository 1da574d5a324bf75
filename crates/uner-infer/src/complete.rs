//! Chats that a model continues freely, as a teacher does.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;

use uner_prompt::{Conversation, Template, encode_prompt};

use crate::engine::{Answer, FreeDecoder, Prompt, Stop};
use crate::error::{InferError, start};
use crate::generate::NotFinite;
use crate::predict::Predictor;

/// A chat to continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// The line before the first turn, in place of the template's. May be empty.
    pub system: String,
    /// The turns; the user's is the last.
    pub conversation: Conversation,
}

/// The next turn of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The text.
    pub text: String,
    /// Whether it ended by itself, and not because it was too long.
    pub ended: bool,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of the text.
    pub tokens: usize,
}

impl Predictor<'_> {
    /// Continues chats in the words of the model's template, without constraints. Takes a chat when
    /// there is room for it, and reports each by its position, in any order. One that does not fit
    /// the model has an error; the others are continued.
    ///
    /// # Errors
    /// [`InferError::Stopped`] when `finished` breaks; when logits are not finite.
    ///
    /// # Panics
    /// Never: the engine ends each prompt once.
    pub fn complete(
        &self,
        chats: impl IntoIterator<Item = Chat>,
        mut finished: impl FnMut(usize, Result<Completion, InferError>) -> ControlFlow<()>,
    ) -> Result<(), InferError> {
        // The number of tokens of each prompt in work, or why it is none.
        let started: RefCell<HashMap<usize, Result<usize, InferError>>> = RefCell::default();
        let prompts = chats.into_iter().enumerate().map(|(index, chat)| {
            let (length, prompts) = match self.chat_ids(&chat) {
                Ok(ids) => (Ok(ids.len()), vec![self.free_prompt(ids)]),
                Err(error) => (Err(error), Vec::new()),
            };
            started.borrow_mut().insert(index, length);
            prompts
        });
        let outcome = self.run_engine(prompts, |index, answers| {
            let started = started.borrow_mut().remove(&index).expect("a chat ends once");
            finished(index, started.and_then(|length| self.completion(length, &answers[0])))
        })?;
        outcome.map_err(|stop| match stop {
            Stop::Cancelled => InferError::Stopped,
            Stop::NotFinite(row, _) => InferError::Text(NotFinite { row }.to_string()),
        })
    }

    fn free_prompt(&self, ids: Vec<u32>) -> Prompt<'_> {
        Prompt { ids, decoder: Box::new(FreeDecoder::new(|id| self.ends(id))) }
    }

    fn completion(&self, prompt_tokens: usize, answer: &Answer) -> Result<Completion, InferError> {
        let text = self.tokenizer.decode(&answer.ids).map_err(uner_prompt::PromptError::from)?;
        let text = text.strip_prefix(' ').unwrap_or(&text).to_owned();
        Ok(Completion { text, ended: answer.ended, prompt_tokens, tokens: answer.ids.len() })
    }

    /// The ids of a prompt that fits the model with its answer.
    fn chat_ids(&self, Chat { system, conversation }: &Chat) -> Result<Vec<u32>, InferError> {
        let template = Template {
            system: system.clone(),
            system_at_inference: None,
            ..(*self.template).clone()
        };
        let ids = encode_prompt(conversation, &template, &self.tokenizer)?;
        let (max_new_tokens, window) =
            (self.config.max_new_tokens, self.model_config.context_limit());
        if ids.len().saturating_add(max_new_tokens) > window.0 {
            let last = conversation.messages.last().map_or("", |message| &message.text);
            return Err(InferError::TooLong {
                entity_type: "a chat".to_owned(),
                tokens: ids.len(),
                max_new_tokens,
                window,
                start: start(last),
            });
        }
        Ok(ids)
    }
}
