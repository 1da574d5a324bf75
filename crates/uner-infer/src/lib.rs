//! Greedy generation, the open-type NER predictor, and exports of its models.
//!
//! The other prompts of a batch never change an answer. An entity with a span is exactly that span
//! of the text.

pub mod export;
pub mod generate;
mod load;
pub mod predict;

pub use export::Export;
pub use generate::Generator;
pub use load::{INFER, LoadOptions, TEMPLATE};
pub use predict::{InferConfig, InferError, Predictor, Query, Response};
