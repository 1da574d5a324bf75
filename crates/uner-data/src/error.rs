//! The errors of finding a dataset and reading its examples.

use std::mem::{Discriminant, discriminant};
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

use crate::{format::Offsets, middle_cut, visible, visible::is_hidden};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file cannot be opened or read; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A location in a data file that cannot be read. Readers continue after it.
    #[error("{}:{line}: {}{}", shown(file), record_name(*record), middle_cut(&visible(&problem.to_string()), 400))]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// Its record in a JSON array, from 1.
        record: Option<usize>,
        /// The problem at this location.
        problem: Problem,
    },
    /// A dataset that is neither built in nor a file.
    #[error(
        "dataset `{}` does not exist{hint} (or give the path of a `.toml` file)",
        visible(name)
    )]
    UnknownDataset {
        /// The requested name.
        name: String,
        /// `; did you mean `x`?`, or nothing.
        hint: String,
    },
    /// A list of datasets that does not exist.
    #[error("the list `{}` does not exist{hint} (the lists are {known})", visible(name))]
    UnknownList {
        /// The requested name.
        name: String,
        /// All lists.
        known: String,
        /// `; did you mean `x`?`, or nothing.
        hint: String,
    },
    /// A dataset's description cannot be parsed.
    #[error("dataset description `{origin}`: {}", visible_lines(message))]
    Description {
        /// The file or built-in name.
        origin: String,
        /// The parser's message.
        message: String,
    },
    /// A dataset's description contradicts itself.
    #[error("dataset `{dataset}`: {}", visible(message))]
    Invalid {
        /// The dataset.
        dataset: String,
        /// The problem and the advice.
        message: String,
    },
    /// A split that the dataset does not have.
    #[error("dataset `{dataset}` has no split `{split}`; it has {}", if known.is_empty() { "none: add `[splits]`" } else { known })]
    UnknownSplit {
        /// The dataset.
        dataset: String,
        /// The requested split.
        split: String,
        /// The splits of the dataset.
        known: String,
    },
    /// A data file does not exist.
    #[error(
        "`{}` does not exist (split `{split}` of dataset `{dataset}`); {}",
        absolute(path),
        how_to_get(obtain)
    )]
    MissingFile {
        /// The dataset.
        dataset: String,
        /// The split.
        split: String,
        /// The expected path of the file.
        path: PathBuf,
        /// How to get the dataset, from its description; may be empty.
        obtain: String,
    },
    /// Two examples of a split with the same identifier.
    #[error(
        "id `{}` occurs twice in split `{split}` of dataset `{dataset}`; ids must be unique",
        visible(id)
    )]
    RepeatedId {
        /// The dataset.
        dataset: String,
        /// The split.
        split: String,
        /// The identifier.
        id: String,
    },
    /// Documents that cannot be read, or predictions that cannot be written, at a path.
    #[error("`{}`: {}", shown(path), visible(message))]
    Unusable {
        /// The file or folder.
        path: PathBuf,
        /// The problem and the advice.
        message: String,
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

fn shown(path: &Path) -> String {
    visible(&path.to_string_lossy())
}

/// The absolute path: a relative path is ambiguous if several folders are in use.
fn absolute(path: &Path) -> String {
    shown(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
}

/// Advice on a missing file.
fn how_to_get(obtain: &str) -> String {
    if obtain.is_empty() {
        "put it there, or correct `[splits]` in the description".to_owned()
    } else {
        format!("how to get it: {obtain}")
    }
}

fn record_name(record: Option<usize>) -> String {
    record.map_or_else(String::new, |number| format!("record {number}: "))
}

/// Escapes a message of several lines that quotes a file, and keeps its line breaks.
fn visible_lines(message: &str) -> String {
    message.split('\n').map(visible).collect::<Vec<String>>().join("\n")
}

/// A hint for a row of one column that contains spaces or tabs: its separator is probably not the
/// description's.
fn other_separator(found: usize, row: &str) -> &'static str {
    if found == 1 && row.trim().contains([' ', '\t']) {
        "; if spaces or tabs separate its columns, set `separator = \"whitespace\"` in the description's `[format]`"
    } else {
        ""
    }
}

/// The kind of an error.
pub(crate) type Kind = (Discriminant<DataError>, Option<Discriminant<Problem>>);

impl DataError {
    /// The kind of this error: errors of one kind differ only in location and values.
    pub(crate) fn kind(&self) -> Kind {
        let problem = match self {
            Self::Malformed { problem, .. } => Some(discriminant(problem)),
            _ => None,
        };
        (discriminant(self), problem)
    }
}

/// A problem at one location of a data file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Bytes that are not UTF-8.
    #[error(
        "the line is not UTF-8: its byte {column} is {byte:#04x}; name the file's encoding in the description's \
         `[format]`, such as `encoding = \"latin1\"`, or convert the file: `iconv -f latin1 -t utf-8`"
    )]
    NotUtf8 {
        /// The first byte that is not part of a character.
        byte: u8,
        /// Its position in the line, from 1.
        column: usize,
    },
    /// Bytes that the encoding of the description cannot decode.
    #[error("the line is not `{0}`, the `encoding` of the description; correct one of them")]
    OtherEncoding(&'static str),
    /// A file that starts with the byte order mark of UTF-16.
    #[error(
        "the file starts with the byte order mark of UTF-16; set `encoding = \"utf-16\"` in the description's \
         `[format]`, or convert the file: `iconv -f utf-16 -t utf-8`"
    )]
    Utf16,
    /// A compressed file whose name does not say so, or a binary spaCy file.
    #[error("the file is compressed with {format}; {advice}")]
    Compressed {
        /// The compression.
        format: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A line or record that is too large for the memory.
    #[error("the {what} is larger than 64 MiB; split it into several records")]
    Long {
        /// `line` or `record`.
        what: &'static str,
    },
    /// Nested spans with too much text in total.
    #[error(
        "the entities of the text have more than 64 MiB in total; look for spans of nearly the whole text"
    )]
    Nested,
    /// Lines that do not end with LF or CRLF.
    #[error(
        "the row contains `\r`: the file's lines end with {}, not with `\n` or `\r\n`; convert them: `{}`: `{row}`",
        if *doubled { r"`\r\r\n`" } else { r"`\r`" },
        if *doubled { r"tr -d '\r'" } else { r"tr '\r' '\n'" }
    )]
    LineEnds {
        /// Whether the carriage return stands at the end of the line.
        doubled: bool,
        /// The row, shortened.
        row: String,
    },
    /// A row with the wrong number of columns.
    #[error("expected {expected} columns, found {found}: `{row}`{}", other_separator(*found, row))]
    Columns {
        /// Number of columns of the file's first row, or the number that the description needs.
        expected: usize,
        /// Number of columns of this row.
        found: usize,
        /// The row, shortened.
        row: String,
    },
    /// A tag outside the scheme.
    #[error(
        "tag `{tag}` does not belong to the scheme {scheme}; correct the file or map the tag in `format.tag_map`"
    )]
    Tag {
        /// The tag.
        tag: String,
        /// The scheme and its tags.
        scheme: &'static str,
    },
    /// A label without a natural-language type.
    #[error(
        "label `{label}` is not in the dataset's description; add `\"{0}\" = \"its name in plain words\"` to its `[types]` or `\"{0}\"` to its `drop`",
        toml_key(label)
    )]
    UnknownLabel {
        /// The label.
        label: String,
    },
    /// Offsets outside the text, or inside a character.
    #[error(
        "span {start}..{end} of `{label}` is not inside the text of {length} {}{}{}", offsets.unit(),
        if *offsets == Offsets::Characters { "" } else { ", or cuts a character" }, unit_hint(*fits)
    )]
    SpanOutside {
        /// First character, in the unit of the description.
        start: i64,
        /// One past the last.
        end: i64,
        /// The entity's label.
        label: String,
        /// Length of the text in that unit.
        length: usize,
        /// The unit.
        offsets: Offsets,
        /// The unit in which the offsets give the stated mention, if any.
        fits: Option<Offsets>,
    },
    /// Offsets that give another string than the stated mention.
    #[error("span {start}..{end} is `{found}`, not `{stated}`{}{}", unit_hint(*fits), form_hint(found, stated))]
    SpanText {
        /// First character, in the unit of the description.
        start: i64,
        /// One past the last.
        end: i64,
        /// The text at the span.
        found: String,
        /// The stated mention.
        stated: String,
        /// The unit in which the offsets give the stated mention, if any.
        fits: Option<Offsets>,
    },
    /// A span that is empty or only white space.
    #[error("span {start}..{end} of `{entity_type}` {}", blank_message(found))]
    SpanBlank {
        /// First character.
        start: usize,
        /// One past the last.
        end: usize,
        /// The entity's type.
        entity_type: String,
        /// The text at the span.
        found: String,
    },
    /// JSON that cannot be parsed or lacks required fields.
    #[error("{0}")]
    Json(String),
    /// A conversation that does not follow the protocol.
    #[error("{0}")]
    Conversation(String),
    /// A document to annotate, or a written prediction, that cannot be read.
    #[error("{0}")]
    Document(String),
    /// A standoff annotation that cannot be parsed.
    #[error("standoff line `{0}` is not `T<number> TAB label start end TAB mention`")]
    Standoff(String),
    /// An annotation file without its text.
    #[error("`{0}` is missing beside this file")]
    Unpaired(String),
    /// A document that the index of its folder lacks.
    #[error(
        "document `{0}` is not in the `index` of the description's `[format]`; add its row `{{\"id\": \"…\", \"file\": \"{0}\"}}`"
    )]
    NotInIndex(String),
    /// A text without an annotation file.
    #[error(
        "`{0}` is missing beside this file; set `unannotated` in the description's `[format]` to `\"skip\"` if such \
         files are not documents, or to `\"empty\"` if they have no entities"
    )]
    Unannotated(String),
}

/// Escapes a label for a quoted TOML key; TOML's escapes differ from Rust's.
fn toml_key(label: &str) -> String {
    let mut key = String::with_capacity(label.len());
    for character in label.chars() {
        match character {
            '"' | '\\' => key.extend(['\\', character]),
            _ if is_hidden(character) => {
                key.extend(format!("\\U{:08X}", u32::from(character)).chars());
            }
            _ => key.push(character),
        }
    }
    key
}

/// A hint for two texts that look the same on a screen.
fn form_hint(found: &str, stated: &str) -> &'static str {
    if found != stated && found.nfc().eq(stated.nfc()) {
        "; the two differ only in their Unicode normal form: convert the file to one form, such as NFC (`uconv -x any-nfc`), and compute its \
         offsets again"
    } else {
        ""
    }
}

fn unit_hint(fits: Option<Offsets>) -> String {
    fits.map_or_else(String::new, |unit| {
        format!(
            "; the offsets fit in {}: set `offsets = \"{}\"` in the description's `[format]`",
            unit.unit(),
            unit.key()
        )
    })
}

fn blank_message(found: &str) -> String {
    if found.is_empty() {
        "is empty".to_owned()
    } else {
        format!("contains only white space (`{found}`)")
    }
}
