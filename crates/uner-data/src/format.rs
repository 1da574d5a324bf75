//! How the files of a dataset are written. A reader does what these values say; nothing is guessed
//! from a file. Only two things follow from a name: `.gz` files are decompressed, and a `.zip` in
//! the path of standoff data is opened. And two from a file's first bytes: a byte order mark is
//! left out, and the records of the formats without a key `container` are those of one array where
//! the file starts with one. `docs/datasets.md` describes every key for users.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub use crate::encoding::Encoding;

/// The format of a dataset's files, tagged by `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Format {
    /// One token a row, its tags in columns.
    Columns(Columns),
    /// InstructUIE: `{"sentence", "entities": [{"name", "type", "pos": [start, end]}]}`.
    Instructuie(Instructuie),
    /// JSON Lines, or one JSON array, of texts and their spans.
    Jsonl(Jsonl),
    /// Label Studio's JSON and JSON-MIN.
    LabelStudio(LabelStudio),
    /// spaCy's training data, and what `Doc.to_json` and the tool `docs_to_json` write (a `.spacy`
    /// file through them).
    Spacy(Export),
    /// Prodigy's `db-out`.
    Prodigy(Export),
    /// doccano's JSON Lines.
    Doccano(Export),
    /// The official UniversalNER data: conversations of a passage and one query for each type.
    Conversations(Conversations),
    /// JSON Lines, or one JSON array, of a passage, one type and the list of its mentions.
    Queries(Queries),
    /// GLiNER: `{"tokenized_text": [token], "ner": [[first, last, label]]}`, `last` inclusive; the
    /// types of `ner_negatives` and `ner_labels` are asked, too.
    Gliner(Gliner),
    /// brat standoff: `x.txt` with `x.ann`, in a folder or in a folder of a zip file.
    Brat(Brat),
    /// The generated corpus of [`crate::demo`].
    Demo(Demo),
}

impl Format {
    /// The encoding of the files.
    pub fn encoding(&self) -> Encoding {
        match self {
            Self::Columns(format) => format.encoding,
            Self::Instructuie(format) => format.encoding,
            Self::Jsonl(format) => format.encoding,
            Self::LabelStudio(format) => format.encoding,
            Self::Spacy(format) | Self::Prodigy(format) | Self::Doccano(format) => format.encoding,
            Self::Conversations(format) => format.encoding,
            Self::Queries(format) => format.encoding,
            Self::Gliner(format) => format.encoding,
            Self::Brat(format) => format.encoding,
            Self::Demo(_) => Encoding::default(),
        }
    }
}

/// What offsets into a text count.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Offsets {
    /// Characters (Unicode scalar values), as Python does.
    #[default]
    Characters,
    /// UTF-16 code units, as JavaScript, Java and C# do: a character beyond U+FFFF, such as an
    /// emoji, counts twice.
    #[serde(rename = "utf-16", alias = "utf16")]
    Utf16,
    /// Bytes of UTF-8.
    Bytes,
}

impl Offsets {
    pub(crate) const ALL: [Self; 3] = [Self::Characters, Self::Utf16, Self::Bytes];

    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Its value in a description.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Characters => "characters",
            Self::Utf16 => "utf-16",
            Self::Bytes => "bytes",
        }
    }

    /// What it counts, in messages.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Characters => "characters",
            Self::Utf16 => "UTF-16 code units",
            Self::Bytes => "bytes",
        }
    }
}

/// Token-per-row files. The text of an example is its tokens joined by one space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// What stands between columns: a string, or `whitespace` for any run of spaces and tabs. Other
    /// blanks, such as U+00A0, are part of a token.
    pub separator: String,
    /// The column of the token, from 0.
    pub token: usize,
    /// The columns of the tags: one, or one for each layer of nested entities.
    pub tags: Vec<usize>,
    /// The tagging scheme.
    pub scheme: Scheme,
    /// Whether fields may stand in double quotes, as in csv; the separator is then one character.
    #[serde(default)]
    pub quoted: bool,
    /// Rows to leave out at the start of a file.
    #[serde(default)]
    pub header: usize,
    /// A column whose change ends an example, such as a document number.
    #[serde(default)]
    pub group: Option<usize>,
    /// Rows that end a sentence besides blank ones, given whole.
    #[serde(default)]
    pub break_rows: Vec<String>,
    /// Starts of rows that open a document (`-DOCSTART-`): they end a sentence and are left out.
    #[serde(default)]
    pub document_rows: Vec<String>,
    /// Starts of rows that are left out wherever they stand, but for rows that have the columns and
    /// tags of a token.
    #[serde(default)]
    pub comment_rows: Vec<String>,
    /// First tokens of sentences that are metadata and left out, counted.
    #[serde(default)]
    pub metadata: Vec<String>,
    /// Tags to read as another tag, such as `1 = "B-PER"`.
    #[serde(default)]
    pub tag_map: IndexMap<String, String>,
    /// Defects of the official conversion to reproduce.
    #[serde(default)]
    pub defects: Vec<Defect>,
    /// The encoding of the files.
    #[serde(default, skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

/// A tagging scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Every entity starts with `B-` and goes on with `I-`.
    #[serde(alias = "iob2")]
    Bio,
    /// `B-` only where an entity follows another of its label at once.
    Iob1,
    /// `B-`, `I-`, `E-` at the last token, `S-` for a single token.
    #[serde(alias = "bioes")]
    Iobes,
    /// `B-`, `I-`, `L-` at the last token, `U-` for a single token.
    #[serde(alias = "biluo")]
    Bilou,
}

/// What the official evaluation files lost when they were made from column files. InstructUIE's
/// conversion of CrossNER has the first two, that of CrossNER's politics and of the MIT sets the
/// last. Each loss of an entity is counted in the notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Defect {
    /// An entity starts only at `B-`; every `I-` after it extends it, whatever its label.
    LooseInside,
    /// An entity still open at the end of a sentence is lost.
    OpenAtEnd,
    /// The last sentence of a file is lost.
    LastSentence,
}

/// InstructUIE's files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instructuie {
    /// How the file holds its records.
    #[serde(default)]
    pub container: Container,
    /// What `pos` counts.
    #[serde(default, skip_serializing_if = "Offsets::is_default")]
    pub offsets: Offsets,
    /// The encoding of the files.
    #[serde(default, skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

/// The keys of text-with-spans rows. An entity is an object with the keys below or an array
/// `[start, end, label]`; `start` and `end` are half-open. An object may have a list `labels`
/// instead of its label. A row may also be `[text, {"entities": […]}]`, as spaCy's training data
/// is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jsonl {
    /// Key of the passage.
    pub text: String,
    /// Key of the list of entities.
    pub entities: String,
    /// Key of an entity's first character.
    pub start: String,
    /// Key of the character after its last.
    pub end: String,
    /// Key of its label.
    pub label: String,
    /// Key of the mention as written; where an entity has it, it must equal the text of its span.
    pub mention: String,
    /// Key of the row's identifier; rows without it are numbered.
    pub id: String,
    /// What `start` and `end` count.
    #[serde(default, skip_serializing_if = "Offsets::is_default")]
    pub offsets: Offsets,
    /// The encoding of the files.
    #[serde(default, skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

impl Default for Jsonl {
    fn default() -> Self {
        let [text, entities, start, end, label, id] =
            ["text", "entities", "start", "end", "label", "id"].map(str::to_owned);
        let mention = text.clone();
        let (offsets, encoding) = (Offsets::default(), Encoding::default());
        Self { text, entities, start, end, label, mention, id, offsets, encoding }
    }
}

/// Label Studio's exports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelStudio {
    /// Key of the text in a task's `data`, where that is not `text` and the task has further
    /// strings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What `start` and `end` count.
    #[serde(default, skip_serializing_if = "Offsets::is_default")]
    pub offsets: Offsets,
    /// The encoding of the files.
    #[serde(default, skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

/// The export of an annotation tool; its keys are the tool's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// What `start` and `end` count.
    #[serde(default, skip_serializing_if = "Offsets::is_default")]
    pub offsets: Offsets,
    /// The encoding of the files.
    #[serde(default, skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

/// Conversations as in the official data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversations {
    /// How the file holds its records.
    pub container: Container,
    /// Whether neighbouring conversations about one passage are one example with all their queries,
    /// as long as no query repeats: the official evaluation files ask one query a conversation.
    #[serde(default)]
    pub merge: bool,
    /// The encoding of the files.
    #[serde(default, skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

/// How a file holds its JSON records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// One array.
    #[default]
    Array,
    /// One record a line.
    Lines,
}

/// The keys of passage-type-answer rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queries {
    /// Key of the passage.
    pub text: String,
    /// Key of the entity type's label.
    pub label: String,
    /// Key of the answer: a list of strings, or a string that holds such a list as JSON.
    pub answer: String,
    /// The encoding of the files.
    #[serde(default, skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

/// GLiNER's files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gliner {
    /// How the file holds its records.
    #[serde(default)]
    pub container: Container,
    /// The encoding of the files.
    #[serde(default, skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

/// Standoff files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brat {
    /// What becomes of a text that has no annotation file.
    #[serde(default)]
    pub unannotated: Unannotated,
    /// What offsets count.
    #[serde(default, skip_serializing_if = "Offsets::is_default")]
    pub offsets: Offsets,
    /// The encoding of the files.
    #[serde(default, skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

/// What becomes of a text without annotations. Each is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unannotated {
    /// It is a problem: its annotations may have been lost.
    #[default]
    Error,
    /// It is not a document, such as a `README.txt`.
    Skip,
    /// It is a document without entities.
    Empty,
}

/// The generated corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demo {
    /// Equal seeds give equal corpora.
    pub seed: u64,
}
