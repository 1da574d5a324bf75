//! Conversations built with a model's own chat template (Jinja), as transformers does in
//! `apply_chat_template`.
//!
//! Every question is rendered directly after the passage exchange, as at inference:
//!
//! ```text
//! <user>passage<end><assistant>read<end>│<user>question<end><assistant>│⟦answer<end>⟧
//! ├── passage ──────────────────────────┤
//! ├── prompt ──────────────────────────────────────────────────────────┤
//! ```
//!
//! Joined, the passage exchange and the exchanges of all questions must be how the rendered whole
//! conversation starts. A template that renders a turn differently once other turns follow is
//! refused. An answer ends with the first special token after it, so an exchange has the same ids
//! whichever exchange precedes it. A prompt's ids are those of transformers; training ids are
//! prompt ids followed by answer ids.
//!
//! [`ChatTemplate`](crate::ChatTemplate) checks size and syntax of a template, and `template.rs`
//! the keys beside it.

mod literal;

use minijinja::Value;

use crate::conversation::{Conversation, Message, Tokens};
use crate::error::PromptError;
use crate::render::{alternating, through_last_user_turn};
use crate::template::Template;
use crate::tokenizer::Tokenizer;

use crate::jinja::{self, ChatTemplate, Prefix};
use literal::Literals;

const MOVED: &str = "the chat template renders a turn differently once others follow it, so prompts would differ from the training text";

/// Advice for every chat template that is refused.
const ANOTHER: &str = "take another template, such as `zero-shot`";

/// Advice for templates that reject a system message, or move it from turn to turn.
const WITHOUT_SYSTEM: &str = "if the system message is the cause, use a copy of `configs/templates/chat.toml` with \
                              `system = \"\"`";

/// A template with its chat template, and a tokenizer.
pub(crate) struct Chat<'a> {
    jinja: &'a ChatTemplate,
    template: &'a Template,
    tokenizer: &'a Tokenizer,
}

/// An exchange rendered after the passage exchange. Its prompt ends at `prompt`; the special token
/// that ends its answer ends at `end`.
struct Exchange<'a> {
    text: &'a str,
    prompt: usize,
    end: usize,
}

impl<'a> Chat<'a> {
    /// `None` for templates without a chat template.
    pub(crate) fn of(template: &'a Template, tokenizer: &'a Tokenizer) -> Option<Self> {
        Some(Self { jinja: template.chat_template.as_ref()?, template, tokenizer })
    }

    /// Encodes a conversation for training.
    pub(crate) fn encode(&self, conversation: &Conversation) -> Result<Tokens, PromptError> {
        let messages = alternating(&conversation.messages, self.template.drop_leading_assistant)?;
        if !messages.len().is_multiple_of(2) {
            return Err(PromptError::OddTurns(messages.len()));
        }
        let (messages, literals) = Literals::hide(messages, self.tokenizer);
        let texts = self.texts(&prefixes(&messages))?;
        let [exchanges @ .., whole] = &texts[..] else {
            unreachable!("the whole is rendered, too")
        };
        let mut writer = Writer::new(&literals, self.tokenizer);
        let (mut passage, mut written) = ("", String::new());
        for (number, (turns, texts)) in
            messages.chunks_exact(2).zip(exchanges.chunks_exact(2)).enumerate()
        {
            let Exchange { text, prompt, end } =
                self.exchange(&texts[0], &texts[1], &turns[1], &literals)?;
            // Every rendered question starts with the passage exchange.
            let own = match text[..prompt].strip_prefix(passage) {
                Some(own) => prompt - own.len(),
                None => return Err(self.refused(MOVED)),
            };
            if self.template.trains(number) {
                writer.push(&text[own..prompt], false)?;
                writer.push(&text[prompt..end], true)?;
            } else {
                writer.push(&text[own..end], false)?;
            }
            writer.tokens.exchanges.push(writer.tokens.ids.len());
            written.push_str(&text[own..end]);
            if number == 0 {
                passage = &text[..end];
            }
        }
        if !whole.starts_with(&written) {
            return Err(self.refused(MOVED));
        }
        Ok(writer.tokens)
    }

    /// Encodes the prompt for the last user turn.
    pub(crate) fn encode_prompt(
        &self,
        conversation: &Conversation,
    ) -> Result<Vec<u32>, PromptError> {
        let (messages, literals) =
            Literals::hide(through_last_user_turn(conversation, self.template)?, self.tokenizer);
        let messages = messages.iter().map(jinja::message).collect();
        let mut writer = Writer::new(&literals, self.tokenizer);
        writer.push(
            &self.texts(&[Prefix { messages, add_generation_prompt: true }])?.concat(),
            false,
        )?;
        Ok(writer.tokens.ids)
    }

    /// The special token that ends an assistant's turn.
    pub(crate) fn end_of_turn(&self) -> Result<u32, PromptError> {
        // `[]` cannot occur in the assistant's name, in which the answer is searched for, too.
        let messages = [Message::user("a"), Message::assistant("[]")];
        let (_, literals) = Literals::hide(&messages, self.tokenizer);
        let texts = self.texts(&prefixes(&messages))?;
        let Exchange { text, prompt, end } =
            self.exchange(&texts[0], &texts[1], &messages[1], &literals)?;
        let ids = self.tokenizer.encode_special(&text[prompt..end], true)?;
        Ok(*ids.last().expect("a turn ends with a special token"))
    }

    /// Renders several prefixes of a conversation.
    fn texts(&self, prefixes: &[Prefix]) -> Result<Vec<String>, PromptError> {
        if self.jinja.is_unknown() {
            return Err(PromptError::Chat(
                "the chat template of the model has not been read".to_owned(),
            ));
        }
        let special =
            [self.tokenizer.bos(), self.tokenizer.eos()].map(|id| self.tokenizer.token(id));
        let texts = self.jinja.render(&self.template.system, prefixes, &special);
        texts.map_err(|problem| self.refused(&problem))
    }

    /// Finds the parts of an exchange from its prompt and from its whole text with another turn
    /// after it.
    fn exchange<'t>(
        &self,
        prompt: &str,
        text: &'t str,
        answer: &Message,
        literals: &Literals,
    ) -> Result<Exchange<'t>, PromptError> {
        let Some(turn) = text.strip_prefix(prompt) else { return Err(self.refused(MOVED)) };
        let answer = answer.text.trim();
        let changed = || {
            let shown: String = literals.restore(answer).chars().take(40).collect();
            PromptError::Chat(format!(
                "the chat template changes the assistant's message, which starts with `{shown}`; {ANOTHER}"
            ))
        };
        let Some(behind) = turn.find(answer).map(|start| start + answer.len()) else {
            return Err(changed());
        };
        let Some((start, length)) = self.tokenizer.find_special(&turn[behind..]) else {
            return Err(PromptError::Chat(format!(
                "the chat template writes no special token after the assistant's turn, so nothing would end an answer; {ANOTHER}"
            )));
        };
        // Text that the template adds would be trained on as part of the answer.
        if !turn[behind..behind + start].trim().is_empty() {
            return Err(changed());
        }
        Ok(Exchange { text, prompt: prompt.len(), end: prompt.len() + behind + start + length })
    }

    /// The error for a chat template that cannot be used for training, with advice.
    fn refused(&self, problem: &str) -> PromptError {
        let system = if self.template.system.is_empty() {
            String::new()
        } else {
            format!("; {WITHOUT_SYSTEM}")
        };
        PromptError::Chat(format!("{problem}; {ANOTHER}{system}"))
    }
}

/// The prefixes to render: for each exchange, after the passage exchange, its prompt and its
/// whole text; last, the whole conversation. Another turn follows each whole text, since some
/// templates write a closing text after the last turn.
fn prefixes(messages: &[Message]) -> Vec<Prefix> {
    let values: Vec<Value> = messages.iter().map(jinja::message).collect();
    let next = jinja::message(&Message::user("a"));
    let followed = |messages: &[Value]| [messages, std::slice::from_ref(&next)].concat();
    let of_exchange = |number: usize| {
        let passage = if number == 0 { &[] } else { &values[..2] };
        let prompt = [passage, &values[2 * number..=2 * number]].concat();
        let answered = [passage, &values[2 * number..2 * number + 2]].concat();
        [
            Prefix { messages: prompt, add_generation_prompt: true },
            Prefix { messages: followed(&answered), add_generation_prompt: false },
        ]
    };
    let whole = Prefix { messages: followed(&values), add_generation_prompt: false };
    (0..values.len() / 2).flat_map(of_exchange).chain([whole]).collect()
}

/// Builds tokens piece by piece.
struct Writer<'a> {
    literals: &'a Literals,
    tokenizer: &'a Tokenizer,
    tokens: Tokens,
    /// The special token at the end of the text so far. Some tokenizers put a space before text
    /// that follows a special token.
    before: Option<String>,
}

impl<'a> Writer<'a> {
    fn new(literals: &'a Literals, tokenizer: &'a Tokenizer) -> Self {
        Self { literals, tokenizer, tokens: Tokens::default(), before: None }
    }

    fn push(&mut self, text: &str, trained: bool) -> Result<(), PromptError> {
        for (piece, is_literal) in self.literals.split(text) {
            let ids = if is_literal {
                self.before = None;
                self.tokenizer.encode_continuation(piece)?
            } else {
                self.encode(piece)?
            };
            self.tokens.ids.extend(ids);
        }
        self.tokens.loss_mask.resize(self.tokens.ids.len(), trained);
        Ok(())
    }

    /// Encodes a piece as the tokenizer would inside the whole text: after a special token, at the
    /// start, or as a continuation.
    fn encode(&mut self, piece: &str) -> Result<Vec<u32>, PromptError> {
        let last = self.last_special(piece);
        if let Some(token) = std::mem::replace(&mut self.before, last) {
            let mut ids = self.tokenizer.encode_special(&format!("{token}{piece}"), false)?;
            ids.remove(0);
            return Ok(ids);
        }
        if self.tokens.ids.is_empty() {
            return Ok(self.tokenizer.encode_special(piece, false)?);
        }
        // Only the text before the first special token continues other text.
        let special = self.tokenizer.find_special(piece).map_or(piece.len(), |(start, _)| start);
        let mut ids = self.tokenizer.encode_continuation(&piece[..special])?;
        ids.extend(self.tokenizer.encode_special(&piece[special..], false)?);
        Ok(ids)
    }

    /// The special token at the end of a text.
    fn last_special(&self, text: &str) -> Option<String> {
        let mut rest = text;
        while let Some((start, length)) = self.tokenizer.find_special(rest) {
            if start + length == rest.len() {
                return Some(rest[start..].to_owned());
            }
            rest = &rest[start + length..];
        }
        None
    }
}

#[cfg(test)]
mod tests;
