//! What a recipe names, found: the model and its adapter.

pub mod adapter;
pub mod model;
