//! What a recipe names, found: the model, its adapter, and repositories of the Hugging Face hub.

pub mod adapter;
pub mod hub;
pub mod model;
