//! Reads texts with spans: rows with keys that the user names, and exports of annotation tools.

use std::{collections::VecDeque, path::Path};

use serde_json::{Map, Value};

use super::{Records, annotators::Annotators, distinct::Distinct, exports, plain};
use crate::{
    DataError, Example, Problem, Span,
    format::{Jsonl, Offsets},
    lines::{self, Input},
    passage::Passage,
    reader::{Context, Reader},
    text::{Text, is_blank},
};

/// The origin of a file, which decides the layout of its records.
pub(crate) enum Source {
    Keys(Jsonl),
    /// With the key of the text, if the description names one.
    LabelStudio(Option<String>),
    Spacy,
    Prodigy,
    Doccano,
}

/// One annotated text of a record.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) text: String,
    /// Its mentions. A malformed one is an error and does not affect the others.
    pub(super) mentions: Vec<Result<Mention, String>>,
}

/// A mention with half-open offsets.
pub(super) struct Mention {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) label: String,
    pub(super) written: Option<String>,
}

impl Mention {
    /// The mention's span. It is an error if the offsets are outside the text, or do not give the
    /// mention as written (white space at its ends is ignored).
    fn span(&self, text: &Text<'_>, offsets: Offsets) -> Result<Span, Problem> {
        let (start, end) = (self.start, self.end);
        let is_stated = |span: Span| {
            self.written.as_ref().is_none_or(|written| {
                text.slice(span).trim_matches(is_blank) == written.trim_matches(is_blank)
            })
        };
        let found = text.span(start, end, offsets);
        if let Some(span) = found.filter(|span| is_stated(*span)) {
            return Ok(span);
        }
        let would_fit = |unit: &Offsets| text.span(start, end, *unit).is_some_and(is_stated);
        let fits = self.written.as_ref().and_then(|_| Offsets::ALL.into_iter().find(would_fit));
        if let (Some(span), Some(stated)) = (found, &self.written) {
            let (found, stated) = (text.slice(span).to_owned(), stated.clone());
            return Err(Problem::SpanText { start, end, found, stated, fits });
        }
        let (label, length) = (self.label.clone(), text.length(offsets));
        Err(Problem::SpanOutside { start, end, label, length, offsets, fits })
    }
}

pub(crate) struct SpanReader {
    source: Source,
    offsets: Offsets,
    records: Records,
    /// Remaining texts of the last record, with the record's line and number.
    rows: VecDeque<(usize, Option<usize>, Row)>,
    annotators: Annotators,
}

impl SpanReader {
    pub(crate) fn new(
        source: Source,
        offsets: Offsets,
        file: &Path,
        input: Input,
    ) -> Result<Self, DataError> {
        if file.extension().is_some_and(|extension| extension == "spacy") {
            let message = "a `.spacy` file is binary; write its documents as JSON Lines with `json.dumps(doc.to_json())`";
            let problem = Problem::Json(message.to_owned());
            return Err(DataError::Malformed {
                file: file.to_owned(),
                line: 1,
                record: None,
                problem,
            });
        }
        let records = Records::detect(input).map_err(|error| lines::named(file, &error))?;
        Ok(Self {
            source,
            offsets,
            records,
            rows: VecDeque::new(),
            annotators: Annotators::default(),
        })
    }
}

impl Reader for SpanReader {
    fn next(&mut self, context: &mut Context<'_>) -> Option<Result<Example, DataError>> {
        loop {
            if let Some((line, record, row)) = self.rows.pop_front() {
                context.record = record;
                return Some(example(row, self.offsets, line, context));
            }
            let (line, Distinct(record)) = match self.records.next(context)? {
                Ok(record) => record,
                Err(error) => return Some(Err(error)),
            };
            let rows = match &self.source {
                Source::Keys(keys) => row(&record, keys).map(|row| vec![row]),
                Source::LabelStudio(text) => exports::label_studio(
                    &record,
                    text.as_deref(),
                    &mut self.annotators,
                    line,
                    context,
                ),
                Source::Spacy => exports::spacy(&record, line, context),
                Source::Prodigy => exports::prodigy(&record, &mut self.annotators, line, context),
                Source::Doccano => exports::doccano(&record).map(|row| vec![row]),
            };
            match rows {
                Ok(rows) => {
                    self.rows.extend(rows.into_iter().map(|row| (line, context.record, row)));
                }
                Err(message) => return Some(Err(context.malformed(line, Problem::Json(message)))),
            }
        }
    }
}

fn example(
    row: Row,
    offsets: Offsets,
    line: usize,
    context: &mut Context<'_>,
) -> Result<Example, DataError> {
    let text = Text::new(&row.text);
    let mut passage = Passage::new(&text);
    let mut problems = Vec::new();
    for mention in row.mentions {
        let added = mention
            .map_err(|message| context.malformed(line, Problem::Json(message)))
            .and_then(|mention| {
                let span = mention
                    .span(&text, offsets)
                    .map_err(|problem| context.malformed(line, problem))?;
                let Some(entity_type) = context.entity_type(&mention.label, 1, line)? else {
                    return Ok(());
                };
                passage.add(span, entity_type, line, context)
            });
        problems.extend(added.err());
    }
    let entities = passage.into_entities();
    context.unless(problems, || Example::new(row.id, row.text.clone(), entities))
}

/// Reads a row with the user's keys, or spaCy's pair.
fn row(record: &Value, keys: &Jsonl) -> Result<Row, String> {
    if record.is_array() {
        return exports::spacy_pair(record);
    }
    let record = record.as_object().ok_or_else(|| format!("`{record}` is not an object"))?;
    let listed = record
        .get(&keys.entities)
        .and_then(Value::as_array)
        .ok_or_else(|| format!("the row has no list `{}`", keys.entities))?;
    Ok(Row {
        text: string(record, &keys.text)?,
        id: record.get(&keys.id).map_or_else(String::new, plain),
        mentions: listed.iter().flat_map(|value| mentions(value, keys)).collect(),
    })
}

pub(super) fn string(record: &Map<String, Value>, key: &str) -> Result<String, String> {
    let value = record.get(key).and_then(Value::as_str);
    value.map(str::to_owned).ok_or_else(|| format!("the row has no string `{key}`"))
}

/// The mentions of an entity: one for each of its labels.
pub(super) fn mentions(value: &Value, keys: &Jsonl) -> Vec<Result<Mention, String>> {
    let field = |key: &str, index: usize| match value {
        Value::Array(parts) if parts.len() >= 3 => parts.get(index),
        Value::Object(parts) => parts.get(key),
        _ => None,
    };
    let number = |key: &str, index| {
        field(key, index)
            .and_then(Value::as_i64)
            .ok_or_else(|| format!("entity `{value}` has no integer `{key}`"))
    };
    let labels = match (field(&keys.label, 2), value.get("labels")) {
        (Some(Value::String(label)), _) => vec![label.clone()],
        (Some(Value::Array(labels)), _) | (None, Some(Value::Array(labels)))
            if !labels.is_empty() =>
        {
            labels.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ => vec![],
    };
    if labels.is_empty() {
        return vec![Err(format!("entity `{value}` has no string `{}`", keys.label))];
    }
    let mention = |label: String| {
        let written = value.get(&keys.mention).and_then(Value::as_str).map(str::to_owned);
        Ok(Mention { start: number(&keys.start, 0)?, end: number(&keys.end, 1)?, label, written })
    };
    labels.into_iter().map(mention).collect()
}
