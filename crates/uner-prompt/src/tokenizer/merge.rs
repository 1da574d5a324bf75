//! The merge loop of SentencePiece's BPE. It starts from characters and merges the neighbours that
//! make the piece with the best score, the leftmost first, until no two neighbours make a piece.
//! Characters without a piece become bytes.

use super::sentencepiece::SPACE_MARK;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// A vocabulary entry, as needed for merging.
pub(super) enum Piece<'a> {
    /// Text and score.
    Text(&'a str, f32),
    /// Fallback for one byte.
    Byte(u8),
    /// Never made from text.
    Never,
}

/// The pieces by text.
#[derive(Debug)]
pub(super) struct Pieces {
    /// Id and rank. Rank 0 is merged first; equal scores have equal ranks.
    texts: HashMap<Box<str>, (u32, u32)>,
    /// Ids of the 256 bytes.
    bytes: Vec<u32>,
    /// Whether no piece has a space mark after another character. Then no merge crosses the start
    /// of a word, and words can be merged one by one: the same result with far smaller heaps.
    words_apart: bool,
}

impl Pieces {
    pub(super) fn new<'a>(pieces: impl Iterator<Item = Piece<'a>>) -> Result<Self, String> {
        let mut scored: Vec<(&str, f32, u32)> = Vec::new();
        let mut bytes = vec![None; 256];
        for (piece, id) in pieces.zip(0..) {
            match piece {
                Piece::Text(text, score) => scored.push((text, score, id)),
                Piece::Byte(byte) => bytes[byte as usize] = Some(id),
                Piece::Never => {}
            }
        }
        scored.sort_by(|a, b| b.1.total_cmp(&a.1));
        let words_apart = scored
            .iter()
            .all(|(text, ..)| !text.trim_start_matches(SPACE_MARK).contains(SPACE_MARK));
        let mut rank = 0;
        let mut texts = HashMap::with_capacity(scored.len());
        for (index, (text, score, id)) in scored.iter().enumerate() {
            if index > 0 && scored[index - 1].1.total_cmp(score).is_ne() {
                rank += 1;
            }
            texts.insert((*text).into(), (*id, rank));
        }
        let bytes = bytes
            .into_iter()
            .collect::<Option<Vec<u32>>>()
            .ok_or("it lacks some of the 256 byte pieces")?;
        Ok(Self { texts, bytes, words_apart })
    }
}

/// Appends the ids of `text`, whose spaces are already space marks.
pub(super) fn merge(text: &str, pieces: &Pieces, ids: &mut Vec<u32>) {
    let mut start = 0;
    if pieces.words_apart {
        let mut after_mark = true;
        for (index, character) in text.char_indices() {
            let mark = character == SPACE_MARK;
            if mark && !after_mark {
                merge_word(&text[start..index], pieces, ids);
                start = index;
            }
            after_mark = mark;
        }
    }
    merge_word(&text[start..], pieces, ids);
}

/// A run of characters that is, or may become, a piece. If `start == end`, it was merged into its
/// left neighbour.
struct Symbol {
    start: usize,
    end: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// Rank, left, right, end. Best rank first, then leftmost; the end shows if a symbol has changed.
type Candidate = Reverse<(u32, usize, usize, usize)>;

fn merge_word(word: &str, pieces: &Pieces, ids: &mut Vec<u32>) {
    if let Some((id, _)) = pieces.texts.get(word).filter(|_| word.chars().nth(1).is_none()) {
        ids.push(*id);
        return;
    }
    let mut symbols = characters(word);
    let mut candidates = BinaryHeap::with_capacity(symbols.len());
    for left in 1..symbols.len() {
        propose(word, pieces, &symbols, left - 1, left, &mut candidates);
    }
    while let Some(Reverse((_, left, right, end))) = candidates.pop() {
        let stale = symbols[left].next != Some(right)
            || symbols[right].end != end
            || symbols[left].start == symbols[left].end;
        if stale {
            continue;
        }
        symbols[left].end = end;
        symbols[left].next = symbols[right].next;
        symbols[right].start = end;
        if let Some(next) = symbols[left].next {
            symbols[next].previous = Some(left);
            propose(word, pieces, &symbols, left, next, &mut candidates);
        }
        if let Some(previous) = symbols[left].previous {
            propose(word, pieces, &symbols, previous, left, &mut candidates);
        }
    }
    for symbol in symbols.iter().filter(|symbol| symbol.start < symbol.end) {
        let piece = &word[symbol.start..symbol.end];
        match pieces.texts.get(piece) {
            Some((id, _)) => ids.push(*id),
            None => ids.extend(piece.bytes().map(|byte| pieces.bytes[byte as usize])),
        }
    }
}

fn characters(word: &str) -> Vec<Symbol> {
    let mut symbols: Vec<Symbol> = word
        .char_indices()
        .enumerate()
        .map(|(index, (start, character))| Symbol {
            start,
            end: start + character.len_utf8(),
            previous: index.checked_sub(1),
            next: Some(index + 1),
        })
        .collect();
    if let Some(last) = symbols.last_mut() {
        last.next = None;
    }
    symbols
}

fn propose(
    word: &str,
    pieces: &Pieces,
    symbols: &[Symbol],
    left: usize,
    right: usize,
    candidates: &mut BinaryHeap<Candidate>,
) {
    let end = symbols[right].end;
    if let Some((_, rank)) = pieces.texts.get(&word[symbols[left].start..end]) {
        candidates.push(Reverse((*rank, left, right, end)));
    }
}

#[cfg(test)]
mod tests {
    use super::{Piece, Pieces, merge};
    use proptest::prelude::*;

    /// Ids 0..256 are the bytes. The pieces follow, best first; the last two share a score.
    fn pieces(texts: &[&'static str]) -> Pieces {
        let scored = texts
            .iter()
            .enumerate()
            .map(|(index, text)| Piece::Text(text, -(index.min(texts.len() - 2) as f32)));
        Pieces::new((0..=255).map(Piece::Byte).chain(scored)).expect("all bytes")
    }

    fn ids(text: &str, pieces: &Pieces) -> Vec<u32> {
        let mut ids = Vec::new();
        merge(text, pieces, &mut ids);
        ids
    }

    #[test]
    fn best_score_first_then_leftmost() {
        let pieces = pieces(&["ab", "a", "b", "c", "bc", "aa"]);
        assert_eq!(ids("abc", &pieces), [256, 259], "`ab` beats `bc`");
        assert_eq!(ids("aaa", &pieces), [261, 257], "the left pair first");
        assert_eq!(ids("bcaa", &pieces), [260, 261]);
    }

    #[test]
    fn unknown_characters_become_bytes() {
        assert_eq!(ids("aé", &pieces(&["a", "b", "c"])), [256, 0xc3, 0xa9]);
        assert_eq!(ids("", &pieces(&["a", "b", "c"])), [0_u32; 0]);
    }

    proptest! {
        /// Merging word by word equals merging the whole text.
        #[test]
        fn words_apart_changes_nothing(text in "[▁abé]{0,40}") {
            let mut pieces = pieces(&["▁a", "ab", "▁▁", "ba", "▁ab", "aba", "▁▁▁▁", "▁▁a", "a", "b", "▁", "bab"]);
            prop_assert!(pieces.words_apart);
            let apart = ids(&text, &pieces);
            pieces.words_apart = false;
            prop_assert_eq!(apart, ids(&text, &pieces));
        }
    }
}
