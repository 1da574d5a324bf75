//! Reads the examples of a dataset one at a time. Only brat documents are loaded whole.

use std::{
    collections::VecDeque,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use crate::{
    DataError, Dataset, Example, Notes, brat, columns, demo,
    format::Format,
    json::{
        self,
        spans::{Source, SpanReader},
    },
    lines,
    reader::{Context, Reader},
};

/// Opens a split of a dataset. Paths of built-in and inline descriptions are relative to `root`.
///
/// # Errors
/// An invalid description, an unknown split or a missing file. Problems inside the files are items
/// of [`Examples`].
pub fn read(dataset: &Dataset, split: &str, root: &Path) -> Result<Examples, DataError> {
    dataset.check()?;
    let files = dataset.files(split, root)?;
    if let Some(missing) = files.iter().find(|file| !on_disk(file).exists()) {
        return Err(DataError::MissingFile {
            dataset: dataset.name.clone(),
            split: split.to_owned(),
            path: missing.clone(),
            obtain: dataset.obtain.clone(),
        });
    }
    let reader: Option<(PathBuf, Box<dyn Reader>)> = match &dataset.format {
        Format::Demo(format) => {
            Some((PathBuf::from("demo"), Box::new(DemoReader::new(split, format.seed, dataset)?)))
        }
        _ => None,
    };
    Ok(Examples {
        dataset: Arc::new(dataset.clone()),
        split: split.to_owned(),
        read: files.clone(),
        files: files.into(),
        reader,
        further: VecDeque::new(),
        notes: Notes::default(),
        given: 0,
        failed: 0,
        finished: false,
    })
}

/// The part of a path that is a file or folder on disk: the whole path, or the path up to its zip
/// file.
pub(crate) fn on_disk(path: &Path) -> PathBuf {
    let mut found = PathBuf::new();
    for component in path.components() {
        found.push(component);
        if matches!(component, Component::Normal(name) if Path::new(name).extension().is_some_and(|e| e == "zip"))
        {
            break;
        }
    }
    found
}

/// The examples of a split, in the order of its files.
///
/// Unreadable data gives an error with file and line. The next item continues after it, so that
/// every problem can be listed; a caller that needs valid data stops at the first error. A split
/// without items gives one [`DataError::Empty`].
pub struct Examples {
    dataset: Arc<Dataset>,
    split: String,
    read: Vec<PathBuf>,
    files: VecDeque<PathBuf>,
    reader: Option<(PathBuf, Box<dyn Reader>)>,
    /// Further problems of the example whose first problem was returned.
    further: VecDeque<DataError>,
    notes: Notes,
    given: usize,
    failed: usize,
    finished: bool,
}

impl Examples {
    /// Notes on inexact representations in everything read so far.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Number of examples returned so far.
    pub fn num_examples(&self) -> usize {
        self.given
    }

    /// Number of errors returned so far.
    pub fn num_errors(&self) -> usize {
        self.failed
    }

    fn advance(&mut self) -> Option<Result<Example, DataError>> {
        if let Some(error) = self.further.pop_front() {
            return Some(Err(error));
        }
        loop {
            if let Some((file, reader)) = &mut self.reader {
                let mut context = Context {
                    dataset: &self.dataset,
                    notes: &mut self.notes,
                    further: &mut self.further,
                    file,
                    record: None,
                };
                if let Some(item) = reader.next(&mut context) {
                    return Some(item);
                }
                self.reader = None;
            }
            let file = self.files.pop_front()?;
            match open(&self.dataset.format, &file) {
                Ok(reader) => self.reader = Some((file, reader)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Iterator for Examples {
    type Item = Result<Example, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        match self.advance() {
            Some(Ok(mut example)) => {
                if example.id.is_empty() {
                    example.id = format!("{}_{}", self.split, self.given);
                }
                self.given += 1;
                Some(Ok(example))
            }
            Some(Err(error)) => {
                self.failed += 1;
                Some(Err(error))
            }
            None => {
                self.finished = true;
                let empty = self.given + self.failed == 0;
                empty.then(|| Err(self.empty()))
            }
        }
    }
}

impl Examples {
    fn empty(&self) -> DataError {
        let files: Vec<String> = self.read.iter().map(|file| file.display().to_string()).collect();
        DataError::Empty {
            dataset: self.dataset.name.clone(),
            split: self.split.clone(),
            files: files.join(", "),
        }
    }
}

fn open(format: &Format, file: &Path) -> Result<Box<dyn Reader>, DataError> {
    let input = || lines::open(file, format.encoding());
    Ok(match format {
        Format::Columns(columns) => Box::new(columns::ColumnReader::new(columns.clone(), input()?)),
        Format::Instructuie(format) => {
            Box::new(json::instructuie::InstructuieReader::new(format, input()?))
        }
        Format::Jsonl(keys) => {
            Box::new(SpanReader::new(Source::Keys(keys.clone()), keys.offsets, file, input()?)?)
        }
        Format::LabelStudio(export) => Box::new(SpanReader::new(
            Source::LabelStudio(export.clone()),
            export.offsets,
            file,
            input()?,
        )?),
        Format::Spacy(export) => {
            let source = Source::Spacy(export.spans.clone());
            Box::new(SpanReader::new(source, export.offsets, file, input()?)?)
        }
        Format::Prodigy(export) => {
            Box::new(SpanReader::new(Source::Prodigy, export.offsets, file, input()?)?)
        }
        Format::Doccano(export) => {
            Box::new(SpanReader::new(Source::Doccano, export.offsets, file, input()?)?)
        }
        Format::Conversations(format) => {
            Box::new(json::conversations::ConversationReader::new(format, input()?))
        }
        Format::Queries(keys) => {
            let reader = json::queries::QueryReader::new(keys.clone(), input()?);
            Box::new(reader.map_err(|error| lines::named(file, &error))?)
        }
        Format::TokenClassification(format) => {
            let reader = json::token_classification::TokenReader::new(format.clone(), input()?);
            Box::new(reader.map_err(|error| lines::named(file, &error))?)
        }
        Format::Gliner(format) => Box::new(json::gliner::GlinerReader::new(format, input()?)),
        Format::Brat(format) => brat::open(format, file, &on_disk(file))?,
        Format::Demo(_) => unreachable!("the generated corpus has no files"),
    })
}

struct DemoReader {
    examples: Box<dyn Iterator<Item = Example> + Send>,
}

impl DemoReader {
    fn new(split: &str, seed: u64, dataset: &Dataset) -> Result<Self, DataError> {
        let examples = demo::examples(split, seed).map_err(|error| DataError::Invalid {
            dataset: dataset.name.clone(),
            message: error.to_string(),
        })?;
        Ok(Self { examples: Box::new(examples) })
    }
}

impl Reader for DemoReader {
    fn next(&mut self, _: &mut Context<'_>) -> Option<Result<Example, DataError>> {
        self.examples.next().map(Ok)
    }
}

#[cfg(test)]
mod tests;
