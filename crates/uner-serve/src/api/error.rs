//! Errors as clients see them, in the form of OpenAI's.

use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::queue::Full;

/// A request that is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    /// What is wrong, where, which value, and what to do.
    message: String,
    /// The part of the request that is wrong.
    param: Option<String>,
    retry_after: Option<Duration>,
}

/// The body of a response with an error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorDetails,
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorDetails {
    /// What is wrong, where, which value, and what to do.
    message: String,
    /// `invalid_request_error`, `authentication_error`, `rate_limit_error` or `server_error`.
    r#type: &'static str,
    /// The part of the request that is wrong.
    param: Option<String>,
    /// Always null.
    code: Option<String>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, retry_after: None }
    }

    /// A request with a wrong value.
    pub(crate) fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::new(StatusCode::BAD_REQUEST, message) }
    }

    /// The same error about a part of the request.
    pub(crate) fn with_param(self, param: &str) -> Self {
        Self { param: Some(param.to_owned()), ..self }
    }

    /// A failure of the server.
    pub(crate) fn internal() -> Self {
        let message = "the server failed to answer; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// An answer that took too long.
    pub(crate) fn late(limit: Duration) -> Self {
        let message = format!(
            "no answer within {} s; send shorter texts, fewer types, or fewer texts at once",
            limit.as_secs_f64()
        );
        Self::new(StatusCode::GATEWAY_TIMEOUT, message)
    }

    /// A server without models, before it has read them or while it stops.
    pub(crate) fn unavailable(is_stopping: bool) -> Self {
        let message = if is_stopping {
            "the server is stopping; ask another"
        } else {
            "the server is loading its models; try again"
        };
        let retry_after = Some(Duration::from_secs(1));
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    /// A queue that cannot take the texts of a request.
    pub(crate) fn full(full: Full, count: usize) -> Self {
        match full {
            Full::TooMany { limit } => Self::invalid(
                "text",
                format!("{count} texts; a request has at most {limit}: send several requests"),
            ),
            Full::Now(wait) => Self {
                retry_after: Some(wait),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    format!("too many texts are waiting; try again in {} s", wait.as_secs()),
                )
            },
        }
    }

    /// The body of the response.
    pub(crate) fn body(&self) -> ErrorBody {
        let r#type = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        let (message, param) = (self.message.clone(), self.param.clone());
        ErrorBody { error: ErrorDetails { message, r#type, param, code: None } }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = json(&self.body());
        *response.status_mut() = self.status;
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }
}

/// A response with a JSON body.
pub(crate) fn json(body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).expect("bodies are JSON");
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

pub(crate) async fn not_found(request: Request) -> ApiError {
    let path = start(request.uri().path());
    let message = format!("`{path}` is not a path of this server; `/openapi.json` lists them");
    ApiError::new(StatusCode::NOT_FOUND, message)
}

pub(crate) async fn method_not_allowed(request: Request) -> ApiError {
    let (method, path) = (request.method(), start(request.uri().path()));
    let message = format!("`{path}` has no method `{method}`; `/openapi.json` lists them");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message)
}

/// The first characters of what a client sent.
pub(crate) fn start(text: &str) -> String {
    let mut start: String = text.chars().take(60).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}
