//! Packing, loading, the training step, the optimizer, checkpoints and metrics.
//!
//! Knows nothing of entities or recipes: tokens with their loss mask come in, events and
//! checkpoints come out.

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
    Answer, BestConfig, CheckpointConfig, GuardsConfig, Layout, Measure, MicroBatchRows,
    MomentForm, PrecisionConfig, Rounding, Schedule, Sharding, TrainConfig,
};
pub use data::{Batch, Loader, TokenStore};
pub use distributed::Group;
pub use error::TrainError;
pub use metrics::event::{Event, StepMetrics};
pub use report::GuardReport;
pub use run::{Callbacks, Interrupted, Run, Scoring, train};
pub use state::{Progress, RunId, Standing};
pub use step::gradients::Gradients;
pub use step::optimizer::AdamW;
pub use step::precision::Policy;
pub use step::rank_model::RankModel;
