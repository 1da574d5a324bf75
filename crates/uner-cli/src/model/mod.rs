//! Folders of models, adapters, GGUF.

pub(crate) mod adapter;
pub(crate) mod gguf;
pub(crate) mod model_folder;
