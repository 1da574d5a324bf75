//! Prepares text of a file for messages: characters that are invisible or control a terminal become
//! escapes.

use std::fmt::Write as _;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Escapes control characters, zero-width characters, direction marks, white space other than the
/// space, and private-use or unassigned characters, as in `\r` or `\u{200b}`.
///
/// ```
/// assert_eq!(uner_data::visible("PER\r \u{1b}[31m\u{200b}é"), "PER\\r \\u{1b}[31m\\u{200b}é");
/// ```
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Cuts the middle out of a message that would fill the screen. `edge_len` characters remain at
/// each end, where the problem and the advice stand.
pub fn middle_cut(message: &str, edge_len: usize) -> String {
    let num_characters = message.chars().count();
    if num_characters <= 2 * edge_len {
        return message.to_owned();
    }
    let start: String = message.chars().take(edge_len).collect();
    let end: String = message.chars().skip(num_characters - edge_len).collect();
    format!("{start} … {} characters … {end}", num_characters - 2 * edge_len)
}

/// Escapes characters that a terminal obeys: control characters, but for line ends and tabs, and
/// marks that change the direction of a line. The escapes, such as `\u001b`, are those of JSON, so
/// that JSON keeps its meaning.
///
/// ```
/// let text = "a\tZoë\n\u{1b}]0;x\u{7}\u{9b}\r\u{7f}";
/// assert_eq!(uner_data::printable(text), "a\tZoë\n\\u001b]0;x\\u0007\\u009b\\u000d\\u007f");
/// ```
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_printable(character) {
            shown.push(character);
        } else {
            let _ = write!(shown, "\\u{:04x}", u32::from(character));
        }
    }
    shown
}

fn is_printable(character: char) -> bool {
    let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    matches!(character, '\n' | '\t') || !(character.is_control() || turns)
}

pub(crate) fn is_hidden(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    match character.general_category() {
        GeneralCategory::Control
        | GeneralCategory::Format
        | GeneralCategory::LineSeparator
        | GeneralCategory::ParagraphSeparator
        | GeneralCategory::SpaceSeparator
        | GeneralCategory::PrivateUse
        | GeneralCategory::Unassigned => true,
        // Fillers, joiners and variation selectors: letters and marks by category, without a glyph
        // of their own.
        _ => matches!(
            character,
            '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{ffa0}' | '\u{fe00}'..='\u{fe0f}'
        ),
    }
}
