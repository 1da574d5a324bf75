//! What can stop a run.

use std::path::{Path, PathBuf};

/// A run that cannot start, go on, or be resumed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The file system said no.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A conversation cannot be encoded or does not fit.
    #[error(transparent)]
    Prompt(#[from] uner_prompt::PromptError),
    /// The model cannot be read or written.
    #[error(transparent)]
    Weights(#[from] uner_model::WeightsError),
    /// There is nothing to train on.
    #[error("the training data is empty: no conversation has a trained token ({untrained} had none)")]
    NoData {
        /// Conversations without a trained token.
        untrained: usize,
    },
    /// A number that cannot be trained with.
    #[error("`train.{key}` {problem}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// The loss or the gradient is no number any more.
    #[error(
        "step {step}: the {what} is {value}; the step was not applied. Conversations of the step (indices into the \
         training data): {conversations:?}. Lower `train.lr`, or look at these conversations"
    )]
    NotFinite {
        /// Number of the step, from 1.
        step: u64,
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// NaN or infinity.
        value: f64,
        /// Indices of the step's conversations.
        conversations: Vec<usize>,
    },
    /// Another rank cannot go on.
    #[error("rank {rank} stopped: {problem}")]
    Rank {
        /// Its number.
        rank: usize,
        /// What it said.
        problem: String,
    },
    /// The model could not be scored.
    #[error("scoring the model failed")]
    Scoring(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A checkpoint did not reach the disk.
    #[error(
        "the checkpoint after step {step} was not written: {problem}. Earlier checkpoints are as they were; see that there \
         is room on the disk and that the folder can be written, and go on with `--resume`"
    )]
    NotSaved {
        /// The step.
        step: u64,
        /// Why.
        problem: Box<TrainError>,
    },
    /// A checkpoint that must not be trusted.
    #[error("checkpoint `{path}`: {problem}")]
    Checkpoint {
        /// The checkpoint's folder.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl TrainError {
    /// An I/O error that names its path.
    pub(crate) fn at(path: &Path, error: &std::io::Error) -> Self {
        std::io::Error::new(error.kind(), format!("`{}`: {error}", path.display())).into()
    }
}
