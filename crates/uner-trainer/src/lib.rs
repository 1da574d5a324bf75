//! Packing, loading, the training step, the optimizer, checkpoints and metrics.
//!
//! Knows nothing of entities or recipes: tokens with their loss mask come in, events and checkpoints come out.

pub mod batch;
pub mod checkpoint;
pub mod config;
pub mod error;
pub mod event;
pub mod flops;
pub mod gradients;
pub mod loader;
pub mod memory;
pub mod optimizer;
pub mod order;
pub mod pack;
pub mod run;
pub mod schedule;
pub mod step;
pub mod store;

pub use batch::Batch;
pub use config::{Schedule, TrainConfig};
pub use error::TrainError;
pub use event::{Event, StepMetrics};
pub use gradients::Gradients;
pub use loader::Loader;
pub use optimizer::AdamW;
pub use run::{Run, train};
pub use store::TokenStore;
