//! Reads JSON with offsets: uner's own rows, spaCy's and GLiNER's.

use std::path::Path;

use serde_json::{Map, Value};
use uner_data::format::Container;
use uner_data::{JsonRecord, JsonRecords, Span};

use super::characters::Characters;
use super::file::{Location, Mention, Position, Prediction, PredictionFile, checked};
use crate::EvalError;

/// One text of a record, in the words of its format.
#[derive(Default)]
pub(super) struct Row<'a> {
    id: Option<&'a Value>,
    text: Option<&'a str>,
    entities: Vec<&'a Value>,
    unread_spans: usize,
    problem: Option<&'a str>,
}

type ReadRow = fn(&Value) -> Result<Row<'_>, String>;

/// Reads a file of records.
pub(super) fn read(
    path: &Path,
    row: ReadRow,
    threshold: Option<f64>,
) -> Result<PredictionFile, EvalError> {
    collect(path, JsonRecords::open(path, None)?, row, threshold)
}

/// Reads lists of entities: one per line, or an array of them. Both start with `[`, so the first
/// line decides: it is a list if it begins with an entity.
pub(super) fn read_gliner(
    path: &Path,
    threshold: Option<f64>,
) -> Result<PredictionFile, EvalError> {
    let is_list = |record: &JsonRecord| match record.value.as_array().map(Vec::as_slice) {
        Some([]) => true,
        Some([first, ..]) => first.get("start").is_some(),
        None => false,
    };
    let first = JsonRecords::open(path, Some(Container::Lines))?.next();
    let has_lists = first.is_some_and(|first| first.as_ref().is_ok_and(is_list));
    let container = has_lists.then_some(Container::Lines);
    collect(path, JsonRecords::open(path, container)?, gliner, threshold)
}

fn collect(
    path: &Path,
    records: JsonRecords,
    row: ReadRow,
    threshold: Option<f64>,
) -> Result<PredictionFile, EvalError> {
    let mut file = PredictionFile::default();
    for record in records {
        let JsonRecord { line, record, value } = record?;
        let location = Location::Line(line, record);
        let faulty = |problem: String| location.error(path, &problem);
        let row = row(&value).map_err(faulty)?;
        let prediction = prediction(&row, threshold, &mut file).map_err(faulty)?;
        file.push(Prediction { location, ..prediction }, row.text);
    }
    Ok(file)
}

/// `{"id", "text", "entities"}`, with `text`, `id` or both.
pub(super) fn spans(record: &Value) -> Result<Row<'_>, String> {
    let row = object(record)?;
    let found = Row { entities: list(row, "entities")?, ..described(row) };
    if found.text.is_none() && found.id.is_none() {
        return Err("the row has neither a string `text` nor an `id`: write one of them".to_owned());
    }
    Ok(found)
}

/// A row as of `Doc.to_json`, or a pair of training data.
pub(super) fn spacy(record: &Value) -> Result<Row<'_>, String> {
    if let Some([Value::String(text), annotations]) = record.as_array().map(Vec::as_slice) {
        let entities = annotations.as_object().map(|row| list(row, "entities"));
        let entities =
            entities.ok_or("a pair is `[text, {\"entities\": [[start, end, label]]}]`")??;
        return Ok(Row { text: Some(text), entities, ..Row::default() });
    }
    let row = object(record)?;
    if !row.get("text").is_some_and(Value::is_string) {
        return Err("the row has no string `text`: write it with `doc.to_json()`".to_owned());
    }
    let mut found = Row { entities: list(row, "ents")?, ..described(row) };
    for (group, spans) in row.get("spans").and_then(Value::as_object).into_iter().flatten() {
        let spans = spans.as_array().into_iter().flatten();
        match group.as_str() {
            "sc" => found.entities.extend(spans),
            _ => found.unread_spans += spans.count(),
        }
    }
    Ok(found)
}

/// A list of entities, or an object with a list `entities` beside the text.
fn gliner(record: &Value) -> Result<Row<'_>, String> {
    match record {
        Value::Array(entities) => Ok(Row { entities: entities.iter().collect(), ..Row::default() }),
        _ => spans(record),
    }
}

/// The row's id, text and problem.
fn described(row: &Map<String, Value>) -> Row<'_> {
    let string = |key: &str| row.get(key).and_then(Value::as_str);
    Row {
        id: row.get("id").filter(|id| !id.is_null()),
        text: string("text"),
        problem: string("problem"),
        ..Row::default()
    }
}

fn object(record: &Value) -> Result<&Map<String, Value>, String> {
    record.as_object().ok_or_else(|| format!("`{}` is not an object", shown(record)))
}

fn list<'a>(row: &'a Map<String, Value>, key: &str) -> Result<Vec<&'a Value>, String> {
    let found = row.get(key).and_then(Value::as_array);
    found
        .map(|entities| entities.iter().collect())
        .ok_or_else(|| format!("the row has no list `{key}`"))
}

fn prediction(
    row: &Row<'_>,
    threshold: Option<f64>,
    file: &mut PredictionFile,
) -> Result<Prediction, String> {
    let text = row.text.map(Characters::new);
    let mut mentions = Vec::with_capacity(row.entities.len());
    for value in &row.entities {
        let Entity { span, label, written, score } = entity(value)?;
        let position = match &text {
            Some(text) => Position::Text(checked(text, span, written)?, None),
            None => Position::Offsets(span, written.map(str::to_owned)),
        };
        if let Some(threshold) = threshold {
            let score = score.ok_or_else(|| {
                format!("the entity `{}` has no `score` to compare with `threshold`", shown(value))
            })?;
            if score < threshold {
                file.below_threshold += 1;
                continue;
            }
        }
        mentions.push(Mention { label: file.label(label), position, score });
    }
    file.unread_spans += row.unread_spans;
    Ok(Prediction {
        id: row.id.map(plain),
        text: text.map(|text| text.key()),
        mentions,
        problem: row.problem.map(str::to_owned),
        ..Prediction::default()
    })
}

/// An entity with its offsets.
struct Entity<'a> {
    span: Span,
    label: &'a str,
    written: Option<&'a str>,
    score: Option<f64>,
}

/// Reads `{"type" or "label", "start", "end", "text", "score" or "probability"}`, or
/// `[start, end, label]`.
fn entity(value: &Value) -> Result<Entity<'_>, String> {
    let field = |keys: &[&str], index: usize| match value {
        Value::Array(parts) => parts.get(index),
        _ => keys.iter().find_map(|key| value.get(*key)),
    };
    let offset = |key: &str, index: usize| {
        let found = field(&[key], index);
        let found = found.and_then(Value::as_u64).and_then(|offset| usize::try_from(offset).ok());
        found.ok_or_else(|| format!("the entity `{}` has no whole number `{key}`", shown(value)))
    };
    let label = field(&["type", "label"], 2).and_then(Value::as_str);
    let label = label
        .ok_or_else(|| format!("the entity `{}` has no string `type` or `label`", shown(value)))?;
    Ok(Entity {
        span: Span { start: offset("start", 0)?, end: offset("end", 1)? },
        label,
        written: value.get("text").and_then(Value::as_str),
        score: ["score", "probability"].iter().find_map(|key| value.get(*key)?.as_f64()),
    })
}

/// An id as text: some files have strings, others numbers.
fn plain(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

/// A value in a message.
fn shown(value: &Value) -> String {
    uner_data::middle_cut(&value.to_string(), 60)
}
