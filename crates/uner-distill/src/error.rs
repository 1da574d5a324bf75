//! Errors of distillation.

use std::path::PathBuf;

use uner_data::{DataError, visible, windows::NothingFits};

use crate::teacher::TeacherError;

/// A stage of distillation that cannot start, or that was ended.
#[derive(Debug, thiserror::Error)]
pub enum DistillError {
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
    /// The caller stopped the reading through its progress callback.
    #[error("the corpus was not read to its end")]
    Stopped,
    /// A line of a file of passages is not a passage.
    #[error("{}:{line}: this is not a passage: {problem}; cut the corpus again", .file.display())]
    NotAPassage {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// Two passages have the same id.
    #[error(
        "{}:{line}: the passage `{id}` occurs a second time; ids must be unique",
        .file.display()
    )]
    RepeatedPassage {
        /// The file.
        file: PathBuf,
        /// The line of the second one, from 1.
        line: usize,
        /// The id.
        id: String,
    },
    /// The file of passages has no passages.
    #[error("`{}` has no passages; cut a corpus first", .0.display())]
    NoPassages(PathBuf),
    /// A line of a file of answers was not written by this crate.
    #[error(
        "{}:{line}: this is not an answer of a teacher; choose another folder, or remove the line",
        .file.display()
    )]
    NotAnAnswer {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Another process writes the answers.
    #[error(
        "`{}` is in use by another run; wait until it ends, or choose another folder",
        .0.display()
    )]
    AnswersInUse(PathBuf),
    /// A folder has another run than the one that was to be resumed.
    #[error(
        "`{}` has answers of another run: its `{key}` is `{found}`, not `{expected}`; choose another folder, or restore the value",
        .folder.display()
    )]
    OtherRun {
        /// The folder.
        folder: PathBuf,
        /// The first value that differs.
        key: &'static str,
        /// The value of the folder.
        found: String,
        /// The value of the new run.
        expected: String,
    },
    /// A folder without a run.
    #[error("`{}` has no run: `{file}` {problem}", .folder.display())]
    NoRun {
        /// The folder.
        folder: PathBuf,
        /// The description of its run.
        file: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A shard that is written wrongly.
    #[error("`{0}` is not a shard; write `i/n` with `i` from 0 to `n` - 1, such as `0/4`")]
    Shard(String),
    /// Folders that are not the shards of one run.
    #[error("the shards cannot be merged: {0}")]
    Shards(String),
    /// The teacher does not work.
    #[error(transparent)]
    Teacher(TeacherError),
    /// Written data could not be read again.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A file cannot be read or written; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
