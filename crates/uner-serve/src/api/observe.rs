//! Middleware of every request: its number, key, metrics and line in the log.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;

use super::error::{ApiError, start};
use crate::log::{Line, RequestSummary};
use crate::shared::Shared;

/// The header with the number of a request, the client's or ours.
pub(crate) const REQUEST_ID: &str = "x-request-id";
/// Longest number that a client may give a request.
const LONGEST_ID: usize = 128;

/// Counts a request and logs it.
pub(crate) async fn observe(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let (began, now) = (Instant::now(), SystemTime::now());
    let route = route(&request);
    let id = request_id(&request).unwrap_or_else(|| format!("{:08x}", shared.next_request()));
    let client = request.extensions().get::<SocketAddr>().map(|client| client.ip().to_string());
    let (method, path) = (request.method().clone(), start(request.uri().path()));
    let mut response = next.run(request).await;
    let (status, time) = (response.status().as_u16(), began.elapsed());
    shared.metrics.add(route, status, time);
    let line = Line {
        time: now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis() as u64,
        request: &id,
        client: client.as_deref().unwrap_or_default(),
        method: method.as_str(),
        path: &path,
        status,
        milliseconds: time.as_millis() as u64,
        summary: response.extensions().get::<RequestSummary>().cloned(),
    };
    line.write();
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The path of the route, for metrics: a client cannot add to their number.
fn route(request: &Request) -> &'static str {
    const ROUTES: [&str; 13] = [
        "/",
        "/health",
        "/icon.svg",
        "/links.js",
        "/metrics",
        "/openapi.json",
        "/page.css",
        "/page.js",
        "/ready",
        "/v1/chat/completions",
        "/v1/models",
        "/v1/models/{id}",
        "/v1/ner",
    ];
    let matched = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    ROUTES.into_iter().find(|route| *route == matched).unwrap_or("other")
}

fn request_id(request: &Request) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    (!id.is_empty() && id.len() <= LONGEST_ID).then(|| id.to_owned())
}

/// Refuses a request without a valid key, if the server has keys.
pub(crate) async fn require_key(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let keys = &shared.config.keys;
    let header = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    if keys.is_empty() || header.and_then(bearer).is_some_and(|key| keys.has(key)) {
        return next.run(request).await;
    }
    let message = match header {
        None => "this server needs an API key; send `Authorization: Bearer KEY`",
        Some(_) => "the API key is not one of this server's; send `Authorization: Bearer KEY`",
    };
    let mut response = ApiError::new(StatusCode::UNAUTHORIZED, message).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// The token of a header `Bearer TOKEN`.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Answers a request whose handler panics.
pub(crate) async fn catch_panic(request: Request, next: Next) -> Response {
    let response = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    response.unwrap_or_else(|_| ApiError::internal().into_response())
}
