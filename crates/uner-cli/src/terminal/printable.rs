//! Escapes text for terminals: control characters in data, names and paths, which a terminal would
//! obey, and marks that change the direction of a line. They become escapes such as `\u001b`, as in
//! JSON, so that JSON keeps its meaning.

use std::fmt::Write as _;
use std::io::{self, Write};

/// Whether a terminal shows the character, or it is a line end or a tab.
fn is_printable(character: char) -> bool {
    let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    matches!(character, '\n' | '\t') || !(character.is_control() || turns)
}

/// Escapes every character that is not printable.
pub(crate) fn printable(text: &str) -> String {
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

/// A writer that escapes all text written to it.
#[derive(Debug)]
pub(crate) struct Printable<W>(pub(crate) W);

impl<W: Write> Write for Printable<W> {
    /// Writes all bytes or fails: formatted text comes in pieces that never split a character.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(printable(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_escapes_and_nothing_else() {
        let mut out = Printable(Vec::new());
        write!(out, "a\tZoë 東京\n\u{1b}]0;x\u{7}\u{9b}\r\u{7f}").unwrap();
        let shown = String::from_utf8(out.0).unwrap();
        assert_eq!(shown, "a\tZoë 東京\n\\u001b]0;x\\u0007\\u009b\\u000d\\u007f");
    }
}
