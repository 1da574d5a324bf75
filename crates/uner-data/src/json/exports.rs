//! Reads the exports of annotation tools.

use serde_json::{Map, Value};

use super::{
    annotators::Annotators,
    plain,
    spans::{Mention, Position, Row, Written, mentions, string},
};
use crate::{
    Note,
    format::{Jsonl, LabelStudio},
    reader::Context,
};

/// Reads a record of Label Studio's JSON (`data`, `annotations`) or JSON-MIN (the text and lists of
/// labelled spans, one record per annotation). If a text has several annotations, JSON keeps the
/// ground truth, or else the first; JSON-MIN keeps the first.
pub(super) fn label_studio(
    record: &Value,
    keys: &LabelStudio,
    annotators: &mut Annotators,
    line: usize,
    context: &mut Context<'_>,
) -> Result<Vec<Row>, String> {
    let record = object(record)?;
    let text_key = keys.text.as_deref();
    let Some(data) = record.get("data").and_then(Value::as_object) else {
        let text = string(record, text_key.unwrap_or("text"))?;
        let id = record.get(keys.id.as_deref().unwrap_or("id")).map_or_else(String::new, plain);
        if annotators.is_of_another((&id, &text), record, ["annotation_id", "annotator"]) {
            context.note(Note::FurtherAnnotation, line);
            return Ok(Vec::new());
        }
        let listed: Vec<&Value> = record.values().filter_map(Value::as_array).flatten().collect();
        let mentions = regions(&listed, line, context);
        return Ok(vec![Row { id, text, mentions, ..Row::default() }]);
    };
    let text = match text_key {
        Some(key) => string(data, key)?,
        None => string(data, "text").or_else(|message| only_string(data, message))?,
    };
    let annotations =
        ["annotations", "completions"].iter().find_map(|key| record.get(*key)?.as_array());
    let is_set =
        |annotation: &Value, key: &str| annotation.get(key).and_then(Value::as_bool) == Some(true);
    let submitted: Vec<&Value> = annotations
        .into_iter()
        .flatten()
        .filter(|annotation| !is_set(annotation, "was_cancelled"))
        .collect();
    let taken = submitted
        .iter()
        .find(|annotation| is_set(annotation, "ground_truth"))
        .or(submitted.first());
    let Some(annotation) = taken else {
        context.note(Note::NotAccepted, line);
        return Ok(Vec::new());
    };
    submitted.iter().skip(1).for_each(|_| context.note(Note::FurtherAnnotation, line));
    let results = annotation
        .get("result")
        .and_then(Value::as_array)
        .ok_or("an annotation has no list `result`")?;
    let values: Vec<&Value> = results.iter().filter_map(|result| result.get("value")).collect();
    let id = match &keys.id {
        Some(key) => data.get(key),
        None => record.get("id").or_else(|| data.get("id")),
    };
    let (id, mentions) = (id.map_or_else(String::new, plain), regions(&values, line, context));
    Ok(vec![Row { id, text, mentions, ..Row::default() }])
}

/// The labelled regions of a text. Hypertext regions use their `globalOffsets`. Other regions with
/// offsets are counted. Values without offsets (such as choices) describe the whole text and are
/// ignored.
fn regions(
    values: &[&Value],
    line: usize,
    context: &mut Context<'_>,
) -> Vec<Result<Mention, String>> {
    let mut found = Vec::new();
    for value in values {
        if value.get("labels").is_some() {
            found.extend(region(value));
        } else if let (Some(labels), Some(offsets)) =
            (value.get("hypertextlabels"), value.get("globalOffsets"))
        {
            let mut plain = serde_json::json!({
                "start": offsets["start"], "end": offsets["end"], "labels": labels
            });
            if let Some(text) = value.get("text") {
                plain["text"] = text.clone();
            }
            found.extend(region(&plain));
        } else if ["start", "startOffset", "end"].iter().any(|key| value.get(*key).is_some()) {
            context.note(Note::OtherRegion, line);
        }
    }
    found
}

/// The mentions of a labelled region. Label Studio writes a line break as a backslash and an `n`.
fn region(value: &Value) -> Vec<Result<Mention, String>> {
    let mut found = mentions(value, &Jsonl::default());
    for mention in found.iter_mut().flatten() {
        if let Position::Offsets { written, .. } = &mut mention.position {
            *written = written.take().map(|written| match written {
                Written::Exactly(text) | Written::BreaksEscaped(text) => {
                    Written::BreaksEscaped(text)
                }
            });
        }
    }
    found
}

fn only_string(data: &Map<String, Value>, message: String) -> Result<String, String> {
    let strings: Vec<(&String, &str)> =
        data.iter().filter_map(|(key, value)| Some((key, value.as_str()?))).collect();
    match strings[..] {
        [] => Err(message),
        [(_, text)] => Ok(text.to_owned()),
        _ => {
            let keys: Vec<String> =
                strings.iter().map(|(key, _)| format!("`text = \"{key}\"`")).collect();
            Err(format!(
                "{message}; set one of {} in the description's `[format]`",
                keys.join(", ")
            ))
        }
    }
}

/// Reads a Prodigy task. Rejected and ignored tasks are skipped: nobody confirmed their spans.
pub(super) fn prodigy(
    record: &Value,
    annotators: &mut Annotators,
    line: usize,
    context: &mut Context<'_>,
) -> Result<Vec<Row>, String> {
    let record = object(record)?;
    if record.get("answer").and_then(Value::as_str).is_some_and(|answer| answer != "accept") {
        context.note(Note::NotAccepted, line);
        return Ok(Vec::new());
    }
    let text = string(record, "text")?;
    if annotators.is_of_another(&text, record, ["_annotator_id", "_session_id"]) {
        context.note(Note::FurtherAnnotation, line);
        return Ok(Vec::new());
    }
    let listed = record.get("spans").and_then(Value::as_array).into_iter().flatten();
    let is_taken = |span: &&Value| {
        span.get("answer").and_then(Value::as_str).is_none_or(|answer| answer == "accept")
    };
    let (taken, others): (Vec<&Value>, Vec<&Value>) = listed.partition(is_taken);
    for _ in others {
        context.note(Note::OtherRegion, line);
    }
    let id = record.get("id").map_or_else(String::new, plain);
    let mentions = taken.into_iter().flat_map(|value| mentions(value, &Jsonl::default())).collect();
    Ok(vec![Row { id, text, mentions, ..Row::default() }])
}

/// Reads a doccano document: `label` or `labels` with arrays, or `entities` with objects. Older
/// versions call the text `data`.
pub(super) fn doccano(record: &Value) -> Result<Row, String> {
    let record = object(record)?;
    let id = record.get("id").map_or_else(String::new, plain);
    let text =
        string(record, "text").or_else(|message| string(record, "data").map_err(|_| message))?;
    let listed =
        ["entities", "label", "labels"].iter().find_map(|key| record.get(*key)?.as_array());
    let listed = listed.ok_or("the row has no list `label`, `labels` or `entities`")?;
    let keys = Jsonl {
        start: "start_offset".to_owned(),
        end: "end_offset".to_owned(),
        ..Jsonl::default()
    };
    let mentions = listed.iter().flat_map(|value| mentions(value, &keys)).collect();
    Ok(Row { id, text, mentions, ..Row::default() })
}

pub(super) fn object(value: &Value) -> Result<&Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("`{value}` is not an object"))
}
