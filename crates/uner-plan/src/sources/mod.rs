//! Looks up the model, datasets and template of a recipe.
//!
//! The lookup works before data and weights exist; it then lists what is missing and how to get
//! it.

mod missing;

pub use missing::{Missing, missing_lines};

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail};
use uner_data::{Dataset, DatasetRef};
use uner_prompt::template::MissionName;
use uner_prompt::{ChatTemplate, Template};

use crate::hub::{Accepted, HubRepo};
use crate::lookup::adapter;
use crate::lookup::model::ModelSource;
use crate::recipe::{Recipe, RecipeError, check};
use missing::{missing_model, missing_split};

/// A recipe and everything that it names.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The recipe as written.
    pub recipe: Recipe,
    /// The prompt template.
    pub template: Template,
    /// The model.
    pub model: ModelSource,
    /// The datasets of `data.train`, in order.
    pub train: Vec<Dataset>,
    /// The datasets of `data.validation`, in order.
    pub validation: Vec<Dataset>,
    /// The datasets of `eval.benchmarks`, in order.
    pub benchmarks: Vec<Dataset>,
    /// Files that do not exist.
    pub missing: Vec<Missing>,
}

impl Sources {
    /// Looks up what a recipe names, and refuses values that contradict each other.
    ///
    /// # Errors
    /// Names the key at fault.
    pub fn find(recipe: Recipe) -> Result<Self, RecipeError> {
        check(&recipe)?;
        let template =
            Template::load(&recipe.prompt.template).map_err(|error| RecipeError::Names {
                key: "prompt.template",
                value: recipe.prompt.template.clone(),
                problem: error.to_string(),
            })?;
        let model = ModelSource::find(&recipe.model)?;
        let template = own_chat_template(template, &recipe.prompt.template, &model)?;
        check_lengths(&recipe, &model)?;
        check_mission(&recipe, &template)?;
        adapter::check(&recipe.model)?;
        let mut missing: Vec<Missing> = missing_model(&model).into_iter().collect();
        let mut look_up = |dataset: &DatasetRef, split: &str, for_training: bool| {
            let found =
                dataset.resolve().map_err(|error| RecipeError::Contradiction(error.to_string()))?;
            missing.extend(missing_split(&found, split, &recipe.data.root, for_training)?);
            Ok::<Dataset, RecipeError>(found)
        };
        let mut members = |members: &[uner_data::Member]| {
            members
                .iter()
                .map(|member| look_up(&member.dataset, &member.split, true))
                .collect::<Result<Vec<_>, _>>()
        };
        let (train, validation) = (members(&recipe.data.train)?, members(&recipe.data.validation)?);
        let benchmarks = recipe.eval.benchmarks.iter();
        let benchmarks =
            benchmarks.map(|benchmark| look_up(&benchmark.dataset, &benchmark.split, false));
        let benchmarks = benchmarks.collect::<Result<_, _>>()?;
        // Training measures on these benchmarks, and therefore needs them.
        for benchmark in recipe.eval.during.iter().flat_map(|during| &during.benchmarks) {
            look_up(&benchmark.dataset, &benchmark.split, true)?;
        }
        if train.is_empty() {
            return Err(RecipeError::Contradiction(
                "`data.train` names no dataset; add one".to_owned(),
            ));
        }
        Ok(Self { recipe, template, model, train, validation, benchmarks, missing })
    }

    /// Whether all benchmarks are generated; false without benchmarks.
    pub fn is_synthetic(&self) -> bool {
        let generated =
            |dataset: &Dataset| matches!(dataset.format, uner_data::format::Format::Demo(_));
        !self.benchmarks.is_empty() && self.benchmarks.iter().all(generated)
    }

    /// The missing files that training needs.
    pub fn blocking(&self) -> impl Iterator<Item = &Missing> {
        self.missing.iter().filter(|missing| missing.for_training)
    }
}

/// Looks up a recipe, and downloads what is missing if its licence is accepted. For anything else
/// on the hub, [`Missing::obtain`] says how to accept the licence.
///
/// # Errors
/// As [`Sources::find`], and when something cannot be downloaded.
pub fn resolve(recipe: Recipe, accepted: &[Accepted]) -> Result<Sources> {
    // The model comes first: without its `config.json` its dimensions may be unknown.
    if let Some(model) = HubRepo::model(&recipe.model.weights)
        .map_err(|error| RecipeError::Contradiction(format!("`model.weights`: {error}")))?
        && model.cached().is_none()
    {
        if model.is_accepted(accepted) {
            model.download()?;
        } else if recipe.model.config.is_none() {
            bail!("{model} is not in the cache: {}", model.terms());
        }
    }
    let mut sources = Sources::find(recipe)?;
    let missing: BTreeSet<HubRepo> =
        sources.missing.iter().filter_map(|missing| missing.hub.clone()).collect();
    let (wanted, others): (Vec<_>, Vec<_>) =
        missing.into_iter().partition(|hub| hub.is_accepted(accepted));
    for source in &wanted {
        source.download()?;
    }
    if !wanted.is_empty() {
        sources = Sources::find(sources.recipe)?;
    }
    for source in &others {
        let terms = source.terms();
        for missing in
            sources.missing.iter_mut().filter(|missing| missing.hub.as_ref() == Some(source))
        {
            missing.obtain.clone_from(&terms);
        }
    }
    Ok(sources)
}

/// Adds the model's own chat template if the template refers to it and the model exists.
fn own_chat_template(
    template: Template,
    name: &str,
    model: &ModelSource,
) -> Result<Template, RecipeError> {
    let fault = |problem: String| RecipeError::Names {
        key: "prompt.template",
        value: name.to_owned(),
        problem,
    };
    if !template.chat_template.as_ref().is_some_and(ChatTemplate::is_unknown) {
        return Ok(template);
    }
    let Some(folder) = model.tokenizer.as_deref().and_then(Path::parent) else {
        return Err(fault(
            "it is the model's own chat template, but a tokenizer that the run trains has none; set `model.tokenizer` to the \
             tokenizer of a model, or choose another template, such as `zero-shot`"
                .to_owned(),
        ));
    };
    if !model.present {
        return Ok(template);
    }
    template.with_chat_of(folder).map_err(|error| fault(error.to_string()))
}

/// Refuses a span head for anything but entities.
fn check_mission(recipe: &Recipe, template: &Template) -> Result<(), RecipeError> {
    match template.mission {
        MissionName::Relations if recipe.model.head.is_some() => {
            Err(RecipeError::Contradiction(format!(
                "`model.head = \"spans\"` reads entities, but the template `{}` asks for relations; \
                 remove one of the two",
                template.name
            )))
        }
        _ => Ok(()),
    }
}

fn check_lengths(recipe: &Recipe, model: &ModelSource) -> Result<(), RecipeError> {
    let length = recipe.train.max_seq_len;
    let (window, key) = model.config.context_limit();
    if length > window {
        return Err(RecipeError::Contradiction(format!(
            "`train.max_seq_len` is {length}, but the model was made for {window} tokens (`{key}`); \
             lower `train.max_seq_len`"
        )));
    }
    if recipe.infer.max_new_tokens == 0 || recipe.infer.max_new_tokens >= window {
        return Err(RecipeError::Contradiction(format!(
            "`infer.max_new_tokens` is {}; it must be at least 1 and leave room for the prompt in the model's window of \
             {window} tokens",
            recipe.infer.max_new_tokens
        )));
    }
    Ok(())
}
