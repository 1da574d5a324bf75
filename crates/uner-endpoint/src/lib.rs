//! A client of chat endpoints that speak the protocol of OpenAI: OpenAI itself, vLLM, Ollama,
//! llama.cpp's server and others. It evaluates systems behind an API, and has teachers annotate.
//!
//! ```text
//! text, types ─ prompts ─► Request ─ complete_all ─► Answer ─ prompts ─► mentions
//!                                     │   ▲
//!                                     ▼   │
//!                                    journal
//! ```
//!
//! Answers cost money, so each is written to a journal before it is reported, and is read from
//! there in later runs. Requests are repeated where that may help, limited in number per minute,
//! and ended by a budget. The key of an endpoint is in the environment, and nowhere else.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use std::path::Path;
//! use uner_endpoint::{Client, Endpoint, Event, prompts};
//!
//! let mut endpoint = Endpoint::new("http://localhost:8000/v1", "my-model");
//! endpoint.max_tokens = Some(256);
//! let client = Client::new(endpoint)?.with_journal(Path::new("answers.jsonl"))?;
//!
//! let types = ["person".to_owned(), "city".to_owned()];
//! let texts = ["Ada saw Rome.", "Bob stayed at home."];
//! let requests = || texts.iter().map(|text| prompts::all_types(text, &types));
//! let forecast = client.estimate(&requests().collect::<Vec<_>>());
//! assert_eq!(forecast.requests, 2);
//!
//! let mut mentions = vec![Vec::new(); texts.len()];
//! let summary = client.complete_all(requests(), |event| {
//!     if let Event::Answered { index, outcome: Ok(answer) } = event {
//!         mentions[index] = prompts::read_all_types(&answer.text, &types).mentions;
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!(summary.usage.requests, 2);
//! # Ok::<(), uner_endpoint::EndpointError>(())
//! ```

mod answer;
mod attempts;
mod client;
mod config;
mod error;
mod http;
mod journal;
mod limiter;
pub mod prompts;
mod request;
mod response;
mod retry;
mod run;
mod secret;
mod stop;
mod usage;

pub use answer::{Answer, Tokens};
pub use client::Client;
pub use config::{Endpoint, Prices};
pub use error::{EndpointError, Failure, Problem};
pub use request::{ChatMessage, ChatRole, Request};
pub use run::{End, Event, Summary};
pub use usage::{Estimate, Usage};
