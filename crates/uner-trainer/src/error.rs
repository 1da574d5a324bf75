//! Errors that stop a run.

use std::path::{Path, PathBuf};

use crate::config::ConfigError;
use crate::report::{Difference, GuardReport, Suspect};

/// The most conversations or parameters that a message names.
const MOST_NAMED: usize = 16;

/// Why a run cannot start, continue or be resumed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A conversation cannot be encoded or does not fit.
    #[error(transparent)]
    Prompt(#[from] uner_prompt::PromptError),
    /// The model cannot be read or written.
    #[error(transparent)]
    Weights(#[from] uner_model::WeightsError),
    /// The training data has no conversation to train on.
    #[error(
        "the training data is empty: none of its {untrained} conversations has a trained token"
    )]
    NoData {
        /// Conversations without a trained token.
        untrained: usize,
    },
    /// A field of the configuration has an invalid value.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A guard stopped the run before a step was applied.
    #[error(
        "step {}: {}; the step was not applied. Its conversations (indices into the training \
         data), highest loss first: {}. Inspect them, lower the learning rate (`lr`), or let \
         `guards` skip such steps",
        .0.step, .0.problem, named(&.0.conversations)
    )]
    Guarded(Box<GuardReport>),
    /// Two computations of a step differ.
    #[error(
        "step {step}: two computations from the same weights and data differ: {}. A kernel or a \
         driver is not deterministic; report it with the device's name and version",
        listed(.differences)
    )]
    NotDeterministic {
        /// Number of the step, from 1.
        step: u64,
        /// The parameters that differ, or the loss.
        differences: Vec<Difference>,
    },
    /// Another rank has failed.
    #[error("rank {rank} stopped: {problem}")]
    Rank {
        /// The number of that rank.
        rank: usize,
        /// The message of its error.
        problem: String,
    },
    /// The model could not be scored.
    #[error("scoring the model failed")]
    Scoring(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A checkpoint cannot be written.
    #[error(
        "the checkpoint after step {step} was not written: {problem}. Earlier checkpoints are \
         unchanged. Check that the disk has space and the folder is writable, and go on with \
         `--resume`"
    )]
    NotSaved {
        /// The step.
        step: u64,
        /// The cause.
        problem: Box<TrainError>,
    },
    /// A checkpoint is damaged, or does not belong to the run.
    #[error("checkpoint `{path}`: {problem}")]
    Checkpoint {
        /// The checkpoint's folder.
        path: PathBuf,
        /// The problem, and how to solve it.
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
    let suffix = if more > 0 { format!(", and {more} more") } else { String::new() };
    names.join(", ") + &suffix
}
