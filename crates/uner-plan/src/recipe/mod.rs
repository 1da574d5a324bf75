//! A recipe: one TOML file that describes a run, as it was written. [`crate::plan`] computes what
//! follows from it.
//!
//! Each section is the configuration of one crate. An unknown key is an error that names the
//! nearest known key. A key with one sensible value may be left out; a dry run prints the values of
//! such keys. `docs/recipes.md` lists all keys for users.

mod check;
mod error;
mod evaluation;
mod load;
mod locate;
mod overrides;
mod paths;
mod tagger;

pub(crate) use check::check;
pub use error::RecipeError;
pub use evaluation::{
    ALL_TYPES, EvalData, EvalModel, EvalPredictions, EvalPrompt, EvalRecipe, EvalRun, Measured,
    SampleConfig, SystemConfig,
};
pub use load::{RecipeText, defaults, find, find_distillation, find_evaluation, parse, parse_as};
pub use overrides::Override;
pub use tagger::{TaggerData, TaggerModel, TaggerRecipe, is_tagger};

pub use paths::{at_home, from_run, normal, normalised, rebase};

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uner_data::definitions::WordingConfig;
use uner_data::negative::hard::HardConfig;
use uner_data::{DatasetRef, Member, NegativeConfig};
use uner_infer::InferConfig;
use uner_model::{AdapterConfig, BaseFormat};
use uner_trainer::TrainConfig;

use crate::machine::Devices;

/// The content of a recipe file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The run's folder, seed and devices.
    pub run: RunConfig,
    /// The model that is trained.
    pub model: ModelConfig,
    /// The data for training and validation.
    pub data: DataConfig,
    /// The wording of conversations.
    #[serde(default)]
    pub prompt: PromptConfig,
    /// How the model is trained.
    #[serde(default)]
    pub train: TrainConfig,
    /// How answers are generated.
    #[serde(default)]
    pub infer: InferConfig,
    /// The benchmarks that the model is measured on.
    #[serde(default)]
    pub eval: EvalConfig,
}

/// `[run]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The run's folder.
    pub dir: PathBuf,
    /// Seed of random weights, negatives, orders and dropout.
    #[serde(default = "one")]
    pub seed: u64,
    /// The devices that train the model, one rank on each; the first one also evaluates it.
    #[serde(default)]
    pub device: Devices,
    /// Optional: the memory that the plan may count on.
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
    /// Memory of a device in GiB, used if the device has more or is not on this machine.
    pub limit_gib: f64,
}

/// `[model]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Optional: `spans` for a model that reads entities instead of writing them. If left out, it
    /// writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// A model folder, `hf:org/name`, or `random`.
    pub weights: String,
    /// Optional, needed by random weights: a name from `configs/models`, or the path of such a
    /// file. With a model folder, the plan uses it as long as the folder does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Optional: a tokenizer file, or `train` to train one that is as large as the model's
    /// vocabulary. If left out, the one in the model folder is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// Optional: tokens that the vocabulary gets if it lacks them, such as characters that answers
    /// need. Their rows in the embedding start as the mean of the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_tokens: Vec<String>,
    /// Optional: the bits in which the matrices of the frozen model under an adapter are stored. If
    /// left out, they are stored as in full fine-tuning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseFormat>,
    /// Optional: an adapter that is trained instead of the model. If left out, the whole model is
    /// trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterConfig>,
}

/// The head of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Head {
    /// A BIO tag for each word, by an encoder: the recipe is a [`TaggerRecipe`].
    Tags,
    /// Tags of the tokens of a passage that is read twice: see [`uner_model::span_head`].
    Spans,
}

/// The value of `model.weights` for random weights.
pub const RANDOM: &str = "random";
/// The value of `model.tokenizer` for a tokenizer that the run trains.
pub const TRAIN: &str = "train";

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Folder of the datasets' files. If a dataset is described in a file of its own, its files are
    /// relative to that file instead.
    #[serde(default = "data")]
    pub root: PathBuf,
    /// The treatment of a passage that is too long for `train.max_seq_len`.
    #[serde(default)]
    pub long_passages: LongPassages,
    /// Optional: the number of training conversations. The plan uses it as long as the files do not
    /// exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_conversations: Option<usize>,
    /// Queries for absent types.
    #[serde(default)]
    pub negatives: NegativeConfig,
    /// Optional: makes a share of the absent types hard to tell from the present ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_negatives: Option<HardConfig>,
    /// Optional: how often queries have a definition or a guideline in place of, or beside, the
    /// name of their type. The descriptions of the datasets have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wordings: Option<WordingConfig>,
    /// The splits that are trained on.
    pub train: Vec<Member>,
    /// Optional: the splits that the validation loss is computed on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validation: Vec<Member>,
}

/// Treatment of a passage that is too long for `train.max_seq_len` even with a single query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LongPassages {
    /// Stop with an error that names the passage.
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
    /// The benchmarks that the trained model is measured on at the end of the run; may be empty.
    #[serde(default)]
    pub benchmarks: Vec<Benchmark>,
    /// Optional: the benchmarks during training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<During>,
}

/// `[eval.during]`: F1 by generation while the model is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct During {
    /// Steps between two measurements; the last step is always measured.
    pub every: u64,
    /// The benchmarks, of few examples, since training waits. F1 is the macro average of their
    /// strict scores.
    pub benchmarks: Vec<Benchmark>,
}

/// A split that the model is measured on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Benchmark {
    /// A built-in name, the path of a description, or a description.
    pub dataset: DatasetRef,
    /// Its split.
    pub split: String,
    /// Optional: the number of examples, counted from the first; all if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}
