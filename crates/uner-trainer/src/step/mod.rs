//! The parts of one optimizer step: forward and backward block by block, gradients and their sums,
//! guards, `AdamW`.

mod classifier;
pub mod determinism;
pub mod forward_backward;
pub mod gradients;
pub mod guards;
pub mod optimizer;
mod parameters;
pub mod precision;
pub mod rank_model;
pub mod schedule;
pub mod trainable;
pub mod weights;
