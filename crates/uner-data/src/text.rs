//! A text with an index of its characters. Finding a span does not count from the text's start, so
//! the time for many spans grows with the length of the text, not with length times spans.

use std::cell::OnceCell;

use crate::{Span, format::Offsets};

pub(crate) struct Text<'a> {
    written: &'a str,
    /// The byte offset of each character and of the text's end. Empty for ASCII, where byte and
    /// character offsets are equal.
    bytes: Vec<usize>,
    /// The same in UTF-16 code units.
    utf16: OnceCell<Vec<usize>>,
}

impl<'a> Text<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let bytes = if text.is_ascii() { Vec::new() } else { borders(text, char::len_utf8) };
        Self { written: text, bytes, utf16: OnceCell::new() }
    }

    pub(crate) fn as_str(&self) -> &'a str {
        self.written
    }

    /// Length of the text in a unit.
    pub(crate) fn length(&self, unit: Offsets) -> usize {
        match unit {
            _ if self.bytes.is_empty() => self.written.len(),
            Offsets::Characters => self.bytes.len() - 1,
            Offsets::Bytes => self.written.len(),
            Offsets::Utf16 => self.utf16().last().copied().unwrap_or(0),
        }
    }

    /// The span between two offsets of a unit; `None` if it ends before it starts, reaches outside
    /// the text or cuts a character.
    pub(crate) fn span(&self, start: i64, end: i64, unit: Offsets) -> Option<Span> {
        let span = Span { start: self.character(start, unit)?, end: self.character(end, unit)? };
        (span.start <= span.end).then_some(span)
    }

    /// The characters in a span, which must be inside the text.
    pub(crate) fn slice(&self, span: Span) -> &'a str {
        &self.written[self.byte(span.start)..self.byte(span.end)]
    }

    /// The characters in a range; `None` if it is not a range of the text.
    pub(crate) fn checked(&self, start: usize, end: usize) -> Option<&'a str> {
        let length = self.length(Offsets::Characters);
        (start <= end && end <= length).then(|| self.slice(Span { start, end }))
    }

    /// The byte at which a character starts.
    pub(crate) fn byte(&self, character: usize) -> usize {
        if self.bytes.is_empty() { character } else { self.bytes[character] }
    }

    fn character(&self, offset: i64, unit: Offsets) -> Option<usize> {
        let offset = usize::try_from(offset).ok()?;
        match unit {
            _ if self.bytes.is_empty() => (offset <= self.written.len()).then_some(offset),
            Offsets::Characters => (offset < self.bytes.len()).then_some(offset),
            Offsets::Bytes => self.bytes.binary_search(&offset).ok(),
            Offsets::Utf16 => self.utf16().binary_search(&offset).ok(),
        }
    }

    fn utf16(&self) -> &[usize] {
        self.utf16.get_or_init(|| borders(self.written, char::len_utf16))
    }
}

/// The start of each character and the end of the last, in the unit that `length` counts.
fn borders(text: &str, length: fn(char) -> usize) -> Vec<usize> {
    let mut end = 0;
    let ends = text.chars().map(|character| {
        end += length(character);
        end
    });
    std::iter::once(0).chain(ends).collect()
}

/// Whether a character is white space (no-break spaces included), a zero-width space, a word joiner
/// or a byte order mark.
pub fn is_blank(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{200b}' | '\u{2060}' | '\u{feff}')
}

/// Removes white space: tools differ in how they write line breaks and the gaps of a discontinuous
/// mention.
pub(crate) fn squeeze(text: &str) -> String {
    text.chars().filter(|&character| !is_blank(character)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_in_their_unit() {
        let text = Text::new("é🚀 ab");
        let found = |start, end, unit| text.span(start, end, unit).map(|span| text.slice(span));
        assert_eq!(found(3, 5, Offsets::Characters), Some("ab"));
        assert_eq!(found(4, 6, Offsets::Utf16), Some("ab"));
        assert_eq!(found(7, 9, Offsets::Bytes), Some("ab"));
        assert_eq!(found(2, 6, Offsets::Utf16), None, "inside a surrogate pair");
        assert_eq!(found(1, 2, Offsets::Bytes), None, "inside a character");
        assert_eq!(found(4, 7, Offsets::Utf16), None);
        assert_eq!(found(-1, 1, Offsets::Characters), None);
        assert_eq!(found(2, 1, Offsets::Characters), None);
        let lengths =
            [Offsets::Characters, Offsets::Utf16, Offsets::Bytes].map(|unit| text.length(unit));
        assert_eq!(lengths, [5, 6, 9]);
        assert_eq!(Text::new("").span(0, 0, Offsets::Utf16), Some(Span { start: 0, end: 0 }));
    }
}
