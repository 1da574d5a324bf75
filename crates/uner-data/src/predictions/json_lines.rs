//! uner's own rows: everything that a prediction has.

use serde::Serialize;

use super::{Prediction, json};

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    text: &'a str,
    entities: Vec<Entity<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

#[derive(Serialize)]
struct Entity<'a> {
    r#type: &'a str,
    text: &'a str,
    start: usize,
    end: usize,
    start_byte: usize,
    end_byte: usize,
    probability: Option<f64>,
}

pub(super) fn record(prediction: &Prediction) -> String {
    let entities = prediction.entities.iter().map(|entity| Entity {
        r#type: &entity.entity_type,
        text: &entity.text,
        start: entity.span.start,
        end: entity.span.end,
        start_byte: entity.bytes.start,
        end_byte: entity.bytes.end,
        probability: entity.probability,
    });
    json(&Row {
        id: &prediction.id,
        text: &prediction.text,
        entities: entities.collect(),
        problem: prediction.problem.as_deref(),
    })
}
