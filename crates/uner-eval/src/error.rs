//! What can be wrong with files to be scored.

use std::path::PathBuf;

use uner_data::visible;

/// Why files or predictions could not be scored.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// A file could not be read; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Nothing to score.
    #[error("`{}` holds nothing to score", .0.display())]
    Empty(PathBuf),
    /// A line is not what is expected.
    #[error("`{}`:{line}: {}", path.display(), visible(problem))]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it and what is expected.
        problem: String,
    },
    /// An item of the gold file is not one query.
    #[error(
        "`{}`: item {item} (`{}`) has `{turns}` turns; expected four: passage, acknowledgement, query, gold answer",
        path.display(), visible(id)
    )]
    Item {
        /// The file.
        path: PathBuf,
        /// The item, from 1.
        item: usize,
        /// Its id.
        id: String,
        /// How many turns it has.
        turns: usize,
    },
    /// Gold queries and predictions do not pair up.
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
    /// The predictions of an example do not answer its queries.
    #[error(
        "example `{id}` asks `{queries:?}` but the predictions answer `{answered:?}`: give one prediction per query, in order"
    )]
    Queries {
        /// The example.
        id: String,
        /// What it asks.
        queries: Vec<String>,
        /// What was answered.
        answered: Vec<String>,
    },
}
