//! The browser of error examples. The examples are JSON for the script.
//!
//! Spans count characters, and the indices of a script count UTF-16 units; therefore the text is
//! cut into segments here.

use serde::Serialize;
use uner_data::{Entity, Span};

use crate::errors::{ErrorExample, ErrorKind, Errors};
use crate::page::markup::{count, json, shown};

/// Characters of a text from which on its middle is left out.
const LONGEST: usize = 400;

/// A piece of a text: who marks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Marked {
    Neither,
    Gold,
    Predicted,
    Both,
}

/// An error for the script.
#[derive(Serialize)]
struct Shown {
    kind: ErrorKind,
    id: String,
    text: Vec<(String, Marked)>,
    gold: Option<Mention>,
    predicted: Option<Mention>,
    probability: Option<f64>,
}

#[derive(Serialize)]
struct Mention {
    text: String,
    #[serde(rename = "type")]
    entity_type: String,
    in_text: bool,
}

impl Mention {
    fn new(entity: &Entity) -> Self {
        Self {
            text: shown(&shortened(&entity.text)),
            entity_type: shown(&entity.entity_type),
            in_text: entity.span.is_some(),
        }
    }
}

/// The number of errors of each kind, and the place where the script lists examples.
pub(super) fn browser(index: usize, errors: &Errors) -> String {
    if errors.examples.is_empty() {
        return String::new();
    }
    let kinds = errors.counts.iter().map(|(kind, number)| {
        let sampled = errors.examples.iter().filter(|example| example.kind == *kind).count();
        let sample = if sampled < *number {
            format!(" <small>(sample of {sampled})</small>")
        } else {
            String::new()
        };
        format!("<li><b>{}</b> {}{sample}</li>", count(*number), name(*kind))
    });
    let examples: Vec<Shown> = errors.examples.iter().map(example).collect();
    format!(
        "<h3>Errors by kind, and examples drawn at random with a fixed seed</h3>\n<ul \
         class=\"kinds\">{}</ul>\n<div class=\"errors\" data-examples=\"errors-{index}\"><noscript>\
         <p>The examples need scripts.</p></noscript></div>\n\
         <script type=\"application/json\" id=\"errors-{index}\">{}</script>\n",
        kinds.collect::<String>(),
        json(&examples)
    )
}

fn name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Missed => "missed",
        ErrorKind::Spurious => "spurious",
        ErrorKind::Boundary => "wrong boundary",
        ErrorKind::Type => "wrong type",
    }
}

fn example(error: &ErrorExample) -> Shown {
    let span = |entity: &Option<Entity>| entity.as_ref().and_then(|entity| entity.span);
    let segments = segments(&error.text, span(&error.gold), span(&error.predicted));
    Shown {
        kind: error.kind,
        id: shown(&shortened(&error.id)),
        text: segments
            .into_iter()
            .map(|(text, marked)| (shown(&shortened(&text)), marked))
            .collect(),
        gold: error.gold.as_ref().map(Mention::new),
        predicted: error.predicted.as_ref().map(Mention::new),
        probability: error.probability,
    }
}

/// The text without its middle if it is long: an answer may be of any length.
pub(super) fn shortened(text: &str) -> String {
    let count = text.chars().count();
    if count <= LONGEST {
        return text.to_owned();
    }
    let half = LONGEST / 2;
    let start: String = text.chars().take(half).collect();
    let end: String = text.chars().skip(count - half).collect();
    format!("{start} […] {end}")
}

/// Cuts a text at the ends of both spans (ranges of characters).
pub(super) fn segments(
    text: &str,
    gold: Option<Span>,
    predicted: Option<Span>,
) -> Vec<(String, Marked)> {
    let covers = |span: Option<Span>, index: usize| {
        span.is_some_and(|span| (span.start..span.end).contains(&index))
    };
    let mut segments: Vec<(String, Marked)> = Vec::new();
    for (index, character) in text.chars().enumerate() {
        let marked = match (covers(gold, index), covers(predicted, index)) {
            (false, false) => Marked::Neither,
            (true, false) => Marked::Gold,
            (false, true) => Marked::Predicted,
            (true, true) => Marked::Both,
        };
        match segments.last_mut() {
            Some((text, last)) if *last == marked => text.push(character),
            _ => segments.push((character.to_string(), marked)),
        }
    }
    segments
}
