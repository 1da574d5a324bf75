//! Measures a model on benchmarks: every type of a dataset is asked of every example.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;
use uner_data::{DataError, Dataset, Example, Examples, SeenMentions, read};
use uner_infer::{FoundEntity, InferError, Predictor, Query, Response};
use uner_prompt::ner;

use crate::report::{Outcome, Report};
use crate::{DatasetReport, DatasetScorer, EvalError, QueryPrediction};

/// Examples answered together: enough that queries of similar length meet in a batch.
const CHUNK: usize = 64;

/// A split to measure on.
#[derive(Debug, Clone)]
pub struct Benchmark {
    /// The dataset.
    pub dataset: Dataset,
    /// Name of the split.
    pub split: String,
    /// Measures on the first so many examples only.
    pub limit: Option<usize>,
}

/// Progress callback: (dataset, answered queries, queries in all). `Break` cancels.
pub type OnProgress<'a> = dyn FnMut(&str, u64, u64) -> ControlFlow<()> + 'a;

/// Scores a model on every benchmark, read from below `root`; the report lists one whose files do
/// not exist as missing. With the mentions of the training data, seen and unseen entities are
/// scored separately. Writes the answers to each example to `answers` as a line of JSON.
///
/// # Errors
/// [`InferError::Stopped`] when `on_progress` cancels; when data cannot be read or an answer cannot
/// be written.
pub fn measure(
    predictor: &Predictor,
    benchmarks: &[Benchmark],
    root: &Path,
    seen: Option<&SeenMentions>,
    mut answers: Option<&mut dyn Write>,
    on_progress: &mut OnProgress,
) -> Result<Report, EvalError> {
    let mut outcomes = Vec::new();
    for Benchmark { dataset, split, limit } in benchmarks {
        let open = || read(dataset, split, root);
        outcomes.push(match open() {
            Ok(examples) => {
                let queried = Queried::of(dataset, examples, limit.unwrap_or(usize::MAX))?;
                let scorer = DatasetScorer::new(dataset.name.clone(), seen.cloned());
                let examples = open()?.take(queried.num_examples);
                let answers = answers.as_mut().map(|out| &mut **out as &mut dyn Write);
                let benchmark = (dataset, split.as_str(), &queried);
                score(predictor, benchmark, examples, scorer, answers, on_progress)?
            }
            Err(error @ DataError::MissingFile { .. }) => {
                tracing::warn!("{error}");
                Outcome::Missing { dataset: dataset.name.clone(), reason: error.to_string() }
            }
            Err(error) => return Err(error.into()),
        });
    }
    Ok(Report::new(outcomes))
}

/// The queries of a benchmark.
struct Queried {
    /// Every type of it.
    entity_types: Vec<String>,
    num_examples: usize,
    /// Whether the split has more examples.
    is_part: bool,
}

impl Queried {
    /// The types of the description, or, if it lists none, all types of the examples and of their
    /// queries.
    fn of(dataset: &Dataset, mut examples: Examples, limit: usize) -> Result<Self, EvalError> {
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
        for line in examples.notes().to_string().lines() {
            tracing::info!("data: {line}");
        }
        Ok(Self { entity_types, num_examples, is_part })
    }
}

fn score(
    predictor: &Predictor,
    (dataset, split, queried): (&Dataset, &str, &Queried),
    mut examples: impl Iterator<Item = Result<Example, DataError>>,
    mut scorer: DatasetScorer,
    mut answers: Option<&mut dyn Write>,
    on_progress: &mut OnProgress,
) -> Result<Outcome, EvalError> {
    let per_example = queried.entity_types.len();
    let total = (queried.num_examples * per_example) as u64;
    if on_progress(&dataset.name, 0, total).is_break() {
        return Err(InferError::Stopped.into());
    }
    let (mut done, mut num_long) = (0, 0);
    loop {
        let mut chunk = examples.by_ref().take(CHUNK).collect::<Result<Vec<Example>, _>>()?;
        if chunk.is_empty() {
            break;
        }
        for example in &mut chunk {
            example.queries.clone_from(&queried.entity_types);
        }
        let queries: Vec<Query> =
            chunk.iter().flat_map(|example| queries(example, &dataset.name)).collect();
        let answered = |now| on_progress(&dataset.name, (done + now) as u64, total);
        let responses = answer(predictor, &queries, answered, &mut num_long)?;
        for (example, responses) in chunk.iter().zip(responses.chunks(per_example.max(1))) {
            scorer.add(example, &predictions(example, responses))?;
            if let Some(out) = &mut answers {
                let line = Answered::new(&dataset.name, split, example, responses);
                serde_json::to_writer(&mut *out, &line).map_err(std::io::Error::from)?;
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
    let report = DatasetReport { is_part: queried.is_part, ..scorer.finish() };
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

/// A query and the answer to it.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(rename = "type")]
    entity_type: &'a str,
    /// As the model wrote it; empty if the prompt did not fit the model.
    raw: &'a str,
    /// The mentions in it, with their spans.
    entities: &'a [FoundEntity],
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
        entities: response.entities.iter().map(|found| found.entity.clone()).collect(),
        probabilities: response.entities.iter().filter_map(|found| found.probability).collect(),
        empty_probability: response.empty_probability,
    };
    pairs.map(prediction).collect()
}

/// Answers all queries. A query that does not fit the model gets an empty answer and is counted: a
/// single long passage must not end an hour of evaluation.
fn answer(
    predictor: &Predictor,
    queries: &[Query],
    answered: impl FnMut(usize) -> ControlFlow<()>,
    num_long: &mut usize,
) -> Result<Vec<Response>, InferError> {
    let together = ner::asks_all_types(predictor.template());
    let mut fitting: Vec<bool> = Vec::with_capacity(queries.len());
    for prompt in queries.chunk_by(|first, second| together && first.text == second.text) {
        fitting.extend(std::iter::repeat_n(predictor.fits(prompt)?, prompt.len()));
    }
    let short: Vec<Query> =
        queries.iter().zip(&fitting).filter(|(_, fits)| **fits).map(|(query, _)| *query).collect();
    *num_long += queries.len() - short.len();
    let mut responses = predictor.answer(&short, answered)?.into_iter();
    let response = |fits: &bool| {
        let empty = || Response {
            raw: String::new(),
            output: "[]".to_owned(),
            entities: Vec::new(),
            empty_probability: None,
            well_formed: true,
        };
        if *fits { responses.next().unwrap_or_else(empty) } else { empty() }
    };
    Ok(fitting.iter().map(response).collect())
}
