//! `GET /v1/models`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, json, start};
use crate::shared::Shared;
use crate::worker::Model;

/// The models of a server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelList<'a> {
    /// Always `list`.
    object: &'static str,
    /// The models, the default first.
    data: Vec<ModelInfo<'a>>,
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelInfo<'a> {
    /// The name that requests choose it by.
    id: &'a str,
    /// Always `model`.
    object: &'static str,
    /// Seconds since 1970 at which it was loaded.
    created: u64,
    /// Always `uner`.
    owned_by: &'static str,
    /// The types that it was trained on, from frequent to rare; empty if unknown.
    entity_types: &'a [String],
}

/// The models that requests can choose.
#[utoipa::path(get, path = "/v1/models", responses(
    (status = 200, description = "The models, the default first", body = ModelList)),
    security((), ("key" = [])))]
pub(crate) async fn list(State(shared): State<Arc<Shared>>) -> Result<Response, ApiError> {
    let data = loaded(&shared)?.iter().map(info).collect();
    Ok(json(&ModelList { object: "list", data }))
}

/// One model.
#[utoipa::path(get, path = "/v1/models/{id}", params(("id" = String, Path, description = "Its name")),
    responses((status = 200, description = "The model", body = ModelInfo),
              (status = 404, description = "No model has this name", body = super::error::ErrorBody)),
    security((), ("key" = [])))]
pub(crate) async fn one(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    find(&shared, Some(&id)).map(|model| json(&info(model)))
}

fn info(model: &Model) -> ModelInfo<'_> {
    ModelInfo {
        id: &model.name,
        object: "model",
        created: model.created,
        owned_by: "uner",
        entity_types: &model.entity_types,
    }
}

/// The models, if requests are answered.
fn loaded(shared: &Shared) -> Result<&[Model], ApiError> {
    match (shared.is_stopping(), shared.models()) {
        (false, models @ [_, ..]) => Ok(models),
        (is_stopping, _) => Err(ApiError::unavailable(is_stopping)),
    }
}

/// The model with a name, or the default.
pub(crate) fn find<'s>(shared: &'s Shared, name: Option<&str>) -> Result<&'s Model, ApiError> {
    let models = loaded(shared)?;
    let Some(name) = name else { return Ok(&models[0]) };
    models.iter().find(|model| model.name == name).ok_or_else(|| {
        let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
        let message = format!(
            "`{}` is not a model of this server, which has `{}`",
            start(name),
            names.join("`, `")
        );
        ApiError::new(StatusCode::NOT_FOUND, message).with_param("model")
    })
}
