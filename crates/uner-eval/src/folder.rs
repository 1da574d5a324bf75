//! The folder of an evaluation.
//!
//! ```text
//! evaluation.json                      the system, and the benchmarks as they are measured
//! predictions/crossner-ai-test.jsonl   a line for each example: its gold entities, every answer
//! report.md  report.json  report.html  the scores
//! ```
//!
//! The scores are a function of the first two ([`rescore`]). An evaluation that was killed goes on
//! after its last complete line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uner_data::{Example, SeenMentions};

use crate::record::{Record, RecordFile, records};
use crate::report::{Outcome, Report};
use crate::{DatasetReport, DatasetScorer, EvalError};

const EVALUATION: &str = "evaluation.json";
const PREDICTIONS: &str = "predictions";

/// The folder of an evaluation.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Whether files of the same evaluation are continued, and not overwritten.
    resume: bool,
}

/// A sample of the queries of a benchmark, as in the paper (§5.1): up to 200,000 of each dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Most queries.
    pub pairs: usize,
    /// Decides which.
    pub seed: u64,
}

/// A benchmark as it is measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Name of the dataset.
    pub dataset: String,
    /// Name of the split.
    pub split: String,
    /// The group of the dataset.
    pub domain: String,
    /// The types that are asked of every example.
    pub entity_types: Vec<String>,
    /// Number of examples of the split, or of its measured part.
    pub examples: usize,
    /// The queries are a sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
    /// Whether the split has more examples.
    pub is_part: bool,
}

/// The content of `evaluation.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Evaluation {
    system: String,
    /// By the name of their file.
    benchmarks: BTreeMap<String, Measured>,
    /// Benchmarks without data, by the name that their file would have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    missing: BTreeMap<String, Missing>,
}

/// A benchmark without data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Missing {
    dataset: String,
    reason: String,
}

impl Measured {
    /// Number of queries.
    pub fn queries(&self) -> usize {
        let all = self.examples * self.entity_types.len();
        self.sample.map_or(all, |sample| sample.pairs.min(all))
    }
}

impl Folder {
    /// The folder for the evaluation of a system. With `resume`, the files of the same evaluation
    /// are continued; otherwise they are overwritten.
    ///
    /// # Errors
    /// When it cannot be written; with `resume`, when it has the evaluation of another system.
    pub fn open_for(path: &Path, system: &str, resume: bool) -> Result<Self, EvalError> {
        fs_err::create_dir_all(path.join(PREDICTIONS))?;
        let folder = Self { path: path.to_owned(), resume };
        let found = if resume { folder.evaluation()? } else { None };
        match found {
            Some(found) if found.system != system => {
                Err(folder.other(format!("it is of `{}`, not of `{system}`", found.system)))
            }
            Some(_) => Ok(folder),
            None => {
                let system = system.to_owned();
                folder.write(&Evaluation { system, ..Evaluation::default() })?;
                Ok(folder)
            }
        }
    }

    /// The file for a benchmark's records, after those that are there, which are passed to `each`.
    /// With `again`, it is cut off before the first record with a query that has no answer.
    pub(crate) fn open(
        &self,
        measured: &Measured,
        again: bool,
        each: impl FnMut(Record) -> Result<(), EvalError>,
    ) -> Result<RecordFile, EvalError> {
        let name = file_name(&measured.dataset, &measured.split);
        let path = self.path.join(PREDICTIONS).join(&name);
        let mut evaluation = self.evaluation()?.unwrap_or_default();
        evaluation.missing.remove(&name);
        let before = evaluation.benchmarks.insert(name, measured.clone());
        if !self.resume || before.is_none() {
            self.write(&evaluation)?;
            return RecordFile::create(&path);
        }
        if before.as_ref() != Some(measured) {
            return Err(self.other(format!(
                "`{}` had other types or another number of examples",
                measured.dataset
            )));
        }
        RecordFile::resume(&path, again, each)
    }

    /// Records that a benchmark has no data.
    pub(crate) fn miss(&self, dataset: &str, split: &str, reason: &str) -> Result<(), EvalError> {
        let mut evaluation = self.evaluation()?.unwrap_or_default();
        let missing = Missing { dataset: dataset.to_owned(), reason: reason.to_owned() };
        evaluation.missing.insert(file_name(dataset, split), missing);
        self.write(&evaluation)
    }

    /// Checks that a record is of the example at its place, with the same queries.
    pub(crate) fn check_same(
        &self,
        record: &Record,
        example: Option<&Example>,
        measured: &Measured,
    ) -> Result<(), EvalError> {
        let asked = record.answers.iter().map(|answer| &answer.entity_type);
        let is_same = example.is_some_and(|example| {
            example.id == record.id && example.text == record.text && asked.eq(&example.queries)
        });
        if is_same {
            return Ok(());
        }
        Err(self.other(format!("`{}` has changed at example `{}`", measured.dataset, record.id)))
    }

    fn evaluation(&self) -> Result<Option<Evaluation>, EvalError> {
        read_evaluation(&self.path)
    }

    fn write(&self, evaluation: &Evaluation) -> Result<(), EvalError> {
        let text = serde_json::to_string_pretty(evaluation).map_err(std::io::Error::from)?;
        Ok(fs_err::write(self.path.join(EVALUATION), text)?)
    }

    fn other(&self, difference: String) -> EvalError {
        EvalError::Other { folder: self.path.clone(), difference }
    }
}

fn file_name(dataset: &str, split: &str) -> String {
    let safe = |name: &str| {
        let is_plain = |character: char| character.is_alphanumeric() || "._-+".contains(character);
        name.chars().map(|character| if is_plain(character) { character } else { '-' }).collect()
    };
    let [dataset, split]: [String; 2] = [dataset, split].map(safe);
    format!("{dataset}-{split}.jsonl")
}

fn read_evaluation(folder: &Path) -> Result<Option<Evaluation>, EvalError> {
    let path = folder.join(EVALUATION);
    if !path.exists() {
        return Ok(None);
    }
    let text = uner_data::regular::read_to_string(&path)?;
    serde_json::from_str(&text).map(Some).map_err(|error| EvalError::Line {
        line: error.line(),
        path,
        problem: format!("{error}; expected the description of an evaluation"),
    })
}

/// Computes the scores of an evaluation from its files again. A benchmark whose answers are not
/// complete is a part.
///
/// # Errors
/// When the folder has no evaluation, or a file is damaged.
pub fn rescore(folder: &Path, seen: Option<&SeenMentions>) -> Result<Report, EvalError> {
    let Some(evaluation) = read_evaluation(folder)? else {
        return Err(EvalError::Empty(folder.join(EVALUATION)));
    };
    let mut outcomes = Vec::new();
    for (name, measured) in &evaluation.benchmarks {
        let mut scorer = DatasetScorer::new(&measured.dataset, &measured.domain, seen.cloned());
        for record in records(&folder.join(PREDICTIONS).join(name))? {
            scorer.add(&record?);
        }
        let report = scorer.finish();
        let is_part = measured.is_part || report.rates.queries < measured.queries();
        outcomes.push(Outcome::Scored(Box::new(DatasetReport { is_part, ..report })));
    }
    let missing = evaluation.missing.into_values();
    outcomes
        .extend(missing.map(|Missing { dataset, reason }| Outcome::Missing { dataset, reason }));
    Ok(Report::new(&evaluation.system, outcomes))
}

/// The files of predictions of an evaluation, by dataset and split.
///
/// # Errors
/// When the folder has no evaluation.
pub fn predictions(folder: &Path) -> Result<BTreeMap<(String, String), PathBuf>, EvalError> {
    let Some(evaluation) = read_evaluation(folder)? else {
        return Err(EvalError::Empty(folder.join(EVALUATION)));
    };
    let file = |(name, measured): (String, Measured)| {
        ((measured.dataset, measured.split), folder.join(PREDICTIONS).join(name))
    };
    Ok(evaluation.benchmarks.into_iter().map(file).collect())
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
