//! Greedy generation, the open-type NER predictor, and exports of its models.
//!
//! The other prompts of a batch never change an answer. An entity with a span is exactly that span
//! of the text.

pub mod engine;
pub mod export;
mod extract;
pub mod generate;
mod grounded;
mod load;
pub mod predict;

pub use export::Export;
pub use extract::Request;
pub use generate::Generator;
pub use load::{INFER, LoadOptions, TEMPLATE};
pub use predict::{Decoding, FoundEntity, InferConfig, InferError, Predictor, Query, Response};
