//! The predictions of a file, before they are matched with examples.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use indexmap::IndexSet;
use uner_data::Span;

use super::characters::{Characters, Filled, TextKey};
use super::{Format, Predictions, PredictionsError, conll, instructuie, records};
use crate::EvalError;

/// Everything that a file predicts.
#[derive(Debug, Default)]
pub(super) struct PredictionFile {
    pub(super) predictions: Vec<Prediction>,
    /// The start of the first prediction's text, or its id.
    pub(super) first: String,
    /// The program's labels.
    pub(super) labels: IndexSet<String>,
    /// Entities with a score below the threshold.
    pub(super) below_threshold: usize,
    /// Spans in groups that are not read.
    pub(super) unread_spans: usize,
}

/// The prediction for one text.
#[derive(Debug, Default)]
pub(super) struct Prediction {
    pub(super) location: Location,
    pub(super) id: Option<String>,
    /// `None` if the file does not have the text.
    pub(super) text: Option<TextKey>,
    /// The number of tokens, of a file of tokens.
    pub(super) num_tokens: Option<usize>,
    pub(super) mentions: Vec<Mention>,
    /// Why the program has no answer, or not a complete one.
    pub(super) problem: Option<String>,
    /// Whether a part of a written answer cannot be read.
    pub(super) malformed: bool,
}

/// The location of a prediction in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Location {
    /// The line, and the record if the file is one array, both from 1.
    Line(usize, Option<usize>),
    /// The sentence, from 1.
    Sentence(usize),
}

impl Default for Location {
    fn default() -> Self {
        Self::Line(1, None)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line, None) => write!(out, "line {line}"),
            Self::Line(line, Some(record)) => write!(out, "record {record} (line {line})"),
            Self::Sentence(sentence) => write!(out, "sentence {sentence}"),
        }
    }
}

impl Location {
    /// An error about this prediction.
    pub(super) fn error(self, path: &Path, problem: &str) -> EvalError {
        let (line, problem) = match self {
            Self::Line(line, None) => (line, problem.to_owned()),
            Self::Line(line, Some(record)) => (line, format!("record {record}: {problem}")),
            Self::Sentence(sentence) => (1, format!("sentence {sentence}: {problem}")),
        };
        EvalError::Line { path: path.to_owned(), line, problem }
    }
}

/// A predicted entity.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mention {
    /// Its label: an index of [`PredictionFile::labels`].
    pub(super) label: usize,
    pub(super) position: Position,
    pub(super) score: Option<f64>,
}

/// How a file says where an entity is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Position {
    /// By its characters in a text, and its tokens in a file of tokens.
    Text(Filled, Option<Range<u32>>),
    /// By offsets into a text that the file does not have, with the mention as written.
    Offsets(Span, Option<String>),
    /// Not at all: only the mention.
    Written(String),
}

impl PredictionFile {
    /// Reads a file.
    pub(super) fn read(description: &Predictions) -> Result<Self, EvalError> {
        let Predictions { path, format, threshold, .. } = description;
        let without_scores = match format {
            Format::Conll => Some("conll"),
            Format::Spacy => Some("spacy"),
            Format::Instructuie => Some("instructuie"),
            Format::Spans | Format::Gliner => None,
        };
        if let (Some(format), Some(_)) = (without_scores, threshold) {
            return Err(PredictionsError::Threshold { format }.into());
        }
        let file = match format {
            Format::Conll => conll::read(path)?,
            Format::Instructuie => instructuie::read(path)?,
            Format::Spans => records::read(path, records::spans, *threshold)?,
            Format::Spacy => records::read(path, records::spacy, None)?,
            Format::Gliner => records::read_gliner(path, *threshold)?,
        };
        if file.predictions.is_empty() {
            return Err(PredictionsError::Empty(path.clone()).into());
        }
        Ok(file)
    }

    /// Adds a prediction for a text.
    pub(super) fn push(&mut self, prediction: Prediction, text: Option<&str>) {
        if self.predictions.is_empty() {
            let name = text.or(prediction.id.as_deref()).unwrap_or_default();
            self.first = excerpt(name);
        }
        self.predictions.push(prediction);
    }

    /// The index of a label.
    pub(super) fn label(&mut self, label: &str) -> usize {
        self.labels
            .get_index_of(label)
            .unwrap_or_else(|| self.labels.insert_full(label.to_owned()).0)
    }
}

/// The start of a text, for messages.
pub(super) fn excerpt(text: &str) -> String {
    const LENGTH: usize = 80;
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The span of an entity by its offsets, if they are in the text and the mention is there.
pub(super) fn checked(
    text: &Characters<'_>,
    span: Span,
    written: Option<&str>,
) -> Result<Filled, String> {
    let Span { start, end } = span;
    let Some(found) = text.slice(span) else {
        return Err(format!(
            "the entity at `{start}..{end}` is not inside its text of `{}` characters: offsets count characters, from 0, and `end` is exclusive",
            text.len()
        ));
    };
    if let Some(written) = written.filter(|written| written.trim() != found.trim()) {
        return Err(format!(
            "the text has `{found}` at `{start}..{end}`, but the entity is `{written}`: offsets count characters of the same text, from 0"
        ));
    }
    text.position(span)
        .ok_or_else(|| format!("the entity at `{start}..{end}` has no characters but white space"))
}
