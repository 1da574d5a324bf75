//! Conversations put together by a model's own chat template (Jinja), as `apply_chat_template` of transformers does.
//!
//! A chat template renders a whole conversation at once. What is trained on follows from rendering its beginnings:
//!
//! ```text
//! <user>passage<end><assistant>read<end><user>question<end><assistant>⟦answer<end>⟧…
//! ├── prompt: rendered up to the question, asking ──────────────────┤
//! ├── answered: rendered up to the answer ──────────────────────────────────────┤
//! ```
//!
//! The prompt must be the beginning of the whole; a template that renders earlier turns otherwise once later ones follow is refused. An
//! answer ends with the first special token behind it. The text between two borders is tokenised at once, so that a prompt's ids are those of
//! transformers, and training ids are prompt ids followed by answer ids.

mod export;
mod jinja;
mod literal;

use std::path::Path;

use uner_data::regular;

use crate::conversation::{Conversation, Message, Tokens};
use crate::error::PromptError;
use crate::render::{alternating, asked};
use crate::template::Template;
use crate::tokenizer::Tokenizer;

use jinja::Beginning;
pub use jinja::ChatTemplate;
use literal::Literals;

/// The files of a model folder that may hold its chat template; the first is taken where both do, as transformers does.
const FILES: [&str; 2] = ["chat_template.jinja", "tokenizer_config.json"];

/// The chat template of the model in a folder.
///
/// # Errors
/// There is none, or a file cannot be read.
pub fn of_model(folder: &Path) -> Result<ChatTemplate, PromptError> {
    let [jinja, config] = FILES.map(|name| folder.join(name));
    let own = if jinja.exists() { regular::read_to_string(&jinja)? } else { String::new() };
    if !own.trim().is_empty() {
        return ChatTemplate::new(own).map_err(|problem| fault(&jinja, problem));
    }
    let text = if config.exists() { regular::read_to_string(&config)? } else { "{}".to_owned() };
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| fault(&config, error.to_string()))?;
    let named_default = |list: &Vec<serde_json::Value>| {
        let default = list.iter().find(|entry| entry["name"] == "default")?;
        default["template"].as_str().map(str::to_owned)
    };
    let found = match &value["chat_template"] {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Array(list) => named_default(list),
        _ => None,
    };
    let Some(source) = found.filter(|source| !source.trim().is_empty()) else {
        return Err(PromptError::Chat(format!(
            "`{}` has no chat template: neither `{}` nor a `chat_template` in `{}`; take another template, such as `zero-shot`",
            folder.display(),
            FILES[0],
            FILES[1]
        )));
    };
    ChatTemplate::new(source).map_err(|problem| fault(&config, problem))
}

fn fault(path: &Path, reason: String) -> PromptError {
    PromptError::Template { path: path.display().to_string(), reason }
}

const MOVED: &str = "the chat template renders a turn otherwise once others follow it, so that a model would not be asked as it was \
                     trained; take another template, such as `zero-shot`";

/// What helps with templates that refuse a system message, or move it from turn to turn.
const WITHOUT_SYSTEM: &str = "where it is the system message that does not fit, name a copy of `configs/templates/chat.toml` with \
                              `system = \"\"`";

/// What a template's chat template and a tokenizer make of conversations.
pub(crate) struct Chat<'a> {
    jinja: &'a ChatTemplate,
    template: &'a Template,
    tokenizer: &'a Tokenizer,
}

impl<'a> Chat<'a> {
    /// `None` for templates that say themselves how a conversation is put together.
    pub(crate) fn of(template: &'a Template, tokenizer: &'a Tokenizer) -> Option<Self> {
        Some(Self { jinja: template.chat_template.as_ref()?, template, tokenizer })
    }

    /// Encodes a conversation for training.
    pub(crate) fn encode(&self, conversation: &Conversation) -> Result<Tokens, PromptError> {
        let messages = alternating(&conversation.messages, self.template.drop_leading_assistant)?;
        if !messages.len().is_multiple_of(2) {
            return Err(PromptError::OddTurns(messages.len()));
        }
        let (mut messages, literals) = Literals::hide(messages, self.tokenizer);
        // Some templates close a conversation that nothing follows: the last turn is to be like the others.
        messages.push(Message::user("a"));
        let ends = (1..=messages.len() / 2).map(|exchange| 2 * exchange);
        let beginnings = ends.flat_map(|end| [(&messages[..end - 1], true), (&messages[..end], false)]);
        let mut texts = self.texts(&beginnings.chain([(&messages[..], false)]).collect::<Vec<_>>())?;
        let whole = texts.pop().expect("it was asked for");
        let mut writer = Writer::new(&literals, self.tokenizer);
        let mut written = 0;
        for (exchange, (turns, texts)) in messages.chunks_exact(2).zip(texts.chunks_exact(2)).enumerate() {
            let prompt = beginning(&texts[0], &whole)?;
            // An answer that ends behind the next question was found in another turn.
            if prompt < written {
                return Err(PromptError::Chat(MOVED.to_owned()));
            }
            let trained = prompt + self.turn_length(&whole[prompt..], &turns[1])?;
            let is_beginning = whole.starts_with(&texts[1]);
            let answered = if is_beginning { texts[1].len().max(trained) } else { trained };
            if exchange > 0 || self.template.acknowledgement.is_none() || self.template.train_acknowledgement
            {
                writer.push(&whole[written..prompt], false)?;
                writer.push(&whole[prompt..trained], true)?;
                written = trained;
            }
            writer.push(&whole[written..answered], false)?;
            written = answered;
            writer.tokens.exchanges.push(writer.tokens.ids.len());
        }
        Ok(writer.tokens)
    }

    /// Encodes the prompt that asks the last user turn.
    pub(crate) fn encode_prompt(&self, conversation: &Conversation) -> Result<Vec<u32>, PromptError> {
        let (messages, literals) = Literals::hide(asked(conversation, self.template)?, self.tokenizer);
        let mut writer = Writer::new(&literals, self.tokenizer);
        writer.push(&self.texts(&[(&messages, true)])?.concat(), false)?;
        Ok(writer.tokens.ids)
    }

    /// The special token that ends an assistant's turn.
    pub(crate) fn end_of_turn(&self) -> Result<u32, PromptError> {
        let messages = [Message::user("a"), Message::assistant("b")];
        let texts = self.texts(&[(&messages[..1], true), (&messages, false)])?;
        let turn = &texts[1][beginning(&texts[0], &texts[1])?..];
        let length = self.turn_length(turn, &messages[1])?;
        let ids = self.tokenizer.encode_special(&turn[..length], true)?;
        Ok(*ids.last().expect("a turn ends with a special token"))
    }

    /// The texts of some beginnings of a conversation.
    fn texts(&self, beginnings: &[Beginning]) -> Result<Vec<String>, PromptError> {
        if self.jinja.is_unknown() {
            return Err(PromptError::Chat("the chat template of the model has not been read".to_owned()));
        }
        let system = &self.template.system;
        let special = [self.tokenizer.bos(), self.tokenizer.eos()].map(|id| self.tokenizer.token(id));
        self.jinja.render(system, beginnings, &special).map_err(|problem| {
            PromptError::Chat(if system.is_empty() {
                problem
            } else {
                format!("{problem}; {WITHOUT_SYSTEM}")
            })
        })
    }

    /// Bytes of an assistant's turn, from its first character to the special token that ends it.
    fn turn_length(&self, turn: &str, message: &Message) -> Result<usize, PromptError> {
        let content = message.text.trim();
        let after = turn.find(content).map(|start| start + content.len()).ok_or_else(|| {
            PromptError::Chat(format!("the chat template changes the assistant's message `{content}`"))
        })?;
        let (start, length) = self.tokenizer.find_special(&turn[after..]).ok_or_else(|| {
            PromptError::Chat(
                "the chat template ends the assistant's turn with no special token, so that nothing would end an answer".to_owned(),
            )
        })?;
        Ok(after + start + length)
    }
}

/// The length of a beginning of a conversation, which must be how the whole begins.
fn beginning(text: &str, whole: &str) -> Result<usize, PromptError> {
    if whole.starts_with(text) {
        return Ok(text.len());
    }
    Err(PromptError::Chat(format!("{MOVED}; {WITHOUT_SYSTEM}")))
}

/// Tokens as they are put together.
struct Writer<'a> {
    literals: &'a Literals,
    tokenizer: &'a Tokenizer,
    tokens: Tokens,
    /// The special token that the text so far ends with: some tokenizers put a blank before the text behind one.
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

    /// A piece as it is tokenised behind what is there.
    fn encode(&mut self, piece: &str) -> Result<Vec<u32>, PromptError> {
        let behind = match &self.before {
            Some(token) => {
                let mut ids = self.tokenizer.encode_special(&format!("{token}{piece}"), true)?;
                ids.remove(0);
                ids
            }
            None => self.tokenizer.encode_special(piece, !self.tokens.ids.is_empty())?,
        };
        self.before = self.last_special(piece);
        Ok(behind)
    }

    /// The special token that a text ends with.
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
