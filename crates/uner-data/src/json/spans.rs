//! JSON Lines of a text and its spans, under keys of the user's own.

use serde_json::{Map, Value};

use super::{Records, entity, plain};
use crate::{
    DataError, Entity, Example, Problem, Span,
    format::{Container, Jsonl},
    lines::Input,
    read::{Context, Reader},
};

pub(crate) struct SpanReader {
    keys: Jsonl,
    records: Records,
}

impl SpanReader {
    pub(crate) fn new(keys: Jsonl, input: Input) -> Self {
        Self { keys, records: Records::new(Container::Lines, input) }
    }
}

impl Reader for SpanReader {
    fn next(&mut self, context: &mut Context<'_>) -> Option<Result<Example, DataError>> {
        let row: Result<(usize, Map<String, Value>), DataError> = self.records.next(context)?;
        Some(row.and_then(|(line, row)| example(&row, &self.keys, line, context)))
    }
}

fn example(
    row: &Map<String, Value>,
    keys: &Jsonl,
    line: usize,
    context: &mut Context<'_>,
) -> Result<Example, DataError> {
    let (text, listed) =
        fields(row, keys).map_err(|message| context.malformed(line, Problem::Json(message)))?;
    let mut entities: Vec<Entity> = Vec::with_capacity(listed.len());
    for value in listed {
        let placed = Mention::parse(value, keys)
            .map_err(Problem::Json)
            .and_then(|mention| mention.span(text).map(|span| (mention, span)));
        let (mention, span) = placed.map_err(|problem| context.malformed(line, problem))?;
        if let Some(entity_type) = context.entity_type(mention.label, 1, line)? {
            entities.push(entity(text, span, entity_type));
        }
    }
    let id = row.get(&keys.id).map_or_else(String::new, plain);
    Ok(Example::new(id, text.to_owned(), entities))
}

/// The passage and the list of its entities.
fn fields<'a>(row: &'a Map<String, Value>, keys: &Jsonl) -> Result<(&'a str, &'a [Value]), String> {
    let text = row
        .get(&keys.text)
        .and_then(Value::as_str)
        .ok_or_else(|| format!("the row has no string `{}`", keys.text))?;
    let listed = row
        .get(&keys.entities)
        .and_then(Value::as_array)
        .ok_or_else(|| format!("the row has no list `{}`", keys.entities))?;
    Ok((text, listed))
}

struct Mention<'a> {
    start: i64,
    end: i64,
    label: &'a str,
    written: Option<&'a str>,
}

impl<'a> Mention<'a> {
    fn parse(value: &'a Value, keys: &Jsonl) -> Result<Self, String> {
        let field = |key: &str, index: usize| match value {
            Value::Array(parts) if parts.len() == 3 => parts.get(index),
            Value::Object(parts) => parts.get(key),
            _ => None,
        };
        let number = |key: &str, index| {
            field(key, index)
                .and_then(Value::as_i64)
                .ok_or_else(|| format!("entity `{value}` has no integer `{key}`"))
        };
        let label = field(&keys.label, 2)
            .and_then(Value::as_str)
            .ok_or_else(|| format!("entity `{value}` has no string `{}`", keys.label))?;
        let written = value.get(&keys.mention).and_then(Value::as_str);
        Ok(Self { start: number(&keys.start, 0)?, end: number(&keys.end, 1)?, label, written })
    }

    /// The span, which must be inside the text, not empty, and the mention as written where that is stated.
    fn span(&self, text: &str) -> Result<Span, Problem> {
        let outside = || Problem::SpanOutside {
            start: self.start,
            end: self.end,
            label: self.label.to_owned(),
            length: text.chars().count(),
        };
        let (Ok(start), Ok(end)) = (usize::try_from(self.start), usize::try_from(self.end)) else {
            return Err(outside());
        };
        let span = Span { start, end };
        let found = span.slice(text).filter(|found| !found.is_empty()).ok_or_else(outside)?;
        match self.written {
            Some(written) if written != found => {
                Err(Problem::SpanText { start, end, found: found.to_owned(), stated: written.to_owned() })
            }
            _ => Ok(span),
        }
    }
}
