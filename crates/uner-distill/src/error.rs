//! The errors of distillation.

use std::path::PathBuf;

use uner_data::{DataError, visible, windows::NothingFits};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum DistillError {
    /// A file cannot be opened, read or written; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A file of a corpus that cannot be read further.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A key of the configuration with a value that is not possible.
    #[error("`{key}` {message}")]
    Config {
        /// The key, such as `sample.passages`.
        key: String,
        /// The problem and the advice.
        message: String,
    },
    /// A subset none of whose documents can be read.
    #[error(
        "none of the first {count} documents of subset `{}` can be read; the first problem: {first}",
        visible(subset)
    )]
    Unreadable {
        /// The subset.
        subset: String,
        /// Number of documents.
        count: usize,
        /// The first problem.
        first: Box<DataError>,
    },
    /// A limit that is too small for one character.
    #[error("document `{}` of subset `{}`: {source}", visible(document), visible(subset))]
    NothingFits {
        /// The subset.
        subset: String,
        /// The document.
        document: String,
        /// The character.
        source: NothingFits,
    },
    /// A line of a passage file that is not a passage.
    #[error("{}:{line}: {message}", file.display())]
    Passage {
        /// The file.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The problem.
        message: String,
    },
    /// The caller stopped the reading through its progress callback.
    #[error("the corpus was not read to its end")]
    Stopped,
}
