//! Recognises text that is not English by its script.

/// Whether a text may be English: not if it has at least two letters of other scripts than Latin,
/// and at least as many as Latin ones. A single such letter is a symbol (`β`, `Ω`), and numbers and
/// punctuation are of no language. Other languages in the Latin script are not recognised.
///
/// ```
/// use uner_distill::filter::is_english;
/// assert!(["Müller", "α-synuclein", "β", "3 %"].into_iter().all(is_english));
/// assert!(!["東京", "Москва", "網站 x"].into_iter().any(is_english));
/// ```
pub fn is_english(text: &str) -> bool {
    if text.is_ascii() {
        return true;
    }
    let letters = text.chars().filter(|character| character.is_alphabetic());
    let (latin, other): (Vec<char>, Vec<char>) = letters.partition(|letter| is_latin(*letter));
    other.len() < 2 || other.len() < latin.len()
}

/// Whether a letter is in one of Unicode's Latin blocks.
fn is_latin(letter: char) -> bool {
    matches!(
        letter,
        '\0'..='\u{2af}'
            | '\u{1d00}'..='\u{1dbf}'
            | '\u{1e00}'..='\u{1eff}'
            | '\u{2071}'..='\u{209c}'
            | '\u{2100}'..='\u{218f}'
            | '\u{2c60}'..='\u{2c7f}'
            | '\u{a720}'..='\u{a7ff}'
            | '\u{ab30}'..='\u{ab6f}'
            | '\u{fb00}'..='\u{fb06}'
            | '\u{ff21}'..='\u{ff5a}'
            | '\u{1d400}'..='\u{1d7ff}'
    )
}
