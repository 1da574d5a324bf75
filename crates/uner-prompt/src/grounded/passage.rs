//! The passage as it is written in mentions, and the search for its substrings.

use super::pieces::Pieces;
use crate::answer::{Characters, push_character};
use std::collections::BTreeMap;

/// The written passage with its sorted suffixes.
#[derive(Debug)]
pub(super) struct Passage {
    /// The passage with each character as it is written in an answer.
    written: Vec<u8>,
    /// For each index in `written`, and its end.
    indices: Vec<Index>,
    /// The texts that mentions are prefixes of, sorted: for each first character, all that may
    /// follow it.
    suffixes: Vec<Suffix>,
}

/// The properties of an index in the written passage.
#[derive(Debug, Default, Clone, Copy)]
struct Index {
    /// Whether a written character begins or ends here.
    is_boundary: bool,
    /// Whether tokens can write the rest of the character that goes on here.
    is_live: bool,
    /// Whether the character that ends here is white space.
    is_after_space: bool,
}

#[derive(Debug, Clone, Copy)]
struct Suffix {
    start: u32,
    end: u32,
}

/// The occurrences of a text in the passage: the range of the suffixes that begin with it. Equal
/// texts have equal ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Match {
    first: u32,
    end: u32,
    /// In bytes.
    length: u32,
}

impl Passage {
    /// A passage whose mentions are JSON strings.
    pub(super) fn json(text: &str, characters: Characters, pieces: &Pieces) -> Self {
        let write =
            |character, written: &mut String| push_character(written, character, characters);
        Self::new(text, write, |_| None, pieces)
    }

    /// A passage whose mentions are written as they are. A mention that contains `; type: ` would
    /// be read as two, so it ends before the last character of such a text.
    pub(super) fn instructuie(text: &str, types: &[&str], pieces: &Pieces) -> Self {
        let write = |character, written: &mut String| written.push(character);
        let separators: Vec<String> =
            types.iter().map(|entity_type| format!("; {entity_type}: ")).collect();
        let limit = |rest: &[u8]| {
            separators
                .iter()
                .find(|text| rest.starts_with(text.as_bytes()))
                .map(|text| text.len() - 1)
        };
        let mut passage = Self::new(text, write, limit, pieces);
        // White space at the end of an answer is not read, so some mention has to end otherwise.
        if !passage.has_visible() {
            passage.suffixes.clear();
        }
        passage
    }

    fn new(
        text: &str,
        write: impl Fn(char, &mut String),
        limit: impl Fn(&[u8]) -> Option<usize>,
        pieces: &Pieces,
    ) -> Self {
        let mut written = String::with_capacity(text.len() + text.len() / 8);
        let mut indices = vec![Index { is_boundary: true, is_live: true, is_after_space: false }];
        let mut starts = Vec::with_capacity(text.len());
        let mut rests: BTreeMap<char, Vec<bool>> = BTreeMap::new();
        for character in text.chars() {
            let start = written.len();
            starts.push(start);
            write(character, &mut written);
            let rests = rests
                .entry(character)
                .or_insert_with(|| pieces.writable_rests(&written.as_bytes()[start..]));
            indices[start].is_live = rests[0];
            indices.extend(
                rests[1..].iter().map(|is_live| Index { is_live: *is_live, ..Index::default() }),
            );
            indices[written.len()].is_boundary = true;
            indices[written.len()].is_after_space = character.is_whitespace();
        }
        let written = written.into_bytes();
        let suffixes = suffixes(&written, &starts, &indices, limit);
        Self { written, indices, suffixes }
    }

    /// Whether it has nothing to name.
    pub(super) fn is_empty(&self) -> bool {
        self.suffixes.is_empty()
    }

    /// The empty text, which occurs everywhere.
    pub(super) fn anywhere(&self) -> Match {
        Match { first: 0, end: self.suffixes.len() as u32, length: 0 }
    }

    /// The occurrences of a text with one more byte.
    pub(super) fn extend(&self, found: Match, byte: u8) -> Option<Match> {
        let within = &self.suffixes[found.first as usize..found.end as usize];
        let next = |suffix: &Suffix| self.byte(*suffix, found.length);
        let first = within.partition_point(|suffix| next(suffix) < Some(byte));
        let count = within[first..].partition_point(|suffix| next(suffix) == Some(byte));
        let first = found.first + first as u32;
        let end = first + count as u32;
        (count > 0).then_some(Match { first, end, length: found.length + 1 })
    }

    /// All bytes that follow a text, with the occurrences of the text with each of them.
    pub(super) fn extensions(&self, found: Match) -> impl Iterator<Item = (u8, Match)> {
        let mut first = found.first;
        std::iter::from_fn(move || {
            let within = &self.suffixes[first as usize..found.end as usize];
            // The suffixes that end here come before all others.
            let ended =
                within.iter().take_while(|suffix| self.byte(**suffix, found.length).is_none());
            let ended = ended.count();
            let within = &within[ended..];
            let byte = self.byte(*within.first()?, found.length)?;
            let next = |suffix: &Suffix| self.byte(*suffix, found.length);
            let count = match within {
                [_] => 1,
                _ => within.partition_point(|suffix| next(suffix) == Some(byte)),
            };
            let start = first + ended as u32;
            first = start + count as u32;
            Some((byte, Match { first: start, end: first, length: found.length + 1 }))
        })
    }

    /// Whether a text ends between characters, so that a mention may end here.
    pub(super) fn is_boundary(&self, found: Match) -> bool {
        self.index(found).is_boundary
    }

    /// Whether tokens can write the rest of the last character.
    pub(super) fn is_live(&self, found: Match) -> bool {
        let index = self.index(found);
        index.is_boundary || index.is_live
    }

    /// Whether a text may end an answer whose white space at the end is not read.
    pub(super) fn may_end(&self, found: Match) -> bool {
        let index = self.index(found);
        index.is_boundary && !index.is_after_space
    }

    /// The index after a text. All its occurrences have the same properties, as the boundaries of
    /// written characters follow from their bytes.
    fn index(&self, found: Match) -> Index {
        let start = self.suffixes[found.first as usize].start;
        self.indices[(start + found.length) as usize]
    }

    fn byte(&self, suffix: Suffix, length: u32) -> Option<u8> {
        let index = suffix.start + length;
        (index < suffix.end).then(|| self.written[index as usize])
    }

    /// Whether a mention can end with something else than white space.
    fn has_visible(&self) -> bool {
        self.suffixes.iter().any(|suffix| {
            let mut inside =
                (suffix.start + 1..=suffix.end).map(|index| self.indices[index as usize]);
            inside.find(|index| index.is_boundary).is_some_and(|index| !index.is_after_space)
        })
    }
}

/// From each character that can be written, the longest text that a mention may have.
fn suffixes(
    written: &[u8],
    starts: &[usize],
    indices: &[Index],
    limit: impl Fn(&[u8]) -> Option<usize>,
) -> Vec<Suffix> {
    let mut end = written.len();
    let mut suffixes = Vec::with_capacity(starts.len());
    for start in starts.iter().rev() {
        end = limit(&written[*start..]).map_or(end, |length| end.min(start + length));
        if indices[*start].is_live {
            suffixes.push(Suffix { start: *start as u32, end: end as u32 });
        } else {
            end = *start;
        }
    }
    let text = |suffix: &Suffix| &written[suffix.start as usize..suffix.end as usize];
    suffixes.sort_by(|a, b| text(a).cmp(text(b)));
    suffixes
}
