//! GLiNER's files: tokens, and entities as `[first, last, label]` with `last` inclusive.

use serde::Deserialize;

use super::{Records, entity};
use crate::{
    DataError, Example, Problem, Span,
    format::Container,
    lines::Input,
    read::{Context, Reader, join},
};

#[derive(Deserialize)]
struct Item {
    tokenized_text: Vec<String>,
    ner: Vec<(i64, i64, String)>,
}

pub(crate) struct GlinerReader {
    records: Records,
}

impl GlinerReader {
    pub(crate) fn new(input: Input) -> Self {
        Self { records: Records::new(Container::Array, input) }
    }
}

impl Reader for GlinerReader {
    fn next(&mut self, context: &mut Context<'_>) -> Option<Result<Example, DataError>> {
        let item = self.records.next(context)?;
        Some(item.and_then(|(line, item)| example(&item, line, context)))
    }
}

fn example(item: &Item, line: usize, context: &mut Context<'_>) -> Result<Example, DataError> {
    let (text, tokens) = join(item.tokenized_text.iter().map(String::as_str));
    let mut entities = Vec::with_capacity(item.ner.len());
    for (first, last, label) in &item.ner {
        let token = |index: i64| usize::try_from(index).ok().and_then(|index| tokens.get(index));
        let span = match (token(*first), token(*last)) {
            (Some(first), Some(last)) if first.start < last.end => Span { start: first.start, end: last.end },
            _ => {
                let message = format!(
                    "entity [{first}, {last}, \"{label}\"] is not a range of the {} tokens",
                    tokens.len()
                );
                return Err(context.malformed(line, Problem::Json(message)));
            }
        };
        if let Some(entity_type) = context.entity_type(label, 1, line)? {
            entities.push(entity(&text, span, entity_type));
        }
    }
    Ok(Example::new(String::new(), text, entities))
}
