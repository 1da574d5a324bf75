//! Packing, loading, the training step, the optimizer, checkpoints and metrics.
//!
//! Knows nothing of entities or recipes: tokens with their loss mask come in, events and checkpoints come out.

pub mod batch;
pub mod best;
pub mod checkpoint;
pub mod config;
pub mod determinism;
pub mod error;
pub mod evaluation;
pub mod event;
pub mod gradients;
pub mod group;
pub mod guards;
pub mod loader;
pub mod noise;
pub mod optimizer;
pub mod order;
pub mod pack;
pub mod precision;
pub mod profile;
pub mod rank_model;
pub mod run;
mod saving;
pub mod schedule;
pub mod step;
pub mod stopwatch;
pub mod store;
pub mod tensorboard;
mod update;

pub use batch::Batch;
pub use best::{BestConfig, Measure, Standing};
pub use config::{CheckpointConfig, Schedule, TrainConfig};
pub use error::TrainError;
pub use evaluation::{Callbacks, Interrupted, Scoring};
pub use event::{Event, StepMetrics};
pub use gradients::Gradients;
pub use group::Group;
pub use loader::Loader;
pub use optimizer::AdamW;
pub use precision::{Policy, PrecisionConfig};
pub use rank_model::RankModel;
pub use run::{Progress, Run, train};
pub use store::TokenStore;
