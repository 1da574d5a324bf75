//! Measuring a model on benchmarks: every type of a dataset is asked of every example of it.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Result, ensure};
use uner_data::{DataError, Dataset, DatasetRef, Example, Examples, read};
use uner_eval::report::{Outcome, Report};
use uner_eval::{DatasetScorer, QueryPrediction, SeenMentions};
use uner_infer::{InferError, Predictor, Query, Response};
use uner_prompt::ner;

use crate::args::EvalArgs;
use crate::hub;
use crate::model_folder::Asked;
use crate::notes;
use crate::progress::Meter;
use crate::recipe::Benchmark;
use crate::run_folder::write_report;

/// Examples answered together, in batches: enough that queries of like length meet.
const CHUNK: usize = 64;

/// `uner eval`
pub(crate) fn run(args: &EvalArgs, out: &mut dyn Write) -> Result<()> {
    let benchmarks: Vec<Benchmark> = args.benchmark.iter().map(|name| benchmark(name, args.limit)).collect();
    let output = report_folder(args)?;
    let asked = Asked::load(&args.model)?;
    let report = measure(&asked.predictor(), &benchmarks, &args.root, None, &mut metered())?;
    write!(out, "{}", report.terminal())?;
    write_report(output, &report)
}

/// Where the report goes. The hub's cache is no place for it.
fn report_folder(args: &EvalArgs) -> Result<&Path> {
    let model = &args.model.model;
    ensure!(
        args.output.is_some() || !hub::is_named(model),
        "`{}` has no folder of yours for the report; name one with `--output`",
        model.display()
    );
    Ok(args.output.as_ref().unwrap_or(model))
}

/// `dataset` or `dataset:split`.
fn benchmark(text: &str, limit: Option<usize>) -> Benchmark {
    let (dataset, split) = text.rsplit_once(':').unwrap_or((text, "test"));
    Benchmark { dataset: DatasetRef::Name(dataset.to_owned()), split: split.to_owned(), limit }
}

/// What is told of a measurement's progress: the benchmark, and how many of its queries are answered of how many. It may
/// break the measurement off.
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

/// Scores a model on every benchmark; one whose files are not there is in the report as missing. With the mentions of
/// the training data, seen and unseen entities are scored apart.
///
/// # Errors
/// [`InferError::Stopped`] when `told` breaks it off.
pub(crate) fn measure(
    predictor: &Predictor,
    benchmarks: &[Benchmark],
    root: &Path,
    seen: Option<&SeenMentions>,
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
                score(predictor, (&dataset, &world), examples, scorer, told)?
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
}

impl World {
    /// The types of the description; where it lists none, all that occur or are asked in the examples.
    fn of(dataset: &Dataset, mut examples: Examples, limit: usize) -> Result<Self> {
        let mut entity_types: Vec<String> = dataset.entity_types().into_iter().map(str::to_owned).collect();
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
        notes::tell(examples.notes());
        Ok(Self { entity_types, num_examples })
    }
}

fn score(
    predictor: &Predictor,
    (dataset, world): (&Dataset, &World),
    mut examples: impl Iterator<Item = Result<Example, DataError>>,
    mut scorer: DatasetScorer,
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
        let queries: Vec<Query> = chunk.iter().flat_map(|example| queries(example, &dataset.name)).collect();
        let answered = |now| told(&dataset.name, (done + now) as u64, total);
        let responses = answer(predictor, &queries, answered, &mut num_long)?;
        for (example, responses) in chunk.iter().zip(responses.chunks(per_example.max(1))) {
            scorer.add(example, &predictions(example, responses))?;
        }
        done += queries.len();
    }
    if num_long > 0 {
        tracing::warn!(
            "{num_long} queries of `{}` do not fit the model and count as answered by `[]`",
            dataset.name
        );
    }
    Ok(Outcome::Scored(Box::new(scorer.finish())))
}

fn queries<'a>(example: &'a Example, dataset: &'a str) -> impl Iterator<Item = Query<'a>> {
    let query =
        move |entity_type: &'a String| Query { text: &example.text, entity_type, dataset: Some(dataset) };
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

/// Answers all queries. One that does not fit the model gets an empty answer and is counted: a single long passage is
/// no reason to throw away an hour of evaluation.
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
                let empty = Response { output: "[]".to_owned(), entities: Vec::new(), well_formed: true };
                responses.extend(std::iter::repeat_n(empty, queries.len()));
            }
            answered => responses.extend(answered?),
        }
    }
    Ok(responses)
}
