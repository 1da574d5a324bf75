//! LLaMA and its relatives: the model, its KV cache, and reading and writing of Hugging Face
//! weights.
//!
//! Field names are checkpoint names and weights are `[out, in]`, so loading and saving copy bytes.
//! The crate knows nothing of optimizers, data or runs.

pub mod adapter;
pub mod atomic;
#[expect(non_snake_case, reason = "field names are checkpoint names")]
pub mod bert;
pub mod cache;
pub mod config;
pub mod context;
mod error;
pub mod export;
pub mod flops;
pub mod folder;
pub mod gguf;
mod keys;
#[expect(
    non_snake_case,
    reason = "field names are checkpoint names, and names of adapters have capitals"
)]
pub mod linear;
pub mod llama;
pub mod parameters;
mod read_spans;
mod resize;
pub mod size;
pub mod source;
pub mod span_head;
pub mod weights;

pub use adapter::{AdapterConfig, BaseFormat, load_adapted, load_adapter};
pub use cache::KvCache;
pub use config::LlamaConfig;
pub use context::{AttentionPattern, Context, Dropout};
pub use flops::Flops;
pub use llama::{Block, Llama};
pub use size::Size;
pub use span_head::{SpanHead, SpanLabels};
pub use weights::{WeightsError, load, load_frozen, save};
