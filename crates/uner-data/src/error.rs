//! What can go wrong between a dataset's name and its examples.

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
    /// A place in a data file that cannot be read. Readers go on after it.
    #[error("{}:{line}: {}{}", shown(file), record_name(*record), middle_cut(&visible(&problem.to_string()), 400))]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// Its record in a JSON array, from 1.
        record: Option<usize>,
        /// What is wrong there.
        problem: Problem,
    },
    /// A dataset that is neither built in nor a file.
    #[error(
        "dataset `{}` does not exist{hint} (or give the path of a `.toml` file)",
        visible(name)
    )]
    UnknownDataset {
        /// The name asked for.
        name: String,
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
        /// What is wrong and what to do.
        message: String,
    },
    /// A split the dataset does not have.
    #[error("dataset `{dataset}` has no split `{split}`; it has {}", if known.is_empty() { "none: add `[splits]`" } else { known })]
    UnknownSplit {
        /// The dataset.
        dataset: String,
        /// The split asked for.
        split: String,
        /// The splits there are.
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
        /// Where the file was looked for.
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

/// The whole path: a relative one says too little where several folders are in play.
fn absolute(path: &Path) -> String {
    shown(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
}

/// What to do about a file that is not there.
fn how_to_get(obtain: &str) -> String {
    if obtain.is_empty() {
        "put it there, or correct `[splits]` of the description".to_owned()
    } else {
        format!("how to get it: {obtain}")
    }
}

fn record_name(record: Option<usize>) -> String {
    record.map_or_else(String::new, |number| format!("record {number}: "))
}

/// A message of several lines that quotes a file.
fn visible_lines(message: &str) -> String {
    message.split('\n').map(visible).collect::<Vec<String>>().join("\n")
}

/// A row that is one column and holds blanks is cut at another separator than the description
/// names.
fn other_separator(found: usize, row: &str) -> &'static str {
    if found == 1 && row.trim().contains([' ', '\t']) {
        "; where blanks or tabs part its columns, set `separator = \"whitespace\"` in the description's `[format]`"
    } else {
        ""
    }
}

/// A kind of error.
pub(crate) type Kind = (Discriminant<DataError>, Option<Discriminant<Problem>>);

impl DataError {
    /// The same for errors that differ in their place and values alone.
    pub(crate) fn kind(&self) -> Kind {
        let problem = match self {
            Self::Malformed { problem, .. } => Some(discriminant(problem)),
            _ => None,
        };
        (discriminant(self), problem)
    }
}

/// What is wrong at one place of a data file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Bytes that are not UTF-8.
    #[error(
        "the line is not UTF-8: its byte {column} is {byte:#04x}; name the file's encoding in the description's \
         `[format]`, such as `encoding = \"latin1\"`, or convert the file: `iconv -f latin1 -t utf-8`"
    )]
    NotUtf8 {
        /// The first byte that is no part of a character.
        byte: u8,
        /// Its place in the line, from 1.
        column: usize,
    },
    /// Bytes that are not of the encoding that the description names.
    #[error("the line is not {0}, which the description names as `encoding`")]
    OtherEncoding(&'static str),
    /// A file that starts with the byte order mark of UTF-16.
    #[error(
        "the file starts with the byte order mark of UTF-16; set `encoding = \"utf-16\"` in the description's \
         `[format]`, or convert the file: `iconv -f utf-16 -t utf-8`"
    )]
    Utf16,
    /// A file that is compressed, and not named so.
    #[error("the file is compressed by {format}; {advice}")]
    Compressed {
        /// By what.
        format: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// A line or record that would fill the memory.
    #[error("the {what} has more than 64 MiB; cut the file where its records end")]
    Long {
        /// `line` or `record`.
        what: &'static str,
    },
    /// Spans one inside the other, without end.
    #[error(
        "its entities have together more than 64 MiB of text; look for spans that take nearly all of it"
    )]
    Nested,
    /// Lines that do not end with LF or CRLF.
    #[error(
        "the row holds `\r`: its file's lines end with {}, not with `\n` or `\r\n`; convert them: `{}`: `{row}`",
        if *doubled { r"`\r\r\n`" } else { r"`\r`" },
        if *doubled { r"tr -d '\r'" } else { r"tr '\r' '\n'" }
    )]
    LineEnds {
        /// Whether the carriage return stands at the end of the line.
        doubled: bool,
        /// The row, shortened.
        row: String,
    },
    /// A row that has not the columns of the others.
    #[error("{found} columns where {expected} are expected: `{row}`{}", other_separator(*found, row))]
    Columns {
        /// Columns the file's first row has, or that the description needs.
        expected: usize,
        /// Columns of this row.
        found: usize,
        /// The row, shortened.
        row: String,
    },
    /// A tag outside the scheme.
    #[error(
        "tag `{tag}` is not of the scheme {scheme}; correct the file or map the tag in `format.tag_map`"
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
        /// The unit in which the offsets give the mention stated beside them.
        fits: Option<Offsets>,
    },
    /// Offsets that give another string than the mention stated beside them.
    #[error("span {start}..{end} is `{found}`, not `{stated}`{}{}", unit_hint(*fits), form_hint(found, stated))]
    SpanText {
        /// First character, in the unit of the description.
        start: i64,
        /// One past the last.
        end: i64,
        /// What stands there.
        found: String,
        /// What should.
        stated: String,
        /// The unit in which the offsets do give the mention.
        fits: Option<Offsets>,
    },
    /// A span without a character that can be seen.
    #[error("span {start}..{end} of `{entity_type}` {}", blank_message(found))]
    SpanBlank {
        /// First character.
        start: usize,
        /// One past the last.
        end: usize,
        /// The entity's type.
        entity_type: String,
        /// What stands there.
        found: String,
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
    /// A text without an annotation file.
    #[error(
        "`{0}` is missing beside this file; set `unannotated` in the description's `[format]` to `\"skip\"` where such \
         files are no documents, or to `\"empty\"` where they have no entities"
    )]
    Unannotated(String),
}

/// A label between the quotes of TOML, whose escapes are not Rust's.
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

/// Two texts that look the same on a screen.
fn form_hint(found: &str, stated: &str) -> &'static str {
    if found != stated && found.nfc().eq(stated.nfc()) {
        "; the two differ in their Unicode normal form alone: convert the file to one, such as NFC by `uconv -x any-nfc`, and count its \
         offsets again"
    } else {
        ""
    }
}

fn unit_hint(fits: Option<Offsets>) -> String {
    fits.map_or_else(String::new, |unit| {
        format!(
            "; it would be in {}: set `offsets = \"{}\"` in the description's `[format]`",
            unit.unit(),
            unit.key()
        )
    })
}

fn blank_message(found: &str) -> String {
    if found.is_empty() {
        "is empty".to_owned()
    } else {
        format!("holds nothing but blanks (`{found}`)")
    }
}
