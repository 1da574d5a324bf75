//! A passage that is read twice (*just pass twice*, arXiv 2604.05158), with the position of each
//! token in the text.
//!
//! ```text
//! beginning-of-sequence   passage   line break   passage
//! beginning-of-sequence   entity type
//! ```
//!
//! In the second reading a causal model has seen the whole passage. Its tokens are tagged for each
//! entity type, of which the last token's hidden state is the embedding.

use std::collections::HashSet;
use std::ops::Range;

use uner_data::{Span, is_inside_word};

use crate::error::PromptError;
use crate::tokenizer::{Tokenizer, TokenizerError};

/// A passage that is read twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwiceRead {
    /// The token ids.
    pub ids: Vec<u32>,
    /// Index of the first token of the second reading; the others follow to the end.
    pub second: usize,
    /// The characters of each token of the second reading, without white space at both ends; empty
    /// if it has no others.
    spans: Vec<Span>,
    /// Whether each token of the second reading goes on with the word of the token before it.
    pub goes_on: Vec<bool>,
}

/// Encodes passages and types for a tokenizer. Build it once.
#[derive(Debug)]
pub struct TwiceEncoder {
    /// The bytes that each token adds to a text, by id.
    bytes: Vec<Vec<u8>>,
    /// The characters that tokens have. Some tokenizers drop all others.
    known: HashSet<char>,
    /// The tokens between the two readings.
    between: Vec<u32>,
}

impl TwiceEncoder {
    /// Reads the vocabulary of a tokenizer.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self, PromptError> {
        let between = tokenizer.encode_continuation("\n")?;
        Ok(Self::of(tokenizer.added_bytes(), between))
    }

    fn of(bytes: Vec<Vec<u8>>, between: Vec<u32>) -> Self {
        let texts = bytes.iter().filter_map(|added| std::str::from_utf8(added).ok());
        let known = texts.flat_map(str::chars).collect();
        Self { bytes, known, between }
    }

    /// Encodes a passage.
    ///
    /// # Errors
    /// When the tokenizer fails, or changes the text, so that its tokens have no positions in it.
    pub fn passage(&self, text: &str, tokenizer: &Tokenizer) -> Result<TwiceRead, PromptError> {
        let once = tokenizer.encode_segment(text)?;
        let ranges = self.align(&once, text).ok_or_else(|| {
            let start: String = text.chars().take(40).collect();
            TokenizerError::Text(format!(
                "the tokens of `{start}` have other text than the passage, so they have no positions \
                 in it; choose a model whose tokenizer keeps texts as they are"
            ))
        })?;
        let ids = [&[tokenizer.bos()], &once[..], &self.between, &once].concat();
        let second = ids.len() - once.len();
        let text = Characters::new(text);
        let spans = ranges.iter().map(|range| text.span(range)).collect();
        Ok(TwiceRead { ids, second, spans, goes_on: text.go_on(&ranges) })
    }

    /// Encodes an entity type: its name or definition.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn entity_type(&self, name: &str, tokenizer: &Tokenizer) -> Result<Vec<u32>, PromptError> {
        Ok([&[tokenizer.bos()], &tokenizer.encode_segment(name)?[..]].concat())
    }

    /// The bytes of the text that each token stands for. White space, and characters that no token
    /// has, may be missing from the tokens; a token may begin with a blank that the text lacks.
    /// Unknown tokens stand for what lies between their neighbours.
    fn align(&self, ids: &[u32], text: &str) -> Option<Vec<Range<usize>>> {
        let mut ranges: Vec<Range<usize>> = Vec::with_capacity(ids.len());
        let (mut end, mut num_unknown) = (0, 0);
        for &id in ids {
            let added = self.bytes.get(id as usize)?;
            if added.is_empty() {
                num_unknown += 1;
                ranges.push(end..end);
                continue;
            }
            let missing = self.missing(text.get(end..).unwrap_or_default());
            let range = find(&text.as_bytes()[end..], added, missing, num_unknown > 0)?;
            cover(&mut ranges, num_unknown, end + range.start);
            num_unknown = 0;
            ranges.push(end + range.start..end + range.end);
            end += range.end;
        }
        let rest = text.get(end..)?;
        cover(&mut ranges, num_unknown, text.len());
        (num_unknown > 0 || self.missing(rest) == rest.len()).then_some(ranges)
    }

    /// The number of bytes at the start of a text that may be missing from its tokens.
    fn missing(&self, text: &str) -> usize {
        let may_be = |one: &char| one.is_whitespace() || !self.known.contains(one);
        text.chars().take_while(may_be).map(char::len_utf8).sum()
    }
}

/// The range of a token's bytes in the rest of a text: at its start, after the first `missing`
/// bytes, or, if unknown tokens come before it, anywhere.
fn find(rest: &[u8], added: &[u8], missing: usize, after_unknown: bool) -> Option<Range<usize>> {
    let without = added.strip_prefix(b" ").unwrap_or(added);
    let candidates = [(0, added), (0, without), (missing, added), (missing, without)];
    let found = candidates.into_iter().find(|(start, bytes)| rest[*start..].starts_with(bytes));
    if let Some((start, bytes)) = found {
        return Some(start..start + bytes.len());
    }
    let mut windows = rest.windows(without.len().max(1));
    let start = windows.position(|window| window == without).filter(|_| after_unknown)?;
    Some(start..start + without.len())
}

/// Extends the last `count` ranges to `end`: they are of unknown tokens.
fn cover(ranges: &mut [Range<usize>], count: usize, end: usize) {
    let first = ranges.len() - count;
    ranges[first..].iter_mut().for_each(|range| range.end = end);
}

/// The characters of a text.
struct Characters<'a> {
    text: &'a str,
    all: Vec<char>,
    /// The index of the character of each byte, and of the text's end.
    of_byte: Vec<usize>,
}

impl<'a> Characters<'a> {
    fn new(text: &'a str) -> Self {
        let all: Vec<char> = text.chars().collect();
        let bytes = all.iter().enumerate();
        let of_byte = bytes.flat_map(|(at, one)| std::iter::repeat_n(at, one.len_utf8()));
        let of_byte = of_byte.chain([all.len()]).collect();
        Self { text, all, of_byte }
    }

    /// The characters of a range of bytes, without white space at both ends. A part of a character
    /// counts as the character.
    fn span(&self, range: &Range<usize>) -> Span {
        let blank = |byte: &&u8| byte.is_ascii_whitespace();
        let bytes = &self.text.as_bytes()[range.clone()];
        let start = range.start + bytes.iter().take_while(blank).count();
        if start == range.end {
            let end = self.of_byte[range.end];
            return Span { start: end, end };
        }
        let end = range.end - bytes.iter().rev().take_while(blank).count();
        Span { start: self.of_byte[start], end: self.of_byte[end - 1] + 1 }
    }

    /// Whether each of these tokens begins inside a word or a character of the text.
    fn go_on(&self, tokens: &[Range<usize>]) -> Vec<bool> {
        let goes_on = |token: &Range<usize>| {
            let is_cut = !self.text.is_char_boundary(token.start);
            is_cut || is_inside_word(&self.all, self.of_byte[token.start])
        };
        tokens.iter().map(goes_on).collect()
    }
}

impl TwiceRead {
    /// The tokens of an entity, counted from the start of the second reading, and whether they have
    /// exactly its characters; `None` if no token has any of them.
    pub fn tokens_of(&self, span: Span) -> Option<(Range<usize>, bool)> {
        let overlaps = |token: &Span| {
            token.start < token.end && token.start < span.end && span.start < token.end
        };
        let first = self.spans.iter().position(overlaps)?;
        let last = self.spans.iter().rposition(overlaps)?;
        let exact = (self.spans[first].start, self.spans[last].end) == (span.start, span.end);
        Some((first..last + 1, exact))
    }

    /// The characters of some tokens of the second reading; `None` if they are white space.
    pub fn span_of(&self, tokens: Range<usize>) -> Option<Span> {
        let mut visible = self.spans[tokens].iter().filter(|span| span.start < span.end);
        let first = visible.next()?;
        let last = visible.next_back().unwrap_or(first);
        Some(Span { start: first.start, end: last.end })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trained() -> Tokenizer {
        let texts = ["Tim Cook runs Apple in Cupertino .", "the cook runs"];
        Tokenizer::train(texts.into_iter(), 300).unwrap()
    }

    fn read(text: &str, tokenizer: &Tokenizer) -> TwiceRead {
        TwiceEncoder::new(tokenizer).unwrap().passage(text, tokenizer).unwrap()
    }

    #[test]
    fn the_second_reading_repeats_the_first_after_a_line_break() {
        let tokenizer = trained();
        let TwiceRead { ids, second, spans, goes_on } = read("Tim Cook", &tokenizer);
        let once = &ids[second..];
        assert_eq!((once.len(), once.len()), (spans.len(), goes_on.len()));
        assert_eq!((ids[0], &ids[1..=once.len()]), (tokenizer.bos(), once));
        assert_eq!(tokenizer.decode(&ids[1..]).unwrap(), "Tim Cook\n Tim Cook");
    }

    #[test]
    fn entities_become_tokens_and_tokens_entities() {
        let tokenizer = trained();
        let text = "Tim Cook, Zoë 東京!";
        let read = read(text, &tokenizer);
        for (start, end) in [(0, 3), (0, 8), (4, 8), (10, 13), (14, 16), (14, 15), (16, 17)] {
            let (tokens, exact) = read.tokens_of(Span { start, end }).unwrap();
            assert!(exact, "{start}..{end}");
            assert_eq!(read.span_of(tokens), Some(Span { start, end }));
        }
        // A blank belongs to no token.
        assert_eq!(read.tokens_of(Span { start: 3, end: 4 }), None);
    }

    #[test]
    fn tokens_go_on_with_a_word_or_a_character() {
        let tokenizer = Tokenizer::train(["a"].into_iter(), 280).unwrap();
        // One token for each byte, and the blanks.
        let read = read("ab é, 東", &tokenizer);
        let starts = read.goes_on.iter().filter(|goes_on| !**goes_on).count();
        let words: Vec<Span> = (0..read.goes_on.len())
            .filter(|&at| !read.goes_on[at])
            .map(|at| {
                let more = read.goes_on[at + 1..].iter().take_while(|goes_on| **goes_on).count();
                read.span_of(at..at + 1 + more).unwrap_or(Span { start: 0, end: 0 })
            })
            .collect();
        assert_eq!(words.len(), starts);
        for (start, end) in [(0, 2), (3, 4), (4, 5), (6, 7)] {
            assert!(words.contains(&Span { start, end }), "{start}..{end} in {words:?}");
        }
    }

    #[test]
    fn an_entity_that_ends_within_a_token_gets_the_whole_token() {
        let texts = ["cooking"; 50];
        let tokenizer = Tokenizer::train(texts.into_iter(), 280).unwrap();
        let read = read("cooking", &tokenizer);
        let (tokens, exact) = read.tokens_of(Span { start: 0, end: 1 }).unwrap();
        assert!(!exact);
        assert_eq!(read.span_of(tokens), Some(Span { start: 0, end: 7 }));
    }

    #[test]
    fn unknown_tokens_stand_for_what_is_between_their_neighbours() {
        let bytes = vec![b"".to_vec(), b" a".to_vec(), b"b".to_vec(), b"x".to_vec()];
        let encoder = TwiceEncoder::of(bytes, Vec::new());
        assert_eq!(encoder.align(&[1, 0, 2], "a€b"), Some(vec![0..1, 1..4, 4..5]));
        assert_eq!(encoder.align(&[1, 0], "a€"), Some(vec![0..1, 1..4]));
        assert_eq!(encoder.align(&[1, 2], "a \n b"), Some(vec![0..1, 4..5]));
        assert_eq!(encoder.align(&[1, 2], "a€ éb€"), Some(vec![0..1, 7..8]), "dropped characters");
        assert_eq!(encoder.align(&[1, 2], "axb"), None, "a token has this character");
        assert_eq!(encoder.align(&[1], "ab"), None);
    }

    proptest! {
        #[test]
        fn every_visible_character_belongs_to_a_token(text in "\\PC{0,40}") {
            let tokenizer = trained();
            let read = read(&text, &tokenizer);
            prop_assert!(read.spans.iter().all(|span| span.start <= span.end));
            prop_assert!(read.spans.is_sorted_by_key(|span| span.start));
            for (index, character) in text.chars().enumerate() {
                let found = read.tokens_of(Span { start: index, end: index + 1 });
                prop_assert!(found.is_some() || character.is_whitespace(), "{index} {character:?}");
            }
        }
    }
}
