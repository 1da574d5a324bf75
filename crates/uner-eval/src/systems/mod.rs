//! Systems that need no model of ours.

pub mod endpoint;
pub mod predictions;
