//! A recipe: everything a run does, in one TOML file. What was written; what follows from it is in
//! [`crate::plan`].
//!
//! Each section is the configuration of one crate, and unknown keys are an error with the nearest
//! known one. A key with one sensible value may be left out; a dry run prints what was.
//! `docs/recipes.md` lists all keys for users.

mod check;
mod error;
mod load;
mod locate;
mod overrides;
mod paths;

pub(crate) use check::check;
pub use error::RecipeError;
pub use load::{Source, defaults, find, parse};
pub use overrides::Override;

pub use paths::{at_home, from_run, normal, normalised, rebase};

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uner_data::{DatasetRef, Member, NegativeConfig};
use uner_infer::InferConfig;
use uner_model::{AdapterConfig, BaseForm};
use uner_trainer::TrainConfig;

use crate::machine::Devices;

/// What a recipe file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Where the run lives.
    pub run: RunConfig,
    /// What is trained.
    pub model: ModelConfig,
    /// On what.
    pub data: DataConfig,
    /// In which words.
    #[serde(default)]
    pub prompt: PromptConfig,
    /// How.
    #[serde(default)]
    pub train: TrainConfig,
    /// How answers are generated.
    #[serde(default)]
    pub infer: InferConfig,
    /// What is measured at the end.
    #[serde(default)]
    pub eval: EvalConfig,
}

/// `[run]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The run's folder.
    pub dir: PathBuf,
    /// Seed of weights, negatives and orders.
    #[serde(default = "one")]
    pub seed: u64,
    /// Where the model is trained, a rank on each, and on the first of them measured.
    #[serde(default)]
    pub device: Devices,
    /// Optional: what the plan may count on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryConfig>,
}

impl RunConfig {
    /// `run.memory.limit_gib`.
    pub fn limit_gib(&self) -> Option<f64> {
        self.memory.map(|memory| memory.limit_gib)
    }
}

/// `[run.memory]`
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryConfig {
    /// GiB of a device that are planned with, where it has more, or is not here to be asked.
    pub limit_gib: f64,
}

/// `[model]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// A model folder, or `random`.
    pub weights: String,
    /// Optional, needed by random weights: a name from `configs/models`, or the path of such a
    /// file. With a model folder, it is what the plan is made from as long as the folder is not
    /// there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Optional: a tokenizer file, or `train` for one trained on the spot, as large as the model's
    /// vocabulary. Left out, it is the one in the model folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// Optional: the bits that the layers of the frozen model under an adapter are stored in. Left
    /// out, they are stored as they are trained in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseForm>,
    /// Optional: an adapter that is trained in place of the model. Left out, all of the model is
    /// trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterConfig>,
}

/// The value of `model.weights` for random weights.
pub const RANDOM: &str = "random";
/// The value of `model.tokenizer` for a tokenizer trained on the spot.
pub const TRAIN: &str = "train";

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// The folder that the files of all datasets but those described in files of their own are
    /// relative to.
    #[serde(default = "data")]
    pub root: PathBuf,
    /// What to do with a passage that is too long for `train.max_seq_len`.
    #[serde(default)]
    pub long_passages: LongPassages,
    /// Optional: conversations the training data gives. The plan is made from it as long as the
    /// files are not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_conversations: Option<usize>,
    /// Queries for absent types.
    #[serde(default)]
    pub negatives: NegativeConfig,
    /// What is trained on.
    pub train: Vec<Member>,
    /// Optional: what the validation loss is computed on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validation: Vec<Member>,
}

/// What to do with a passage that is too long for `train.max_seq_len` even with a single query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LongPassages {
    /// Stop, naming it.
    #[default]
    Error,
    /// Leave it out and count it.
    Drop,
}

/// `[prompt]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptConfig {
    /// A name from `configs/templates`, or the path of such a file.
    pub template: String,
}

impl Default for PromptConfig {
    fn default() -> Self {
        Self { template: "zero-shot".to_owned() }
    }
}

fn one() -> u64 {
    1
}

fn data() -> PathBuf {
    "data".into()
}

/// `[eval]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalConfig {
    /// What the trained model is measured on at the end of the run. May be empty.
    #[serde(default)]
    pub benchmarks: Vec<Benchmark>,
    /// Optional: what it is measured on while it is trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<During>,
}

/// `[eval.during]`: F1 by generation while the model is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct During {
    /// Steps between two measurements; the last step is always measured.
    pub every: u64,
    /// What is measured: few examples, since training waits. F1 is the macro average of the strict
    /// scores.
    pub benchmarks: Vec<Benchmark>,
}

/// A split that is measured on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Benchmark {
    /// A built-in name, the path of a description, or a description.
    pub dataset: DatasetRef,
    /// Its split.
    pub split: String,
    /// Optional: only the first so many examples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}
