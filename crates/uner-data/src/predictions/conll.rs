//! Token rows with BIO tags.

use std::{collections::BTreeSet, fmt::Write};

use unicode_segmentation::UnicodeSegmentation;

use super::{PredictedEntity, Prediction, disjoint::disjoint, label};
use crate::text::is_blank;

/// The start of a document's first row.
pub(super) const ID: &str = "# id = ";

/// The rows of a document with the blank row after it, and the number of entities left out: those
/// that overlap others, and those without a token.
pub(super) fn record(prediction: &Prediction) -> (String, usize) {
    let selected = disjoint(&prediction.entities);
    let entities = prediction.entities.iter().zip(selected);
    let mut chosen: Vec<&PredictedEntity> =
        entities.filter(|(_, is_selected)| *is_selected).map(|(entity, _)| entity).collect();
    chosen.sort_by_key(|entity| entity.bytes.start);
    let mut rows = format!("{ID}{}\n", comment(&prediction.id));
    if let Some(problem) = &prediction.problem {
        let _ = writeln!(rows, "# problem = {}", comment(problem));
    }
    let (mut at, mut open, mut num_written) = (0, false, 0);
    for (start, token) in tokens(&prediction.text, &chosen) {
        while chosen.get(at).is_some_and(|entity| entity.bytes.end <= start) {
            (at, open) = (at + 1, false);
        }
        let Some(entity) = chosen.get(at).filter(|entity| entity.bytes.start <= start) else {
            let _ = writeln!(rows, "{token}\tO");
            continue;
        };
        let prefix = if open { 'I' } else { 'B' };
        num_written += usize::from(!open);
        open = true;
        let _ = writeln!(rows, "{token}\t{prefix}-{}", label(&entity.entity_type));
    }
    rows.push('\n');
    (rows, prediction.entities.len() - num_written)
}

/// The tokens with their first byte. Every character that is not white space is in one of them.
fn tokens<'a>(
    text: &'a str,
    entities: &[&PredictedEntity],
) -> impl Iterator<Item = (usize, &'a str)> + use<'a> {
    let mut cuts: BTreeSet<usize> = text.split_word_bound_indices().map(|(at, _)| at).collect();
    cuts.extend(entities.iter().flat_map(|entity| [entity.bytes.start, entity.bytes.end]));
    // A word of UAX #29 may contain a blank: accents and invisible characters belong to the
    // character before them, whatever it is.
    let blanks = text.char_indices().filter(|(_, character)| is_separator(*character));
    cuts.extend(blanks.flat_map(|(at, character)| [at, at + character.len_utf8()]));
    cuts.insert(text.len());
    let ends = cuts.clone().into_iter().skip(1);
    let pieces = cuts.into_iter().zip(ends).map(move |(start, end)| (start, &text[start..end]));
    pieces.filter(|(_, piece)| !piece.chars().all(is_separator))
}

fn is_separator(character: char) -> bool {
    is_blank(character) || character.is_control()
}

/// A value for a comment row: as it is, or as a JSON string if it would not be read back so.
fn comment(value: &str) -> String {
    let is_plain =
        !value.starts_with('"') && value.trim() == value && !value.contains(char::is_control);
    if is_plain { value.to_owned() } else { serde_json::Value::from(value).to_string() }
}

/// The id in the first row of a document.
pub(super) fn id(row: &str) -> Option<String> {
    let value = row.strip_prefix(ID)?;
    if value.starts_with('"') { serde_json::from_str(value).ok() } else { Some(value.to_owned()) }
}
