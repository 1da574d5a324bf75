//! `POST /v1/ner`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use uner_infer::{JobInput, Outcome, Problem};
use utoipa::ToSchema;

use super::body;
use super::error::{ApiError, ErrorBody, json};
use super::models::find;
use crate::config::Limits;
use crate::log::RequestSummary;
use crate::queue::Pending;
use crate::shared::Shared;

/// A request for the entities of texts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NerRequest {
    /// The text, or a list of texts. Each may be of any length that the body has room for.
    text: Texts,
    /// The types of entities to find. A repeated one is asked once.
    types: Vec<EntityType>,
    /// Entities with a lower probability are left out. From 0 to 1.
    #[serde(default)]
    threshold: f64,
    /// The name of a model; the server's first if there is none.
    model: Option<String>,
}

/// A text or a list of texts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a string or a list of strings")]
enum Texts {
    One(String),
    Many(Vec<String>),
}

/// A type of entities in plain words: its name, or its name with a definition.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a string, or an object with `name` and `definition`")]
enum EntityType {
    Name(String),
    Defined(Defined),
}

/// A type with a definition. The model is asked for `name (definition)`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Defined {
    name: String,
    definition: Option<String>,
}

/// The entities of texts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NerResponse<'a> {
    /// The name of the model.
    model: &'a str,
    /// A result for each text, in their order.
    results: Vec<NerResult>,
}

/// The entities of a text.
#[derive(Debug, Serialize, ToSchema)]
struct NerResult {
    /// Sorted by position. They may nest and overlap.
    entities: Vec<NerEntity>,
    /// Why entities may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// An entity.
#[derive(Debug, Serialize, ToSchema)]
struct NerEntity {
    /// The name of its type.
    r#type: String,
    /// The mention as it is in the text.
    text: String,
    /// Its first character, counted in Unicode code points from 0.
    start: usize,
    /// The character after its last.
    end: usize,
    /// Its first byte in UTF-8, from 0.
    start_byte: usize,
    /// The byte after its last.
    end_byte: usize,
    /// Its probability. Null if answers are not grounded.
    probability: Option<f64>,
}

/// The entities of some types in a text or in several.
#[utoipa::path(post, path = "/v1/ner", request_body = NerRequest, responses(
    (status = 200, description = "The entities of each text", body = NerResponse),
    (status = 400, description = "The request has a wrong value", body = ErrorBody),
    (status = 401, description = "The API key is missing or wrong", body = ErrorBody),
    (status = 404, description = "No model has this name", body = ErrorBody),
    (status = 408, description = "The body came too slowly", body = ErrorBody),
    (status = 413, description = "The body is too large", body = ErrorBody),
    (status = 415, description = "The body is not said to be JSON", body = ErrorBody),
    (status = 429, description = "The queue is full: try again after `Retry-After` seconds",
     body = ErrorBody),
    (status = 503, description = "The server is loading or stopping", body = ErrorBody),
    (status = 504, description = "The answer took too long", body = ErrorBody)),
    security((), ("key" = [])))]
pub(crate) async fn ner(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let limits = &shared.config.limits;
    let deadline = Instant::now() + limits.time;
    let request: NerRequest = body::read(request, limits, deadline).await?;
    let NerRequest { text, types, threshold, model } = request;
    let model = find(&shared, model.as_deref())?;
    let names = asked_types(types, limits)?;
    if !(0.0..=1.0).contains(&threshold) {
        let message = format!("`threshold` is {threshold}; it is a probability, from 0 to 1");
        return Err(ApiError::invalid("threshold", message));
    }
    let texts = match text {
        Texts::One(text) => vec![text],
        Texts::Many(texts) => texts,
    };
    let summary = RequestSummary {
        model: model.name.clone(),
        texts: texts.len(),
        characters: texts.iter().map(|text| text.chars().count()).sum(),
        types: names.len(),
        contents: shared.config.logs_texts.then(|| texts.clone()),
    };
    let types: Vec<String> = names.keys().cloned().collect();
    let document = |text| uner_infer::Request { id: String::new(), text, types: types.clone() };
    let inputs: Vec<JobInput> =
        texts.into_iter().map(|text| JobInput::Document(document(text))).collect();
    let count = inputs.len();
    let pending = model.queue.push(inputs).map_err(|full| ApiError::full(full, count))?;
    let pending = pending.ok_or_else(|| ApiError::unavailable(true))?;
    let results = timeout_at(deadline, results(pending, count, &names, threshold)).await;
    let results = results.map_err(|_| ApiError::late(limits.time))??;
    let mut response = json(&NerResponse { model: &model.name, results });
    response.extensions_mut().insert(summary);
    Ok(response)
}

/// The types as the model is asked for them, with their names.
fn asked_types(
    types: Vec<EntityType>,
    limits: &Limits,
) -> Result<IndexMap<String, String>, ApiError> {
    if types.is_empty() {
        return Err(ApiError::invalid("types", "name the entity types to find, such as `person`"));
    }
    if types.len() > limits.types {
        let message = format!(
            "{} types; a request has at most {}: send several requests",
            types.len(),
            limits.types
        );
        return Err(ApiError::invalid("types", message));
    }
    let asked = types.into_iter().enumerate().map(|(index, entity_type)| {
        let (name, definition) = match entity_type {
            EntityType::Name(name) => (name, None),
            EntityType::Defined(Defined { name, definition }) => (name, definition),
        };
        let (trimmed, definition) = (name.trim(), definition.as_deref().unwrap_or("").trim());
        if trimmed.is_empty() {
            let message = "the entity type is empty; name it in plain words, such as `person`";
            return Err(ApiError::invalid(format!("types[{index}]"), message));
        }
        let asked = match definition {
            "" => trimmed.to_owned(),
            definition => format!("{trimmed} ({definition})"),
        };
        Ok((asked, name))
    });
    asked.collect()
}

/// The results of all texts. An error if none could be asked about.
async fn results(
    mut pending: Pending,
    count: usize,
    names: &IndexMap<String, String>,
    threshold: f64,
) -> Result<Vec<NerResult>, ApiError> {
    let mut results = Vec::with_capacity(count);
    let mut unanswered = Vec::new();
    for _ in 0..count {
        let Some(Outcome::Document(prediction, problem)) = pending.next().await else {
            return Err(ApiError::internal());
        };
        let is_probable = |probability: Option<f64>| probability.is_none_or(|p| p >= threshold);
        let entities =
            prediction.entities.into_iter().filter(|found| is_probable(found.probability));
        let entities = entities.map(|found| NerEntity {
            r#type: names.get(&found.entity_type).cloned().unwrap_or(found.entity_type),
            text: found.text,
            start: found.span.start,
            end: found.span.end,
            start_byte: found.bytes.start,
            end_byte: found.bytes.end,
            // More digits are noise.
            probability: found.probability.map(|p| (p * 1e4).round() / 1e4),
        });
        if let Some(Problem::Unanswered(problem)) = &problem {
            unanswered.push(problem.clone());
        }
        let problem = problem.map(Problem::into_message);
        results.push(NerResult { entities: entities.collect(), problem });
    }
    match unanswered.first() {
        Some(problem) if unanswered.len() == count => {
            Err(ApiError::invalid("text", problem.clone()))
        }
        _ => Ok(results),
    }
}
