//! An example with spans and provenance, as a line of JSON.

use serde::Serialize;
use uner_data::{Entity, Span};

use crate::error::DistillError;

use super::Annotated;

/// A line, with the keys that the `jsonl` reader expects by default.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    text: &'a str,
    entities: Vec<Row<'a>>,
    subset: &'a str,
    document: &'a str,
    /// The passage's characters in the document.
    span: Span,
    model: &'a str,
    prompt: &'a str,
    time: u64,
    answer: &'a str,
    finish_reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Row<'a> {
    start: usize,
    end: usize,
    label: &'a str,
    text: &'a str,
}

impl<'a> Row<'a> {
    /// Every kept entity has a span.
    fn of(entity: &'a Entity) -> Option<Self> {
        let Span { start, end } = entity.span?;
        Some(Self { start, end, label: &entity.entity_type, text: &entity.text })
    }
}

pub(super) fn line(annotated: &Annotated) -> Result<String, DistillError> {
    let Annotated { passage, record, example } = annotated;
    let line = Line {
        id: &example.id,
        text: &example.text,
        entities: example.entities.iter().filter_map(Row::of).collect(),
        subset: &passage.subset,
        document: &passage.document,
        span: passage.span,
        model: &record.model,
        prompt: record.prompt.name(),
        time: record.time,
        answer: &record.answer,
        finish_reason: record.finish_reason.as_deref(),
    };
    let json = serde_json::to_string(&line).map_err(std::io::Error::from)?;
    Ok(json + "\n")
}
