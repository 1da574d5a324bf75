//! Readers of JSON formats. Arrays are read element by element, JSON Lines line by line.

mod annotators;
pub(crate) mod conversations;
pub(crate) mod distinct;
mod exports;
pub(crate) mod file;
pub(crate) mod gliner;
pub(crate) mod instructuie;
pub(crate) mod python;
pub(crate) mod queries;
mod records;
mod spacy;
pub(crate) mod spans;
pub(crate) mod token_classification;

use records::Records;

use crate::{DataError, Example, Note, passage::Passage, reader::Context, text::Text};

/// A query with its answer, before verbalisation.
struct AnsweredQuery {
    label: String,
    mentions: Vec<String>,
}

/// Builds an example from a passage and its queries. Every mention is located in the text, and
/// every label becomes a query, even without mentions.
fn example_from_queries(
    id: String,
    text: String,
    answered: Vec<AnsweredQuery>,
    line: usize,
    context: &mut Context<'_>,
) -> Result<Example, DataError> {
    let whole = Text::new(&text);
    let mut passage = Passage::new(&whole);
    let mut queries: Vec<String> = Vec::new();
    for AnsweredQuery { label, mentions } in answered {
        let Some(entity_type) = context.entity_type(&label, mentions.len(), line)? else {
            continue;
        };
        passage.add_answer(&mentions, &entity_type, line, context);
        add_query(&mut queries, entity_type, line, context);
    }
    let entities = passage.into_entities();
    Ok(Example { id, text, entities, queries })
}

/// Appends a type to the queries, or counts it if it is already there.
fn add_query(
    queries: &mut Vec<String>,
    entity_type: String,
    line: usize,
    context: &mut Context<'_>,
) {
    if queries.contains(&entity_type) {
        context.note(Note::RepeatedQuery, line);
    } else {
        queries.push(entity_type);
    }
}

/// A JSON value as text: identifiers are strings in some files and numbers in others.
fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
