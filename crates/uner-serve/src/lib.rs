//! `uner serve`: a model behind HTTP.
//!
//! ```text
//! connection ── headers, body ──► request ── checks ──► jobs ── queue ──► worker ── engine
//!      ▲                                                                     │
//!      └──────── response ◄── entities, text ◄────────────── outcomes ◄──────┘
//! ```
//!
//! [`serve`] answers `POST /v1/ner` with entities and `POST /v1/chat/completions` in the protocol
//! of OpenAI. Each model has a worker: a thread whose engine runs the jobs of all requests at once.
//! The queue in front of it is bounded: what does not fit is refused with status 429. A request
//! whose client goes away is cancelled, and its prompts end at their next token.
//!
//! The server keeps nothing between requests, so any number of replicas may stand behind a load
//! balancer.

mod api;
mod config;
mod connections;
mod keys;
mod log;
mod metrics;
mod page;
mod queue;
mod server;
mod shared;
mod worker;

pub use config::{Config, Limits};
pub use keys::{ApiKeys, KeysError};
pub use server::{Bound, Stop, bind};
pub use worker::{ModelError, Served};

/// The `OpenAPI` document of the server, as JSON.
pub fn openapi() -> String {
    api::openapi::document()
}
