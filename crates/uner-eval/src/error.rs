//! Errors of files and predictions to be scored.

use std::path::PathBuf;

use uner_data::visible;

/// The reason why files or predictions cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// A file cannot be read; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A benchmark cannot be read.
    #[error(transparent)]
    Data(#[from] uner_data::DataError),
    /// A table of the paper that does not exist.
    #[error("there is no reproduction `{name}`; known are {known}")]
    UnknownReproduction {
        /// The name.
        name: String,
        /// The names of those that exist.
        known: String,
    },
    /// The system cannot answer.
    #[error(transparent)]
    System(Box<dyn std::error::Error + Send + Sync>),
    /// The caller cancelled.
    #[error("stopped")]
    Stopped,
    /// Another process writes to a file.
    #[error("another process writes to `{}`; wait for its end, or choose another folder", .0.display())]
    InUse(PathBuf),
    /// The folder has another evaluation.
    #[error(
        "`{}` has another evaluation: {difference}; resume it with the same system and benchmarks, or choose another folder",
        folder.display()
    )]
    Other {
        /// The folder.
        folder: PathBuf,
        /// How the two differ.
        difference: String,
    },
    /// A file without lines to score.
    #[error("`{}` has no lines to score", .0.display())]
    Empty(PathBuf),
    /// A line does not have the expected format.
    #[error("`{}`:{line}: {}", path.display(), visible(problem))]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The fault and the expected format.
        problem: String,
    },
    /// An item of the gold file is not a single query.
    #[error(
        "`{}`: item {item} (`{}`) has `{turns}` turns; expected four: passage, acknowledgement, query, gold answer",
        path.display(), visible(id)
    )]
    Item {
        /// The gold file.
        path: PathBuf,
        /// The item, counted from 1.
        item: usize,
        /// The id of the item.
        id: String,
        /// Its number of turns.
        turns: usize,
    },
    /// The numbers of gold queries and predictions differ.
    #[error(
        "`{}` has `{gold}` queries but `{}` has `{predicted}` predictions: write one prediction per query, in the order of the queries",
        gold_path.display(), predictions_path.display()
    )]
    Count {
        /// The file of queries.
        gold_path: PathBuf,
        /// The file of predictions.
        predictions_path: PathBuf,
        /// Number of queries.
        gold: usize,
        /// Number of predictions.
        predicted: usize,
    },
    /// The predictions for an example do not match its queries.
    #[error(
        "example `{id}` has queries for `{queries:?}` but predictions for `{answered:?}`: pass one prediction per query, in the same order"
    )]
    Queries {
        /// The id of the example.
        id: String,
        /// The types of its queries.
        queries: Vec<String>,
        /// The types of the predictions.
        answered: Vec<String>,
    },
}
