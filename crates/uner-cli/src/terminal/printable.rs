//! A writer for terminals.

use std::io::{self, Write};

use uner_data::printable;

/// A writer that escapes all text written to it, as [`printable`].
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
