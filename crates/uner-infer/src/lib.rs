//! The engine that continues prompts, the open-type NER predictor, and exports of its models.
//! `docs/inference.md` explains how they work.
//!
//! The other prompts of a batch change an answer by rounding at most. An entity with a span is
//! exactly that span of the text.

mod complete;
pub mod engine;
mod error;
pub mod export;
mod extract;
pub mod generate;
mod grounded;
mod import;
mod jobs;
mod load;
pub mod predict;
mod prompts;
mod span_reader;
mod spans;

pub use error::InferError;
pub use export::Export;
pub use generate::Generator;
pub use import::{import, tokenizer_of};
pub use jobs::{Chat, ChatOptions, Completion, Job, JobInput, OnText, Outcome, Problem, Request};
pub use load::{INFER, LoadOptions, TEMPLATE, TYPES, trained_types};
pub use predict::{Decoding, InferConfig, Predictor, Query, Response};
pub use uner_data::FoundEntity;
