//! Segments → token ids with their loss mask.

use crate::chat::Chat;
use crate::conversation::{Conversation, Segment, Tokens};
use crate::error::PromptError;
use crate::render::{render, render_prompt};
use crate::template::Template;
use crate::tokenizer::{Tokenizer, TokenizerError};

impl Template {
    /// The token id that ends an answer.
    ///
    /// # Errors
    /// A chat template fails, or does not end an answer with a special token.
    pub fn end_of_turn(&self, tokenizer: &Tokenizer) -> Result<u32, PromptError> {
        Chat::of(self, tokenizer).map_or(Ok(tokenizer.eos()), |chat| chat.end_of_turn())
    }
}

/// Encodes a conversation for training: beginning-of-sequence, then each segment, with
/// end-of-sequence after every assistant turn. (A chat template writes its own special tokens.)
/// Nothing is truncated; see [`crate::fit`] and [`crate::cut`].
///
/// # Errors
/// The conversation is malformed (see [`render`]), or the chat template or the tokenizer fails.
pub fn encode(
    conversation: &Conversation,
    template: &Template,
    tokenizer: &Tokenizer,
) -> Result<Tokens, PromptError> {
    match Chat::of(template, tokenizer) {
        Some(chat) => chat.encode(conversation),
        None => encode_segments(&render(conversation, template)?, template, tokenizer),
    }
}

/// Encodes the prompt for the last user turn. Generation continues directly after the last id.
///
/// # Errors
/// As [`render_prompt`], or the chat template or the tokenizer fails.
pub fn encode_prompt(
    conversation: &Conversation,
    template: &Template,
    tokenizer: &Tokenizer,
) -> Result<Vec<u32>, PromptError> {
    if let Some(chat) = Chat::of(template, tokenizer) {
        return chat.encode_prompt(conversation);
    }
    Ok(encode_segments(&render_prompt(conversation, template)?, template, tokenizer)?.ids)
}

/// Decodes tokens to text. A new segment begins where the loss mask changes and after each end of
/// turn; with a chat template, only where the mask changes, and special tokens are included.
///
/// The joined text is that of [`render`]'s segments if the tokenizer keeps spaces and the template
/// does not leave them to SentencePiece (`trailing_space_token`).
///
/// # Errors
/// An id is not in the vocabulary.
pub fn decode(
    tokens: &Tokens,
    template: &Template,
    tokenizer: &Tokenizer,
) -> Result<Vec<Segment>, TokenizerError> {
    let labelled: Vec<(u32, bool)> =
        tokens.ids.iter().copied().zip(tokens.loss_mask.iter().copied()).collect();
    let is_chat = template.chat_template.is_some();
    let mut segments = Vec::new();
    for turn in labelled.split_inclusive(|(id, _)| *id == tokenizer.eos() && !is_chat) {
        // Only a whole text decodes with the right spaces, so each segment is the text that its
        // tokens add.
        let (mut ids, mut read) = (Vec::with_capacity(turn.len()), String::new());
        for run in turn.chunk_by(|a, b| a.1 == b.1) {
            ids.extend(run.iter().map(|(id, _)| *id));
            let text =
                if is_chat { tokenizer.decode_with_special(&ids) } else { tokenizer.decode(&ids) }?;
            let added = text.strip_prefix(&read).unwrap_or(&text).to_owned();
            let end_of_turn = !is_chat && ids.last() == Some(&tokenizer.eos());
            segments.push(Segment { text: added, trained: run[0].1, end_of_turn });
            read = text;
        }
    }
    Ok(segments)
}

fn encode_segments(
    segments: &[Segment],
    template: &Template,
    tokenizer: &Tokenizer,
) -> Result<Tokens, PromptError> {
    let mut tokens =
        Tokens { ids: vec![tokenizer.bos()], loss_mask: vec![false], exchanges: Vec::new() };
    let mut continues = false;
    for segment in segments {
        let ids = if template.parse_special_tokens {
            tokenizer.encode_special(&segment.text, continues)?
        } else if continues {
            tokenizer.encode_continuation(&segment.text)?
        } else {
            tokenizer.encode_segment(&segment.text)?
        };
        continues = !segment.end_of_turn && !template.trailing_space_token;
        tokens.ids.extend(ids);
        if segment.end_of_turn {
            tokens.ids.push(tokenizer.eos());
            tokens.exchanges.push(tokens.ids.len());
        }
        tokens.loss_mask.resize(tokens.ids.len(), segment.trained);
    }
    Ok(tokens)
}
