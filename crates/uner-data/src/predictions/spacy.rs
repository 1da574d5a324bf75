//! Rows as of spaCy's `Doc.to_json`, without tokens: those depend on the user's language.
//!
//! ```python
//! import json, spacy
//! from spacy.tokens import DocBin
//! nlp, docs = spacy.blank("en"), DocBin()
//! for row in map(json.loads, open("predictions.jsonl", encoding="utf-8")):
//!     doc = nlp.make_doc(row["text"])
//!     span = lambda e: doc.char_span(e["start"], e["end"], e["label"], alignment_mode="expand")
//!     doc.ents = spacy.util.filter_spans(map(span, row["ents"]))
//!     doc.spans["sc"] = [*doc.ents, *map(span, row.get("spans", {}).get("sc", []))]
//!     docs.add(doc)
//! docs.to_disk("predictions.spacy")
//! ```

use serde::Serialize;

use super::{PredictedEntity, Prediction, disjoint::disjoint, json};

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    text: &'a str,
    ents: Vec<Span<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spans: Option<Groups<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

/// The groups of overlapping spans; `sc` is the one that spaCy's span categorizer reads.
#[derive(Serialize)]
struct Groups<'a> {
    sc: Vec<Span<'a>>,
}

#[derive(Serialize)]
struct Span<'a> {
    start: usize,
    end: usize,
    label: &'a str,
}

pub(crate) fn record(prediction: &Prediction) -> String {
    let selected = disjoint(&prediction.entities);
    let spans = |of_ents: bool| {
        let entities = prediction.entities.iter().zip(&selected);
        let found = entities.filter(|(_, is_selected)| **is_selected == of_ents);
        found.map(|(entity, _)| span(entity)).collect::<Vec<Span<'_>>>()
    };
    let overlapping = spans(false);
    json(&Row {
        id: &prediction.id,
        text: &prediction.text,
        ents: spans(true),
        spans: (!overlapping.is_empty()).then_some(Groups { sc: overlapping }),
        problem: prediction.problem.as_deref(),
    })
}

fn span(entity: &PredictedEntity) -> Span<'_> {
    Span { start: entity.span.start, end: entity.span.end, label: &entity.entity_type }
}
