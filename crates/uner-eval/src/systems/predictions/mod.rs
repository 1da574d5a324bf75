//! Answers from files of predictions: any other program is scored beside uner's models.
//!
//! [`Predictions`] describes a file. [`PredictedAnswers::add`] reads it and matches its texts with
//! all examples of a split, so that a file of the wrong split, a label without a type and a text
//! without a prediction are reported before anything is scored, and a resumed or sampled
//! measurement gets the same answers. Only the predicted entities are kept in memory, and hashes
//! of the texts. `docs/predictions.md` describes the formats for users.

mod answers;
mod characters;
mod conll;
mod coverage;
mod error;
mod file;
mod instructuie;
mod matching;
mod records;
mod type_names;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use uner_data::Dataset;

pub use coverage::Coverage;
pub use error::PredictionsError;

use crate::system::{OnAnswered, Questions};
use crate::{Answer, EvalError, System};
use answers::Answers;

/// A file of predictions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predictions {
    /// The file. It may be compressed (`.gz`).
    pub path: PathBuf,
    /// Its format.
    pub format: Format,
    /// The program's label → the dataset's type, for labels that are neither types nor labels of
    /// the dataset.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub labels: IndexMap<String, String>,
    /// The lowest score of an entity that counts. Every entity must then have a score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
}

/// The format of a file of predictions. Offsets count characters and are half-open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// JSON objects with `text` or `id` or both, and `entities` of `type` (or `label`), `start`,
    /// `end`, and optionally `text` and `score` (or `probability`): also the output of
    /// `uner predict`.
    Spans,
    /// A token in the first column of each row, its tag in the last: BIO, IOB1, IOBES or BILOU.
    Conll,
    /// spaCy's `Doc.to_json`, with the entities in `ents` and in `spans["sc"]`, or its training
    /// data `[text, {"entities": [[start, end, label]]}]`.
    Spacy,
    /// Lists of entities as GLiNER's `predict_entities` returns them, in the order of the
    /// examples; or objects with such a list as `entities` beside `text`.
    Gliner,
    /// InstructUIE's `predict_eval_predictions.jsonl`, with answers `type: name; type: name`.
    Instructuie,
}

/// A system whose answers are in files: one for each dataset.
#[derive(Debug)]
pub struct PredictedAnswers {
    name: String,
    datasets: IndexMap<String, Answers>,
}

impl PredictedAnswers {
    /// A system without answers. `name` names the program in reports.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), datasets: IndexMap::new() }
    }

    /// Adds the answers to the queries of a split. Files of the dataset are relative to `root`.
    /// The differences between the two are returned and logged.
    ///
    /// # Errors
    /// If a file cannot be read, an entity does not fit its text, no text of the predictions is in
    /// the split, or the dataset has answers already. Errors in the file have its name and line.
    pub fn add(
        &mut self,
        predictions: &Predictions,
        (dataset, split): (&Dataset, &str),
        root: &Path,
    ) -> Result<Coverage, EvalError> {
        if self.datasets.contains_key(&dataset.name) {
            return Err(PredictionsError::Twice { dataset: dataset.name.clone() }.into());
        }
        let (answers, coverage) = Answers::read(predictions, (dataset, split), root)?;
        for problem in coverage.problems() {
            tracing::warn!("`{}`: {problem}", predictions.path.display());
        }
        self.datasets.insert(dataset.name.clone(), answers);
        Ok(coverage)
    }
}

impl System for PredictedAnswers {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn answer(
        &mut self,
        Questions { dataset, examples }: Questions,
        answered: &mut OnAnswered,
    ) -> Result<Vec<Vec<Answer>>, EvalError> {
        let known = self.datasets.get(dataset);
        let known = known
            .ok_or_else(|| PredictionsError::UnknownDataset { dataset: dataset.to_owned() })?;
        let mut given = Vec::with_capacity(examples.len());
        let mut num_answered = 0;
        for example in examples {
            given.push(known.of(example)?);
            num_answered += example.queries.len();
            if answered(num_answered) == ControlFlow::Break(()) {
                return Err(EvalError::Stopped);
            }
        }
        Ok(given)
    }
}

#[cfg(test)]
mod tests;
