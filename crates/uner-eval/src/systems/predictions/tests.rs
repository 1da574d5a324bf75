//! Files of every format are answers, and scores of real submissions are those published.

mod faults;
mod formats;
mod published;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::*;
use crate::folder::Sample;
use crate::report::Outcome;
use crate::{Benchmark, DatasetReport, Options, measure};

/// Two texts are equal, and characters have up to four bytes.
const DATASET: &str = r#"{"id": "a", "text": "Zoë saw Rome 🚀", "entities": [{"start": 0, "end": 3, "label": "PER"}, {"start": 8, "end": 12, "label": "city"}]}
{"id": "b", "text": "nobody", "entities": []}
{"id": "c", "text": "🚀 Åsa met Zoë", "entities": [{"start": 2, "end": 5, "label": "PER"}, {"start": 10, "end": 13, "label": "PER"}]}
{"id": "d", "text": "nobody", "entities": []}
"#;

/// A folder with the dataset.
struct Fixture {
    folder: tempfile::TempDir,
    dataset: Dataset,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("test.jsonl"), DATASET).unwrap();
        let text = "name = \"made-up\"\n[types]\nPER = \"person\"\ncity = \"big city\"\n\
            [format]\nkind = \"jsonl\"\nlabel = \"label\"\n[splits]\ntest = \"test.jsonl\"\n";
        Self { folder, dataset: Dataset::from_toml(text, "here").unwrap() }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, text: &str) -> PathBuf {
        let path = self.root().join("predictions");
        fs_err::write(&path, text).unwrap();
        path
    }

    fn add(&self, predictions: &Predictions) -> Result<(PredictedAnswers, Coverage), EvalError> {
        let mut system = PredictedAnswers::new("other");
        let coverage = system.add(predictions, (&self.dataset, "test"), self.root())?;
        Ok((system, coverage))
    }

    /// The score of a file, and its differences from the dataset.
    fn score(&self, predictions: &Predictions) -> (DatasetReport, Coverage) {
        let (mut system, coverage) = self.add(predictions).unwrap();
        (score(&mut system, &self.dataset, self.root(), None), coverage)
    }
}

fn described(path: PathBuf, format: Format) -> Predictions {
    Predictions { path, format, labels: IndexMap::new(), threshold: None }
}

fn score(
    system: &mut PredictedAnswers,
    dataset: &Dataset,
    root: &Path,
    sample: Option<Sample>,
) -> DatasetReport {
    let (dataset, split) = (dataset.clone(), "test".to_owned());
    let benchmarks = [Benchmark { dataset, split, limit: None, sample }];
    let options = Options { root, folder: None, seen: None };
    let report = measure(system, &benchmarks, options, &mut |_, _, _| ControlFlow::Continue(()));
    match report.unwrap().outcomes.remove(0) {
        Outcome::Scored(report) => *report,
        Outcome::Missing { reason, .. } => panic!("{reason}"),
    }
}

/// Correct, predicted and gold entities.
fn strict(report: &DatasetReport) -> (usize, usize, usize) {
    let strict = report.scores.semeval.strict;
    (strict.correct, strict.actual, strict.possible)
}
