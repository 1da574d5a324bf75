//! Greedy generation and the open-type NER predictor.
//!
//! What else is in a batch never changes an answer, and an entity that is returned with a span is
//! that span of the text.

pub mod generate;
pub mod load;
pub mod predict;

pub use generate::Generator;
pub use load::LoadOptions;
pub use predict::{InferConfig, InferError, Predictor, Query, Response};
