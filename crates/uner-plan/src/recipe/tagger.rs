//! The recipe of a token classifier, `model.head = "tags"`: an encoder that tags words, in the same
//! sections as a language model's recipe.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::Table;
use uner_data::Member;
use uner_trainer::TrainConfig;

use super::check::{check_evaluation, check_training};
use super::load::parse_as;
use super::overrides::Reading;
use super::{EvalConfig, Head, Override, RecipeError, RecipeText, RunConfig, data};

/// The content of the recipe file of a token classifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaggerRecipe {
    /// The run's folder, seed and devices.
    pub run: RunConfig,
    /// The encoder that is trained.
    pub model: TaggerModel,
    /// The data for training and validation.
    pub data: TaggerData,
    /// How the model is trained.
    #[serde(default)]
    pub train: TrainConfig,
    /// The benchmarks that the model is measured on.
    #[serde(default)]
    pub eval: EvalConfig,
}

/// `[model]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaggerModel {
    /// The kind of recipe: [`Head::Tags`].
    pub head: Head,
    /// The folder of a BERT encoder, with `tokenizer.json`.
    pub weights: PathBuf,
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaggerData {
    /// Folder of the datasets' files. If a dataset is described in a file of its own, its files are
    /// relative to that file instead.
    #[serde(default = "data")]
    pub root: PathBuf,
    /// The splits that are trained on.
    pub train: Vec<Member>,
    /// Optional: the splits that the validation loss is computed on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validation: Vec<Member>,
}

/// Whether a recipe is one of a token classifier.
pub fn is_tagger(source: &RecipeText, overrides: &[Override]) -> bool {
    let mut recipe: Table = source.text.parse().unwrap_or_default();
    for override_ in overrides {
        override_.apply(&mut recipe, Reading::Toml);
    }
    let head = recipe.get("model").and_then(|model| model.get("head"));
    head.is_some_and(|head| head.as_str() != Some("spans"))
}

impl TaggerRecipe {
    /// Reads a recipe and applies overrides to it, as [`parse`](super::parse) does.
    ///
    /// # Errors
    /// With the line or the override at fault.
    pub fn parse(source: &RecipeText, overrides: &[Override]) -> Result<Self, RecipeError> {
        parse_as(source, overrides)
    }

    /// Refuses values that cannot be trained, or contradict each other.
    ///
    /// # Errors
    /// Names the keys at fault.
    pub fn check(&self) -> Result<(), RecipeError> {
        check_training(&self.train)?;
        let refused = [
            (self.model.head != Head::Tags, "`model.head` is not `tags`"),
            (self.data.train.is_empty(), "`data.train` names no dataset; add one"),
            (self.train.precision.is_some(), "`train.precision` is for language models; remove it"),
            (self.run.memory.is_some(), "`[run.memory]` is for language models; remove it"),
        ];
        if let Some((_, problem)) = refused.iter().find(|(is_refused, _)| *is_refused) {
            return Err(RecipeError::Contradiction((*problem).to_owned()));
        }
        check_evaluation(&self.eval, &self.train, !self.data.validation.is_empty())
    }
}
