//! What a run writes of its course: events as JSON Lines and for `TensorBoard`, and where the time
//! of a step goes.

pub mod event;
pub mod tensorboard;
pub mod timing;
