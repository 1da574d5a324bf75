//! Reads texts with spans: rows with keys that the user names, and exports of annotation tools.

use std::{collections::VecDeque, path::Path};

use serde_json::{Map, Value};

use super::{
    Records, add_query, annotators::Annotators, distinct::Distinct, exports, plain, spacy,
};
use crate::{
    DataError, Example, Problem, Span,
    format::{Jsonl, LabelStudio, Offsets},
    lines::{self, Input},
    passage::Passage,
    reader::{Context, Reader},
    text::{Text, is_blank},
};

/// The origin of a file, which decides the layout of its records.
pub(crate) enum Source {
    Keys(Jsonl),
    LabelStudio(LabelStudio),
    /// With the groups of spans that are entities.
    Spacy(Vec<String>),
    Prodigy,
    Doccano,
}

/// One annotated text of a record.
#[derive(Default)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) text: String,
    /// The labels that are asked of the text, if the record lists them.
    pub(super) queries: Option<Vec<String>>,
    /// Its mentions. A malformed one is an error and does not affect the others.
    pub(super) mentions: Vec<Result<Mention, String>>,
}

/// A mention of a record.
pub(super) struct Mention {
    pub(super) position: Position,
    pub(super) label: String,
}

/// The position of a mention.
pub(super) enum Position {
    /// Half-open offsets, beside the mention as written if the record has it.
    Offsets { start: i64, end: i64, written: Option<Written> },
    /// Only the mention as written.
    Mention(String),
}

/// A mention as a tool writes it.
pub(super) enum Written {
    Exactly(String),
    /// Line breaks may be written as a backslash and an `n`, as in Label Studio.
    BreaksEscaped(String),
}

impl Written {
    fn is(&self, found: &str) -> bool {
        let same = |written: &str, found: &str| {
            found.trim_matches(is_blank) == written.trim_matches(is_blank)
        };
        match self {
            Self::Exactly(written) => same(written, found),
            Self::BreaksEscaped(written) => {
                same(written, found) || same(written, &found.replace('\n', "\\n"))
            }
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Exactly(written) | Self::BreaksEscaped(written) => written,
        }
    }
}

/// The span at stated offsets. It is an error if they are outside the text, or do not give the
/// mention as written (white space at its ends is ignored).
fn span(
    (start, end): (i64, i64),
    written: Option<&Written>,
    label: &str,
    text: &Text<'_>,
    offsets: Offsets,
) -> Result<Span, Problem> {
    let is_stated = |span: Span| written.is_none_or(|written| written.is(text.slice(span)));
    let found = text.span(start, end, offsets);
    if let Some(span) = found.filter(|span| is_stated(*span)) {
        return Ok(span);
    }
    let would_fit = |unit: &Offsets| text.span(start, end, *unit).is_some_and(is_stated);
    let fits = written.and_then(|_| Offsets::ALL.into_iter().find(would_fit));
    if let (Some(span), Some(stated)) = (found, written) {
        let (found, stated) = (text.slice(span).to_owned(), stated.text().to_owned());
        return Err(Problem::SpanText { start, end, found, stated, fits });
    }
    let (label, length) = (label.to_owned(), text.length(offsets));
    Err(Problem::SpanOutside { start, end, label, length, offsets, fits })
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
                Source::LabelStudio(keys) => {
                    exports::label_studio(&record, keys, &mut self.annotators, line, context)
                }
                Source::Spacy(groups) => spacy::rows(&record, groups, line, context),
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
            .and_then(|mention| add(&mention, &text, offsets, &mut passage, line, context));
        problems.extend(added.err());
    }
    let mut example = Example::new(row.id, row.text.clone(), passage.into_entities());
    if let Some(listed) = row.queries {
        example.queries = queries(&listed, &example.queries, line, context)?;
    }
    context.unless(problems, || example)
}

/// Adds a mention to the entities of its text.
fn add(
    mention: &Mention,
    text: &Text<'_>,
    offsets: Offsets,
    passage: &mut Passage<'_>,
    line: usize,
    context: &mut Context<'_>,
) -> Result<(), DataError> {
    let entity_type = |context: &mut Context<'_>| context.entity_type(&mention.label, 1, line);
    match &mention.position {
        Position::Offsets { start, end, written } => {
            let found = span((*start, *end), written.as_ref(), &mention.label, text, offsets);
            let span = found.map_err(|problem| context.malformed(line, problem))?;
            let Some(entity_type) = entity_type(context)? else { return Ok(()) };
            passage.add(span, entity_type, line, context)
        }
        Position::Mention(written) => {
            let Some(entity_type) = entity_type(context)? else { return Ok(()) };
            passage.add_answer(std::slice::from_ref(written), &entity_type, line, context);
            Ok(())
        }
    }
}

/// The types of the listed labels, and after them those of `types` that the list lacks.
fn queries(
    listed: &[String],
    types: &[String],
    line: usize,
    context: &mut Context<'_>,
) -> Result<Vec<String>, DataError> {
    let mut queries = Vec::with_capacity(listed.len());
    for label in listed {
        let Some(entity_type) = context.entity_type(label, 0, line)? else { continue };
        add_query(&mut queries, entity_type, line, context);
    }
    let missing: Vec<String> =
        types.iter().filter(|entity_type| !queries.contains(entity_type)).cloned().collect();
    queries.extend(missing);
    Ok(queries)
}

/// Reads a row with the user's keys, or spaCy's pair.
fn row(record: &Value, keys: &Jsonl) -> Result<Row, String> {
    if record.is_array() {
        return spacy::pair(record);
    }
    let record = record.as_object().ok_or_else(|| format!("`{record}` is not an object"))?;
    let listed = record
        .get(&keys.entities)
        .and_then(Value::as_array)
        .ok_or_else(|| format!("the row has no list `{}`", keys.entities))?;
    let queries = match keys.queries.as_ref().map(|key| (key, record.get(key))) {
        None | Some((_, None | Some(Value::Null))) => None,
        Some((key, Some(listed))) => Some(
            serde_json::from_value(listed.clone())
                .map_err(|_| format!("`{key}` is not a list of strings: `{listed}`"))?,
        ),
    };
    Ok(Row {
        text: string(record, &keys.text)?,
        id: record.get(&keys.id).map_or_else(String::new, plain),
        queries,
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
    let written = value.get(&keys.mention).and_then(Value::as_str);
    let is_null = |key: &str| value.get(key).is_some_and(Value::is_null);
    let mention = |label: String| {
        let position = match written {
            Some(written) if is_null(&keys.start) && is_null(&keys.end) => {
                Position::Mention(written.to_owned())
            }
            _ => Position::Offsets {
                start: number(&keys.start, 0)?,
                end: number(&keys.end, 1)?,
                written: written.map(|written| Written::Exactly(written.to_owned())),
            },
        };
        Ok(Mention { position, label })
    };
    labels.into_iter().map(mention).collect()
}
