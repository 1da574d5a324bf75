//! Cuts a document to passages.

use std::ops::Range;

use uner_data::{
    Span, is_blank,
    windows::{NothingFits, windows},
};

/// Longest passage in bytes, whatever `fits` says: a tokenizer is never called with all of a long
/// document, which would need many times the document's memory.
const MOST_BYTES: usize = 1 << 16;

/// A passage of a document, without white space at its ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) bytes: Range<usize>,
    pub(super) span: Span,
}

impl Piece {
    pub(super) fn num_characters(&self) -> usize {
        self.span.end - self.span.start
    }
}

pub(super) type Pieces = Vec<Piece>;

/// The passages of a text, in order, each of which `fits`. Together they have all of its
/// characters, except for white space between them and at the ends.
///
/// # Errors
/// If a character alone does not fit.
pub(super) fn cut(text: &str, fits: impl Fn(&str) -> bool) -> Result<Pieces, NothingFits> {
    // A text of white space has no passages, and need not fit.
    if text.chars().all(is_blank) {
        return Ok(Vec::new());
    }
    let fits = |text: &str| text.len() <= MOST_BYTES && fits(text);
    let mut start = 0;
    let mut pieces = Vec::new();
    for window in windows(text, 0, fits)? {
        let window_text = &text[window.clone()];
        let behind_blanks = window_text.trim_start_matches(is_blank);
        let passage = behind_blanks.trim_end_matches(is_blank);
        let blanks = &window_text[..window_text.len() - behind_blanks.len()];
        let first = start + blanks.chars().count();
        start += window_text.chars().count();
        if !passage.is_empty() {
            let byte = window.start + blanks.len();
            let span = Span { start: first, end: first + passage.chars().count() };
            pieces.push(Piece { bytes: byte..byte + passage.len(), span });
        }
    }
    Ok(pieces)
}
