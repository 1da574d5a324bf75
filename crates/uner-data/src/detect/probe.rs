//! Checks a proposed format with its reader, on the start of the file.

use std::path::Path;

use super::{Candidate, Misfit};
use crate::{
    DataError, Dataset,
    format::{Columns, Conversations, Format, Offsets},
    read,
};

/// Items of a file that are read.
const READ: usize = 500;

/// Reads the start of a file in a proposed format. Offsets are tried in every unit, since a file
/// that states its mentions beside them shows the unit. A format fits if the file has entities and
/// at most one item in fifty is an error.
pub(super) fn probe(
    path: &Path,
    mut candidate: Candidate,
) -> Result<Result<Candidate, Misfit>, DataError> {
    let mut found = count(path, &candidate.format)?;
    for unit in [Offsets::Utf16, Offsets::Bytes] {
        let Some(other) = with_offsets(&candidate.format, unit) else { break };
        if found.errors == 0 {
            break;
        }
        let other_count = count(path, &other)?;
        if other_count.errors < found.errors {
            let note = format!("offsets count {}", unit.unit());
            candidate.notes.push(note);
            (candidate.format, found) = (other, other_count);
        }
    }
    let name = candidate.name;
    if let Some(first) = found.first.filter(|_| found.errors * 50 > found.examples) {
        let looked = format!("as {name}, {} of its first items are errors ({first})", found.errors);
        return Ok(Err(Misfit::new(looked, &[name])));
    }
    if found.entities == 0 && found.queries == 0 {
        let looked = format!("as {name}, its first {} texts have no entities", found.examples);
        return Ok(Err(Misfit::new(looked, &[name])));
    }
    if let (Format::Conversations(format), true) = (&mut candidate.format, found.repeats) {
        format.merge = true;
    }
    Ok(Ok(candidate))
}

#[derive(Default)]
struct Count {
    examples: usize,
    entities: usize,
    queries: usize,
    errors: usize,
    first: Option<String>,
    /// Whether the texts of neighbours are equal.
    repeats: bool,
}

fn count(path: &Path, format: &Format) -> Result<Count, DataError> {
    let mut count = Count::default();
    let mut previous = String::new();
    for item in read(&Dataset::of_file(path, format.clone()), "file", Path::new(""))?.take(READ) {
        match item {
            Ok(example) => {
                count.examples += 1;
                count.entities += example.entities.len();
                count.queries += example.queries.len();
                count.repeats |= count.examples > 1 && example.text == previous;
                previous = example.text;
            }
            Err(error) => {
                count.errors += 1;
                count.first.get_or_insert_with(|| error.to_string());
            }
        }
    }
    Ok(count)
}

/// The format with another unit of offsets, if it has offsets.
fn with_offsets(format: &Format, unit: Offsets) -> Option<Format> {
    let mut format = format.clone();
    match &mut format {
        Format::Jsonl(keys) => keys.offsets = unit,
        Format::LabelStudio(keys) => keys.offsets = unit,
        Format::Spacy(keys) => keys.offsets = unit,
        Format::Prodigy(keys) | Format::Doccano(keys) => keys.offsets = unit,
        Format::Instructuie(keys) => keys.offsets = unit,
        _ => return None,
    }
    Some(format)
}

/// The format that reads the files of two formats, if it exists: files of one dataset may differ in
/// rows that only some of them have.
pub(super) fn joined(a: &Format, b: &Format) -> Option<Format> {
    match (a, b) {
        _ if a == b => Some(a.clone()),
        (Format::Columns(a), Format::Columns(b)) => joined_columns(a, b).map(Format::Columns),
        (Format::Conversations(a), Format::Conversations(b)) if a.container == b.container => {
            let merge = a.merge || b.merge;
            Some(Format::Conversations(Conversations { merge, ..a.clone() }))
        }
        _ => None,
    }
}

fn joined_columns(a: &Columns, b: &Columns) -> Option<Columns> {
    let with = |mut these: Vec<String>, those: &[String]| {
        these.extend(those.iter().filter(|row| !these.contains(row)).cloned().collect::<Vec<_>>());
        these
    };
    let joined = |columns: &Columns| Columns {
        document_rows: with(a.document_rows.clone(), &b.document_rows),
        comment_rows: with(a.comment_rows.clone(), &b.comment_rows),
        break_rows: with(a.break_rows.clone(), &b.break_rows),
        id_rows: a.id_rows.clone().or_else(|| b.id_rows.clone()),
        ..columns.clone()
    };
    (joined(a) == joined(b)).then(|| joined(a))
}
