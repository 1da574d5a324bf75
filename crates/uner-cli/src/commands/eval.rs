//! `uner eval`: measures a system on benchmarks. Queries every example for every type of its
//! dataset.

use std::io::Write;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use uner_data::{DatasetRef, registry};
use uner_eval::Sample;
use uner_eval::report::Report;
use uner_eval::reproduction::Reproduction;
use uner_plan::hub;
use uner_plan::recipe::{self, Benchmark, EvalRecipe, normal};
use uner_run::folder::{recorded_root, recorded_training};
use uner_run::{Evaluation, write_report};

use crate::Ending;
use crate::args::{CompareArgs, EvalArgs, ReproduceArgs};
use crate::model;
use crate::terminal::interrupt;
use crate::terminal::progress::Meter;

/// `uner eval`
pub(crate) fn run(args: &EvalArgs, out: &mut dyn Write) -> Result<Ending> {
    interrupt::watch()?;
    let report = match (&args.recipe, &args.model) {
        (Some(recipe), _) => by_recipe(recipe, args)?,
        (None, Some(model)) => of_model(model, args)?,
        (None, None) => unreachable!("the command line has a model or a recipe"),
    };
    let Some((report, output)) = report else { return Ok(Ending::Interrupted) };
    write!(out, "{}", report.terminal(args.calibration))?;
    tracing::info!("wrote `{}`", output.display());
    Ok(Ending::Done)
}

/// Report and folder of an evaluation by a recipe; `None` if it was interrupted.
fn by_recipe(name: &str, args: &EvalArgs) -> Result<Option<(Report, PathBuf)>> {
    let recipe = EvalRecipe::parse(&recipe::find_evaluation(name)?, &args.set)?;
    let accepted = &args.options.accept_licence;
    let report = deferring(|| uner_run::evaluate(&recipe, accepted, args.resume, &mut metered()))?;
    Ok(report.map(|report| (report, recipe.run.dir)))
}

/// Runs an evaluation with interrupts deferred; `None` if one came.
fn deferring(evaluate: impl FnOnce() -> Result<Report>) -> Result<Option<Report>> {
    interrupt::defer();
    let report = evaluate();
    if interrupt::stop_deferring() {
        tracing::warn!("interrupted; go on with `--resume`");
        return Ok(None);
    }
    let report = report?;
    ensure!(report.macro_average.is_some(), "no benchmark was scored");
    Ok(Some(report))
}

/// Report and folder of the evaluation of a model; `None` if it was interrupted.
fn of_model(model: &Path, args: &EvalArgs) -> Result<Option<(Report, PathBuf)>> {
    let listed = args.list.as_deref().map(registry::in_list).transpose()?;
    let listed = listed.into_iter().flatten().map(|dataset| dataset.name);
    let names = args.benchmark.iter().cloned().chain(listed);
    let limit = args.limit.map(NonZeroUsize::get);
    let benchmarks: Vec<Benchmark> = names.map(|name| benchmark(&name, limit)).collect();
    let output = output_folder(model, args)?;
    let open = model::open(model, &args.options)?;
    warn_of_training_data(model, &benchmarks);
    let root = args.root.clone().or_else(|| recorded_root(model)).unwrap_or_else(|| "data".into());
    let benchmarks = match &args.root {
        Some(_) => benchmarks.into_iter().map(under_root).collect::<Result<Vec<_>>>()?,
        None => benchmarks,
    };
    let mut system = open.system(model.display().to_string());
    let evaluation = Evaluation {
        folder: &output,
        benchmarks: &benchmarks,
        root: &root,
        seen: None,
        sample: args.sample.map(|pairs| Sample { pairs: pairs.get(), seed: args.seed }),
        resume: args.resume,
    };
    let Some(report) = deferring(|| evaluation.run(&mut *system, &mut metered()))? else {
        return Ok(None);
    };
    write_report(&output, &report)?;
    Ok(Some((report, output)))
}

/// `uner compare`
pub(crate) fn compare(args: &CompareArgs, out: &mut dyn Write) -> Result<()> {
    let found = uner_eval::compare(&args.first, &args.second)?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?;
    } else {
        write!(out, "{}", uner_eval::compare::table(&found))?;
    }
    Ok(())
}

/// `uner reproduce`
pub(crate) fn reproduce(args: &ReproduceArgs, out: &mut dyn Write) -> Result<()> {
    Ok(write!(out, "{}", Reproduction::load(&args.table)?.table(&args.root)?)?)
}

/// Makes a benchmark's files relative to `--root`, not to its description.
fn under_root(benchmark: Benchmark) -> Result<Benchmark> {
    let mut dataset = benchmark.dataset.resolve()?;
    dataset.folder = None;
    Ok(Benchmark { dataset: DatasetRef::Inline(Box::new(dataset)), ..benchmark })
}

/// The folder for report and predictions: by default one in `eval` of the model's folder. A model
/// on the hub needs `--output`, because reports do not belong in the cache.
fn output_folder(model: &Path, args: &EvalArgs) -> Result<PathBuf> {
    ensure!(
        args.output.is_some() || !hub::is_named(model),
        "`{}` is on the hub, so the report has no default folder; name one with `--output`",
        model.display()
    );
    Ok(args.output.clone().unwrap_or_else(|| model.join("eval").join(folder_name(args))))
}

/// A folder name for the benchmarks, so that evaluations do not overwrite each other:
/// `demo-test-first-50`.
fn folder_name(args: &EvalArgs) -> String {
    let name = |text: &String| {
        let Benchmark { dataset, split, .. } = benchmark(text, None);
        let DatasetRef::Name(dataset) = dataset else { unreachable!("a name was read") };
        let stem =
            Path::new(&dataset).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        format!("{stem}-{split}")
    };
    let names: Vec<String> =
        args.list.iter().cloned().chain(args.benchmark.iter().map(name)).collect();
    let limit = args.limit.map_or_else(String::new, |limit| format!("-first-{limit}"));
    format!("{}{limit}", names.join("+"))
}

/// Warns if a benchmark is training data: the model has seen its answers.
fn warn_of_training_data(model: &Path, benchmarks: &[Benchmark]) {
    let trained = recorded_training(model);
    for Benchmark { dataset, split, .. } in benchmarks {
        let DatasetRef::Name(name) = dataset else { continue };
        // A run records absolute paths, and names of built-in datasets.
        let path = normal(&std::path::absolute(name).unwrap_or_default());
        let is_same = |known: &String| known == name || normal(Path::new(known)) == path;
        let is_recorded = trained.iter().any(|(known, of)| of == split && is_same(known));
        if is_recorded || split == "train" {
            let of =
                if is_recorded { "the model was trained on it" } else { "it is training data" };
            tracing::warn!("`{name}:{split}` says nothing about other text: {of}");
        }
    }
}

/// `dataset` or `dataset:split`.
fn benchmark(text: &str, limit: Option<usize>) -> Benchmark {
    let (dataset, split) = text.rsplit_once(':').unwrap_or((text, "test"));
    Benchmark { dataset: DatasetRef::Name(dataset.to_owned()), split: split.to_owned(), limit }
}

/// Progress callback that shows a meter for each benchmark.
pub(crate) fn metered() -> impl FnMut(&str, u64, u64) -> ControlFlow<()> {
    let mut meter: Option<Meter> = None;
    move |dataset, done, total| {
        if done == 0 {
            meter = Some(Meter::new(0, Some(total)));
        }
        if let Some(meter) = &mut meter {
            meter.show(done, || format!("queries of {dataset}"));
        }
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
