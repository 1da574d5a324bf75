//! Where words begin and end, in any script.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};

/// Whether index `at` of a text lies inside a word: between two letters or digits, or before an
/// accent. Scripts that do not separate words by blanks have no inside.
pub fn is_inside_word(text: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| text.get(before));
    // A mark belongs to the character before it.
    before.zip(text.get(at)).is_some_and(|(before, after)| {
        is_mark(*after) || (joins(*before) || is_mark(*before)) && joins(*after)
    })
}

/// Whether a character is an accent or a vowel sign that combines with the one before it.
fn is_mark(character: char) -> bool {
    character.general_category_group() == GeneralCategoryGroup::Mark
}

/// Whether a character is a letter or digit of a script that separates words by spaces. Chinese,
/// Japanese, Thai, Lao, Khmer, Burmese and Tibetan do not; Korean attaches particles to nouns.
fn joins(character: char) -> bool {
    let without_blanks = matches!(
        u32::from(character),
        0x0e00..=0x109f | 0x1100..=0x11ff | 0x1780..=0x17ff | 0x2e80..=0x9fff | 0xa960..=0xa97f | 0xac00..=0xd7ff
            | 0xf900..=0xfaff | 0xff66..=0xffdc | 0x20000..=0x3ffff
    );
    character.is_alphanumeric() && !without_blanks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_digits_join_and_other_characters_do_not() {
        let inside = |text: &str| -> Vec<usize> {
            let text: Vec<char> = text.chars().collect();
            (0..=text.len()).filter(|&at| is_inside_word(&text, at)).collect()
        };
        assert_eq!(inside("Zoë 4a, it\u{300}s"), [1, 2, 5, 9, 10, 11]);
        assert!(inside("東京").is_empty());
    }
}
