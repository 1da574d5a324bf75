//! Reads the exports of annotation tools.

use serde_json::{Map, Value};

use super::{
    annotators::Annotators,
    plain,
    spans::{Mention, Row, mentions, string},
};
use crate::{
    Note,
    columns::tags::{self, Tag},
    format::{Jsonl, Scheme},
    reader::Context,
};

/// Reads a record of Label Studio's JSON (`data`, `annotations`) or JSON-MIN (the text and lists of
/// labelled spans, one record per annotation). If a text has several annotations, JSON keeps the
/// ground truth, or else the first; JSON-MIN keeps the first.
pub(super) fn label_studio(
    record: &Value,
    text_key: Option<&str>,
    annotators: &mut Annotators,
    line: usize,
    context: &mut Context<'_>,
) -> Result<Vec<Row>, String> {
    let record = object(record)?;
    let id = record.get("id").map_or_else(String::new, plain);
    let Some(data) = record.get("data").and_then(Value::as_object) else {
        let text = string(record, text_key.unwrap_or("text"))?;
        if annotators.is_of_another((&id, &text), record, ["annotation_id", "annotator"]) {
            context.note(Note::FurtherAnnotation, line);
            return Ok(Vec::new());
        }
        let listed: Vec<&Value> = record.values().filter_map(Value::as_array).flatten().collect();
        return Ok(vec![Row { id, text, mentions: regions(&listed, line, context) }]);
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
    Ok(vec![Row { id, text, mentions: regions(&values, line, context) }])
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
        mention.written = mention.written.take().map(|written| written.replace("\\n", "\n"));
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

/// Reads spaCy's pair `[text, {"entities": […]}]`, a document of `Doc.to_json`, or the paragraphs
/// of older training files.
pub(super) fn spacy(
    record: &Value,
    line: usize,
    context: &mut Context<'_>,
) -> Result<Vec<Row>, String> {
    if record.is_array() {
        return Ok(vec![spacy_pair(record)?]);
    }
    let record = object(record)?;
    if let Some(paragraphs) = record.get("paragraphs").and_then(Value::as_array) {
        return paragraphs.iter().map(paragraph).collect();
    }
    let groups = record.get("spans").and_then(Value::as_object).into_iter().flat_map(Map::values);
    groups
        .filter_map(Value::as_array)
        .flatten()
        .for_each(|_| context.note(Note::OtherRegion, line));
    let listed = ["ents", "entities"].iter().find_map(|key| record.get(*key)?.as_array());
    let listed = listed.ok_or("the record has no list `ents`, `entities` or `paragraphs`")?;
    Ok(vec![Row { id: String::new(), text: string(record, "text")?, mentions: spans(listed) }])
}

pub(super) fn spacy_pair(record: &Value) -> Result<Row, String> {
    let parts = match record.as_array().map(Vec::as_slice) {
        Some([Value::String(text), annotations]) => Some((text, annotations)),
        _ => None,
    };
    let parts = parts.and_then(|(text, annotations)| {
        let listed = annotations.get("entities").unwrap_or(annotations);
        Some((text.clone(), listed.as_array()?))
    });
    let (text, listed) = parts.ok_or_else(|| {
        format!("`{record}` is not `[text, {{\"entities\": [[start, end, label], …]}}]`")
    })?;
    Ok(Row { id: String::new(), text, mentions: spans(listed) })
}

/// Reads a paragraph: spans of its raw text, or one BILUO tag per token (`-` means unknown).
fn paragraph(value: &Value) -> Result<Row, String> {
    let paragraph = object(value)?;
    let raw = paragraph.get("raw").and_then(Value::as_str);
    if let (Some(raw), Some(listed)) = (raw, paragraph.get("entities").and_then(Value::as_array)) {
        return Ok(Row { id: String::new(), text: raw.to_owned(), mentions: spans(listed) });
    }
    let sentences = paragraph.get("sentences").and_then(Value::as_array).into_iter().flatten();
    let tokens: Vec<&Map<String, Value>> = sentences
        .filter_map(|sentence| sentence.get("tokens")?.as_array())
        .flatten()
        .map(object)
        .collect::<Result<_, _>>()?;
    let words = tokens
        .iter()
        .map(|token| string(token, "orth"))
        .collect::<Result<Vec<String>, String>>()?;
    let text = raw.map_or_else(|| words.join(" "), str::to_owned);
    let offsets = token_offsets(&text, &words)?;
    let tags = tokens.iter().map(|token| tag(token)).collect::<Result<Vec<Tag<'_>>, String>>()?;
    let found = tags::decode(&tags, Scheme::Bilou, &[]);
    let mention = |mention: &tags::Mention<'_>| {
        let (start, end) = (offsets[mention.start].0, offsets[mention.end - 1].1);
        Ok(Mention { start, end, label: mention.label.to_owned(), written: None })
    };
    Ok(Row { id: String::new(), mentions: found.mentions.iter().map(mention).collect(), text })
}

fn tag(token: &Map<String, Value>) -> Result<Tag<'_>, String> {
    match token.get("ner").and_then(Value::as_str) {
        None | Some("-" | "") => Ok(Tag::Outside),
        Some(tag) => Tag::parse(tag, Scheme::Bilou).map_err(|problem| problem.to_string()),
    }
}

/// The character range of each word in `text`, which must contain the words in order.
fn token_offsets(text: &str, words: &[String]) -> Result<Vec<(i64, i64)>, String> {
    let (mut rest, mut at) = (text, 0);
    let mut locate = |word: &String| {
        let found = rest
            .find(word.as_str())
            .ok_or_else(|| format!("token `{word}` is not in `raw` after the tokens before it"))?;
        let start = at + rest[..found].chars().count() as i64;
        at = start + word.chars().count() as i64;
        rest = &rest[found + word.len()..];
        Ok((start, at))
    };
    words.iter().map(&mut locate).collect()
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
    let mentions = taken.into_iter().flat_map(|value| mentions(value, &Jsonl::default())).collect();
    Ok(vec![Row { id: String::new(), text, mentions }])
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
    Ok(Row { id, text, mentions: listed.iter().flat_map(|value| mentions(value, &keys)).collect() })
}

fn spans(listed: &[Value]) -> Vec<Result<Mention, String>> {
    listed.iter().flat_map(|value| mentions(value, &Jsonl::default())).collect()
}

fn object(value: &Value) -> Result<&Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("`{value}` is not an object"))
}
