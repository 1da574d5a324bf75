//! Finds the spans of mentions in a text, for data that contains only strings (conversations,
//! generated answers).
//!
//! The k-th repeat of a string takes its k-th occurrence. Occurrences as whole words come first, so
//! that `He` is not found inside `The`; the others follow, so that no mention in the text is lost.

use std::collections::HashMap;

use crate::{Mention, Relation, Span};

/// One span for each mention, `None` if the text has no occurrence left for it.
///
/// ```
/// use uner_data::{Span, align::align};
/// let spans = align("The Hague: He said", &["He".to_owned(), "Ha".to_owned()]);
/// assert_eq!(spans, [Some(Span { start: 11, end: 13 }), Some(Span { start: 4, end: 6 })]);
/// ```
pub fn align(text: &str, mentions: &[String]) -> Vec<Option<Span>> {
    let mut unused: HashMap<&str, std::vec::IntoIter<Span>> = HashMap::new();
    mentions
        .iter()
        .map(|mention| {
            unused.entry(mention).or_insert_with(|| occurrences(text, mention).into_iter()).next()
        })
        .collect()
}

/// A relation that a system wrote. An argument has the span of its first occurrence in the text, as
/// whole words if there is one.
pub fn relation(text: &str, relation_type: &str, arguments: Vec<String>) -> Relation {
    let mention = |argument: String| {
        let span = occurrences(text, &argument).first().copied();
        Mention { text: argument, span }
    };
    let arguments = arguments.into_iter().map(mention).collect();
    Relation { relation_type: relation_type.to_owned(), arguments }
}

/// The non-overlapping occurrences of a string in a text, whole words first. An empty string has
/// none.
pub fn occurrences(text: &str, mention: &str) -> Vec<Span> {
    if mention.is_empty() {
        return Vec::new();
    }
    let length = mention.chars().count();
    let (mut characters, mut last) = (0, 0);
    let mut found: Vec<(bool, Span)> = text
        .match_indices(mention)
        .map(|(byte, _)| {
            characters += text[last..byte].chars().count();
            last = byte;
            let inside_word = !is_whole_word(text, byte, byte + mention.len());
            (inside_word, Span { start: characters, end: characters + length })
        })
        .collect();
    found.sort_by_key(|(inside_word, _)| *inside_word);
    found.into_iter().map(|(_, span)| span).collect()
}

/// The occurrences of a mention, as ranges of bytes in text order: those that are whole words, or
/// all if none is.
pub fn labelled(text: &str, mention: &str) -> Vec<std::ops::Range<usize>> {
    if mention.is_empty() {
        return Vec::new();
    }
    let all = text.match_indices(mention).map(|(byte, _)| byte..byte + mention.len());
    let (words, others): (Vec<_>, Vec<_>) =
        all.partition(|range| is_whole_word(text, range.start, range.end));
    if words.is_empty() { others } else { words }
}

/// Whether neither end of a byte range lies between two letters or digits.
fn is_whole_word(text: &str, start: usize, end: usize) -> bool {
    let cuts = |at: usize| {
        let before = text[..at].chars().next_back();
        let after = text[at..].chars().next();
        before.is_some_and(char::is_alphanumeric) && after.is_some_and(char::is_alphanumeric)
    };
    !cuts(start) && !cuts(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_take_successive_occurrences() {
        let mentions = ["a", "b", "a", "a"].map(str::to_owned);
        let spans = align("é a b a", &mentions);
        let at = |start| Some(Span { start, end: start + 1 });
        assert_eq!(spans, [at(2), at(4), at(6), None]);
    }

    #[test]
    fn an_empty_mention_is_nowhere() {
        assert_eq!(align("abc", &[String::new()]), [None]);
    }
}
