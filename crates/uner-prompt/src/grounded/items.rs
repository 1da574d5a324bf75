//! The items of a generated answer, with the tokens that decided them.

use super::Grounding;
use crate::answer::parse_instructuie_answer;
use crate::mission::Item;
use crate::template::AskForm;
use std::ops::Range;

/// An entity or relation of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroundedItem {
    /// Its mentions, substrings of the passage.
    pub mentions: Item,
    /// The index of its type; `None` for [`AskForm::PerType`], whose answers name no type.
    pub type_idx: Option<usize>,
    /// Indices of the answer's tokens, from the one with the first byte of the item (or of its
    /// type, if that comes first) to the one that ends it (or its type, if that comes last). If the
    /// end of the answer ends it, that is the token after the last, the end of turn.
    ///
    /// The product of their probabilities is the probability of the item and its type, given the
    /// answer before.
    pub tokens: Range<usize>,
}

/// The mentions of an item, the index of its type, and its bytes.
type Found = (Item, Option<usize>, Range<usize>);

impl Grounding {
    /// The items of an answer of allowed tokens, in order. An item that is cut off is dropped.
    /// `is_ended` says whether the end of turn followed the tokens: without it, the last item of
    /// an [`AskForm::InstructUie`] answer may be cut off.
    pub fn items(&self, tokens: &[u32], is_ended: bool) -> Vec<GroundedItem> {
        let mut text = Vec::new();
        let ends: Vec<usize> = tokens
            .iter()
            .map(|token| {
                text.extend_from_slice(self.pieces.bytes(*token));
                text.len()
            })
            .collect();
        // Only the last character can be incomplete.
        let text = match std::str::from_utf8(&text) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default(),
        };
        let token_at = |index: usize| ends.partition_point(|end| *end <= index);
        let item = |(mentions, type_idx, bytes): Found| {
            let tokens = token_at(bytes.start)..token_at(bytes.end) + 1;
            GroundedItem { mentions, type_idx, tokens }
        };
        let found = match self.form {
            AskForm::PerType => self.untyped(text),
            AskForm::AllInOne => self.typed(text),
            AskForm::InstructUie => self.pairs(text, is_ended),
        };
        found.into_iter().map(item).collect()
    }

    /// The items of a list, each with the range of its first and closing byte.
    fn untyped(&self, text: &str) -> Vec<Found> {
        let items = quoted(text);
        let items = items.chunks_exact(self.arity).map(|strings| {
            let bytes = strings[0].1.start + 1..strings[self.arity - 1].1.end;
            (strings.iter().map(|(text, _)| text.clone()).collect(), None, bytes)
        });
        items.collect()
    }

    /// Mentions and types of a list of pairs, each with the range of its first and closing byte.
    fn typed(&self, text: &str) -> Vec<Found> {
        let pair = |pair: &[(String, Range<usize>)]| {
            let [(mention, from), (entity_type, to)] = pair else { return None };
            Some((vec![mention.clone()], self.type_idx(entity_type), from.start + 1..to.end))
        };
        quoted(text).chunks(2).filter_map(pair).collect()
    }

    /// As [`Self::typed`], for `type: mention; type: mention`. As every mention is well-formed, the
    /// indices follow from the parsed pairs.
    fn pairs(&self, text: &str, is_ended: bool) -> Vec<Found> {
        let types: Vec<&str> = self.types.iter().map(String::as_str).collect();
        let mut start = text.len() - text.trim_start().len();
        let mut found = Vec::new();
        for (mention, entity_type) in parse_instructuie_answer(text, &types).entities {
            let end = start + entity_type.len() + ": ".len() + mention.len();
            found.push((vec![mention], self.type_idx(&entity_type), start..end));
            start = end + "; ".len();
        }
        if !is_ended {
            found.pop();
        }
        found
    }

    fn type_idx(&self, entity_type: &str) -> Option<usize> {
        self.types.iter().position(|other| other == entity_type)
    }
}

/// The complete JSON strings of a text, each with the indices of its quotes.
fn quoted(text: &str) -> Vec<(String, Range<usize>)> {
    let (mut found, mut open, mut is_escaped) = (Vec::new(), None, false);
    for (index, byte) in text.bytes().enumerate() {
        match (byte, open) {
            _ if is_escaped => is_escaped = false,
            (b'\\', _) => is_escaped = true,
            (b'"', None) => open = Some(index),
            (b'"', Some(start)) => {
                let string = serde_json::from_str(&text[start..=index]).ok();
                found.extend(string.map(|string| (string, start..index)));
                open = None;
            }
            _ => {}
        }
    }
    found
}
