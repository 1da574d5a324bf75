//! The interface of all file readers, and their shared context.

use std::{collections::VecDeque, path::Path};

use crate::{DataError, Dataset, Example, Note, Notes, Problem, Span, dataset::Meaning};

/// Reads one file of a format, one example after the other. Readers leave `id` empty if the source
/// has none.
pub(crate) trait Reader: Send {
    fn next(&mut self, context: &mut Context<'_>) -> Option<Result<Example, DataError>>;
}

/// The shared state of all readers, besides their input.
pub(crate) struct Context<'a> {
    pub(crate) dataset: &'a Dataset,
    pub(crate) notes: &'a mut Notes,
    pub(crate) further: &'a mut VecDeque<DataError>,
    pub(crate) file: &'a Path,
    /// Number of the current record of a JSON array, from 1: the whole array may be on one line.
    pub(crate) record: Option<usize>,
}

impl Context<'_> {
    pub(crate) fn note(&mut self, note: Note, line: usize) {
        self.notes.take(note, self.file, line);
    }

    pub(crate) fn malformed(&self, line: usize, problem: Problem) -> DataError {
        DataError::Malformed { file: self.file.to_owned(), line, record: self.record, problem }
    }

    /// Returns the example, or its first problem; the other problems are returned after it.
    pub(crate) fn unless(
        &mut self,
        problems: Vec<DataError>,
        example: impl FnOnce() -> Example,
    ) -> Result<Example, DataError> {
        let mut problems = problems.into_iter();
        let Some(first) = problems.next() else { return Ok(example()) };
        self.further.extend(problems);
        Err(first)
    }

    /// Decodes a line as UTF-8.
    pub(crate) fn decoded<'l>(&self, line: &'l [u8], number: usize) -> Result<&'l str, DataError> {
        std::str::from_utf8(line).map_err(|error| {
            let at = error.valid_up_to();
            self.malformed(number, self.dataset.format.encoding().problem(line[at], at))
        })
    }

    /// The natural-language type of a label. `None` if the label is dropped; this is counted once
    /// for each entity.
    pub(crate) fn entity_type(
        &mut self,
        label: &str,
        num_entities: usize,
        line: usize,
    ) -> Result<Option<String>, DataError> {
        match self.dataset.meaning(label) {
            Meaning::Type(name) => Ok(Some(name.to_owned())),
            Meaning::Dropped => {
                for _ in 0..num_entities {
                    self.note(Note::DroppedLabel(label.to_owned()), line);
                }
                Ok(None)
            }
            Meaning::Unknown => {
                Err(self.malformed(line, Problem::UnknownLabel { label: label.to_owned() }))
            }
        }
    }
}

/// Joins tokens by one space. Returns the text and each token's span in it.
pub(crate) fn join<'a>(tokens: impl Iterator<Item = &'a str>) -> (String, Vec<Span>) {
    let mut text = String::new();
    let mut spans = Vec::new();
    let mut end = 0;
    for (index, token) in tokens.enumerate() {
        if index > 0 {
            text.push(' ');
            end += 1;
        }
        let start = end;
        text.push_str(token);
        end += token.chars().count();
        spans.push(Span { start, end });
    }
    (text, spans)
}
