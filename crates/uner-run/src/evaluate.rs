//! An evaluation by a recipe: any system, measured on any benchmarks.

use std::path::Path;

use anyhow::{Context as _, Result};
use uner_data::DataError;
use uner_endpoint::{Client, Endpoint};
use uner_eval::report::Report;
use uner_eval::systems::endpoint::{Ask, EndpointSystem};
use uner_eval::systems::predictions::PredictedAnswers;
use uner_eval::{EvalError, OnProgress, Sample, System};
use uner_infer::LoadOptions;
use uner_plan::hub::{self, Accepted};
use uner_plan::recipe::{
    ALL_TYPES, Benchmark, EvalModel, EvalPredictions, EvalRecipe, SystemConfig,
};
use uner_prompt::Template;

use crate::folder::resolve;
use crate::measure::{Evaluation, write_report};
use crate::model::OpenModel;

/// The file with the answers of an endpoint, in the folder of the evaluation.
const JOURNAL: &str = "journal.jsonl";
/// The file with the recipe, in the folder of the evaluation.
const RECIPE: &str = "recipe.toml";

/// Measures the system of a recipe, and writes its answers and the report to the recipe's folder.
/// With `resume`, an interrupted evaluation goes on, and nothing is asked twice.
///
/// # Errors
/// When the recipe contradicts itself, the system cannot be opened or does not answer, or the
/// folder cannot be written.
pub fn evaluate(
    recipe: &EvalRecipe,
    accepted: &[Accepted],
    resume: bool,
    on_progress: &mut OnProgress,
) -> Result<Report> {
    let benchmarks = recipe.benchmarks()?;
    match recipe.system()? {
        SystemConfig::Model(model) => {
            let open = open_model(recipe, model, accepted)?;
            let name = model.weights.display().to_string();
            measured(recipe, &benchmarks, &mut *open.system(name), resume, on_progress)
        }
        SystemConfig::Endpoint(endpoint) => {
            let mut system = open_endpoint(recipe, endpoint)?;
            measured(recipe, &benchmarks, &mut system, resume, on_progress)
        }
        SystemConfig::Predictions(predictions) => {
            let mut system = read_predictions(predictions, &benchmarks, &recipe.data.root)?;
            measured(recipe, &benchmarks, &mut system, resume, on_progress)
        }
    }
}

fn measured(
    recipe: &EvalRecipe,
    benchmarks: &[Benchmark],
    system: &mut dyn System,
    resume: bool,
    on_progress: &mut OnProgress,
) -> Result<Report> {
    let folder = &recipe.run.dir;
    let sample = recipe.eval.sample.map(|sample| Sample { pairs: sample.pairs, seed: sample.seed });
    let evaluation =
        Evaluation { folder, benchmarks, root: &recipe.data.root, seen: None, sample, resume };
    let report = evaluation.run(system, on_progress)?;
    fs_err::write(folder.join(RECIPE), toml::to_string(recipe)?)?;
    write_report(folder, &report)?;
    Ok(report)
}

fn open_model(recipe: &EvalRecipe, model: &EvalModel, accepted: &[Accepted]) -> Result<OpenModel> {
    let folder = resolve(&hub::folder(&model.weights, accepted)?)?;
    let options = LoadOptions {
        template: recipe.prompt.template.clone(),
        decoding: model.decoding,
        ..LoadOptions::default()
    };
    OpenModel::load(&folder, &recipe.run.device.first().open()?, &options)
}

fn open_endpoint(recipe: &EvalRecipe, endpoint: &Endpoint) -> Result<EndpointSystem> {
    let ask = match recipe.prompt.template.as_deref().unwrap_or("zero-shot") {
        ALL_TYPES => Ask::AllTypes,
        template => Ask::Template(Box::new(Template::load(template)?)),
    };
    fs_err::create_dir_all(&recipe.run.dir)?;
    let client = Client::new(endpoint.clone())?.with_journal(&recipe.run.dir.join(JOURNAL))?;
    Ok(EndpointSystem { client, ask })
}

fn read_predictions(
    EvalPredictions { name, files }: &EvalPredictions,
    benchmarks: &[Benchmark],
    root: &Path,
) -> Result<PredictedAnswers> {
    let mut system = PredictedAnswers::new(name);
    for (file, Benchmark { dataset, split, .. }) in files.iter().zip(benchmarks) {
        let dataset = dataset.resolve()?;
        match system.add(file, (&dataset, split), root) {
            // The report lists it, and the others are scored.
            Err(EvalError::Data(DataError::MissingFile { .. })) => {}
            added => {
                added.with_context(|| format!("the predictions for `{}:{split}`", dataset.name))?;
            }
        }
    }
    Ok(system)
}
