//! Passages as a file: JSON Lines, one passage a line.

use std::{
    collections::HashSet,
    io::{BufWriter, Write},
    path::Path,
};

use uner_data::{JsonRecords, format::Container, is_blank};

use crate::{DistillError, Passage};

/// Writes passages to a file. The file appears when all are on disk: until then they are in
/// `.NAME.part` beside it, which a later call replaces.
///
/// # Errors
/// If the file cannot be written.
pub fn write_passages(path: &Path, passages: &[Passage]) -> Result<(), DistillError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let part = path.with_file_name(format!(".{name}.part"));
    let mut out = BufWriter::new(fs_err::File::create(&part)?);
    for passage in passages {
        serde_json::to_writer(&mut out, passage).map_err(std::io::Error::from)?;
        out.write_all(b"\n")?;
    }
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(fs_err::rename(&part, path)?)
}

/// Reads the passages of a file, one at a time. It may be compressed (`.gz`, `.zst`).
///
/// # Errors
/// If the file cannot be opened. A line that is not a passage, a blank text, a span of another
/// length than the text, and an id that occurs twice are items; the next item continues after it.
pub fn read_passages(
    path: &Path,
) -> Result<impl Iterator<Item = Result<Passage, DistillError>> + use<>, DistillError> {
    let records = JsonRecords::open(path, Some(Container::Lines))?;
    let file = path.to_owned();
    let mut ids = HashSet::new();
    Ok(records.map(move |record| {
        let record = record?;
        let malformed = |message: String| DistillError::Passage {
            file: file.clone(),
            line: record.line,
            message,
        };
        let passage: Passage = serde_json::from_value(record.value)
            .map_err(|error| malformed(format!("the line is not a passage: {error}")))?;
        problem(&passage, &mut ids).map_or(Ok(passage), |message| Err(malformed(message)))
    }))
}

fn problem(passage: &Passage, ids: &mut HashSet<String>) -> Option<String> {
    let Passage { id, text, span, .. } = passage;
    let length = text.chars().count();
    if text.chars().all(is_blank) {
        Some(format!("the text of passage `{id}` is blank; remove the line"))
    } else if span.end.checked_sub(span.start) != Some(length) {
        let (start, end) = (span.start, span.end);
        Some(format!(
            "the text of passage `{id}` has {length} characters, but its span is {start}..{end}; \
             correct one of them"
        ))
    } else if !ids.insert(id.clone()) {
        Some(format!("the id `{id}` occurs twice; ids must be unique"))
    } else {
        None
    }
}
