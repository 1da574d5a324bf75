//! Folders of models and adapters.

pub(crate) mod adapter;
pub(crate) mod model_folder;
