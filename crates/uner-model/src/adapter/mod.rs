//! `LoRA` adapters (Hu et al. 2021): attaches them to a model, reads and writes PEFT's files
//! (`adapter_config.json` and `adapter_model.safetensors`), and finds the model they belong to.

mod attach;
mod fingerprint;

pub(crate) mod peft;
mod read;
mod write;

pub use crate::config::{Adapter, AdapterConfig, Base, BaseFormat, Target};
pub use attach::attach;
pub(crate) use fingerprint::BASE_FILE;
pub use fingerprint::{base_format_of, base_of};
pub use peft::{CONFIG_FILE, has_span_head};
pub use read::{load_adapted, load_adapter};
pub use write::{AdapterFiles, files};

/// The prefix of parameter names in PEFT's files.
pub const PREFIX: &str = "base_model.model.";
/// The module of a [span head](crate::span_head), which an adapter trains whole.
const SPAN_HEAD: &str = "span_head";

#[cfg(test)]
mod tests;
