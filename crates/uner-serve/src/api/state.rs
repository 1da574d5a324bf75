//! The state of the server, for those who watch it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::json;
use crate::metrics::MEDIA_TYPE;
use crate::queue::Queue;
use crate::shared::Shared;
use crate::worker::Model;

/// The state of the server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Status {
    /// `ok` or `failed` of `/health`; `ready`, `loading` or `stopping` of `/ready`.
    status: &'static str,
}

/// Whether the process works: not if the engine has just panicked. Restart it then.
#[utoipa::path(get, path = "/health", responses(
    (status = 200, description = "It works", body = Status),
    (status = 503, description = "Its engine has failed", body = Status)))]
pub(crate) async fn health(State(shared): State<Arc<Shared>>) -> Response {
    if shared.models().iter().all(Model::is_healthy) {
        return json(&Status { status: "ok" });
    }
    (StatusCode::SERVICE_UNAVAILABLE, json(&Status { status: "failed" })).into_response()
}

/// Whether requests are answered: not before the models are loaded, nor once the server stops.
#[utoipa::path(get, path = "/ready", responses(
    (status = 200, description = "Requests are answered", body = Status),
    (status = 503, description = "It is loading or stopping", body = Status)))]
pub(crate) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let status = match (shared.is_stopping(), shared.models()) {
        (true, _) => "stopping",
        (false, []) => "loading",
        (false, _) => return json(&Status { status: "ready" }),
    };
    (StatusCode::SERVICE_UNAVAILABLE, json(&Status { status })).into_response()
}

/// Metrics in the text format of `OpenMetrics`, which Prometheus reads.
#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, description = "The metrics", content_type = "application/openmetrics-text",
     body = String)), security((), ("key" = [])))]
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let queues = || shared.models().iter().map(|model| &model.queue);
    let length = queues().map(Queue::len).sum();
    let limit = queues().map(Queue::limit).sum();
    let text = shared.metrics.text(length, limit);
    ([(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))], text).into_response()
}
