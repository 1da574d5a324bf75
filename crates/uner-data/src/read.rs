//! From a dataset's description to its examples, one at a time: a file is never held whole.

use std::{
    collections::VecDeque,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use crate::{
    DataError, Dataset, Example, Note, Notes, Problem, Span, brat, columns,
    dataset::Meaning,
    demo,
    format::Format,
    json::{
        self,
        spans::{Source, SpanReader},
    },
    lines,
};

/// Opens a split of a dataset. Paths of a description without a file of its own are relative to `root`.
///
/// # Errors
/// An invalid description, an unknown split or a missing file. What is wrong inside the files comes as items of
/// [`Examples`].
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

/// The part of a path that is a file or folder on disk: up to a zip file, where the path goes on inside one.
fn on_disk(path: &Path) -> PathBuf {
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
/// An item is an error where a place cannot be read: it names file and line, and the next item goes on after it, so
/// that every problem can be listed. Who wants only sound data stops at the first. A split without a single item
/// gives one [`DataError::Empty`].
pub struct Examples {
    dataset: Arc<Dataset>,
    split: String,
    read: Vec<PathBuf>,
    files: VecDeque<PathBuf>,
    reader: Option<(PathBuf, Box<dyn Reader>)>,
    /// What else is wrong with the example whose first problem was given.
    further: VecDeque<DataError>,
    notes: Notes,
    given: usize,
    failed: usize,
    finished: bool,
}

impl Examples {
    /// What could not be represented exactly in what was read so far.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Examples given so far.
    pub fn num_examples(&self) -> usize {
        self.given
    }

    /// Errors given so far.
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

/// A format's reader: one file, one example after the other. Readers leave `id` empty where the source has none.
pub(crate) trait Reader: Send {
    fn next(&mut self, context: &mut Context<'_>) -> Option<Result<Example, DataError>>;
}

fn open(format: &Format, file: &Path) -> Result<Box<dyn Reader>, DataError> {
    let input = || lines::open(file, format.encoding());
    Ok(match format {
        Format::Columns(columns) => Box::new(columns::ColumnReader::new(columns.clone(), input()?)),
        Format::Instructuie(format) => Box::new(json::instructuie::InstructuieReader::new(format, input()?)),
        Format::Jsonl(keys) => {
            Box::new(SpanReader::new(Source::Keys(keys.clone()), keys.offsets, file, input()?)?)
        }
        Format::LabelStudio(export) => Box::new(SpanReader::new(
            Source::LabelStudio(export.text.clone()),
            export.offsets,
            file,
            input()?,
        )?),
        Format::Spacy(export) => Box::new(SpanReader::new(Source::Spacy, export.offsets, file, input()?)?),
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
        Format::Gliner(format) => Box::new(json::gliner::GlinerReader::new(format, input()?)),
        Format::Brat(format) => brat::open(format, file, &on_disk(file))?,
        Format::Demo(_) => unreachable!("the generated corpus has no files"),
    })
}

/// What every reader needs besides its input.
pub(crate) struct Context<'a> {
    pub(crate) dataset: &'a Dataset,
    pub(crate) notes: &'a mut Notes,
    pub(crate) further: &'a mut VecDeque<DataError>,
    pub(crate) file: &'a Path,
    /// The number of the record that is read, from 1, in a JSON array: an array may be one line.
    pub(crate) record: Option<usize>,
}

impl Context<'_> {
    pub(crate) fn note(&mut self, note: Note, line: usize) {
        self.notes.take(note, self.file, line);
    }

    pub(crate) fn malformed(&self, line: usize, problem: Problem) -> DataError {
        DataError::Malformed { file: self.file.to_owned(), line, record: self.record, problem }
    }

    /// An example, or the first of its problems; the others are given after it.
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

    /// A line as text.
    pub(crate) fn decoded<'l>(&self, line: &'l [u8], number: usize) -> Result<&'l str, DataError> {
        std::str::from_utf8(line).map_err(|error| {
            let at = error.valid_up_to();
            self.malformed(number, self.dataset.format.encoding().problem(line[at], at))
        })
    }

    /// The natural-language type of a label; `None` for a dropped one, which is counted once for each entity.
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
            Meaning::Unknown => Err(self.malformed(line, Problem::UnknownLabel { label: label.to_owned() })),
        }
    }
}

/// The text of tokens joined by one space, and the characters each token takes in it.
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
