//! Segments → token ids, with the loss mask built alongside.

use crate::conversation::{Conversation, Segment, Tokens};
use crate::error::PromptError;
use crate::render::{render, render_prompt};
use crate::template::Template;
use crate::tokenizer::Tokenizer;

/// Encodes a conversation for training: beginning-of-sequence, then segment by segment, end-of-sequence behind every
/// assistant turn. Nothing is truncated; see [`crate::fit`] and [`crate::cut`].
///
/// # Errors
/// The conversation is malformed (see [`render`]) or the tokenizer fails.
pub fn encode(
    conversation: &Conversation,
    template: &Template,
    tokenizer: &Tokenizer,
) -> Result<Tokens, PromptError> {
    encode_segments(&render(conversation, template)?, template, tokenizer)
}

/// Encodes the prompt that asks the last user turn; generation continues right behind the last id.
///
/// # Errors
/// As [`render_prompt`], or the tokenizer fails.
pub fn encode_prompt(
    conversation: &Conversation,
    template: &Template,
    tokenizer: &Tokenizer,
) -> Result<Vec<u32>, PromptError> {
    Ok(encode_segments(&render_prompt(conversation, template)?, template, tokenizer)?.ids)
}

fn encode_segments(
    segments: &[Segment],
    template: &Template,
    tokenizer: &Tokenizer,
) -> Result<Tokens, PromptError> {
    let mut tokens = Tokens { ids: vec![tokenizer.bos()], loss_mask: vec![false], exchanges: Vec::new() };
    for segment in segments {
        let ids = if template.parse_special_tokens {
            tokenizer.encode_with_special_tokens(&segment.text)?
        } else {
            tokenizer.encode_segment(&segment.text)?
        };
        tokens.ids.extend(ids);
        if segment.end_of_turn {
            tokens.ids.push(tokenizer.eos());
            tokens.exchanges.push(tokens.ids.len());
        }
        tokens.loss_mask.resize(tokens.ids.len(), segment.trained);
    }
    Ok(tokens)
}
