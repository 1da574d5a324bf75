//! The recipe of an evaluation: a system, and what it is measured on.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uner_data::{DatasetRef, registry};
use uner_endpoint::Endpoint;
use uner_eval::systems::predictions::Predictions;
use uner_infer::Decoding;

use super::load::parse_as;
use super::{Benchmark, Override, RecipeError, RecipeText, data};
use crate::machine::Devices;

/// The content of the recipe file of an evaluation. It has one of `model`, `endpoint` and
/// `predictions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalRecipe {
    /// The folder of the evaluation.
    pub run: EvalRun,
    /// A model on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<EvalModel>,
    /// A model behind an API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// Files of predictions of another program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predictions: Option<EvalPredictions>,
    /// The wording of queries.
    #[serde(default)]
    pub prompt: EvalPrompt,
    /// The data.
    #[serde(default)]
    pub data: EvalData,
    /// What is measured.
    pub eval: Measured,
}

/// `[run]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalRun {
    /// The folder for report and answers.
    pub dir: PathBuf,
    /// The device of a model on this machine.
    #[serde(default)]
    pub device: Devices,
}

/// `[model]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalModel {
    /// A model folder, the folder of a run, or `hf:org/name`.
    pub weights: PathBuf,
    /// Optional: what an answer may contain. If left out, as the folder says, else `grounded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoding: Option<Decoding>,
}

/// `[prompt]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalPrompt {
    /// Optional: a name from `configs/templates`, or the path of such a file; for an endpoint also
    /// `all-types`, one prompt for all types (`uner_endpoint::prompts::all_types`). If left out, a
    /// model has the one in its folder, and an endpoint `zero-shot`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
}

/// The value of `prompt.template` for `uner_endpoint::prompts::all_types`.
pub const ALL_TYPES: &str = "all-types";

/// `[predictions]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalPredictions {
    /// The program, for the report.
    pub name: String,
    /// The files, in the order of `eval.benchmarks`.
    pub files: Vec<Predictions>,
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalData {
    /// Folder of the datasets' files. If a dataset is described in a file of its own, its files are
    /// relative to that file instead.
    #[serde(default = "data")]
    pub root: PathBuf,
}

impl Default for EvalData {
    fn default() -> Self {
        Self { root: data() }
    }
}

/// `[eval]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Optional: lists of datasets whose test splits are measured, such as `zero-shot-7`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<String>,
    /// Optional: further splits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub benchmarks: Vec<Benchmark>,
    /// Optional: asks only so many queries of each split, drawn at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<SampleConfig>,
}

/// `[eval.sample]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleConfig {
    /// The number of queries.
    pub pairs: usize,
    /// Seed of the draw.
    #[serde(default)]
    pub seed: u64,
}

/// The one system of a recipe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SystemConfig<'a> {
    /// A model on this machine.
    Model(&'a EvalModel),
    /// A model behind an API.
    Endpoint(&'a Endpoint),
    /// Files of predictions.
    Predictions(&'a EvalPredictions),
}

impl EvalRecipe {
    /// Reads a recipe and applies overrides to it, as [`parse`](super::parse) does.
    ///
    /// # Errors
    /// With the line or the override at fault.
    pub fn parse(source: &RecipeText, overrides: &[Override]) -> Result<Self, RecipeError> {
        parse_as(source, overrides)
    }

    /// The system that is measured.
    ///
    /// # Errors
    /// When the recipe has none, or several.
    pub fn system(&self) -> Result<SystemConfig<'_>, RecipeError> {
        let mut systems = [
            self.model.as_ref().map(SystemConfig::Model),
            self.endpoint.as_ref().map(SystemConfig::Endpoint),
            self.predictions.as_ref().map(SystemConfig::Predictions),
        ]
        .into_iter()
        .flatten();
        match (systems.next(), systems.next()) {
            (Some(system), None) => Ok(system),
            (first, _) => Err(RecipeError::Contradiction(format!(
                "the recipe of an evaluation has one of `[model]`, `[endpoint]` and \
                 `[predictions]`, not {}",
                if first.is_some() { "several" } else { "none" }
            ))),
        }
    }

    /// The splits that are measured.
    ///
    /// # Errors
    /// When a list does not exist, nothing is measured, or files of predictions and splits differ
    /// in number.
    pub fn benchmarks(&self) -> Result<Vec<Benchmark>, RecipeError> {
        let mut found = Vec::new();
        for list in &self.eval.lists {
            let datasets = registry::in_list(list)
                .map_err(|error| RecipeError::Contradiction(format!("`eval.lists`: {error}")))?;
            found.extend(datasets.into_iter().map(|dataset| Benchmark {
                dataset: DatasetRef::Name(dataset.name),
                split: "test".to_owned(),
                limit: None,
            }));
        }
        found.extend(self.eval.benchmarks.iter().cloned());
        let files = self.predictions.as_ref().map(|predictions| predictions.files.len());
        match files {
            _ if found.is_empty() => Err(RecipeError::Contradiction(
                "`eval` measures nothing; set `eval.lists` or `eval.benchmarks`".to_owned(),
            )),
            Some(files) if files != found.len() => Err(RecipeError::Contradiction(format!(
                "`predictions.files` has {files} files for {} splits; name one for each",
                found.len()
            ))),
            _ => Ok(found),
        }
    }
}
