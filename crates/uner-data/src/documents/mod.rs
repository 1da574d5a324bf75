//! Reads the documents to annotate, one at a time, from a file, a folder or the standard input.
//!
//! The order and the ids are functions of the input alone: document *i* of an unchanged input is
//! document *i* of every run, which is what resuming an output relies on. Texts are taken exactly
//! as written, line ends included; only a byte order mark is left out. Invalid UTF-8 is an error
//! with its line, and is never replaced.

mod json_lines;
mod parquet;
mod plain;
mod stamp;
mod table;
mod type_list;

use std::{
    io::{BufReader, stdin},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

pub use stamp::Stamp;

use crate::{
    DataError, Problem, did_you_mean,
    encoding::Encoding,
    lines::{self, Input},
};

/// A text to annotate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its id: the value of the key or column that [`DocumentOptions::id`] names, or else its
    /// number in the file (from 1), or the name of its file.
    pub id: String,
    /// The text, exactly as written.
    pub text: String,
    /// The entity types to ask of this text, if [`DocumentOptions::types`] names a key or column
    /// and its value is not empty.
    pub types: Option<Vec<String>>,
    /// The value of the key or column that [`DocumentOptions::subset`] names.
    pub subset: Option<String>,
    /// The file that it was read from, for messages; `-` for the standard input.
    pub file: Arc<Path>,
    /// The line of the file where it starts, from 1; of a Parquet file the row.
    pub line: usize,
}

/// The layout of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentFormat {
    /// A JSON object per line (`.jsonl`, `.ndjson`). Blank lines are skipped. An id is the number
    /// of the line, unless a key gives one.
    JsonLines,
    /// A table with a header (`.csv`): comma-separated, cells with commas, quotes or line breaks in
    /// double quotes. An id is the number of the row after the header, unless a column gives one.
    Csv,
    /// The same, separated by tabs (`.tsv`).
    Tsv,
    /// The rows of a Parquet file (`.parquet`), whose pages may be compressed with Snappy, gzip or
    /// Zstandard. An id is the number of the row, unless a column gives one. A column inside a
    /// group is named by its path, such as `meta.source`.
    Parquet,
    /// One document: the whole file (`.txt`). Its id is the name of the file.
    Text,
    /// A document per line. Blank lines are skipped. An id is the number of the line.
    Lines,
    /// The `.txt` files of a folder and the folders in it, sorted by path. An id is the path in the
    /// folder, with `/`.
    Folder,
}

impl DocumentFormat {
    const NAMES: [(&'static str, Self); 7] = [
        ("json-lines", Self::JsonLines),
        ("csv", Self::Csv),
        ("tsv", Self::Tsv),
        ("parquet", Self::Parquet),
        ("text", Self::Text),
        ("lines", Self::Lines),
        ("folder", Self::Folder),
    ];

    /// The format of a path by its name (without `.gz` or `.zst`), or because it is a folder.
    ///
    /// # Errors
    /// If the name does not say it.
    pub fn of(path: &Path) -> Result<Self, DataError> {
        if path.is_dir() {
            return Ok(Self::Folder);
        }
        Self::of_file(path).ok_or_else(|| DataError::Unusable {
            path: path.to_owned(),
            message: format!(
                "its name does not say the format of the documents; set it to one of {}",
                names()
            ),
        })
    }

    fn of_file(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst"));
        let name = Path::new(plain.unwrap_or(&name));
        match name.extension()?.to_str()? {
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "parquet" => Some(Self::Parquet),
            "txt" => Some(Self::Text),
            _ => None,
        }
    }
}

fn names() -> String {
    DocumentFormat::NAMES.map(|(name, _)| format!("`{name}`")).join(", ")
}

impl FromStr for DocumentFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, format)| *format).ok_or_else(|| {
            let hint = did_you_mean(name, Self::NAMES.map(|(known, _)| known));
            format!("`{name}` is not a format of documents{hint}; the formats are {}", names())
        })
    }
}

/// How to read documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentOptions {
    /// The format; `None` takes it from the name of the file.
    pub format: Option<DocumentFormat>,
    /// The key or column of the text. A key inside objects is named by its path, such as
    /// `meta.text`, if the row has no key of this name.
    pub text: String,
    /// The key or column of the id. Its value must be a string or a number.
    pub id: Option<String>,
    /// The key or column of the entity types to ask of a text. Its value is a list of strings, or a
    /// string (always so in a table) that contains such a list as JSON or names separated by `;`.
    /// An empty cell and `null` mean that the text has no types of its own.
    pub types: Option<String>,
    /// The key or column of the subset that a text belongs to, such as `meta.pile_set_name` of the
    /// Pile. Its value must be a string.
    pub subset: Option<String>,
}

impl Default for DocumentOptions {
    fn default() -> Self {
        Self { format: None, text: "text".to_owned(), id: None, types: None, subset: None }
    }
}

/// Documents in the order of their input. After an error the next item continues, unless the input
/// itself cannot be read further.
pub type Documents = Box<dyn Iterator<Item = Result<Document, DataError>> + Send>;

/// Opens a file, a folder, or the standard input (`-`). A file whose name ends in `.gz` or `.zst`
/// is decompressed.
///
/// # Errors
/// An unknown format, a missing file or folder, a table without the named columns, or a folder
/// without texts. Problems of single documents are items of [`Documents`].
///
/// ```
/// use uner_data::documents::{DocumentOptions, documents};
///
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("texts.csv");
/// std::fs::write(&file, "text,types\n\"Ada, in Rome\",person; city\n")?;
/// let options = DocumentOptions { types: Some("types".to_owned()), ..DocumentOptions::default() };
/// let document = documents(&file, &options)?.next().expect("a row")?;
/// assert_eq!((document.id.as_str(), document.text.as_str()), ("1", "Ada, in Rome"));
/// assert_eq!(document.types.unwrap(), ["person", "city"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn documents(path: &Path, options: &DocumentOptions) -> Result<Documents, DataError> {
    let format = options.format.map_or_else(|| DocumentFormat::of(path), Ok)?;
    let file: Arc<Path> = Arc::from(path);
    Ok(match format {
        DocumentFormat::Folder => plain::folder(path)?,
        DocumentFormat::JsonLines => Box::new(json_lines::rows(open(path)?, file, options.clone())),
        DocumentFormat::Csv => Box::new(table::rows(open(path)?, file, b',', options)?),
        DocumentFormat::Tsv => Box::new(table::rows(open(path)?, file, b'\t', options)?),
        DocumentFormat::Parquet => Box::new(parquet::rows(path, file, options)?),
        DocumentFormat::Lines => Box::new(plain::lines(open(path)?, file)),
        DocumentFormat::Text => {
            let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Box::new(std::iter::once(plain::whole(open(path)?, file, id)))
        }
    })
}

/// The visible files of a folder and of the folders in it, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderFiles {
    /// Files whose names say the format of documents, relative to the folder.
    pub documents: Vec<PathBuf>,
    /// The others.
    pub others: Vec<PathBuf>,
}

impl FolderFiles {
    /// Lists a folder.
    ///
    /// # Errors
    /// If the folder or one in it cannot be read.
    pub fn of(folder: &Path) -> Result<Self, DataError> {
        let mut names = crate::folder::files(folder)?;
        names.sort();
        let is_document = |name: &PathBuf| DocumentFormat::of_file(name).is_some();
        let (documents, others) = names.into_iter().partition(is_document);
        Ok(Self { documents, others })
    }
}

/// Opens a file or the standard input, as UTF-8 without a byte order mark.
fn open(path: &Path) -> Result<Input, DataError> {
    let unusable =
        |message: &str| DataError::Unusable { path: path.to_owned(), message: message.to_owned() };
    let opened = if path == Path::new("-") {
        let plain = Box::new(BufReader::with_capacity(1 << 16, stdin()));
        let decoded = Encoding::default().decode(plain).map_err(|error| lines::named(path, &error));
        decoded?.map_err(|problem| malformed(path, 1, problem))
    } else {
        lines::open(path, Encoding::default())
    };
    opened.map_err(|error| match error {
        // The advice for datasets names keys of a description, which documents do not have.
        DataError::Malformed { problem: Problem::Utf16, .. } => {
            unusable("it is UTF-16; convert it: `iconv -f utf-16 -t utf-8`")
        }
        DataError::Malformed { problem: Problem::Compressed { format: "gzip", .. }, .. }
            if path == Path::new("-") =>
        {
            unusable("it is compressed with gzip; decompress it: `gzip -dc`")
        }
        other => other,
    })
}

fn malformed(file: &Path, line: usize, problem: Problem) -> DataError {
    DataError::Malformed { file: file.to_owned(), line, record: None, problem }
}

fn unreadable(file: &Path, line: usize, message: String) -> DataError {
    malformed(file, line, Problem::Document(message))
}

fn line_breaks(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count() - 1
}

/// Decodes bytes of a file that start at `line`.
fn decoded(bytes: Vec<u8>, file: &Path, line: usize) -> Result<String, DataError> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let (sound, rest) = error.as_bytes().split_at(at);
        let line = line + line_breaks(sound);
        let message = format!(
            "the line is not UTF-8: it contains the byte {:#04x}; convert the file: `iconv -f latin1 -t utf-8`",
            rest[0]
        );
        unreadable(file, line, message)
    })
}

#[cfg(test)]
mod tests;
