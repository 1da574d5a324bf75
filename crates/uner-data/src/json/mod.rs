//! JSON formats. Arrays are read element by element, JSON Lines line by line.

pub(crate) mod conversations;
pub(crate) mod gliner;
pub(crate) mod instructuie;
pub(crate) mod queries;
mod records;
pub(crate) mod spans;

use records::Records;

use crate::{
    DataError, Entity, Example, Note,
    align::align,
    read::{Context, entity},
};

/// A query with its answer, before verbalisation.
struct Asked {
    label: String,
    mentions: Vec<String>,
}

/// A passage with asked labels: every mention is placed in the text, and every label is a query, absent ones too.
fn asked_example(
    id: String,
    text: String,
    asked: Vec<Asked>,
    line: usize,
    context: &mut Context<'_>,
) -> Result<Example, DataError> {
    let mut example = Example { id, text, entities: Vec::new(), queries: Vec::new() };
    for Asked { label, mentions } in asked {
        let Some(entity_type) = context.entity_type(&label, mentions.len(), line)? else { continue };
        if example.queries.contains(&entity_type) {
            context.note(Note::RepeatedQuery, line);
        } else {
            example.queries.push(entity_type.clone());
        }
        let spans = align(&example.text, &mentions);
        for (mention, span) in mentions.into_iter().zip(spans) {
            if span.is_none() {
                context.note(Note::MentionNotInText, line);
            }
            example.entities.push(Entity { text: mention, entity_type: entity_type.clone(), span });
        }
    }
    Ok(example)
}

/// A JSON value as text: identifiers are strings in some files and numbers in others.
fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
