//! Measuring a model on benchmarks: every type of a dataset is asked of every example of it.

use std::io::Write;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde::Serialize;
use uner_data::{DataError, Dataset, DatasetRef, Entity, Example, Examples, read};
use uner_eval::report::{Outcome, Report};
use uner_eval::{DatasetReport, DatasetScorer, QueryPrediction, SeenMentions};
use uner_infer::{InferError, Predictor, Query, Response};
use uner_prompt::ner;

use crate::args::EvalArgs;
use crate::atomic;
use crate::model_folder::Asked;
use crate::notes;
use crate::progress::Meter;
use crate::run_folder::{PREDICTIONS, recorded_root, recorded_training, write_report};
use uner_plan::hub;
use uner_plan::recipe::{Benchmark, normal};

/// Examples answered together, in batches: enough that queries of like length meet.
const CHUNK: usize = 64;

/// `uner eval`
pub(crate) fn run(args: &EvalArgs, out: &mut dyn Write) -> Result<()> {
    let benchmarks: Vec<Benchmark> = args
        .benchmark
        .iter()
        .map(|name| benchmark(name, args.limit.map(NonZeroUsize::get)))
        .collect();
    let output = output_folder(args)?;
    let asked = Asked::load(&args.model)?;
    warn_of_training_data(&args.model.model, &benchmarks);
    let root = args
        .root
        .clone()
        .or_else(|| recorded_root(&args.model.model))
        .unwrap_or_else(|| "data".into());
    let benchmarks = match &args.root {
        Some(_) => benchmarks.into_iter().map(under_root).collect::<Result<Vec<_>>>()?,
        None => benchmarks,
    };
    let report = measure_into(&output, &asked.predictor()?, &benchmarks, &root, None, true)?;
    write!(out, "{}", report.terminal())?;
    tracing::info!("wrote `{}`", output.display());
    Ok(())
}

/// A benchmark whose files are not beside its description but under the folder that was named.
fn under_root(benchmark: Benchmark) -> Result<Benchmark> {
    let mut dataset = benchmark.dataset.resolve()?;
    dataset.folder = None;
    Ok(Benchmark { dataset: DatasetRef::Inline(Box::new(dataset)), ..benchmark })
}

/// Where report and predictions go: beside what the model's own run wrote of itself. The hub's
/// cache is no place for them.
fn output_folder(args: &EvalArgs) -> Result<PathBuf> {
    let model = &args.model.model;
    ensure!(
        args.output.is_some() || !hub::is_named(model),
        "`{}` has no folder of yours for the report; name one with `--output`",
        model.display()
    );
    Ok(args.output.clone().unwrap_or_else(|| model.join("eval").join(folder_name(args))))
}

/// The benchmarks of an evaluation as the name of a folder, so that one does not write over
/// another: `demo-test-first-50`.
fn folder_name(args: &EvalArgs) -> String {
    let name = |text: &String| {
        let Benchmark { dataset, split, .. } = benchmark(text, None);
        let DatasetRef::Name(dataset) = dataset else { unreachable!("a name was read") };
        let stem =
            Path::new(&dataset).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        format!("{stem}-{split}")
    };
    let names: Vec<String> = args.benchmark.iter().map(name).collect();
    let limit = args.limit.map_or_else(String::new, |limit| format!("-first-{limit}"));
    format!("{}{limit}", names.join("+"))
}

/// A model knows the answers to what it was trained on.
fn warn_of_training_data(model: &Path, benchmarks: &[Benchmark]) {
    let trained = recorded_training(model);
    for Benchmark { dataset, split, .. } in benchmarks {
        let DatasetRef::Name(name) = dataset else { continue };
        // A run records whole paths, and names of built-in datasets.
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

/// Measures into a folder: `report.md`, `report.json`, and every answer in `predictions.jsonl`.
///
/// # Errors
/// As [`measure`], when the folder cannot be written, and where one score is `needed` and there is
/// none: nothing is written then.
pub(crate) fn measure_into(
    folder: &Path,
    predictor: &Predictor,
    benchmarks: &[Benchmark],
    root: &Path,
    seen: Option<&SeenMentions>,
    needed: bool,
) -> Result<Report> {
    fs_err::create_dir_all(folder)?;
    let mut report = None;
    atomic::write(&folder.join(PREDICTIONS), |out| {
        let measured = measure(predictor, benchmarks, root, seen, Some(out), &mut metered())?;
        ensure!(measured.macro_average.is_some() || !needed, "no benchmark was scored");
        report = Some(measured);
        Ok(())
    })?;
    let report = report.expect("what was measured was written");
    write_report(folder, &report)?;
    Ok(report)
}

/// `dataset` or `dataset:split`.
fn benchmark(text: &str, limit: Option<usize>) -> Benchmark {
    let (dataset, split) = text.rsplit_once(':').unwrap_or((text, "test"));
    Benchmark { dataset: DatasetRef::Name(dataset.to_owned()), split: split.to_owned(), limit }
}

/// What is told of a measurement's progress: the benchmark, and how many of its queries are
/// answered of how many. It may break the measurement off.
pub(crate) type Told<'a> = dyn FnMut(&str, u64, u64) -> ControlFlow<()> + 'a;

/// Shows the progress, a meter for each benchmark.
pub(crate) fn metered() -> impl FnMut(&str, u64, u64) -> ControlFlow<()> {
    let mut meter: Option<Meter> = None;
    move |dataset, done, total| {
        if done == 0 {
            meter = Some(Meter::new(0, total));
        }
        if let Some(meter) = &mut meter {
            meter.show(done, || format!("queries of {dataset}"));
        }
        ControlFlow::Continue(())
    }
}

/// Scores a model on every benchmark; one whose files are not there is in the report as missing.
/// With the mentions of the training data, seen and unseen entities are scored apart. Every
/// example's answers go to `answers` as a line of JSON.
///
/// # Errors
/// [`InferError::Stopped`] when `told` breaks it off.
pub(crate) fn measure(
    predictor: &Predictor,
    benchmarks: &[Benchmark],
    root: &Path,
    seen: Option<&SeenMentions>,
    mut answers: Option<&mut dyn Write>,
    told: &mut Told,
) -> Result<Report> {
    let mut outcomes = Vec::new();
    for Benchmark { dataset, split, limit } in benchmarks {
        let dataset = dataset.resolve()?;
        let open = || read(&dataset, split, root);
        let limit = limit.unwrap_or(usize::MAX);
        outcomes.push(match open() {
            Ok(examples) => {
                let world = World::of(&dataset, examples, limit)?;
                let scorer = DatasetScorer::new(dataset.name.clone(), seen.cloned());
                let examples = open()?.take(world.num_examples);
                let answers = answers.as_mut().map(|out| &mut **out as &mut dyn Write);
                score(predictor, (&dataset, split, &world), examples, scorer, answers, told)?
            }
            Err(error @ DataError::MissingFile { .. }) => {
                tracing::warn!("{error}");
                Outcome::Missing { dataset: dataset.name, reason: error.to_string() }
            }
            Err(error) => return Err(error.into()),
        });
    }
    Ok(Report::new(outcomes))
}

/// What is asked of a benchmark.
struct World {
    /// Every type of it.
    entity_types: Vec<String>,
    num_examples: usize,
    /// Whether there are more examples than those.
    is_part: bool,
}

impl World {
    /// The types of the description; where it lists none, all that occur or are asked in the
    /// examples.
    fn of(dataset: &Dataset, mut examples: Examples, limit: usize) -> Result<Self> {
        let mut entity_types: Vec<String> =
            dataset.entity_types().into_iter().map(str::to_owned).collect();
        let listed = !entity_types.is_empty();
        let mut num_examples = 0;
        for example in examples.by_ref().take(limit) {
            let example = example?;
            num_examples += 1;
            let new = example.queries.into_iter().filter(|_| !listed);
            for query in new {
                if !entity_types.contains(&query) {
                    entity_types.push(query);
                }
            }
        }
        let is_part = num_examples == limit && examples.next().is_some();
        notes::tell(examples.notes());
        Ok(Self { entity_types, num_examples, is_part })
    }
}

fn score(
    predictor: &Predictor,
    (dataset, split, world): (&Dataset, &str, &World),
    mut examples: impl Iterator<Item = Result<Example, DataError>>,
    mut scorer: DatasetScorer,
    mut answers: Option<&mut dyn Write>,
    told: &mut Told,
) -> Result<Outcome> {
    let per_example = world.entity_types.len();
    let total = (world.num_examples * per_example) as u64;
    if told(&dataset.name, 0, total).is_break() {
        return Err(InferError::Stopped.into());
    }
    let (mut done, mut num_long) = (0, 0);
    loop {
        let mut chunk = examples.by_ref().take(CHUNK).collect::<Result<Vec<Example>, _>>()?;
        if chunk.is_empty() {
            break;
        }
        for example in &mut chunk {
            example.queries.clone_from(&world.entity_types);
        }
        let queries: Vec<Query> =
            chunk.iter().flat_map(|example| queries(example, &dataset.name)).collect();
        let answered = |now| told(&dataset.name, (done + now) as u64, total);
        let responses = answer(predictor, &queries, answered, &mut num_long)?;
        for (example, responses) in chunk.iter().zip(responses.chunks(per_example.max(1))) {
            scorer.add(example, &predictions(example, responses))?;
            if let Some(out) = &mut answers {
                serde_json::to_writer(
                    &mut *out,
                    &Answered::new(&dataset.name, split, example, responses),
                )?;
                out.write_all(b"\n")?;
            }
        }
        done += queries.len();
    }
    if num_long > 0 {
        tracing::warn!(
            "{num_long} queries of `{}` do not fit the model and count as answered by `[]`",
            dataset.name
        );
    }
    let report = DatasetReport { is_part: world.is_part, ..scorer.finish() };
    Ok(Outcome::Scored(Box::new(report)))
}

/// A line of `predictions.jsonl`.
#[derive(Serialize)]
struct Answered<'a> {
    dataset: &'a str,
    split: &'a str,
    id: &'a str,
    text: &'a str,
    answers: Vec<Answer<'a>>,
}

/// What was asked of a text and what came of it.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(rename = "type")]
    entity_type: &'a str,
    /// As the model wrote it; empty where the prompt did not fit the model.
    raw: &'a str,
    /// What was read of it: mentions with their spans.
    entities: &'a [Entity],
}

impl<'a> Answered<'a> {
    fn new(
        dataset: &'a str,
        split: &'a str,
        example: &'a Example,
        responses: &'a [Response],
    ) -> Self {
        let answer = |(entity_type, response): (&'a String, &'a Response)| Answer {
            entity_type,
            raw: &response.raw,
            entities: &response.entities,
        };
        let answers = example.queries.iter().zip(responses).map(answer).collect();
        Self { dataset, split, id: &example.id, text: &example.text, answers }
    }
}

fn queries<'a>(example: &'a Example, dataset: &'a str) -> impl Iterator<Item = Query<'a>> {
    let query = move |entity_type: &'a String| Query {
        text: &example.text,
        entity_type,
        dataset: Some(dataset),
    };
    example.queries.iter().map(query)
}

fn predictions(example: &Example, responses: &[Response]) -> Vec<QueryPrediction> {
    let pairs = example.queries.iter().zip(responses);
    let prediction = |(entity_type, response): (&String, &Response)| QueryPrediction {
        entity_type: entity_type.clone(),
        output: response.output.clone(),
        entities: response.entities.clone(),
    };
    pairs.map(prediction).collect()
}

/// Answers all queries. One that does not fit the model gets an empty answer and is counted: a
/// single long passage is no reason to throw away an hour of evaluation.
fn answer(
    predictor: &Predictor,
    queries: &[Query],
    answered: impl FnMut(usize) -> ControlFlow<()>,
    num_long: &mut usize,
) -> Result<Vec<Response>> {
    match predictor.answer(queries, answered) {
        Err(InferError::TooLong { .. }) => {}
        answered => return Ok(answered?),
    }
    let mut responses = Vec::with_capacity(queries.len());
    let together = ner::asks_all_types(predictor.template);
    for queries in queries.chunk_by(|first, second| together && first.text == second.text) {
        match predictor.answer(queries, |_| ControlFlow::Continue(())) {
            Err(InferError::TooLong { .. }) => {
                *num_long += queries.len();
                let empty = Response {
                    raw: String::new(),
                    output: "[]".to_owned(),
                    entities: Vec::new(),
                    well_formed: true,
                };
                responses.extend(std::iter::repeat_n(empty, queries.len()));
            }
            answered => responses.extend(answered?),
        }
    }
    Ok(responses)
}
