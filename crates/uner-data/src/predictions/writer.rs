//! Writes predictions, one document at a time.

use std::{
    fs::TryLockError,
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::{
    Prediction, PredictionFormat, Written, brat, conll, json_lines, label, label_studio,
    scan::{CLOSING, OPENING, scan},
    spacy,
};
use crate::DataError;

/// Appends predictions to a file, or to a folder of brat documents.
///
/// Each document is written at once. Whenever the process ends, the output therefore has complete
/// documents and at most the start of one more, which [`PredictionWriter::resume`] cuts off.
///
/// ```
/// use uner_data::predictions::*;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("entities.jsonl");
/// let entity = PredictedEntity::at("Ada saw Rome", 8..12, "city", Some(0.9)).unwrap();
/// let prediction = Prediction::new("1".to_owned(), "Ada saw Rome".to_owned(), vec![entity]);
///
/// let mut writer = PredictionWriter::create(&path, PredictionFormat::JsonLines)?;
/// writer.write(&prediction)?;
/// drop(writer); // as if the program had been stopped
///
/// let (writer, written) = PredictionWriter::resume(&path, PredictionFormat::JsonLines)?;
/// assert_eq!((written.num_documents, written.last_id.as_deref()), (1, Some("1")));
/// writer.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PredictionWriter {
    format: PredictionFormat,
    /// The output: a file, or the folder of brat documents.
    path: PathBuf,
    /// The file that grows by a record with each document.
    file: fs_err::File,
    /// Bytes of the file that are complete.
    length: u64,
    num_documents: usize,
}

impl PredictionWriter {
    /// Starts an output. brat's folder is created if it is missing.
    ///
    /// # Errors
    /// If the file exists or the folder is not empty: predictions are never overwritten. If they
    /// cannot be created, or another process has just created them.
    pub fn create(path: &Path, format: PredictionFormat) -> Result<Self, DataError> {
        let is_taken = match format {
            PredictionFormat::Brat if path.is_dir() => fs_err::read_dir(path)?.next().is_some(),
            _ => path.exists(),
        };
        if is_taken {
            let message = "it exists already; resume it, delete it, or choose another output";
            return Err(unusable(path, message));
        }
        if format == PredictionFormat::Brat {
            fs_err::create_dir_all(path)?;
        }
        let mut options = fs_err::OpenOptions::new();
        let file = options.write(true).create_new(true).open(records(path, format))?;
        lock(&file, path)?;
        let mut writer = Self { format, path: path.to_owned(), file, length: 0, num_documents: 0 };
        if format == PredictionFormat::LabelStudio {
            writer.append(OPENING)?;
        }
        Ok(writer)
    }

    /// Continues an output after its last complete document, and says how many it has. The start of
    /// a document that was being written is cut off. A missing output is created.
    ///
    /// # Errors
    /// [`DataError::Malformed`] if the output contains anything that was not written in this
    /// format; it is then left as it is. If it cannot be read or written, or another process writes
    /// to it.
    pub fn resume(path: &Path, format: PredictionFormat) -> Result<(Self, Written), DataError> {
        let records = records(path, format);
        if !records.exists() {
            return Ok((Self::create(path, format)?, Written::default()));
        }
        let mut file = fs_err::OpenOptions::new().read(true).write(true).open(records)?;
        lock(&file, path)?;
        let (written, length) = scan(&file, file.path(), format)?;
        file.set_len(length)?;
        file.seek(SeekFrom::End(0))?;
        let num_documents = written.num_documents;
        if format == PredictionFormat::Brat {
            brat::remove(path, num_documents + 1)?;
        }
        let mut writer = Self { format, path: path.to_owned(), file, length, num_documents };
        if format == PredictionFormat::LabelStudio && length == 0 {
            writer.append(OPENING)?;
        }
        Ok((writer, written))
    }

    /// Appends a document. Returns the number of its entities that the format cannot represent and
    /// that were left out (see [`PredictionFormat`]).
    ///
    /// # Errors
    /// If it cannot be written; the output then ends with the document before.
    pub fn write(&mut self, prediction: &Prediction) -> Result<usize, DataError> {
        let number = self.num_documents + 1;
        let (record, left_out) = match self.format {
            PredictionFormat::JsonLines => (json_lines::record(prediction) + "\n", 0),
            PredictionFormat::SpacyJson => (spacy::record(prediction) + "\n", 0),
            PredictionFormat::Conll => conll::record(prediction),
            PredictionFormat::LabelStudio => {
                // The comma is part of the row after it, so that a row is complete at its end.
                let comma = if self.num_documents > 0 { "," } else { "" };
                (format!("{comma}{}\n", label_studio::record(prediction)), 0)
            }
            PredictionFormat::Brat => {
                let (row, left_out) = brat::write(&self.path, number, prediction, &mut label)?;
                (row + "\n", left_out)
            }
        };
        self.append(&record)?;
        self.num_documents = number;
        Ok(left_out)
    }

    /// Completes the output: ends its array, if it is one, and waits until the disk has all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> Result<(), DataError> {
        if self.format == PredictionFormat::LabelStudio {
            self.append(CLOSING)?;
        }
        Ok(self.file.sync_all()?)
    }

    fn append(&mut self, record: &str) -> Result<(), DataError> {
        if let Err(error) = self.file.write_all(record.as_bytes()) {
            // A full disk leaves a part of the record, after which nothing may be written.
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::End(0))?;
            return Err(error.into());
        }
        self.length += record.len() as u64;
        Ok(())
    }
}

/// The file with a record for each document.
fn records(path: &Path, format: PredictionFormat) -> PathBuf {
    if format == PredictionFormat::Brat { path.join(brat::INDEX) } else { path.to_owned() }
}

/// Locks the records of an output against other processes, until the file is closed.
fn lock(file: &fs_err::File, path: &Path) -> Result<(), DataError> {
    match file.file().try_lock() {
        Err(TryLockError::WouldBlock) => {
            Err(unusable(path, "another process writes to it; wait for its end, or choose another"))
        }
        // Some file systems have no locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

fn unusable(path: &Path, message: &str) -> DataError {
    DataError::Unusable { path: path.to_owned(), message: message.to_owned() }
}
