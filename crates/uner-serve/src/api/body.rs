//! Reads the JSON body of a request.

use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;
use crate::config::Limits;

/// Reads the body of a request until `deadline`.
pub(crate) async fn read<T: DeserializeOwned>(
    request: Request,
    limits: &Limits,
    deadline: Instant,
) -> Result<T, ApiError> {
    let (head, body) = request.into_parts();
    let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
    let media_type = header(CONTENT_TYPE).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let message = format!(
            "`Content-Type` is `{media_type}`; send JSON with `Content-Type: application/json`"
        );
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let length = header(CONTENT_LENGTH).and_then(|length| length.parse().ok()).unwrap_or(0);
    if length > limits.body {
        return Err(too_large(limits.body));
    }
    let body = timeout_at(deadline, bytes(body, length, limits.body)).await;
    let body = body.map_err(|_| {
        let message = format!("the body did not arrive within {} s", limits.time.as_secs_f64());
        ApiError::new(StatusCode::REQUEST_TIMEOUT, message)
    })?;
    parse(&body?)
}

/// The bytes of a body of probably `length` bytes, at most `limit`.
async fn bytes(body: Body, length: usize, limit: usize) -> Result<Vec<u8>, ApiError> {
    // The length is the client's word: it may never send that many bytes.
    let mut all = Vec::with_capacity(length.min(64 << 10));
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            ApiError::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}"))
        })?;
        if all.len() + piece.len() > limit {
            return Err(too_large(limit));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

fn too_large(limit: usize) -> ApiError {
    let message = format!("the body has more than {limit} bytes; send several requests");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

/// Reads JSON. An error names the place in it.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let message = format!("the body is not a request: {}", error.inner());
        if path == "." {
            ApiError::new(StatusCode::BAD_REQUEST, message)
        } else {
            ApiError::invalid(path, message)
        }
    })?;
    let end = json.end();
    end.map_err(|error| {
        ApiError::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}"))
    })?;
    Ok(value)
}
