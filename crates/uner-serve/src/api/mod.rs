//! The routes of the server.

mod body;
mod chat;
mod chat_request;
mod chat_response;
mod error;
mod models;
mod ner;
mod observe;
pub(crate) mod openapi;
mod state;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::page;
use crate::shared::Shared;

/// All routes.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let with_key = Router::new()
        .route("/v1/ner", post(ner::ner))
        .route("/v1/chat/completions", post(chat::complete))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{id}", get(models::one))
        .route("/metrics", get(state::metrics))
        .route_layer(from_fn_with_state(Arc::clone(&shared), observe::require_key));
    let open = Router::new()
        .route("/", get(page::html))
        .route("/page.css", get(page::css))
        .route("/page.js", get(page::script))
        .route("/links.js", get(page::links_script))
        .route("/icon.svg", get(page::icon))
        .route("/openapi.json", get(openapi::get))
        .route("/health", get(state::health))
        .route("/ready", get(state::ready));
    let router = with_key
        .merge(open)
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&shared), observe::observe))
        .layer(from_fn(observe::catch_panic));
    let router = match cors(&shared.config.origins) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.with_state(shared)
}

/// The CORS headers for the allowed origins; none if no origin is allowed.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    let origin = match origins {
        [] => return None,
        all if all.iter().any(|origin| origin == "*") => AllowOrigin::any(),
        some => {
            AllowOrigin::list(some.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
        }
    };
    let layer = CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
        .expose_headers([header::RETRY_AFTER, HeaderName::from_static(observe::REQUEST_ID)]);
    Some(layer)
}
