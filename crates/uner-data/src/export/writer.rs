//! Writes examples, one at a time.

use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use super::{ExportFormat, Labels, Losses, Tokens, fit::fit, records};
use crate::{
    DataError, Example,
    predictions::{brat, label_studio, spacy},
};

/// Writes examples to a file, or to a folder of brat documents.
///
/// ```
/// use uner_data::{Entity, Example, Span, export::*};
///
/// let folder = tempfile::tempdir()?;
/// let span = Some(Span { start: 8, end: 12 });
/// let rome = Entity { text: "Rome".to_owned(), entity_type: "city".to_owned(), span };
/// let example = Example::new("1".to_owned(), "Ada saw Rome".to_owned(), vec![rome]);
///
/// let path = folder.path().join("train.conll");
/// let exported = export([example], &path, ExportFormat::Conll, Tokens::Words)?;
/// assert!(exported.losses.is_empty());
/// assert_eq!(std::fs::read_to_string(&path)?, "# id = 1\nAda\tO\nsaw\tO\nRome\tB-city\n\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ExampleWriter {
    format: ExportFormat,
    tokens: Tokens,
    /// The output: a file, or the folder of brat documents.
    path: PathBuf,
    /// The file that grows by a record with each example.
    file: BufWriter<fs_err::File>,
    exported: Exported,
}

/// The result of an export.
#[derive(Debug, Clone, Default)]
pub struct Exported {
    /// Number of examples written.
    pub num_examples: usize,
    /// Number of their entities.
    pub num_entities: usize,
    /// What is not read back as it was.
    pub losses: Losses,
    /// The types of the entities and queries with their labels.
    pub labels: Labels,
}

/// Writes examples in a format.
///
/// # Errors
/// As [`ExampleWriter::create`] and [`ExampleWriter::write`].
pub fn export(
    examples: impl IntoIterator<Item = Example>,
    path: &Path,
    format: ExportFormat,
    tokens: Tokens,
) -> Result<Exported, DataError> {
    let mut writer = ExampleWriter::create(path, format, tokens)?;
    for example in examples {
        writer.write(&example)?;
    }
    writer.finish()
}

impl ExampleWriter {
    /// Starts an output. brat's folder is created if it is missing. `tokens` is for formats of
    /// tokens.
    ///
    /// # Errors
    /// If the file exists or the folder is not empty: nothing is overwritten. If they cannot be
    /// created.
    pub fn create(path: &Path, format: ExportFormat, tokens: Tokens) -> Result<Self, DataError> {
        let is_taken = match format {
            ExportFormat::Brat if path.is_dir() => fs_err::read_dir(path)?.next().is_some(),
            _ => path.exists(),
        };
        if is_taken {
            let message = "it exists already; delete it, or choose another output".to_owned();
            return Err(DataError::Unusable { path: path.to_owned(), message });
        }
        if format == ExportFormat::Brat {
            fs_err::create_dir_all(path)?;
        }
        let records =
            if format == ExportFormat::Brat { path.join(brat::INDEX) } else { path.to_owned() };
        let file = BufWriter::new(fs_err::File::create_new(records)?);
        let exported = Exported::default();
        Ok(Self { format, tokens, path: path.to_owned(), file, exported })
    }

    /// Uses the labels of an earlier output, so that several outputs have one description.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        self.exported.labels = labels;
        self
    }

    /// Writes an example. Returns it as it is read back, or `None` if the format cannot represent
    /// any of it; the differences are counted.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, example: &Example) -> Result<Option<Example>, DataError> {
        let Some(example) = fit(example, self.format, self.tokens, &mut self.exported.losses)
        else {
            return Ok(None);
        };
        for entity_type in &example.queries {
            self.exported.labels.of(self.format, entity_type);
        }
        let record = self.record(&example)?;
        let before = match (self.format.is_array(), self.exported.num_examples) {
            (false, _) => "",
            (true, 0) => "[\n",
            (true, _) => ",\n",
        };
        let after = match self.format {
            ExportFormat::Conll => "",
            _ if self.format.is_array() => "",
            _ => "\n",
        };
        write!(self.file, "{before}{record}{after}")?;
        self.exported.num_examples += 1;
        self.exported.num_entities += example.entities.len();
        Ok(Some(example))
    }

    fn record(&mut self, example: &Example) -> Result<String, DataError> {
        let labels = &mut self.exported.labels;
        let mut label = |entity_type: &str| labels.joined(entity_type);
        Ok(match self.format {
            ExportFormat::Conll => records::rows(example, &mut label),
            ExportFormat::Brat => {
                let number = self.exported.num_examples + 1;
                let prediction = records::prediction(example);
                brat::write(&self.path, number, &prediction, &mut label)?.0
            }
            ExportFormat::Spacy => spacy::record(&records::prediction(example)),
            ExportFormat::LabelStudio => label_studio::annotated(&records::prediction(example)),
            ExportFormat::Conversations => records::conversations(example),
            ExportFormat::JsonLines => records::json_lines(example).to_string(),
            ExportFormat::SpacyTraining => {
                records::spacy_training(example, self.tokens).to_string()
            }
            ExportFormat::Prodigy => records::prodigy(example).to_string(),
            ExportFormat::Doccano => records::doccano(example).to_string(),
            ExportFormat::Gliner => records::gliner(example).to_string(),
            ExportFormat::Instructuie => records::instructuie(example).to_string(),
            ExportFormat::TokenClassification => records::token_classification(example).to_string(),
        })
    }

    /// Completes the output, and waits until the disk has all of it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> Result<Exported, DataError> {
        if self.format.is_array() {
            let before = if self.exported.num_examples == 0 { "[" } else { "" };
            self.file.write_all(format!("{before}\n]\n").as_bytes())?;
        }
        let file = self.file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(self.exported)
    }
}
