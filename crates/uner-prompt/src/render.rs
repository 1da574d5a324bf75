//! Conversation → segments. The only place where template text meets message text.
//!
//! For training, every segment below is tokenised separately; the parts in brackets carry loss.
//! Joined, they are the same text under every tokenizer. A space between two segments belongs to
//! the second.
//!
//! ```text
//! {system} USER: Text: {passage}│ ASSISTANT:│ {acknowledgement}⏎│
//! USER: {question}│ ASSISTANT:│[ {answer}⏎]│…
//! ```
//!
//! (⏎ is the end-of-sequence token.) A prompt has the same segments up to the last `ASSISTANT:`, so
//! training ids are prompt ids followed by answer ids. The `official` template deliberately
//! differs; see its file.

use crate::conversation::{Conversation, Message, Role, Segment};
use crate::error::PromptError;
use crate::template::Template;

/// Renders a conversation for training.
///
/// # Errors
/// The conversation is empty, starts with the assistant, does not alternate, or lacks its last
/// answer; or the template is a chat template.
pub fn render(
    conversation: &Conversation,
    template: &Template,
) -> Result<Vec<Segment>, PromptError> {
    let messages = alternating(&conversation.messages, template.drop_leading_assistant)?;
    if !messages.len().is_multiple_of(2) {
        return Err(PromptError::OddTurns(messages.len()));
    }
    if template.chat_template.is_some() {
        return Err(PromptError::Chat(
            "a chat template renders whole texts, not segments".to_owned(),
        ));
    }
    let mut segments = Vec::with_capacity(messages.len() / 2 * 3);
    for (exchange, turns) in messages.chunks_exact(2).enumerate() {
        let trained = template.trains(exchange);
        push_question(&mut segments, exchange, &turns[0].text, &template.system, template);
        segments.push(Segment {
            text: behind_name(&turns[1].text, template),
            trained,
            end_of_turn: true,
        });
    }
    Ok(segments)
}

/// Renders the prompt for the last user turn: everything before it, the turn, and the assistant's
/// name. An answer after the last user turn is left out.
///
/// # Errors
/// The conversation is empty, starts with the assistant, or does not alternate.
pub fn render_prompt(
    conversation: &Conversation,
    template: &Template,
) -> Result<Vec<Segment>, PromptError> {
    let messages = through_last_user_turn(conversation, template)?;
    let system = template.system_at_inference.as_ref().unwrap_or(&template.system);
    if let Some(end_of_turn) = &template.prompt_end_of_turn {
        let text = one_string(messages, system, end_of_turn, template);
        return Ok(vec![untrained(text)]);
    }
    let mut segments = Vec::with_capacity(messages.len() / 2 * 3 + 2);
    for (exchange, turns) in messages.chunks(2).enumerate() {
        push_question(&mut segments, exchange, &turns[0].text, system, template);
        if let Some(answer) = turns.get(1) {
            segments.push(Segment {
                text: behind_name(&answer.text, template),
                trained: false,
                end_of_turn: true,
            });
        }
    }
    Ok(segments)
}

/// The conversation as one string, for templates with `prompt_end_of_turn`, whose prompts are
/// tokenised as one. `None` for other templates, which use segments. Of an empty message, only the
/// name of its side is written.
///
/// # Errors
/// As [`render_prompt`].
pub fn render_string(
    conversation: &Conversation,
    template: &Template,
) -> Result<Option<String>, PromptError> {
    let messages = alternating(&conversation.messages, template.drop_leading_assistant)?;
    let system = template.system_at_inference.as_ref().unwrap_or(&template.system);
    Ok(template
        .prompt_end_of_turn
        .as_ref()
        .map(|end_of_turn| one_string(messages, system, end_of_turn, template)))
}

fn push_question(
    segments: &mut Vec<Segment>,
    exchange: usize,
    message: &str,
    system: &str,
    template: &Template,
) {
    let separator = if system.is_empty() { "" } else { &template.separator };
    let opening = if exchange == 0 { format!("{system}{separator}") } else { String::new() };
    segments.push(untrained(format!("{opening}{}{message}", template.user_prefix())));
    if !template.roles.assistant.is_empty() {
        let separator = if template.trailing_space_token { "" } else { &template.separator };
        segments.push(untrained(format!("{separator}{}", template.assistant_prefix())));
    }
}

/// A message as written after the assistant's name. An empty message adds no space.
fn behind_name(message: &str, template: &Template) -> String {
    let separate = message.is_empty() || template.trailing_space_token;
    if separate { message.to_owned() } else { format!(" {message}") }
}

fn untrained(text: String) -> Segment {
    Segment { text, trained: false, end_of_turn: false }
}

/// `get_prompt` of the released code (`FastChat`'s two-separator style).
fn one_string(
    messages: &[Message],
    system: &str,
    end_of_turn: &str,
    template: &Template,
) -> String {
    let mut text = format!("{system}{}", template.separator);
    for message in messages {
        let (name, end) = match message.role {
            Role::User => (&template.roles.user, template.separator.as_str()),
            Role::Assistant => (&template.roles.assistant, end_of_turn),
        };
        text.push_str(name);
        text.push(':');
        if !message.text.is_empty() {
            text.push(' ');
            text.push_str(&message.text);
            text.push_str(end);
        }
    }
    if messages.last().is_some_and(|message| message.role == Role::User) {
        text.push_str(&template.roles.assistant);
        text.push(':');
    }
    text
}

/// The messages up to and including the last user turn.
pub(crate) fn through_last_user_turn<'a>(
    conversation: &'a Conversation,
    template: &Template,
) -> Result<&'a [Message], PromptError> {
    let messages = alternating(&conversation.messages, template.drop_leading_assistant)?;
    let end = messages
        .iter()
        .rposition(|message| message.role == Role::User)
        .ok_or(PromptError::NothingToAsk)?;
    Ok(&messages[..=end])
}

/// Checks that user and assistant alternate and the user starts.
pub(crate) fn alternating(
    messages: &[Message],
    drop_leading_assistant: bool,
) -> Result<&[Message], PromptError> {
    let messages = match messages.first() {
        None => return Err(PromptError::Empty),
        Some(first) if first.role == Role::User => messages,
        Some(_) if drop_leading_assistant => &messages[1..],
        Some(_) => return Err(PromptError::StartsWithAssistant),
    };
    if messages.is_empty() {
        return Err(PromptError::Empty);
    }
    let expected =
        |index: usize| if index.is_multiple_of(2) { Role::User } else { Role::Assistant };
    match messages.iter().enumerate().find(|(index, message)| message.role != expected(*index)) {
        None => Ok(messages),
        Some((index, message)) => Err(PromptError::NotAlternating {
            turn: index + 1,
            role: if message.role == Role::User { "user" } else { "assistant" },
        }),
    }
}
