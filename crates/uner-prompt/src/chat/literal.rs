//! Special tokens written inside messages. They are plain text, whereas the special tokens of the
//! chat template around them are real.

use crate::conversation::Message;
use crate::tokenizer::Tokenizer;

/// Private-use characters that stand for special tokens while a template is rendered (Unicode
/// leaves them to programs).
const FIRST: u32 = 0xf_0000;
const LAST: u32 = 0xf_fffd;

/// Special tokens of messages, each with the character that stands for it.
pub(super) struct Literals(Vec<(char, String)>);

impl Literals {
    /// Replaces each special token in the messages by a character that no message contains.
    pub(super) fn hide(messages: &[Message], tokenizer: &Tokenizer) -> (Vec<Message>, Self) {
        let mut messages = messages.to_vec();
        let mut found = Self(Vec::new());
        for index in 0..messages.len() {
            while let Some((start, length)) = tokenizer.find_special(&messages[index].text) {
                let token = messages[index].text[start..start + length].to_owned();
                let unused = (FIRST..=LAST).filter_map(char::from_u32).find(|character| {
                    messages.iter().all(|message| !message.text.contains(*character))
                        && found.0.iter().all(|(used, _)| used != character)
                });
                let Some(character) = unused else { break };
                messages[index].text = messages[index].text.replace(&token, &character.to_string());
                found.0.push((character, token));
            }
        }
        (messages, found)
    }

    /// Puts the special tokens back into a text.
    pub(super) fn restore(&self, text: &str) -> String {
        self.split(text).into_iter().map(|(piece, _)| piece).collect()
    }

    /// The pieces of a rendered text, and whether each is a special token from a message.
    pub(super) fn split<'a>(&'a self, text: &'a str) -> Vec<(&'a str, bool)> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((start, character)) = rest
            .char_indices()
            .find(|(_, character)| self.0.iter().any(|(hidden, _)| hidden == character))
        {
            let (_, token) =
                self.0.iter().find(|(hidden, _)| *hidden == character).expect("it was found");
            pieces.extend([(&rest[..start], false), (token.as_str(), true)]);
            rest = &rest[start + character.len_utf8()..];
        }
        pieces.push((rest, false));
        pieces.retain(|(piece, _)| !piece.is_empty());
        pieces
    }
}
