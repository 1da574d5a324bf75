//! Tokens of a text, for formats that consist of them.

use std::{collections::BTreeSet, ops::Range};

use unicode_segmentation::UnicodeSegmentation;

use crate::{format::Format, text::is_blank};

/// How a text is cut into tokens. Tokens are also cut where an entity starts or ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tokens {
    /// Words and punctuation marks of Unicode (UAX #29).
    #[default]
    Words,
    /// The parts between spaces, for texts that are tokens joined by spaces.
    Spaces,
}

impl Tokens {
    /// The tokens of texts that were read from a format.
    pub fn of(format: &Format) -> Self {
        match format {
            Format::Columns(_) | Format::Gliner(_) | Format::TokenClassification(_) => Self::Spaces,
            _ => Self::Words,
        }
    }
}

/// The characters that are in no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gaps {
    /// For rows of tokens, which are read back joined by one space.
    Rows(Tokens),
    /// For tokens beside their text: only what Python's `str.split` removes, as spaCy requires.
    Python,
}

impl Gaps {
    fn has(self, character: char) -> bool {
        match self {
            Self::Rows(Tokens::Words) => is_blank(character) || character.is_control(),
            Self::Rows(Tokens::Spaces) => {
                character.is_control()
                    || matches!(character, ' ' | '\u{2028}' | '\u{2029}' | '\u{feff}')
            }
            Self::Python => character.is_whitespace() || matches!(character, '\u{1c}'..='\u{1f}'),
        }
    }
}

/// A token at its first byte.
pub(crate) type Token<'a> = (usize, &'a str);

/// The tokens of a text, and the number of tokens that an entity cuts. Every character that is not
/// a gap is in one token.
pub(crate) fn split(
    text: &str,
    tokens: Tokens,
    gaps: Gaps,
    entities: impl Iterator<Item = Range<usize>>,
) -> (Vec<Token<'_>>, usize) {
    let mut cuts: BTreeSet<usize> = match tokens {
        Tokens::Words => text.split_word_bound_indices().map(|(at, _)| at).collect(),
        Tokens::Spaces => BTreeSet::from([0]),
    };
    // A word of UAX #29 may contain a blank: accents and invisible characters belong to the
    // character before them, whatever it is.
    let blanks = text.char_indices().filter(|(_, character)| gaps.has(*character));
    cuts.extend(blanks.flat_map(|(at, character)| [at, at + character.len_utf8()]));
    cuts.insert(text.len());
    let before = cuts.len();
    cuts.extend(entities.flat_map(|range| [range.start, range.end]));
    let num_cut = cuts.len() - before;
    let ends = cuts.clone().into_iter().skip(1);
    let pieces = cuts.into_iter().zip(ends).map(|(start, end)| (start, &text[start..end]));
    let is_token = |(_, piece): &Token<'_>| !piece.chars().all(|character| gaps.has(character));
    (pieces.filter(is_token).collect(), num_cut)
}
