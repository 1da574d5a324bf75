//! What a run will do: a recipe with everything looked up and every derived number filled in.
//!
//! A plan can be made before data and weights are there; it then says what is missing and how to
//! get it.

mod evaluation;
mod numbers;
mod print;
mod print_numbers;

pub use numbers::{DataSize, Machine, Numbers, RankCount, Steps};
pub use print::missing_lines;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use uner_data::{DataError, Dataset, DatasetRef, read};
use uner_prompt::{ChatTemplate, Template};

use crate::hub::{Accepted, Source};
use crate::lookup::adapter;
use crate::lookup::model::ModelSource;
use crate::recipe::{Recipe, RecipeError};

/// A recipe, looked up.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What was written.
    pub recipe: Recipe,
    /// The wording.
    pub template: Template,
    /// The model.
    pub model: ModelSource,
    /// The datasets of `data.train`, in order.
    pub train: Vec<Dataset>,
    /// Those of `data.validation`.
    pub validation: Vec<Dataset>,
    /// Those of `eval.benchmarks`.
    pub benchmarks: Vec<Dataset>,
    /// What is not there.
    pub missing: Vec<Missing>,
}

/// Something the run needs that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What it is.
    pub what: String,
    /// Where it was looked for.
    pub path: PathBuf,
    /// How to get it and where to put it; empty where nobody says.
    pub obtain: String,
    /// Its licence; empty where nobody says.
    pub licence: String,
    /// Where on the hub it is, where it is there.
    pub hub: Option<Source>,
    /// Whether training needs it; a benchmark is needed only afterwards.
    pub for_training: bool,
}

impl Plan {
    /// Looks up what a recipe names and refuses what does not fit together.
    ///
    /// # Errors
    /// Names the key at fault.
    pub fn resolve(recipe: Recipe) -> Result<Self, RecipeError> {
        check_values(&recipe)?;
        let problems: Vec<String> =
            recipe.train.problems().iter().map(ToString::to_string).collect();
        if !problems.is_empty() {
            return Err(RecipeError::Contradiction(problems.join("\n       ")));
        }
        let template =
            Template::load(&recipe.prompt.template).map_err(|error| RecipeError::Names {
                key: "prompt.template",
                value: recipe.prompt.template.clone(),
                problem: error.to_string(),
            })?;
        let model = ModelSource::find(&recipe.model)?;
        let template = own_chat_template(template, &recipe.prompt.template, &model)?;
        check_lengths(&recipe, &model)?;
        check_negatives(&recipe)?;
        evaluation::check(&recipe)?;
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
        // Training cannot go on without these.
        for benchmark in recipe.eval.during.iter().flat_map(|during| &during.benchmarks) {
            look_up(&benchmark.dataset, &benchmark.split, true)?;
        }
        if train.is_empty() {
            return Err(RecipeError::Contradiction("`data.train` names no dataset".to_owned()));
        }
        Ok(Self { recipe, template, model, train, validation, benchmarks, missing })
    }

    /// Whether every benchmark is made up.
    pub fn is_synthetic(&self) -> bool {
        let generated =
            |dataset: &Dataset| matches!(dataset.format, uner_data::format::Format::Demo(_));
        !self.benchmarks.is_empty() && self.benchmarks.iter().all(generated)
    }

    /// What keeps training from starting.
    pub fn blocking(&self) -> impl Iterator<Item = &Missing> {
        self.missing.iter().filter(|missing| missing.for_training)
    }
}

/// Looks a recipe up, downloading what is missing of it and accepted; of what is not accepted the
/// plan then says how to accept it.
///
/// # Errors
/// As [`Plan::resolve`], and when something cannot be downloaded.
pub fn resolve(recipe: Recipe, accepted: &[Accepted]) -> Result<Plan> {
    // The model first: without its `config.json` there may be nothing to plan with.
    if let Some(model) = Source::model(&recipe.model.weights)
        .map_err(|error| RecipeError::Contradiction(format!("`model.weights`: {error}")))?
        && model.cached().is_none()
    {
        if model.is_accepted(accepted) {
            model.download()?;
        } else if recipe.model.config.is_none() {
            bail!("{model} is not here: {}", model.terms());
        }
    }
    let mut plan = Plan::resolve(recipe)?;
    let missing: BTreeSet<Source> =
        plan.missing.iter().filter_map(|missing| missing.hub.clone()).collect();
    let (wanted, others): (Vec<_>, Vec<_>) =
        missing.into_iter().partition(|hub| hub.is_accepted(accepted));
    for source in &wanted {
        source.download()?;
    }
    if !wanted.is_empty() {
        plan = Plan::resolve(plan.recipe)?;
    }
    for source in &others {
        let terms = source.terms();
        for missing in
            plan.missing.iter_mut().filter(|missing| missing.hub.as_ref() == Some(source))
        {
            missing.obtain.clone_from(&terms);
        }
    }
    Ok(plan)
}

/// The template with the model's own chat template, where that is meant and the model is there.
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
            "it is the model's own chat template, and a tokenizer that the run trains has none; name the tokenizer of a model by \
             `model.tokenizer`, or take another template, such as `zero-shot`"
                .to_owned(),
        ));
    };
    if !model.present {
        return Ok(template);
    }
    template.with_chat_of(folder).map_err(|error| fault(error.to_string()))
}

fn check_lengths(recipe: &Recipe, model: &ModelSource) -> Result<(), RecipeError> {
    let (length, window) = (recipe.train.max_seq_len, model.config.max_position_embeddings);
    if length > window {
        return Err(RecipeError::Contradiction(format!(
            "`train.max_seq_len` is {length}, but the model was made for {window} tokens (`max_position_embeddings`); \
             lower the former"
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

fn check_values(recipe: &Recipe) -> Result<(), RecipeError> {
    let paths =
        [("run.dir", recipe.run.dir.as_os_str()), ("model.weights", recipe.model.weights.as_ref())];
    if let Some((key, _)) = paths.iter().find(|(_, path)| path.is_empty()) {
        return Err(RecipeError::Contradiction(format!("`{key}` is empty; name a folder")));
    }
    if recipe.infer.batch_size == 0 {
        return Err(RecipeError::Contradiction(
            "`infer.batch_size` is 0; it must be at least 1".to_owned(),
        ));
    }
    match recipe.run.memory.map(|memory| memory.limit_gib) {
        Some(limit) if !(limit > 0.0 && limit.is_finite()) => Err(RecipeError::Contradiction(
            format!("`run.memory.limit_gib` is {limit}; it must be a positive number"),
        )),
        _ => Ok(()),
    }
}

fn check_negatives(recipe: &Recipe) -> Result<(), RecipeError> {
    let ratio = recipe.data.negatives.ratio;
    if ratio >= 0.0 && ratio.is_finite() {
        return Ok(());
    }
    Err(RecipeError::Contradiction(format!(
        "`data.negatives.ratio` is {ratio}; it must be a number from 0"
    )))
}

fn missing_model(model: &ModelSource) -> Option<Missing> {
    let folder = model.folder.as_ref().filter(|_| !model.present)?;
    Some(Missing {
        what: "the model's weights".to_owned(),
        path: folder.clone(),
        obtain: match model.about.obtain.as_str() {
            "" => {
                "put `config.json`, the weights as safetensors, and the tokenizer into this folder"
                    .to_owned()
            }
            obtain => format!(
                "{obtain} (`config.json`, the weights as safetensors, and the tokenizer go into this folder)"
            ),
        },
        licence: model.about.licence.clone(),
        hub: model.hub.clone(),
        for_training: true,
    })
}

fn missing_split(
    dataset: &Dataset,
    split: &str,
    root: &Path,
    for_training: bool,
) -> Result<Option<Missing>, RecipeError> {
    match read(dataset, split, root) {
        Ok(_) => Ok(None),
        Err(DataError::MissingFile { path, obtain, .. }) => Ok(Some(Missing {
            what: format!("split `{split}` of dataset `{}`", dataset.name),
            path,
            obtain,
            licence: dataset.licence.clone(),
            hub: on_hub(dataset, split, root)?,
            for_training,
        })),
        Err(error) => Err(RecipeError::Contradiction(error.to_string())),
    }
}

/// The repository that has the files of a split, where the description names one.
fn on_hub(dataset: &Dataset, split: &str, root: &Path) -> Result<Option<Source>, RecipeError> {
    if dataset.hub.is_empty() {
        return Ok(None);
    }
    let files = dataset
        .files(split, root)
        .map_err(|error| RecipeError::Contradiction(error.to_string()))?;
    let names =
        files.iter().filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned()));
    Ok(Some(Source::dataset(&dataset.hub, names.collect())))
}
