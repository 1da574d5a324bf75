//! Packing, loading, the training step, the optimizer, checkpoints and metrics.
//!
//! The crate knows nothing of entities or recipes. It reads tokens with their loss mask, and writes
//! events and checkpoints.

pub mod checkpoint;
pub mod config;
pub mod data;
pub mod distributed;
pub mod error;
pub mod metrics;
pub mod report;
pub mod run;
pub mod state;
pub mod step;

pub use config::{
    BestConfig, CheckpointConfig, GuardAction, GuardsConfig, Layout, Measure, MicroBatchRows,
    MomentFormat, PrecisionConfig, Rounding, Schedule, Sharding, TrainConfig,
};
pub use data::{Batch, Loader, TokenStore};
pub use distributed::Group;
pub use error::TrainError;
pub use metrics::event::{Event, StepMetrics};
pub use report::GuardReport;
pub use run::{Callbacks, Interrupted, Run, Scoring, train};
pub use state::{BestTracker, RunId, TrainState};
pub use step::gradients::Gradients;
pub use step::optimizer::AdamW;
pub use step::precision::Precision;
pub use step::rank_model::RankModel;
pub use step::trainable::Trainable;
