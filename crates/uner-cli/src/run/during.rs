//! Evaluation during training: F1 by generation, every few steps, on part of the benchmarks.

use std::ops::ControlFlow;

use anyhow::{Context as _, Result};
use uner_eval::{EvalError, measure};
use uner_infer::{InferError, Predictor};
use uner_model::Llama;
use uner_trainer::TrainError;

use crate::terminal::interrupt;
use uner_plan::Sources;
use uner_plan::assemble::Assembled;
use uner_plan::recipe::{Benchmark, During};

/// The macro average of strict F1 over the benchmarks, from 0 to 1; `None` if an interrupt ended it
/// early.
pub(crate) fn score(
    sources: &Sources,
    during: &During,
    assembled: &Assembled,
    model: &Llama,
) -> Result<Option<f64>, TrainError> {
    let predictor =
        assembled.predictor(model, sources).map_err(|error| TrainError::Scoring(error.into()))?;
    match strict_f1(&predictor, sources, during) {
        Ok(score) => Ok(Some(score)),
        Err(error) if is_stopped(&error) => Ok(None),
        Err(error) => Err(TrainError::Scoring(error.into())),
    }
}

fn is_stopped(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(EvalError::Infer(InferError::Stopped)))
}

fn strict_f1(predictor: &Predictor, sources: &Sources, during: &During) -> Result<f64> {
    let mut go_on = |_: &str, _, _| {
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let report = measure(
        predictor,
        &resolved(&during.benchmarks)?,
        &sources.recipe.data.root,
        None,
        None,
        &mut go_on,
    )?;
    Ok(report.macro_average.context("no benchmark of `eval.during` could be scored")?.strict_f1)
}

/// Looks up the datasets of a recipe's benchmarks.
pub(crate) fn resolved(benchmarks: &[Benchmark]) -> Result<Vec<uner_eval::Benchmark>> {
    let resolve = |Benchmark { dataset, split, limit }: &Benchmark| {
        let dataset = dataset.resolve()?;
        Ok(uner_eval::Benchmark { dataset, split: split.clone(), limit: *limit })
    };
    benchmarks.iter().map(resolve).collect()
}
