//! brat standoff (<https://brat.nlplab.org/standoff.html>): a `.txt` and an `.ann` for each
//! document. Both are complete when they get their names, and the document is written when it has
//! its row in [`INDEX`].

use std::{fmt::Write, io, path::Path};

use serde::Serialize;

use super::{PredictedEntity, Prediction, json};

/// The file with a row for each written document, in the folder.
pub(crate) const INDEX: &str = "documents.jsonl";

/// Longest part of an id in a name, in bytes. Most file systems allow 255 in all.
const LONGEST_ID: usize = 120;

/// A document's row in the index.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    /// The name of its files, without their endings.
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

/// Writes the files of a document, from 1. Returns its row and the number of entities left out.
pub(crate) fn write(
    folder: &Path,
    number: usize,
    prediction: &Prediction,
    label: &mut dyn FnMut(&str) -> String,
) -> io::Result<(String, usize)> {
    let name = name(number, &prediction.id);
    let (rows, left_out) = annotations(prediction, label);
    put(folder, &format!("{name}.txt"), &prediction.text)?;
    put(folder, &format!("{name}.ann"), &rows)?;
    let problem = prediction.problem.as_deref();
    Ok((json(&Row { id: &prediction.id, file: &name, problem }), left_out))
}

/// Removes what is left of a document that has no row.
pub(super) fn remove(folder: &Path, number: usize) -> io::Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = name.strip_prefix('.').unwrap_or(&name);
        if name.starts_with(&prefix(number)) {
            fs_err::remove_file(path)?;
        }
    }
    Ok(())
}

/// Writes a file under a hidden name, then renames it.
fn put(folder: &Path, name: &str, content: &str) -> io::Result<()> {
    let hidden = folder.join(format!(".{name}"));
    fs_err::write(&hidden, content)?;
    fs_err::rename(hidden, folder.join(name))
}

/// The name of a document's files: its number, so that names are unique and sort in the order of
/// the documents, and what a name may contain of its id.
fn name(number: usize, id: &str) -> String {
    let id = id.strip_suffix(".txt").unwrap_or(id);
    let is_safe = |character: char| character.is_alphanumeric() || "-_.".contains(character);
    let safe: String =
        id.chars().map(|character| if is_safe(character) { character } else { '_' }).collect();
    format!("{}{}", prefix(number), &safe[..safe.floor_char_boundary(LONGEST_ID)])
}

fn prefix(number: usize) -> String {
    format!("{number:07}-")
}

/// The rows of an annotation file, and the number of entities without any character to show.
fn annotations(prediction: &Prediction, label: &mut dyn FnMut(&str) -> String) -> (String, usize) {
    let (mut rows, mut number) = (String::new(), 0);
    for entity in &prediction.entities {
        let fragments = fragments(entity);
        if fragments.is_empty() {
            continue;
        }
        number += 1;
        let ranges: Vec<String> = fragments
            .iter()
            .map(|(start, text)| format!("{start} {}", start + text.chars().count()))
            .collect();
        let texts: Vec<&str> = fragments.into_iter().map(|(_, text)| text).collect();
        let (label, ranges) = (label(&entity.entity_type), ranges.join(";"));
        let _ = writeln!(rows, "T{number}\t{label} {ranges}\t{}", texts.join(" "));
        if let Some(probability) = entity.probability {
            let _ =
                writeln!(rows, "#{number}\tAnnotatorNotes T{number}\tprobability {probability}");
        }
    }
    (rows, prediction.entities.len() - number)
}

/// The parts of a mention between line breaks, with their first character: brat annotates a line at
/// a time, and its rows are lines.
fn fragments(entity: &PredictedEntity) -> Vec<(usize, &str)> {
    let mut start = entity.span.start;
    let mut found = Vec::new();
    for part in entity.text.split_inclusive(is_line_break) {
        let line = part.trim_end_matches(is_line_break);
        if !line.trim().is_empty() {
            found.push((start, line));
        }
        start += part.chars().count();
    }
    found
}

/// The line breaks of Python's `str.splitlines`, which splits the rows when brat reads them.
pub(crate) fn is_line_break(character: char) -> bool {
    matches!(character, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}
