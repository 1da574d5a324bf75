//! The words of texts, without case, white space and punctuation.

use std::{borrow::Cow, ops::Range};

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_segmentation::UnicodeSegmentation;

/// The words of one or more texts, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    /// Each word with a blank behind it.
    text: String,
    /// The byte of `text` at which each word starts, then the length of `text`.
    starts: Vec<usize>,
}

impl Default for Words {
    fn default() -> Self {
        Self { text: String::new(), starts: vec![0] }
    }
}

impl Words {
    /// Number of words.
    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Removes all words, and keeps the memory for others.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.starts.truncate(1);
    }

    /// Adds the words of a text.
    pub(crate) fn append(&mut self, text: &str) {
        if text.is_ascii() {
            let start = self.text.len();
            text.split(|c: char| !c.is_ascii_alphanumeric()).for_each(|word| self.push(word));
            self.text[start..].make_ascii_lowercase();
            return;
        }
        for run in folded(text).split(|c| !is_of_word(c)) {
            if run.is_ascii() {
                self.push(run);
            } else {
                run.unicode_words().for_each(|word| self.push(word));
            }
        }
    }

    fn push(&mut self, word: &str) {
        if !word.is_empty() {
            self.text.push_str(word);
            self.text.push(' ');
            self.starts.push(self.text.len());
        }
    }

    /// The words of a range with a blank between two. Two such texts are equal if and only if their
    /// words are, as words have no blanks.
    pub(crate) fn slice(&self, words: Range<usize>) -> &str {
        let (start, end) = (self.starts[words.start], self.starts[words.end]);
        &self.text[start..end.saturating_sub(1).max(start)]
    }
}

/// The text in form NFKC and in lower case.
fn folded(text: &str) -> String {
    let composed = match is_nfkc_quick(text.chars()) {
        IsNormalized::Yes => Cow::Borrowed(text),
        _ => Cow::Owned(text.nfkc().collect()),
    };
    composed.to_lowercase()
}

/// Whether a character is a letter, a digit or a mark.
fn is_of_word(character: char) -> bool {
    character.is_alphanumeric()
        || (!character.is_ascii()
            && character.general_category_group() == GeneralCategoryGroup::Mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        let mut words = Words::default();
        words.append(text);
        words.slice(0..words.len()).to_owned()
    }

    #[test]
    fn case_white_space_and_punctuation_do_not_count() {
        for text in
            ["Bob's  state-of-the-art U.S. plan_b", "bob ' s state - of the ART\r\nU.S. PLAN B"]
        {
            assert_eq!(words(text), "bob s state of the art u s plan b");
        }
        assert_eq!(words("Zoë’s  CAFÉ\u{a0}№ 5…"), "zoë s café no 5");
        assert_eq!(words("Zoe\u{308} caf\u{e9} ﬁne"), "zoë café fine");
        assert_eq!(words("ΟΔΟΣ"), words("οδος"));
        assert_eq!([words(""), words("?! …")], ["", ""]);
    }

    #[test]
    fn a_word_is_a_character_where_no_spaces_are_written() {
        assert_eq!(words("北京是 capital。"), "北 京 是 capital");
        assert_eq!(words("トヨタの車"), "トヨタ の 車");
        assert_eq!(words("서울은 수도"), "서울은 수도");
        assert_eq!(words("हिन्दी भाषा"), "हिन्दी भाषा");
    }

    #[test]
    fn slices_are_ranges_of_words_over_texts() {
        let mut two = Words::default();
        two.append("A b");
        two.append("Cé d!");
        assert_eq!((two.len(), two.slice(1..3), two.slice(2..2)), (4, "b cé", ""));
        two.clear();
        two.append("x");
        assert_eq!((two.len(), two.slice(0..1)), (1, "x"));
    }
}
