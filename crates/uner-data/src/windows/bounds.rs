//! The places where a text may be cut.

use std::{cell::OnceCell, ops::Range};

use unicode_segmentation::UnicodeSegmentation;

use crate::text::is_blank;

/// Longest run of characters that are no letters or digits inside a sentence. The search for
/// sentence ends takes quadratic time in the blanks and brackets after a full stop, and a long run
/// of them (a ruler, a gap in a table) separates sentences anyway.
const LONGEST_RUN: usize = 64;

/// Sorted offsets in bytes.
pub(super) struct Bounds<'a> {
    text: &'a str,
    /// Where a sentence ends, and the next one starts.
    sentences: OnceCell<Vec<usize>>,
    /// Where a word or punctuation mark (a piece of UAX #29 that is not blank) starts, except the
    /// first, and the end of the text. Blanks belong to the word before them, so that a window that
    /// ends here ends with a sentence, too.
    words: OnceCell<Vec<usize>>,
    /// The ends of grapheme clusters: letters with their accents, emoji, CR with LF.
    letters: OnceCell<Vec<usize>>,
}

impl<'a> Bounds<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let (sentences, words, letters) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { text, sentences, words, letters }
    }

    /// The sentence ends after `floor`, up to `ceiling`.
    pub(super) fn sentence_ends(&self, floor: usize, ceiling: usize) -> &[usize] {
        let sentences = self.sentences.get_or_init(|| sentences(self.text));
        let until = sentences.partition_point(|end| *end <= ceiling);
        let from = sentences.partition_point(|end| *end <= floor).min(until);
        &sentences[from..until]
    }

    /// The word ends after `start`, blanks included.
    pub(super) fn word_ends(&self, start: usize) -> &[usize] {
        after(self.words(), start)
    }

    /// The ends of grapheme clusters after `start`.
    pub(super) fn letter_ends(&self, start: usize) -> &[usize] {
        after(self.letters(), start)
    }

    /// The start of a window that shares at least `overlap` characters with the end of `last`: the
    /// start of a sentence, else of a word, at most `slack` bytes earlier, else of a letter. `None`
    /// if it is not after the start of `last`.
    pub(super) fn start_before(
        &self,
        last: &Range<usize>,
        overlap: usize,
        slack: usize,
    ) -> Option<usize> {
        let (target, _) =
            self.text[last.clone()].char_indices().rev().nth(overlap.checked_sub(1)?)?;
        let target = last.start + target;
        let floor = target.saturating_sub(slack).max(last.start);
        // Offsets at `floor` do not count: it may be the start of the last window.
        let sentence = self.sentence_ends(floor, target).last().copied();
        let word = || before(self.words(), floor, target);
        let letter = || before(self.letters(), last.start, target);
        sentence.or_else(word).or_else(letter)
    }

    fn words(&self) -> &[usize] {
        self.words.get_or_init(|| {
            let pieces = self.text.split_word_bound_indices();
            let filled = pieces.filter(|(_, piece)| !piece.chars().all(is_blank));
            filled.map(|(at, _)| at).skip(1).chain([self.text.len()]).collect()
        })
    }

    fn letters(&self) -> &[usize] {
        self.letters.get_or_init(|| {
            self.text.grapheme_indices(true).map(|(at, letter)| at + letter.len()).collect()
        })
    }
}

fn after(offsets: &[usize], start: usize) -> &[usize] {
    &offsets[offsets.partition_point(|offset| *offset <= start)..]
}

/// The last offset after `floor`, up to `ceiling`.
fn before(offsets: &[usize], floor: usize, ceiling: usize) -> Option<usize> {
    let until = offsets.partition_point(|offset| *offset <= ceiling);
    offsets[..until].last().copied().filter(|offset| *offset > floor)
}

/// The ends of the sentences.
pub(super) fn sentences(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut start = 0;
    for run in long_runs(text) {
        let pieces = text[start..run.start].split_sentence_bound_indices();
        found.extend(pieces.map(|(at, sentence)| start + at + sentence.len()));
        // The run belongs to the sentence before it.
        found.pop();
        found.push(run.end);
        start = run.end;
    }
    found
}

/// The parts of long runs behind their first [`LONGEST_RUN`] characters, and the empty run at the
/// end of the text.
fn long_runs(text: &str) -> Vec<Range<usize>> {
    let (mut runs, mut length, mut behind) = (Vec::new(), 0, 0);
    for (at, character) in text.char_indices().chain([(text.len(), 'a')]) {
        if character.is_alphanumeric() {
            if length > LONGEST_RUN {
                runs.push(behind..at);
            }
            length = 0;
        } else {
            length += 1;
            if length == LONGEST_RUN {
                behind = at + character.len_utf8();
            }
        }
    }
    if runs.last().is_none_or(|run| run.end < text.len()) {
        runs.push(text.len()..text.len());
    }
    runs
}
