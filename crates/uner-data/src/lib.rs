//! Examples and everything that produces them: readers of published formats, the dataset registry,
//! negative sampling, mixtures and statistics. Knows nothing of tensors or templates.

pub mod demo;
pub mod example;

pub use example::{Entity, Example, Span};
