//! From passages and answers to training data. The files are a function of the two, in the order
//! of the passages, whatever the order in which the answers came.

mod annotations;
mod conversations;
mod spans;

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uner_data::{DataError, Example, stats};
use uner_endpoint::Prices;

use crate::error::DistillError;
use crate::filter::FilterConfig;
use crate::folder::AtomicFile;
use crate::report::{DistillReport, Tally};

use annotations::{Annotated, Annotations};

/// Conversations, in the format of Pile-NER.
pub const CONVERSATIONS: &str = "train.json";
/// Texts with spans and provenance.
pub const SPANS: &str = "spans.jsonl";
/// The description of [`SPANS`] as a dataset.
pub const DATASET: &str = "dataset.toml";
/// The report, for programs.
pub const REPORT_JSON: &str = "report.json";
/// The report, for people.
pub const REPORT_MARKDOWN: &str = "report.md";

/// The dataset that `uner train` reads. Types are as in the file.
const DESCRIPTION: &str = "\
# Passages annotated by a teacher. Each line of the file also has the teacher's answer.
name = \"distilled\"
domain = \"distilled\"

[format]
kind = \"jsonl\"

[splits]
train = \"spans.jsonl\"
";

/// How answers become training data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutputConfig {
    /// The rules for entities.
    pub filter: FilterConfig,
    /// The prices of the teacher, for the report. Default: free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prices: Option<Prices>,
}

/// Builds the training data of the answers in a folder, and writes it there, with its report:
/// [`CONVERSATIONS`], [`SPANS`], [`DATASET`], [`REPORT_JSON`] and [`REPORT_MARKDOWN`]. Passages
/// without an answer are left out and counted. Every file is written under another name first, and
/// all get their names at the end.
///
/// # Errors
/// If passages or answers are unreadable, or a file cannot be written; earlier files are then left
/// as they are.
pub fn build(
    folder: &Path,
    passages: &Path,
    config: &OutputConfig,
) -> Result<DistillReport, DistillError> {
    let create = |name: &str| AtomicFile::create(&folder.join(name));
    let mut conversations = Array::new(create(CONVERSATIONS)?);
    let mut lines = create(SPANS)?;
    let template = conversations::template();

    let mut annotations = Annotations::open(folder, passages, config.filter)?;
    let report = report(&mut annotations, config, |annotated| {
        conversations.push(&conversations::json(&annotated.example, &template))?;
        lines.write_all(spans::line(annotated)?.as_bytes())?;
        Ok(())
    })?;

    let mut files = vec![conversations.finish()?, lines];
    let written = [
        (DATASET, DESCRIPTION.to_owned()),
        (REPORT_JSON, report.json()?),
        (REPORT_MARKDOWN, report.markdown()),
    ];
    for (name, text) in written {
        let mut file = create(name)?;
        file.write_all(text.as_bytes())?;
        files.push(file);
    }
    files.iter_mut().try_for_each(AtomicFile::sync)?;
    files.into_iter().try_for_each(AtomicFile::publish)?;
    Ok(report)
}

/// Passes every annotated passage to `write`, and reports on all.
fn report(
    annotations: &mut Annotations,
    config: &OutputConfig,
    mut write: impl FnMut(&Annotated) -> Result<(), DistillError>,
) -> Result<DistillReport, DistillError> {
    let mut failed = None;
    let examples = std::iter::from_fn(|| {
        let annotated = annotations.next()?;
        match annotated.and_then(|annotated| write(&annotated).map(|()| annotated.example)) {
            Ok(example) => Some(Ok::<Example, DataError>(example)),
            Err(error) => {
                failed = Some(error);
                None
            }
        }
    });
    let statistics = stats::stats(examples)?;
    match failed {
        Some(error) => Err(error),
        None => Ok(annotations.take_tally().report(statistics, config.prices)),
    }
}

/// A JSON array that is written element by element, each on a line.
struct Array {
    file: AtomicFile,
    is_empty: bool,
}

impl Array {
    fn new(file: AtomicFile) -> Self {
        Self { file, is_empty: true }
    }

    fn push(&mut self, element: &str) -> std::io::Result<()> {
        let before = if std::mem::take(&mut self.is_empty) { "[\n" } else { ",\n" };
        self.file.write_all(before.as_bytes())?;
        self.file.write_all(element.as_bytes())
    }

    fn finish(mut self) -> std::io::Result<AtomicFile> {
        let end = if self.is_empty { "[]\n" } else { "\n]\n" };
        self.file.write_all(end.as_bytes())?;
        Ok(self.file)
    }
}
