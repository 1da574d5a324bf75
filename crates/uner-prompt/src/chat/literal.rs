//! Special tokens that stand in a message: plain text, though the text around them is a template's,
//! whose special tokens are meant.

use crate::conversation::Message;
use crate::tokenizer::Tokenizer;

/// The characters that stand for a special token while a template is rendered: Unicode leaves them
/// to programs.
const FIRST: u32 = 0xf_0000;
const LAST: u32 = 0xf_fffd;

/// Special tokens of messages, and the character that stands for each.
pub(super) struct Literals(Vec<(char, String)>);

impl Literals {
    /// The messages with a character of its own in place of each special token.
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

    /// A text with its special tokens back in place.
    pub(super) fn restore(&self, text: &str) -> String {
        self.split(text).into_iter().map(|(piece, _)| piece).collect()
    }

    /// The pieces of a rendered text, and whether each is a special token of a message.
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
