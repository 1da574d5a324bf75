//! InstructUIE's files. Their `pos` is not always the place of `name` (some published files have placeholders
//! there), so it is checked, and the mention is looked for in the text where it is wrong.

use serde::Deserialize;

use super::{Records, align, entity};
use crate::{
    DataError, Entity, Example, Note, Span,
    format::Container,
    lines::Input,
    read::{Context, Reader},
};

#[derive(Deserialize)]
struct Item {
    sentence: String,
    entities: Vec<Mention>,
}

#[derive(Deserialize)]
struct Mention {
    name: String,
    #[serde(rename = "type")]
    label: String,
    #[serde(default)]
    pos: Vec<i64>,
}

pub(crate) struct InstructuieReader {
    records: Records,
}

impl InstructuieReader {
    pub(crate) fn new(input: Input) -> Self {
        Self { records: Records::new(Container::Array, input) }
    }
}

impl Reader for InstructuieReader {
    fn next(&mut self, context: &mut Context<'_>) -> Option<Result<Example, DataError>> {
        let item = self.records.next(context)?;
        Some(item.and_then(|(line, item)| example(item, line, context)))
    }
}

fn example(item: Item, line: usize, context: &mut Context<'_>) -> Result<Example, DataError> {
    let names: Vec<String> = item.entities.iter().map(|mention| mention.name.clone()).collect();
    let found = align(&item.sentence, &names);
    let mut entities = Vec::with_capacity(names.len());
    for (mention, found) in item.entities.into_iter().zip(found) {
        let Some(entity_type) = context.entity_type(&mention.label, 1, line)? else { continue };
        if let Some(span) = stated(&mention, &item.sentence) {
            entities.push(entity(&item.sentence, span, entity_type));
            continue;
        }
        context.note(if found.is_some() { Note::WrongPosition } else { Note::MentionNotInText }, line);
        entities.push(Entity { text: mention.name, entity_type, span: found });
    }
    Ok(Example::new(String::new(), item.sentence, entities))
}

/// The stated position, where it is the place of the mention.
fn stated(mention: &Mention, text: &str) -> Option<Span> {
    let [start, end] = mention.pos[..] else { return None };
    let span = Span { start: usize::try_from(start).ok()?, end: usize::try_from(end).ok()? };
    (span.slice(text) == Some(&mention.name)).then_some(span)
}
