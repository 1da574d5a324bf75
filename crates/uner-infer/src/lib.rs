//! Greedy generation and the open-type NER predictor.
//!
//! The other prompts of a batch never change an answer. An entity with a span is exactly that span
//! of the text.

pub mod generate;
pub mod load;
pub mod predict;

pub use generate::Generator;
pub use load::LoadOptions;
pub use predict::{InferConfig, InferError, Predictor, Query, Response};
