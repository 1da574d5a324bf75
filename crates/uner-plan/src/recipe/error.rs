//! Errors in a recipe, with file, line, key, value and what to do.

use std::path::PathBuf;

/// A recipe that cannot be used; the exit code is 2.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// There is no recipe of this name.
    #[error(
        "recipe `{name}` does not exist here, in `recipes/`, or built in{hint}; built in are {known}"
    )]
    Unknown {
        /// The name that was given.
        name: String,
        /// The nearest built-in name, or nothing.
        hint: String,
        /// All built-in names.
        known: String,
    },
    /// The file cannot be read; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file is not TOML.
    #[error("{file}:{line}: {problem}")]
    Syntax {
        /// The file.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// The parser's message.
        problem: String,
    },
    /// A key or its value is wrong.
    #[error("{place}: {problem}")]
    Key {
        /// File and line, or the `--set` that wrote it.
        place: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file that the recipe names cannot be used.
    #[error("`{key} = \"{value}\"`: {problem}")]
    Names {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Parts of the recipe contradict each other.
    #[error("{0}")]
    Contradiction(String),
    /// The run's folder already contains a run.
    #[error(
        "`{}` already contains a run; continue it with `--resume`, or choose another folder with `--set run.dir=…`",
        .0.display()
    )]
    RunExists(PathBuf),
    /// The run's folder has no checkpoint.
    #[error("`{}` holds no checkpoint to resume from; start the run without `--resume`", .0.display())]
    NothingToResume(PathBuf),
}
