//! Cuts a document into passages of sentences that its relations do not cross.

use std::ops::Range;

use crate::{Span, windows};

/// The passages of a text, in characters: sentences, joined where one of `spans` crosses a border.
pub(super) fn passages(text: &str, spans: &[Span]) -> Vec<Range<usize>> {
    let mut crossed: Vec<Span> = spans.to_vec();
    crossed.sort_unstable();
    let (mut passages, mut start, mut next) = (Vec::new(), 0, 0);
    let mut reach = 0;
    for end in character_ends(text) {
        while let Some(span) = crossed.get(next).filter(|span| span.start < end) {
            reach = reach.max(span.end);
            next += 1;
        }
        if reach <= end {
            passages.push(start..end);
            start = end;
        }
    }
    passages
}

/// The sentence ends of a text, in characters; the text's end is the last.
fn character_ends(text: &str) -> Vec<usize> {
    let (mut byte, mut character) = (0, 0);
    let ends = windows::sentence_ends(text).into_iter().chain([text.len()]);
    let mut ends: Vec<usize> = ends
        .map(|end| {
            character += text[byte..end].chars().count();
            byte = end;
            character
        })
        .collect();
    ends.dedup();
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_joined_where_a_relation_crosses_their_border() {
        let text = "Zoë came. Bob left. It rained. End";
        let whole = |spans: &[Span]| -> Vec<String> {
            let slice = |range: Range<usize>| Span { start: range.start, end: range.end };
            passages(text, spans)
                .into_iter()
                .map(|range| slice(range).slice(text).unwrap().to_owned())
                .collect()
        };
        assert_eq!(whole(&[]), ["Zoë came. ", "Bob left. ", "It rained. ", "End"]);
        let crossing = Span { start: 0, end: 13 };
        assert_eq!(whole(&[crossing]), ["Zoë came. Bob left. ", "It rained. ", "End"]);
        let inside = Span { start: 10, end: 18 };
        assert_eq!(whole(&[inside, crossing]).len(), 3);
        let to_the_end = Span { start: 20, end: 34 };
        assert_eq!(whole(&[to_the_end]), ["Zoë came. ", "Bob left. ", "It rained. End"]);
    }
}
