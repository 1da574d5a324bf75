//! The recipe of a distillation.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uner_distill::CorpusConfig;
use uner_distill::filter::FilterConfig;
use uner_distill::teacher::PromptVersion;
use uner_endpoint::Endpoint;
use uner_plan::machine::Devices;
use uner_plan::recipe::{Override, RecipeError, RecipeText, parse_as};

/// The content of the recipe file of a distillation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillRecipe {
    /// The folder, the seed, and the device of a local teacher.
    pub run: DistillRun,
    /// The texts, and the passages to draw from them.
    pub corpus: CorpusConfig,
    /// How the length of a passage is counted.
    #[serde(default)]
    pub passages: Passages,
    /// The model that annotates.
    pub teacher: TeacherConfig,
    /// The rules for entities.
    #[serde(default)]
    pub filter: FilterConfig,
    /// The report.
    #[serde(default)]
    pub report: ReportConfig,
}

/// `[run]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillRun {
    /// The folder for passages, answers, training data and report.
    pub dir: PathBuf,
    /// The seed of the draw.
    #[serde(default)]
    pub seed: u64,
    /// The device of a teacher on this machine.
    #[serde(default)]
    pub device: Devices,
}

/// `[passages]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passages {
    /// Optional: the tokenizer that counts the tokens of a passage: its file, or a folder with it.
    /// If left out, words and punctuation marks are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
}

/// `[teacher]`: one of `endpoint` and `model`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherConfig {
    /// The wording of the prompt.
    #[serde(default)]
    pub prompt: PromptVersion,
    /// A model behind an API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// A model on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<LocalModel>,
}

/// `[teacher.model]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalModel {
    /// A model folder, the folder of a run, or `hf:org/name`.
    pub weights: PathBuf,
    /// Optional: the template that puts turns together. If left out, as the folder says, else
    /// `chat`, which is the model's own chat template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Longest answer, in tokens.
    #[serde(default = "max_new_tokens")]
    pub max_new_tokens: usize,
}

/// `[report]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportConfig {
    /// Lists of datasets whose test splits are compared with the passages, such as `zero-shot-7`.
    #[serde(default)]
    pub against: Vec<String>,
    /// Folder of the datasets' files.
    #[serde(default = "root")]
    pub root: PathBuf,
}

impl Default for ReportConfig {
    fn default() -> Self {
        Self { against: Vec::new(), root: root() }
    }
}

fn max_new_tokens() -> usize {
    512
}

fn root() -> PathBuf {
    "data".into()
}

impl DistillRecipe {
    /// Reads a recipe and applies overrides to it. The paths of the corpus are relative to the
    /// recipe's folder, those of overrides to the current folder.
    ///
    /// # Errors
    /// With the line or the override at fault; when the recipe names no teacher, or two.
    pub fn parse(source: &RecipeText, overrides: &[Override]) -> Result<Self, RecipeError> {
        let recipe: Self = parse_as(source, overrides)?;
        if recipe.teacher.endpoint.is_some() == recipe.teacher.model.is_some() {
            return Err(RecipeError::Contradiction(
                "a recipe has one of `[teacher.endpoint]` and `[teacher.model]`".to_owned(),
            ));
        }
        let is_own = overrides.iter().any(|override_| override_.sets("corpus.subsets"));
        let corpus = recipe.corpus.clone();
        let corpus = if is_own { corpus } else { corpus.relative_to(&source.folder) };
        Ok(Self { corpus, ..recipe })
    }
}
