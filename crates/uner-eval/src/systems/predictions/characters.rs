//! Positions in a text, also in one that differs in white space.
//!
//! A position counts the characters of the text that are not white space. It means the same in
//! every text with the same such characters, so an entity that was predicted in one text is an
//! entity of the other.

use std::hash::{DefaultHasher, Hash, Hasher};

use uner_data::{Span, is_blank};

/// Identifies a text without keeping it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextKey {
    /// Hash of the text.
    pub(super) exact: u64,
    /// Hash of its characters that are not white space, and their number.
    pub(super) filled: (u64, usize),
}

/// A half-open range of the characters that are not white space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// A text with an index of its characters.
pub(super) struct Characters<'a> {
    text: &'a str,
    /// The byte of each character, and the text's end.
    bytes: Vec<usize>,
    /// The number of each character that is not white space.
    filled: Vec<usize>,
}

impl<'a> Characters<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let bytes = text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect();
        let numbered = text.chars().enumerate();
        let filled =
            numbered.filter(|(_, character)| !is_blank(*character)).map(|(at, _)| at).collect();
        Self { text, bytes, filled }
    }

    /// The number of characters.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - 1
    }

    /// The characters of a span; `None` if it is outside the text.
    pub(super) fn slice(&self, span: Span) -> Option<&'a str> {
        let [start, end] = [span.start, span.end].map(|at| self.bytes.get(at).copied());
        self.text.get(start?..end?)
    }

    /// The position of a span, without white space at its ends. `None` if it has nothing else.
    pub(super) fn position(&self, span: Span) -> Option<Filled> {
        let before = |at: usize| self.filled.partition_point(|filled| *filled < at) as u32;
        let (start, end) = (before(span.start), before(span.end));
        (start < end).then_some(Filled { start, end })
    }

    /// The span of a position; `None` if the text ends before it.
    pub(super) fn span(&self, position: Filled) -> Option<Span> {
        let start = *self.filled.get(position.start as usize)?;
        let last = *self.filled.get((position.end as usize).checked_sub(1)?)?;
        Some(Span { start, end: last + 1 })
    }

    pub(super) fn key(&self) -> TextKey {
        let mut squeezed = DefaultHasher::new();
        for &at in &self.filled {
            self.text[self.bytes[at]..self.bytes[at + 1]].hash(&mut squeezed);
        }
        let mut exact = DefaultHasher::new();
        self.text.hash(&mut exact);
        TextKey { exact: exact.finish(), filled: (squeezed.finish(), self.filled.len()) }
    }
}

/// The spans of the pieces of a text between single spaces: its tokens, if it was joined of them.
pub(super) fn tokens(text: &str) -> Vec<Span> {
    let mut start = 0;
    let pieces = text.split(' ').map(|piece| {
        let span = Span { start, end: start + piece.chars().count() };
        start = span.end + 1;
        span
    });
    pieces.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_of_every_text_that_differs_in_white_space() {
        let (tokenised, raw) = (Characters::new("Zoë ’s café ."), Characters::new("Zoë’s\n café."));
        assert_eq!(tokenised.key().filled, raw.key().filled);
        assert_ne!(tokenised.key().exact, raw.key().exact);
        let position = tokenised.position(Span { start: 6, end: 12 }).unwrap();
        let span = raw.span(position).unwrap();
        assert_eq!((span, raw.slice(span)), (Span { start: 7, end: 11 }, Some("café")));
        assert_eq!(tokenised.position(Span { start: 3, end: 4 }), None);
        assert_ne!(Characters::new("ab").key().filled, Characters::new("ba").key().filled);
    }

    #[test]
    fn spans_outside_the_text_have_no_characters() {
        let text = Characters::new("né");
        assert_eq!(text.slice(Span { start: 1, end: 2 }), Some("é"));
        assert_eq!(text.slice(Span { start: 1, end: 3 }), None);
        assert_eq!(text.slice(Span { start: 2, end: 1 }), None);
        assert_eq!(text.span(Filled { start: 1, end: 3 }), None);
        assert_eq!(tokens("é bc"), [Span { start: 0, end: 1 }, Span { start: 2, end: 4 }]);
    }
}
