//! Measures a system on benchmarks: every type of a dataset is asked of every example.

use std::ops::ControlFlow;
use std::path::Path;

use uner_data::{DataError, Dataset, Example, Examples, SeenMentions, read, sample_pairs};

use crate::folder::{Folder, Measured, Sample};
use crate::record::{Record, RecordFile};
use crate::report::{Outcome, Report};
use crate::system::{Questions, System};
use crate::{DatasetReport, DatasetScorer, EvalError};

/// A split to measure on.
#[derive(Debug, Clone)]
pub struct Benchmark {
    /// The dataset.
    pub dataset: Dataset,
    /// Name of the split.
    pub split: String,
    /// Measures on the first so many examples only.
    pub limit: Option<usize>,
    /// Asks a sample of the queries only.
    pub sample: Option<Sample>,
}

/// How to measure.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// The folder that the files of datasets are relative to.
    pub root: &'a Path,
    /// Keeps the answers in files. A killed evaluation goes on there.
    pub folder: Option<&'a Folder>,
    /// The mentions of the training data: seen and unseen entities are scored separately.
    pub seen: Option<&'a SeenMentions>,
}

/// Progress callback: (dataset, answered queries, queries in all). `Break` cancels.
pub type OnProgress<'a> = dyn FnMut(&str, u64, u64) -> ControlFlow<()> + 'a;

/// Scores a system on every benchmark. The report lists one whose files do not exist as missing.
///
/// # Errors
/// [`EvalError::Stopped`] when `on_progress` cancels; when data cannot be read, the system fails,
/// or an answer cannot be written.
pub fn measure(
    system: &mut dyn System,
    benchmarks: &[Benchmark],
    options: Options,
    on_progress: &mut OnProgress,
) -> Result<Report, EvalError> {
    let mut outcomes = Vec::new();
    for benchmark in benchmarks {
        outcomes.push(match score(system, benchmark, options, on_progress) {
            Ok(report) => Outcome::Scored(Box::new(report)),
            Err(EvalError::Data(error @ DataError::MissingFile { .. })) => {
                tracing::warn!("{error}");
                let (dataset, reason) = (benchmark.dataset.name.clone(), error.to_string());
                if let Some(folder) = options.folder {
                    folder.miss(&dataset, &benchmark.split, &reason)?;
                }
                Outcome::Missing { dataset, reason }
            }
            Err(error) => return Err(error),
        });
    }
    Ok(Report::new(&system.name(), outcomes))
}

/// The types of the description, or, if it lists none, all types of the examples and of their
/// queries; and the number of examples.
fn look(
    Benchmark { dataset, split, limit, sample }: &Benchmark,
    mut examples: Examples,
) -> Result<Measured, EvalError> {
    let mut entity_types: Vec<String> =
        dataset.entity_types().into_iter().map(str::to_owned).collect();
    let (listed, limit) = (!entity_types.is_empty(), limit.unwrap_or(usize::MAX));
    let mut count = 0;
    for example in examples.by_ref().take(limit) {
        let example = example?;
        count += 1;
        let new = example.queries.into_iter().filter(|_| !listed);
        for query in new {
            if !entity_types.contains(&query) {
                entity_types.push(query);
            }
        }
    }
    let is_part = count == limit && examples.next().is_some();
    for line in examples.notes().to_string().lines() {
        tracing::info!("data: {line}");
    }
    Ok(Measured {
        dataset: dataset.name.clone(),
        split: split.clone(),
        domain: dataset.domain.clone(),
        entity_types,
        examples: count,
        sample: *sample,
        is_part,
    })
}

/// The examples that are asked, with their queries.
fn asked<'a>(
    examples: Examples,
    measured: &'a Measured,
) -> Box<dyn Iterator<Item = Result<Example, DataError>> + 'a> {
    let examples = examples.take(measured.examples).map(|example| {
        example.map(|example| Example { queries: measured.entity_types.clone(), ..example })
    });
    match measured.sample {
        Some(Sample { pairs, seed }) => {
            let total = measured.examples * measured.entity_types.len();
            Box::new(sample_pairs(examples, total, pairs, seed))
        }
        None => Box::new(examples),
    }
}

fn score(
    system: &mut dyn System,
    benchmark: &Benchmark,
    Options { root, folder, seen }: Options,
    on_progress: &mut OnProgress,
) -> Result<DatasetReport, EvalError> {
    let Benchmark { dataset, split, .. } = benchmark;
    let measured = look(benchmark, read(dataset, split, root)?)?;
    let mut examples = asked(read(dataset, split, root)?, &measured);
    let mut scorer = DatasetScorer::new(&dataset.name, &dataset.domain, seen.cloned());
    let (mut done, mut unanswered) = (0, 0);
    let mut file = match folder {
        Some(folder) => {
            Some(folder.open(&measured, system.keeps_answers(), |record: Record| {
                let example = examples.next().transpose()?;
                folder.check_same(&record, example.as_ref(), &measured)?;
                scorer.add(&record);
                done += record.answers.len();
                unanswered += record.unanswered();
                Ok(())
            })?)
        }
        None => None,
    };
    let total = measured.queries() as u64;
    let mut progress = |done: usize| on_progress(&dataset.name, done as u64, total);
    if progress(done).is_break() {
        return Err(EvalError::Stopped);
    }
    loop {
        let chunk = examples.by_ref().take(system.examples_at_once());
        let chunk = chunk.collect::<Result<Vec<Example>, _>>()?;
        if chunk.is_empty() {
            break;
        }
        let questions = Questions { dataset: &dataset.name, examples: &chunk };
        let answers = system.answer(questions, &mut |queries| progress(done + queries))?;
        done += chunk.iter().map(|example| example.queries.len()).sum::<usize>();
        for (example, answers) in chunk.into_iter().zip(answers) {
            let record = Record::new((&dataset.name, split), example, answers)?;
            unanswered += record.unanswered();
            scorer.add(&record);
            if let Some(file) = &mut file {
                file.write(&record)?;
            }
        }
    }
    file.map_or(Ok(()), RecordFile::finish)?;
    if unanswered > 0 {
        tracing::warn!(
            "{unanswered} queries of `{}` have no answer and count as answered by `[]`",
            dataset.name
        );
    }
    Ok(DatasetReport { is_part: measured.is_part, ..scorer.finish() })
}
