//! The scores of a run: F1 by generation, every few steps and at its end.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context as _, Result};
use uner_data::overlap::{Index, Overlap};
use uner_data::{DataError, Member, SeenMentions, printable, read};
use uner_eval::report::{Outcome, Report};
use uner_eval::{EvalError, Folder, OnProgress, Options, Sample, System, measure};
use uner_model::{Llama, atomic};
use uner_plan::Sources;
use uner_plan::assemble::Assembled;
use uner_plan::recipe::{Benchmark, During};
use uner_trainer::metrics::event::MetricsWriter;
use uner_trainer::{Event, TrainError};

use crate::system::ModelSystem;

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
    let mut system = ModelSystem { name: String::new(), predictor: &predictor };
    strict_f1(&mut system, &sources.recipe.data.root, during, interrupted)
}

/// The macro average of a system's strict F1 over the benchmarks of `eval.during`, from 0 to 1;
/// `None` if `interrupted` ended it early.
pub(crate) fn strict_f1(
    system: &mut dyn System,
    root: &Path,
    during: &During,
    interrupted: &dyn Fn() -> bool,
) -> Result<Option<f64>, TrainError> {
    let mut go_on = |_: &str, _, _| {
        if interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut measured = || -> Result<f64> {
        let benchmarks = resolved(&during.benchmarks)?;
        let options = Options { root, folder: None, seen: None };
        let report = measure(system, &benchmarks, options, &mut go_on)?;
        Ok(report.macro_average.context("no benchmark of `eval.during` could be scored")?.strict_f1)
    };
    match measured() {
        Ok(score) => Ok(Some(score)),
        Err(error) if matches!(error.downcast_ref(), Some(EvalError::Stopped)) => Ok(None),
        Err(error) => Err(TrainError::Scoring(error.into())),
    }
}

/// Looks up the datasets of a recipe's benchmarks.
fn resolved(benchmarks: &[Benchmark]) -> Result<Vec<uner_eval::Benchmark>> {
    let resolve = |Benchmark { dataset, split, limit }: &Benchmark| {
        let dataset = dataset.resolve()?;
        Ok(uner_eval::Benchmark { dataset, split: split.clone(), limit: *limit, sample: None })
    };
    benchmarks.iter().map(resolve).collect()
}

/// An evaluation that writes its answers to a folder.
#[derive(Debug, Clone, Copy)]
pub struct Evaluation<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// What is measured.
    pub benchmarks: &'a [Benchmark],
    /// The folder that the files of benchmarks are relative to.
    pub root: &'a Path,
    /// The mentions of the training data: seen and unseen entities are scored separately.
    pub seen: Option<&'a SeenMentions>,
    /// Asks a sample of the queries of each benchmark only.
    pub sample: Option<Sample>,
    /// Whether an interrupted evaluation of the same system and benchmarks is continued.
    pub resume: bool,
}

impl Evaluation<'_> {
    /// Measures a system, and writes every answer; [`write_report`] writes the scores.
    ///
    /// # Errors
    /// As [`measure`]; when the folder cannot be written.
    pub fn run(&self, system: &mut dyn System, on_progress: &mut OnProgress) -> Result<Report> {
        let mut benchmarks = resolved(self.benchmarks)?;
        for benchmark in &mut benchmarks {
            benchmark.sample = self.sample;
        }
        let folder = Folder::open_for(self.folder, &system.name(), self.resume)?;
        let options = Options { root: self.root, folder: Some(&folder), seen: self.seen };
        Ok(measure(system, &benchmarks, options, on_progress)?)
    }
}

/// The overlap of whole training splits with whole splits of benchmarks. `None`, with a warning, if
/// one cannot be read any more: the scores of a long run must not be lost for it.
pub(crate) fn overlap(
    training: &[Member],
    benchmarks: &[Benchmark],
    root: &Path,
) -> Option<Overlap> {
    let warn = |error: &anyhow::Error| tracing::warn!("no overlap in the report: {error:#}");
    compare(training, benchmarks, root).inspect_err(warn).ok()
}

/// Reads both once. Benchmarks whose files do not exist are left out.
fn compare(training: &[Member], benchmarks: &[Benchmark], root: &Path) -> Result<Overlap> {
    let mut open = Vec::new();
    for Benchmark { dataset, split, .. } in benchmarks {
        let dataset = dataset.resolve()?;
        match read(&dataset, split, root) {
            Ok(examples) => open.push((format!("{}:{split}", dataset.name), examples)),
            Err(DataError::MissingFile { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let index = Index::new(open)?;
    let mut scan = index.scan();
    for Member { dataset, split, .. } in training {
        let dataset = dataset.resolve()?;
        scan.add(format!("{}:{split}", dataset.name), read(&dataset, split, root)?)?;
    }
    Ok(scan.overlap(0))
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

/// Writes `report.json`, `report.md` and the page `report.html` to a folder.
///
/// # Errors
/// When they cannot be written.
pub fn write_report(folder: &Path, report: &Report) -> Result<()> {
    let json = serde_json::to_string_pretty(report)?;
    let markdown = printable(&report.markdown());
    for (name, text) in [("report.json", json), ("report.md", markdown)] {
        let write = |out: &mut dyn std::io::Write| Ok(out.write_all(text.as_bytes())?);
        atomic::write::<anyhow::Error>(&folder.join(name), write)?;
    }
    uner_eval::page::write(folder, report)?;
    Ok(())
}
