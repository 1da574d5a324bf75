//! The documents of a corpus, one at a time.

use std::{path::PathBuf, sync::Arc};

use uner_data::{
    DataError, Problem,
    documents::{Document, DocumentFormat, DocumentOptions, Documents, documents},
};

use super::{
    CorpusConfig,
    files::{CorpusFile, SubsetFiles, files},
};
use crate::DistillError;

/// If this many documents of a subset cannot be read, and none can, the reading ends: the
/// configuration probably names the wrong key.
const UNREADABLE: usize = 100;

/// A document of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CorpusDocument {
    pub(crate) subset: String,
    /// The name of the file in its subset.
    pub(crate) file: Arc<str>,
    /// Its line, or its row, in the file.
    pub(crate) line: usize,
    /// Its id, if a key of the configuration names one.
    pub(crate) key: Option<String>,
    pub(crate) text: String,
}

impl CorpusDocument {
    /// Its id, or else the file and the line.
    pub(crate) fn id(&self) -> String {
        self.key.clone().unwrap_or_else(|| format!("{}:{}", self.file, self.line))
    }
}

/// An item of a corpus.
#[derive(Debug)]
pub(crate) enum Found {
    Document(CorpusDocument),
    /// A document that cannot be read, with the subset that names its file. The next item continues
    /// after it.
    Unreadable {
        subset: String,
        message: String,
    },
}

/// The documents of all subsets in the order of the configuration, by file and line.
pub(crate) struct Reader {
    subsets: Vec<Subset>,
    /// The current subset.
    subset: usize,
    /// The current file of the subset, behind those that were read.
    file: usize,
    open: Option<Open>,
    pub(crate) num_bytes_read: u64,
    pub(crate) num_bytes: u64,
}

struct Subset {
    name: String,
    files: Vec<CorpusFile>,
    options: DocumentOptions,
    num_read: usize,
    num_unreadable: usize,
    first_problem: Option<DataError>,
}

struct Open {
    documents: Documents,
    name: Arc<str>,
    /// The name of a file that is one document is the document's id.
    is_document: bool,
    num_bytes: u64,
}

impl Reader {
    /// Finds the files of all subsets. Also returns the files in folders that are not read.
    ///
    /// # Errors
    /// A path without files, an unknown format, and a key for a format without keys.
    pub(crate) fn new(config: &CorpusConfig) -> Result<(Self, Vec<PathBuf>), DistillError> {
        let (mut subsets, mut all_ignored) = (Vec::new(), Vec::new());
        for (name, subset) in &config.subsets {
            let SubsetFiles { files, ignored } = files(name, subset)?;
            all_ignored.extend(ignored);
            check_keys(name, subset.id.as_ref().or(subset.subset.as_ref()), &files)?;
            let options = DocumentOptions {
                text: subset.text.clone(),
                id: subset.id.clone(),
                subset: subset.subset.clone(),
                ..DocumentOptions::default()
            };
            subsets.push(Subset {
                name: name.clone(),
                files,
                options,
                num_read: 0,
                num_unreadable: 0,
                first_problem: None,
            });
        }
        let files = subsets.iter().flat_map(|subset: &Subset| &subset.files);
        let num_bytes = files.map(|file| file.num_bytes).sum();
        let (subset, file, open, num_bytes_read) = (0, 0, None, 0);
        let reader = Self { subsets, subset, file, open, num_bytes_read, num_bytes };
        Ok((reader, all_ignored))
    }

    fn advance(&mut self) -> Result<Option<Found>, DistillError> {
        loop {
            let Some(subset) = self.subsets.get_mut(self.subset) else { return Ok(None) };
            if let Some(open) = &mut self.open {
                if let Some(document) = open.documents.next() {
                    return subset.take(document, open).map(Some);
                }
                self.num_bytes_read += open.num_bytes;
                self.open = None;
                self.file += 1;
            } else if let Some(file) = subset.files.get(self.file) {
                self.open = Some(subset.open(file)?);
            } else {
                subset.check(1)?;
                (self.subset, self.file) = (self.subset + 1, 0);
            }
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Found, DistillError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

impl Subset {
    fn open(&self, file: &CorpusFile) -> Result<Open, DistillError> {
        let options = DocumentOptions { format: Some(file.format), ..self.options.clone() };
        Ok(Open {
            documents: documents(&file.path, &options)?,
            name: file.name.as_str().into(),
            is_document: file.format == DocumentFormat::Text,
            num_bytes: file.num_bytes,
        })
    }

    fn take(
        &mut self,
        document: Result<Document, DataError>,
        open: &Open,
    ) -> Result<Found, DistillError> {
        match document {
            Ok(Document { id, text, subset, line, .. }) => {
                self.num_read += 1;
                let key = if open.is_document {
                    Some(open.name.to_string())
                } else {
                    self.options.id.is_some().then_some(id)
                };
                let subset = subset.unwrap_or_else(|| self.name.clone());
                Ok(Found::Document(CorpusDocument {
                    subset,
                    file: open.name.clone(),
                    line,
                    key,
                    text,
                }))
            }
            // The reader of a file does not continue after a line that is too long.
            Err(error @ DataError::Malformed { .. }) if !is_long(&error) => {
                self.num_unreadable += 1;
                let message = error.to_string();
                self.first_problem.get_or_insert(error);
                self.check(UNREADABLE)?;
                Ok(Found::Unreadable { subset: self.name.clone(), message })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses the subset if at least `least` of its documents cannot be read, and none can.
    fn check(&mut self, least: usize) -> Result<(), DistillError> {
        match self.first_problem.take_if(|_| self.num_read == 0 && self.num_unreadable >= least) {
            None => Ok(()),
            Some(first) => Err(DistillError::Unreadable {
                subset: self.name.clone(),
                count: self.num_unreadable,
                first: Box::new(first),
            }),
        }
    }
}

fn is_long(error: &DataError) -> bool {
    matches!(error, DataError::Malformed { problem: Problem::Long { .. }, .. })
}

/// Refuses keys for files that have none.
fn check_keys(
    subset: &str,
    key: Option<&String>,
    files: &[CorpusFile],
) -> Result<(), DistillError> {
    let without_keys = [DocumentFormat::Text, DocumentFormat::Lines, DocumentFormat::Folder];
    match (key, files.iter().find(|file| without_keys.contains(&file.format))) {
        (Some(key), Some(file)) => Err(DistillError::Config {
            key: format!("subsets.{subset}"),
            message: format!(
                "names the key `{key}`, but `{}` is plain text without keys; put it into a subset \
                 of its own",
                file.path.display()
            ),
        }),
        _ => Ok(()),
    }
}
