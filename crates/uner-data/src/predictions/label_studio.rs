//! Label Studio's tasks with pre-annotations
//! (<https://labelstud.io/guide/predictions>), for a labelling interface with
//! `<Labels name="label" toName="text">` and `<Text name="text" value="$text"/>`.

use serde_json::{Map, Value, json};

use super::{PredictedEntity, Prediction};

/// The task of a document, with its entities as predictions. The id is in its `data`: Label Studio
/// numbers tasks itself.
pub(super) fn record(prediction: &Prediction) -> String {
    let mut predicted = Map::new();
    predicted.insert("model_version".to_owned(), json!("uner"));
    // The tool sorts tasks by this score; the least certain entity decides how much one needs a
    // look.
    let probabilities = prediction.entities.iter().filter_map(|entity| entity.probability);
    if let Some(score) = probabilities.min_by(f64::total_cmp) {
        predicted.insert("score".to_owned(), json!(score));
    }
    predicted.insert("result".to_owned(), regions(prediction));
    let mut task = task(prediction);
    task["predictions"] = json!([predicted]);
    if let Some(problem) = &prediction.problem {
        task["meta"] = json!({"problem": problem});
    }
    task.to_string()
}

/// The task of a document, with its entities as an annotation.
pub(crate) fn annotated(prediction: &Prediction) -> String {
    let mut task = task(prediction);
    task["annotations"] = json!([{"result": regions(prediction)}]);
    task.to_string()
}

fn task(prediction: &Prediction) -> Value {
    json!({"data": {"id": prediction.id, "text": prediction.text}})
}

fn regions(prediction: &Prediction) -> Value {
    prediction.entities.iter().zip(1..).map(region).collect()
}

fn region((entity, number): (&PredictedEntity, usize)) -> Value {
    let mut region = json!({
        "id": format!("e{number}"),
        "from_name": "label",
        "to_name": "text",
        "type": "labels",
        "value": {
            "start": entity.span.start,
            "end": entity.span.end,
            "text": entity.text,
            "labels": [entity.entity_type],
        },
    });
    if let Some(probability) = entity.probability {
        region["score"] = json!(probability);
    }
    region
}
