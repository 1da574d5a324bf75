//! Writes splits as JSON Lines of texts with spans, which `kind = "jsonl"` reads with its defaults.

use std::{
    collections::HashSet,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{NAMES, Splits};
use crate::{DataError, Example};

/// The written files, and the parts of examples that they cannot have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Name and file of each split.
    pub files: Vec<(&'static str, PathBuf)>,
    /// Entities that are left out, since the source has no position for them.
    pub num_without_span: usize,
    /// Absent types that the source asks and that are left out: the training recipe asks its own.
    pub num_absent_types: usize,
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    text: &'a str,
    entities: Vec<Mention<'a>>,
}

#[derive(Serialize)]
struct Mention<'a> {
    start: usize,
    end: usize,
    label: &'a str,
    text: &'a str,
}

/// Writes `train.jsonl`, `validation.jsonl` and `test.jsonl` of the splits that have a share to a
/// folder. An id that occurs again in a split gets a number (`7#2`), since ids must be unique.
///
/// # Errors
/// [`DataError::Io`] if a file exists (no file is overwritten) or cannot be written.
pub fn write_splits(splits: &Splits, folder: &Path) -> Result<Written, DataError> {
    let mut written = Written::default();
    for (split, name) in NAMES.into_iter().enumerate() {
        if !splits.is_wanted[split] {
            continue;
        }
        let path = folder.join(format!("{name}.jsonl"));
        let mut out = BufWriter::new(create(&path)?);
        let mut ids = HashSet::new();
        for example in &splits.examples[split] {
            write_row(example, &unique(&example.id, &mut ids), &mut out, &mut written)?;
        }
        out.flush()?;
        written.files.push((name, path));
    }
    Ok(written)
}

/// Creates a file that does not exist.
///
/// # Errors
/// If it exists, or cannot be created.
pub(crate) fn create(path: &Path) -> Result<fs_err::File, DataError> {
    Ok(fs_err::OpenOptions::new().write(true).create_new(true).open(path)?)
}

fn write_row(
    example: &Example,
    id: &str,
    out: &mut impl Write,
    written: &mut Written,
) -> Result<(), DataError> {
    let mut entities = Vec::with_capacity(example.entities.len());
    for entity in &example.entities {
        let Some(span) = entity.span else {
            written.num_without_span += 1;
            continue;
        };
        let (label, text) = (entity.entity_type.as_str(), entity.text.as_str());
        entities.push(Mention { start: span.start, end: span.end, label, text });
    }
    let is_absent = |query: &&String| example.mentions(query).next().is_none();
    written.num_absent_types += example.queries.iter().filter(is_absent).count();
    let row = Row { id, text: &example.text, entities };
    serde_json::to_writer(&mut *out, &row).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    Ok(())
}

fn unique(id: &str, ids: &mut HashSet<String>) -> String {
    let mut found = id.to_owned();
    let mut number = 1;
    while !ids.insert(found.clone()) {
        number += 1;
        found = format!("{id}#{number}");
    }
    found
}
