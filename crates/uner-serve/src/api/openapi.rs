//! The `OpenAPI` document.

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{chat, chat_response, models, ner, state};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "uner",
        description = "Open-type named entity recognition. `/v1/ner` finds entities of any types; \
                       `/v1/chat/completions` and `/v1/models` speak the protocol of OpenAI.",
    ),
    paths(
        ner::ner, chat::complete, models::list, models::one, state::health, state::ready,
        state::metrics
    ),
    components(schemas(chat_response::ChatChunk)),
    modifiers(&Key)
)]
struct Document;

/// The API key, which a server may need.
struct Key;

impl Modify for Key {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

/// The document as JSON.
pub(crate) fn document() -> String {
    Document::openapi().to_pretty_json().expect("the document is JSON")
}

pub(crate) async fn get() -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], document()).into_response()
}
