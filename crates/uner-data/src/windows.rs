//! Cuts a text that is too long for a model into overlapping windows, and merges what was found in
//! them.

mod bounds;
mod merge;

use std::ops::Range;

use bounds::Bounds;

pub use merge::merge;

/// A character that does not fit into a window on its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not even one character fits into a window: `{}`, character {position} of the text (byte {byte}); allow longer \
     windows, or shorten the rest of the prompt",
    crate::visible(character)
)]
pub struct NothingFits {
    /// The character; empty if the text is.
    pub character: String,
    /// Its index in the text, in characters.
    pub position: usize,
    /// Its index in bytes.
    pub byte: usize,
}

/// Sentence ends that are tried before a window ends inside a sentence. More than one is needed
/// only if `fits` is not monotone.
const SENTENCE_ENDS: usize = 4;

/// Cuts a text into overlapping windows (ranges of bytes, with increasing starts and ends), each of
/// which `fits`. Every byte is in a window. A text that fits is one window.
///
/// A window is as long as it can be, and then ends at the last sentence end in its second half, or
/// at a word end if it has none, or inside a word that is too long. The next window shares at least
/// `overlap` characters with it, and starts at the start of a sentence or word near there. So each
/// mention of less than `overlap` characters is inside some window, with text on both sides. If
/// windows are too short for the overlap, they share less, but every window ends after the one
/// before it.
///
/// Sentences and words are those of Unicode (UAX #29); a line break ends a sentence.
///
/// `fits` need not be monotone: a tokenizer may need fewer tokens for a longer text. Only texts for
/// which it returned `true` are windows. It is called O(log of a window's words) times per window,
/// and once with the whole text.
///
/// # Errors
/// [`NothingFits`] if one character alone does not fit.
///
/// ```
/// use uner_data::windows::windows;
/// let text = "Ada came. Zoë left. Bob stayed.";
/// let found = windows(text, 4, |window| window.chars().count() <= 20)?;
/// let texts: Vec<&str> = found.into_iter().map(|window| &text[window]).collect();
/// assert_eq!(texts, ["Ada came. Zoë left. ", "left. Bob stayed."]);
/// # Ok::<(), uner_data::windows::NothingFits>(())
/// ```
pub fn windows(
    text: &str,
    overlap: usize,
    fits: impl FnMut(&str) -> bool,
) -> Result<Vec<Range<usize>>, NothingFits> {
    let mut cutter = Cutter { text, bounds: Bounds::new(text), fits, num_words: 64 };
    if (cutter.fits)(text) {
        return Ok(vec![0..text.len()]);
    }
    let mut window = cutter.window(0, 0)?;
    let mut found = vec![window.clone()];
    while window.end < text.len() {
        window = cutter.next(&window, overlap)?;
        found.push(window.clone());
    }
    Ok(found)
}

/// The ends of the sentences of a text (UAX #29), in bytes; the last is the text's end.
pub(crate) fn sentence_ends(text: &str) -> Vec<usize> {
    bounds::sentences(text)
}

struct Cutter<'a, F> {
    text: &'a str,
    bounds: Bounds<'a>,
    fits: F,
    /// Number of words of the last window, where the search for the next end starts.
    num_words: usize,
}

impl<F: FnMut(&str) -> bool> Cutter<'_, F> {
    /// The window after another. The overlap is halved until the window ends after the other.
    fn next(&mut self, last: &Range<usize>, overlap: usize) -> Result<Range<usize>, NothingFits> {
        let mut overlap = overlap;
        while overlap > 0 {
            let slack = last.len() / 4;
            if let Some(start) = self.bounds.start_before(last, overlap, slack) {
                let window = self.window(start, last.end)?;
                if window.end > last.end {
                    return Ok(window);
                }
            }
            overlap /= 2;
        }
        self.window(last.end, last.end)
    }

    /// The window from `start`. It ends at a sentence end only after `floor`.
    fn window(&mut self, start: usize, floor: usize) -> Result<Range<usize>, NothingFits> {
        let furthest = self.furthest(start)?;
        if furthest == self.text.len() {
            return Ok(start..furthest);
        }
        let half = start + (furthest - start) / 2;
        let sentences = self.bounds.sentence_ends(half.max(floor), furthest).to_vec();
        let mut ends = sentences.into_iter().rev().take(SENTENCE_ENDS);
        let end = ends.find(|end| *end == furthest || (self.fits)(&self.text[start..*end]));
        Ok(start..end.unwrap_or(furthest))
    }

    /// The last end, found by doubling and bisection, of a window from `start`: of words, else of
    /// what a reader sees as characters, else of characters.
    fn furthest(&mut self, start: usize) -> Result<usize, NothingFits> {
        let words = self.bounds.word_ends(start);
        if let Some(count) =
            last_that_fits(words, self.num_words, |end| (self.fits)(&self.text[start..end]))
        {
            self.num_words = count;
            return Ok(words[count - 1]);
        }
        let letters = self.bounds.letter_ends(start);
        if let Some(count) = last_that_fits(letters, 1, |end| (self.fits)(&self.text[start..end])) {
            return Ok(letters[count - 1]);
        }
        // One such character is a few code points, but may be any number of accents.
        let parts: Vec<usize> = self.text[start..letters.first().copied().unwrap_or(start)]
            .char_indices()
            .map(|(at, character)| start + at + character.len_utf8())
            .collect();
        let count = last_that_fits(&parts, 1, |end| (self.fits)(&self.text[start..end]));
        count.map(|count| parts[count - 1]).ok_or_else(|| NothingFits {
            character: self.text[start..].chars().take(1).collect(),
            position: self.text[..start].chars().count(),
            byte: start,
        })
    }
}

/// The number of `ends` up to one that fits. `None` if the first does not. If ends after it fit,
/// the search has not met them.
fn last_that_fits(
    ends: &[usize],
    guess: usize,
    mut fits: impl FnMut(usize) -> bool,
) -> Option<usize> {
    // The end at `fitting - 1` fits, the end at `failing - 1` does not.
    let (mut fitting, mut failing) = (0, ends.len() + 1);
    let mut next = guess.clamp(1, ends.len().max(1));
    while failing - fitting > 1 {
        if fits(ends[next - 1]) {
            fitting = next;
        } else {
            failing = next;
        }
        let is_doubling = failing > ends.len();
        next = if is_doubling { (2 * fitting).min(ends.len()) } else { fitting.midpoint(failing) };
    }
    (fitting > 0).then_some(fitting)
}

#[cfg(test)]
mod tests;
