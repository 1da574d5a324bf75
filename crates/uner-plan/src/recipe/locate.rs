//! Finds the line of a key in a TOML file.

use serde_path_to_error::{Path, Segment};
use toml::de::{DeTable, DeValue};

/// The line, from 1, of the deepest part of `path` that the file contains; `None` if it contains no
/// part.
pub(super) fn line_of(text: &str, path: &Path) -> Option<usize> {
    let table = DeTable::parse(text).ok()?.into_inner();
    let mut segments = path.iter();
    let Segment::Map { key } = segments.next()? else { return None };
    let (name, mut value) = table.get_key_value(key.as_str())?;
    let mut start = name.span().start;
    for segment in segments {
        match (segment, value.as_ref()) {
            (Segment::Map { key }, DeValue::Table(table)) => {
                let Some((name, inner)) = table.get_key_value(key.as_str()) else { break };
                (start, value) = (name.span().start, inner);
            }
            (Segment::Seq { index }, DeValue::Array(array)) => {
                let Some(inner) = array.get(*index) else { break };
                (start, value) = (inner.span().start, inner);
            }
            _ => break,
        }
    }
    Some(line_at(text, start))
}

/// The line, from 1, of a byte offset.
pub(super) fn line_at(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|byte| *byte == b'\n').count() + 1
}
