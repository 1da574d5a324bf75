//! What can go wrong between a dataset's name and its examples.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file cannot be opened or read; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A place in a data file that cannot be read. Readers go on after it.
    #[error("{}:{line}: {problem}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// What is wrong there.
        problem: Problem,
    },
    /// A dataset that is neither built in nor a file.
    #[error(
        "dataset `{name}` does not exist; did you mean `{nearest}`? (or give the path of a `.toml` file)"
    )]
    UnknownDataset {
        /// The name asked for.
        name: String,
        /// The nearest built-in name.
        nearest: String,
    },
    /// A dataset's description cannot be parsed.
    #[error("dataset description `{origin}`: {message}")]
    Description {
        /// The file or built-in name.
        origin: String,
        /// The parser's message.
        message: String,
    },
    /// A dataset's description contradicts itself.
    #[error("dataset `{dataset}`: {message}")]
    Invalid {
        /// The dataset.
        dataset: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// A split the dataset does not have.
    #[error("dataset `{dataset}` has no split `{split}`; it has {known}")]
    UnknownSplit {
        /// The dataset.
        dataset: String,
        /// The split asked for.
        split: String,
        /// The splits there are.
        known: String,
    },
    /// A data file does not exist.
    #[error("`{}` does not exist (split `{split}` of dataset `{dataset}`); how to get it: {obtain}", path.display())]
    MissingFile {
        /// The dataset.
        dataset: String,
        /// The split.
        split: String,
        /// Where the file was looked for.
        path: PathBuf,
        /// How to get the dataset, from its description.
        obtain: String,
    },
    /// Two examples of a split with the same identifier.
    #[error("id `{id}` occurs twice in split `{split}` of dataset `{dataset}`; ids must be unique")]
    RepeatedId {
        /// The dataset.
        dataset: String,
        /// The split.
        split: String,
        /// The identifier.
        id: String,
    },
    /// A split without a single example.
    #[error("split `{split}` of dataset `{dataset}` has no examples ({files})")]
    Empty {
        /// The dataset.
        dataset: String,
        /// The split.
        split: String,
        /// The files read.
        files: String,
    },
}

/// What is wrong at one place of a data file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Bytes that are not UTF-8.
    #[error("the line is not UTF-8")]
    Encoding,
    /// A row that has not the columns of the others.
    #[error("{found} columns where {expected} are expected: `{row}`")]
    Columns {
        /// Columns the file's first row has, or that the description needs.
        expected: usize,
        /// Columns of this row.
        found: usize,
        /// The row, shortened.
        row: String,
    },
    /// A tag outside the scheme.
    #[error("tag `{tag}` is not of the scheme {scheme}; correct the file or map the tag in `format.tag_map`")]
    Tag {
        /// The tag.
        tag: String,
        /// The scheme and its tags.
        scheme: &'static str,
    },
    /// A label without a natural-language type.
    #[error(
        "label `{label}` is not in the dataset's description; add `\"{label}\" = \"its name in plain words\"` to its `[types]` or `\"{label}\"` to its `drop`"
    )]
    UnknownLabel {
        /// The label.
        label: String,
    },
    /// Offsets outside the text.
    #[error("span {start}..{end} of `{label}` is not inside the text of {length} characters")]
    SpanOutside {
        /// First character.
        start: i64,
        /// One past the last.
        end: i64,
        /// The entity's label.
        label: String,
        /// Characters of the text.
        length: usize,
    },
    /// Offsets that give another string than the mention stated beside them.
    #[error("span {start}..{end} is `{found}`, not `{stated}`")]
    SpanText {
        /// First character.
        start: usize,
        /// One past the last.
        end: usize,
        /// What stands there.
        found: String,
        /// What should.
        stated: String,
    },
    /// JSON that cannot be parsed or has not the fields it must have.
    #[error("{0}")]
    Json(String),
    /// A conversation that does not follow the protocol.
    #[error("{0}")]
    Conversation(String),
    /// A standoff annotation that cannot be parsed.
    #[error("standoff line `{0}` is not `T<number> TAB label start end TAB mention`")]
    Standoff(String),
    /// An annotation file without its text, or the reverse.
    #[error("`{0}` is missing beside this file")]
    Unpaired(String),
}
