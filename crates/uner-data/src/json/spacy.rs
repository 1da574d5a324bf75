//! Reads spaCy's JSON: pairs of its training data, documents of `Doc.to_json`, and the training
//! files of spaCy 2.

use serde_json::{Map, Value};

use super::{
    exports::object,
    plain,
    spans::{Mention, Position, Row, mentions, string},
};
use crate::{
    Note,
    columns::tags::{self, Tag},
    format::{Jsonl, Scheme},
    reader::Context,
};

/// Reads a pair `[text, {"entities": […]}]`, a document of `Doc.to_json` with the spans of some
/// groups, or the paragraphs of a training file.
pub(super) fn rows(
    record: &Value,
    groups: &[String],
    line: usize,
    context: &mut Context<'_>,
) -> Result<Vec<Row>, String> {
    if record.is_array() {
        return Ok(vec![pair(record)?]);
    }
    let record = object(record)?;
    if let Some(paragraphs) = record.get("paragraphs").and_then(Value::as_array) {
        return self::paragraphs(record, paragraphs, line, context);
    }
    let listed = ["ents", "entities"].iter().find_map(|key| record.get(*key)?.as_array());
    let listed = listed.ok_or("the record has no list `ents`, `entities` or `paragraphs`")?;
    let mut mentions = spans(listed);
    for (group, listed) in record.get("spans").and_then(Value::as_object).into_iter().flatten() {
        let listed = listed.as_array().map_or(&[][..], Vec::as_slice);
        if groups.contains(group) {
            mentions.extend(spans(listed));
        } else {
            for _ in listed {
                context.note(Note::OtherRegion, line);
            }
        }
    }
    let id = record.get("id").map_or_else(String::new, plain);
    Ok(vec![Row { id, text: string(record, "text")?, mentions, ..Row::default() }])
}

pub(super) fn pair(record: &Value) -> Result<Row, String> {
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
    Ok(Row { text, mentions: spans(listed), ..Row::default() })
}

/// The paragraphs of a document. spaCy numbers documents, often all with 0, so only a string is
/// taken as the id of a document's only paragraph.
fn paragraphs(
    record: &Map<String, Value>,
    paragraphs: &[Value],
    line: usize,
    context: &mut Context<'_>,
) -> Result<Vec<Row>, String> {
    let mut rows = paragraphs
        .iter()
        .map(|value| paragraph(value, line, context))
        .collect::<Result<Vec<Row>, String>>()?;
    if let ([row], Some(Value::String(id))) = (&mut rows[..], record.get("id")) {
        row.id.clone_from(id);
    }
    Ok(rows)
}

/// Reads a paragraph: spans of its raw text, or one BILUO tag per token (`-` means unknown).
fn paragraph(value: &Value, line: usize, context: &mut Context<'_>) -> Result<Row, String> {
    let paragraph = object(value)?;
    let raw = paragraph.get("raw").and_then(Value::as_str);
    if let (Some(raw), Some(listed)) = (raw, paragraph.get("entities").and_then(Value::as_array)) {
        return Ok(Row { text: raw.to_owned(), mentions: spans(listed), ..Row::default() });
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
    let mut tags = Vec::with_capacity(tokens.len());
    for token in &tokens {
        tags.push(tag(token, line, context)?);
    }
    let found = tags::decode(&tags, Scheme::Bilou, &[]);
    found.inconsistent.iter().for_each(|_| context.note(Note::InconsistentTag, line));
    let mention = |mention: &tags::Mention<'_>| {
        let (start, end) = (offsets[mention.start].0, offsets[mention.end - 1].1);
        let position = Position::Offsets { start, end, written: None };
        Ok(Mention { position, label: mention.label.to_owned() })
    };
    let mentions = found.mentions.iter().map(mention).collect();
    Ok(Row { text, mentions, ..Row::default() })
}

fn tag<'a>(
    token: &'a Map<String, Value>,
    line: usize,
    context: &mut Context<'_>,
) -> Result<Tag<'a>, String> {
    match token.get("ner").and_then(Value::as_str) {
        None | Some("-" | "") => {
            context.note(Note::UnknownTag, line);
            Ok(Tag::Outside)
        }
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

fn spans(listed: &[Value]) -> Vec<Result<Mention, String>> {
    listed.iter().flat_map(|value| mentions(value, &Jsonl::default())).collect()
}
