//! Reads GLiNER's files: tokens, and entities as `[first, last, label]` with `last` inclusive. The
//! queries are the types that occur, then those listed in `ner_labels` (all types) and in
//! `ner_negatives` (absent types).

use serde::Deserialize;
use serde_json::Value;

use super::{Records, add_query, plain};
use crate::{
    DataError, Example, Problem, Span,
    format::Gliner,
    lines::Input,
    passage::Passage,
    reader::{Context, Reader, join},
    text::Text,
};

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    id: Option<Value>,
    tokenized_text: Vec<String>,
    ner: Vec<(i64, i64, String)>,
    #[serde(default, alias = "negative")]
    ner_negatives: Option<Vec<String>>,
    #[serde(default, alias = "label")]
    ner_labels: Option<Vec<String>>,
}

pub(crate) struct GlinerReader {
    records: Records,
}

impl GlinerReader {
    pub(crate) fn new(format: &Gliner, input: Input) -> Self {
        Self { records: Records::new(format.container, input) }
    }
}

impl Reader for GlinerReader {
    fn next(&mut self, context: &mut Context<'_>) -> Option<Result<Example, DataError>> {
        let item = self.records.next(context)?;
        Some(item.and_then(|(line, item)| example(&item, line, context)))
    }
}

fn example(item: &Item, line: usize, context: &mut Context<'_>) -> Result<Example, DataError> {
    let id = item.id.as_ref().map_or_else(String::new, plain);
    let (text, tokens) = join(item.tokenized_text.iter().map(String::as_str));
    let whole = Text::new(&text);
    let mut passage = Passage::new(&whole);
    let mut problems = Vec::new();
    for (first, last, label) in &item.ner {
        let token = |index: i64| usize::try_from(index).ok().and_then(|index| tokens.get(index));
        let (Some(first), Some(last), true) = (token(*first), token(*last), first <= last) else {
            let message = format!(
                "entity `[{first}, {last}, \"{label}\"]` is not a range of the {} tokens",
                tokens.len()
            );
            problems.push(context.malformed(line, Problem::Json(message)));
            continue;
        };
        let span = Span { start: first.start, end: last.end };
        let added = context.entity_type(label, 1, line).and_then(|entity_type| {
            entity_type.map_or(Ok(()), |entity_type| passage.add(span, entity_type, line, context))
        });
        problems.extend(added.err());
    }
    let mut example = Example::new(id, String::new(), passage.into_entities());
    for label in item.ner_labels.iter().flatten() {
        let Some(entity_type) = context.entity_type(label, 0, line)? else { continue };
        if !example.queries.contains(&entity_type) {
            example.queries.push(entity_type);
        }
    }
    for label in item.ner_negatives.iter().flatten() {
        let Some(entity_type) = context.entity_type(label, 0, line)? else { continue };
        add_query(&mut example.queries, entity_type, line, context);
    }
    example.text = text;
    context.unless(problems, || example)
}
