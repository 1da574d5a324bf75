//! Token rows with BIO tags.

use std::fmt::Write;

use super::{PredictedEntity, Prediction, disjoint::disjoint, label};
use crate::{
    columns,
    tokens::{Gaps, Token, Tokens, split},
};

/// The start of a document's first row.
pub(crate) const ID: &str = "# id = ";

/// The rows of a document with the blank row after it, and the number of entities left out: those
/// that overlap others, and those without a token.
pub(super) fn record(prediction: &Prediction) -> (String, usize) {
    let selected = disjoint(&prediction.entities);
    let entities = prediction.entities.iter().zip(selected);
    let mut chosen: Vec<&PredictedEntity> =
        entities.filter(|(_, is_selected)| *is_selected).map(|(entity, _)| entity).collect();
    chosen.sort_by_key(|entity| entity.bytes.start);
    let ranges = chosen.iter().map(|entity| entity.bytes.clone());
    let (tokens, _) = split(&prediction.text, Tokens::Words, Gaps::Rows(Tokens::Words), ranges);
    let (rows, num_written) = rows(prediction, &tokens, &chosen, &mut label);
    (rows, prediction.entities.len() - num_written)
}

/// The rows of a document with the blank row after it, and the number of entities in them. The
/// entities are sorted and do not overlap.
pub(crate) fn rows(
    prediction: &Prediction,
    tokens: &[Token<'_>],
    entities: &[&PredictedEntity],
    label: &mut dyn FnMut(&str) -> String,
) -> (String, usize) {
    let mut rows = format!("{ID}{}\n", comment(&prediction.id));
    if let Some(problem) = &prediction.problem {
        let _ = writeln!(rows, "# problem = {}", comment(problem));
    }
    let mut num_written = 0;
    for ((_, token), entity) in tokens.iter().zip(tagged(tokens, entities)) {
        let Some((entity, is_first)) = entity else {
            let _ = writeln!(rows, "{token}\tO");
            continue;
        };
        let prefix = if is_first { 'B' } else { 'I' };
        num_written += usize::from(is_first);
        let _ = writeln!(rows, "{token}\t{prefix}-{}", label(&entity.entity_type));
    }
    rows.push('\n');
    (rows, num_written)
}

/// For each token, the entity that it is part of, and whether it is the entity's first token. The
/// entities are sorted and do not overlap, and no token is part of two.
pub(crate) fn tagged<'e>(
    tokens: &[Token<'_>],
    entities: &[&'e PredictedEntity],
) -> Vec<Option<(&'e PredictedEntity, bool)>> {
    let (mut at, mut is_first) = (0, true);
    let tag = |(start, token): &Token<'_>| {
        while entities.get(at).is_some_and(|entity| entity.bytes.end <= *start) {
            (at, is_first) = (at + 1, true);
        }
        let end = start + token.len();
        let entity = entities.get(at).filter(|entity| entity.bytes.start < end)?;
        Some((*entity, std::mem::replace(&mut is_first, false)))
    };
    tokens.iter().map(tag).collect()
}

/// A value for a comment row: as it is, or as a JSON string if it would not be read back so.
fn comment(value: &str) -> String {
    let is_plain =
        !value.starts_with('"') && value.trim() == value && !value.contains(char::is_control);
    if is_plain { value.to_owned() } else { serde_json::Value::from(value).to_string() }
}

/// The id in the first row of a document.
pub(super) fn id(row: &str) -> Option<String> {
    columns::rows::id(row, ID)
}
