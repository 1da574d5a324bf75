//! The scores of a run: F1 by generation, every few steps and at its end.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use uner_data::{SeenMentions, printable};
use uner_eval::report::{Outcome, Report};
use uner_eval::{EvalError, OnProgress, measure};
use uner_infer::{InferError, Predictor};
use uner_model::{Llama, atomic};
use uner_plan::Sources;
use uner_plan::assemble::Assembled;
use uner_plan::recipe::{Benchmark, During};
use uner_trainer::metrics::event::MetricsWriter;
use uner_trainer::{Event, TrainError};

/// Every answer of an evaluation.
const PREDICTIONS: &str = "predictions.jsonl";

/// The macro average of strict F1 over the benchmarks of `eval.during`, from 0 to 1; `None` if
/// `interrupted` ended it early.
pub(crate) fn score(
    sources: &Sources,
    during: &During,
    assembled: &Assembled,
    model: &Llama,
    interrupted: &dyn Fn() -> bool,
) -> Result<Option<f64>, TrainError> {
    let predictor =
        assembled.predictor(model, sources).map_err(|error| TrainError::Scoring(error.into()))?;
    match strict_f1(&predictor, sources, during, interrupted) {
        Ok(score) => Ok(Some(score)),
        Err(error) if is_stopped(&error) => Ok(None),
        Err(error) => Err(TrainError::Scoring(error.into())),
    }
}

fn is_stopped(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(EvalError::Infer(InferError::Stopped)))
}

fn strict_f1(
    predictor: &Predictor,
    sources: &Sources,
    during: &During,
    interrupted: &dyn Fn() -> bool,
) -> Result<f64> {
    let mut go_on = |_: &str, _, _| {
        if interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let benchmarks = resolved(&during.benchmarks)?;
    let root = &sources.recipe.data.root;
    let report = measure(predictor, &benchmarks, root, None, None, &mut go_on)?;
    Ok(report.macro_average.context("no benchmark of `eval.during` could be scored")?.strict_f1)
}

/// Looks up the datasets of a recipe's benchmarks.
fn resolved(benchmarks: &[Benchmark]) -> Result<Vec<uner_eval::Benchmark>> {
    let resolve = |Benchmark { dataset, split, limit }: &Benchmark| {
        let dataset = dataset.resolve()?;
        Ok(uner_eval::Benchmark { dataset, split: split.clone(), limit: *limit })
    };
    benchmarks.iter().map(resolve).collect()
}

/// Measures a predictor on benchmarks, whose files are in `root`, and writes `report.md`,
/// `report.json`, and every answer (`predictions.jsonl`) to `folder`.
///
/// # Errors
/// As [`measure`]; when the folder cannot be written; when a score is `needed` and no benchmark has
/// one, in which case no file is written.
pub fn measure_into(
    folder: &Path,
    predictor: &Predictor,
    (benchmarks, root): (&[Benchmark], &Path),
    seen: Option<&SeenMentions>,
    needed: bool,
    on_progress: &mut OnProgress,
) -> Result<Report> {
    let benchmarks = resolved(benchmarks)?;
    fs_err::create_dir_all(folder)?;
    let mut report = Report::new(Vec::new());
    atomic::write::<anyhow::Error>(&folder.join(PREDICTIONS), |out| {
        report = measure(predictor, &benchmarks, root, seen, Some(out), on_progress)?;
        ensure!(report.macro_average.is_some() || !needed, "no benchmark was scored");
        Ok(())
    })?;
    write_report(folder, &report)?;
    Ok(report)
}

/// Adds the scores of a trained model to the metrics of its run.
pub(crate) fn record_scores(folder: &Path, step: u64, report: &Report) -> Result<()> {
    let mut scores = BTreeMap::new();
    for outcome in &report.outcomes {
        if let Outcome::Scored(scored) = outcome {
            scores.insert(format!("{} official F1", scored.dataset), scored.scores.official.f1);
            scores.insert(format!("{} strict F1", scored.dataset), scored.scores.semeval.strict.f1);
        }
    }
    Ok(MetricsWriter::open(folder, step)?.write(&Event::Measured { step, scores })?)
}

/// Writes `report.json` and `report.md` to a folder.
fn write_report(folder: &Path, report: &Report) -> Result<()> {
    fs_err::create_dir_all(folder)?;
    let json = serde_json::to_string_pretty(report)?;
    atomic::write::<anyhow::Error>(&folder.join("report.json"), |out| {
        Ok(out.write_all(json.as_bytes())?)
    })?;
    let markdown = printable(&report.markdown());
    atomic::write::<anyhow::Error>(&folder.join("report.md"), |out| {
        Ok(out.write_all(markdown.as_bytes())?)
    })
}
