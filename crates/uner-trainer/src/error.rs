//! What can stop a run.

use std::path::{Path, PathBuf};

use crate::config::ConfigError;
use crate::report::{Difference, GuardReport, Suspect};

/// How many conversations or parameters a message names.
const MOST_NAMED: usize = 16;

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
    #[error(
        "the training data is empty: no conversation has a trained token ({untrained} had none)"
    )]
    NoData {
        /// Conversations without a trained token.
        untrained: usize,
    },
    /// A number that cannot be trained with.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A guard found a step that must not be applied.
    #[error(
        "step {}: {}; the step was not applied. Its conversations (indices into the training data), those with the highest \
         loss first: {}. Look at these, lower `train.lr`, or have such steps skipped (`train.guards`)",
        .0.step, .0.problem, named(&.0.conversations)
    )]
    Guarded(Box<GuardReport>),
    /// A step that was computed twice came out differently.
    #[error(
        "step {step}: computed twice from the same weights and data, it came out differently: {}. A kernel or a driver does \
         not compute the same every time; report it with the device's name and version",
        listed(.differences)
    )]
    NotDeterministic {
        /// Number of the step, from 1.
        step: u64,
        /// What differs.
        differences: Vec<Difference>,
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

fn named(conversations: &[Suspect]) -> String {
    let name = |suspect: &Suspect| match suspect.loss {
        Some(loss) => format!("{} (loss {loss:.4})", suspect.index),
        None => format!("{} (no finite loss)", suspect.index),
    };
    few(conversations.iter().map(name), conversations.len())
}

fn listed(differences: &[Difference]) -> String {
    few(differences.iter().map(ToString::to_string), differences.len())
}

fn few(names: impl Iterator<Item = String>, count: usize) -> String {
    let names: Vec<String> = names.take(MOST_NAMED).collect();
    let more = count - names.len();
    let rest = if more > 0 { format!(", and {more} more") } else { String::new() };
    names.join(", ") + &rest
}
