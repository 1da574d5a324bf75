//! A chat that is being continued.

use uner_prompt::{Conversation, PromptError, Template, encode_prompt};

use super::OnText;
use super::watch::{TextDecoder, first_stop};
use crate::engine::{Answer, FreeDecoder, Prompt, Sampling};
use crate::error::{InferError, start};
use crate::predict::Predictor;

/// A chat to continue.
#[derive(Debug, Clone, PartialEq)]
pub struct Chat {
    /// The line before the first turn, in place of the template's. May be empty.
    pub system: String,
    /// The turns; the user's is the last.
    pub conversation: Conversation,
    /// How it is continued.
    pub options: ChatOptions,
}

/// How a chat is continued, where it differs from other chats with the model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChatOptions {
    /// Longest text, in tokens. What exceeds the model's window is not generated.
    pub max_new_tokens: Option<usize>,
    /// How tokens are chosen. The same seed gives the same text whatever else runs, except for
    /// rounding.
    pub sampling: Option<Sampling>,
    /// The text ends before the first of these. None is empty.
    pub stop: Vec<String>,
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

/// A chat that is being continued.
pub(super) struct OpenChat {
    /// Tokens of the prompt, or why it has none.
    prompt_tokens: Result<usize, InferError>,
    stop: Vec<String>,
}

impl Predictor<'_> {
    /// The prompt of a chat; none if it does not fit the model.
    pub(super) fn open_chat(
        &self,
        chat: Chat,
        on_text: Option<OnText>,
    ) -> (OpenChat, Option<Prompt<'_>>) {
        let ids = self.chat_ids(&chat);
        let ChatOptions { max_new_tokens, sampling, stop } = chat.options;
        let open = |prompt_tokens| OpenChat { prompt_tokens, stop: stop.clone() };
        let ids = match ids {
            Ok(ids) => ids,
            Err(error) => return (open(Err(error)), None),
        };
        let room = self.model_config.context_limit().0.saturating_sub(ids.len());
        let open = open(Ok(ids.len()));
        let decoder = FreeDecoder::new(|id| self.ends(id));
        let decoder = TextDecoder::new(decoder, &self.tokenizer, stop, on_text);
        let max_new_tokens = max_new_tokens.map(|most| most.min(room));
        (open, Some(Prompt { max_new_tokens, sampling, ..Prompt::new(ids, decoder) }))
    }

    /// The completion of a chat. It has no answer if it has no prompt.
    pub(super) fn completion(
        &self,
        chat: OpenChat,
        answer: Option<&Answer>,
    ) -> Result<Completion, InferError> {
        let prompt_tokens = chat.prompt_tokens?;
        let answer = answer.expect("a chat with a prompt has an answer");
        let text = self.tokenizer.decode(&answer.ids).map_err(PromptError::from)?;
        let text = text.strip_prefix(' ').unwrap_or(&text);
        let text = text[..first_stop(text, &chat.stop).unwrap_or(text.len())].to_owned();
        Ok(Completion { text, ended: answer.ended, prompt_tokens, tokens: answer.ids.len() })
    }

    /// The ids of a prompt that fits the model with its answer, or with one token if the chat says
    /// how long the answer may get.
    fn chat_ids(
        &self,
        Chat { system, conversation, options }: &Chat,
    ) -> Result<Vec<u32>, InferError> {
        let template = Template {
            system: system.clone(),
            system_at_inference: None,
            ..(*self.template).clone()
        };
        let ids = encode_prompt(conversation, &template, &self.tokenizer)?;
        let max_new_tokens = options.max_new_tokens.map_or(self.config.max_new_tokens, |_| 1);
        let window = self.model_config.context_limit();
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
