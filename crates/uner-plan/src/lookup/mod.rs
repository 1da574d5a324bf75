//! Looks up the model that a recipe names, and its adapter.

pub mod adapter;
pub mod model;
