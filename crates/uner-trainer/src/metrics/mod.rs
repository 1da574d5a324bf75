//! Metrics of a run: events as JSON Lines and for `TensorBoard`, and the time of each phase of a
//! step.

pub mod event;
pub mod tensorboard;
pub mod timing;
