//! The format of a dataset's files. Readers follow these values and guess nothing, with four
//! exceptions. By name, `.gz` and `.zst` files are decompressed, and a `.zip` in the path of
//! standoff data is opened. By its first bytes, a file's byte order mark is skipped, and JSON
//! formats without a key `container` read one array if the file starts with one.
//! `docs/datasets.md` describes every key for users.

use std::path::PathBuf;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub use crate::encoding::Encoding;

/// The format of a dataset's files, tagged by `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Format {
    /// One token per row, its tags in columns.
    Columns(Columns),
    /// InstructUIE: `{"sentence", "entities": [{"name", "type", "pos": [start, end]}]}`.
    Instructuie(Instructuie),
    /// JSON Lines, or one JSON array, of texts and their spans.
    Jsonl(Jsonl),
    /// Label Studio's JSON and JSON-MIN.
    LabelStudio(LabelStudio),
    /// spaCy's training data, and the output of `Doc.to_json` and of the tool `docs_to_json`. A
    /// `.spacy` file must be converted by one of them.
    Spacy(Spacy),
    /// Prodigy's `db-out`.
    Prodigy(Export),
    /// doccano's JSON Lines.
    Doccano(Export),
    /// The official UniversalNER data: conversations of a passage and one query for each type.
    Conversations(Conversations),
    /// JSON Lines, or one JSON array, of a passage, one type and the list of its mentions.
    Queries(Queries),
    /// Token classification of Hugging Face: `{"tokens": [token], "ner_tags": [tag]}`, the tags as
    /// strings or as numbers of a list of names.
    TokenClassification(TokenClassification),
    /// GLiNER: `{"tokenized_text": [token], "ner": [[first, last, label]]}`, `last` inclusive; the
    /// types of `ner_negatives` and `ner_labels` are queries, too.
    Gliner(Gliner),
    /// brat standoff: `x.txt` with `x.ann`, in a folder or in a folder of a zip file.
    Brat(Brat),
    /// Relations in the JSON of `SciERC`: `{"sentences": [[token]], "relations": [[[first, last,
    /// first, last, label]]]}`, tokens counted in the document, `last` inclusive.
    Scierc(RelationJson),
    /// Relations in the JSON of `SpERT`, the form of `CoNLL04`: `{"tokens": [token], "entities":
    /// [{"type", "start", "end"}], "relations": [{"type", "head", "tail"}]}`.
    Spert(RelationJson),
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
            Self::Spacy(format) => format.encoding,
            Self::Prodigy(format) | Self::Doccano(format) => format.encoding,
            Self::TokenClassification(format) => format.encoding,
            Self::Conversations(format) => format.encoding,
            Self::Queries(format) => format.encoding,
            Self::Gliner(format) => format.encoding,
            Self::Brat(format) => format.encoding,
            Self::Scierc(format) | Self::Spert(format) => format.encoding,
            Self::Demo(_) => Encoding::default(),
        }
    }
}

/// The unit of offsets into a text.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Offsets {
    /// Characters (Unicode scalar values), as in Python.
    #[default]
    Characters,
    /// UTF-16 code units, as in JavaScript, Java and C#: a character beyond U+FFFF, such as an
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

    /// Its name in messages.
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
    /// The separator of columns: a string, or `whitespace` for any run of spaces and tabs. Other
    /// white space, such as U+00A0, is part of a token.
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
    /// Number of rows to skip at the start of a file.
    #[serde(default)]
    pub header: usize,
    /// A column (such as a document number) in which a new value ends an example.
    #[serde(default)]
    pub group: Option<usize>,
    /// Whole rows that end a sentence, as blank rows do.
    #[serde(default)]
    pub break_rows: Vec<String>,
    /// Starts of rows that open a document (`-DOCSTART-`). They end a sentence and are skipped, but
    /// not if they have the tag of an entity.
    #[serde(default)]
    pub document_rows: Vec<String>,
    /// Starts of comment rows. They are skipped, but not if they have the columns and tags of a
    /// token.
    #[serde(default)]
    pub comment_rows: Vec<String>,
    /// The start of comment rows with the id of the sentence after them, such as `# id = `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_rows: Option<String>,
    /// First tokens of metadata sentences, which are skipped and counted.
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
    /// Every entity starts with `B-` and continues with `I-`.
    #[serde(alias = "iob2")]
    Bio,
    /// `B-` only if an entity directly follows another one of its label.
    Iob1,
    /// `B-`, `I-`, `E-` at the last token, `S-` for a single token.
    #[serde(alias = "bioes")]
    Iobes,
    /// `B-`, `I-`, `L-` at the last token, `U-` for a single token.
    #[serde(alias = "biluo")]
    Bilou,
}

/// A loss in the conversion of column files to the official evaluation files. InstructUIE's
/// conversion of CrossNER has the first two; the conversions of CrossNER's politics and the MIT
/// sets have the last. Each lost entity is counted in the notes.
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
    /// The container of the records.
    #[serde(default)]
    pub container: Container,
    /// The unit of `pos`.
    #[serde(default, skip_serializing_if = "Offsets::is_default")]
    pub offsets: Offsets,
    /// The encoding of the files.
    #[serde(default, skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

/// The keys of text-with-spans rows. An entity is an object with the keys below or an array
/// `[start, end, label]`; `start` and `end` are half-open. An object may have a list `labels`
/// instead of one label. If an object has `null` as `start` and `end`, its mention is located in
/// the text. A row may also be `[text, {"entities": […]}]`, as in spaCy's training data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jsonl {
    /// Key of the passage.
    pub text: String,
    /// Key of the list of entities.
    pub entities: String,
    /// Key of an entity's start offset.
    pub start: String,
    /// Key of its end offset, which is exclusive.
    pub end: String,
    /// Key of its label.
    pub label: String,
    /// Key of the mention as written. If an entity has it, it must equal the text of the span.
    pub mention: String,
    /// Key of the row's identifier; rows without it are numbered.
    pub id: String,
    /// Key of the list of types that are asked of the text, absent types included. Without this
    /// key, they are the types of the entities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queries: Option<String>,
    /// The unit of `start` and `end`.
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
        let queries = None;
        Self { text, entities, start, end, label, mention, id, queries, offsets, encoding }
    }
}

/// Label Studio's exports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelStudio {
    /// Key of the text in a task's `data`. Needed if the key is not `text` and `data` has several
    /// strings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Key of the identifier in a task's `data`. Without it, a task has the tool's number, or else
    /// the `id` of its `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The unit of `start` and `end`.
    #[serde(default, skip_serializing_if = "Offsets::is_default")]
    pub offsets: Offsets,
    /// The encoding of the files.
    #[serde(default, skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

/// spaCy's files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spacy {
    /// The groups of `Doc.spans` whose spans are entities, too. spaCy has overlapping spans in such
    /// groups; its span categorizer reads `sc`. Spans of other groups are counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<String>,
    /// The unit of `start` and `end`.
    #[serde(default, skip_serializing_if = "Offsets::is_default")]
    pub offsets: Offsets,
    /// The encoding of the files.
    #[serde(default, skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

/// The keys of a token classification dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenClassification {
    /// Key of the list of tokens.
    pub tokens: String,
    /// Key of the list of tags.
    pub tags: String,
    /// Key of the row's identifier; rows without it are numbered.
    pub id: String,
    /// The tag of each number, from 0, if the tags are numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// The tagging scheme.
    pub scheme: Scheme,
    /// The encoding of the files.
    #[serde(skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

impl Default for TokenClassification {
    fn default() -> Self {
        let [tokens, tags, id] = ["tokens", "ner_tags", "id"].map(str::to_owned);
        let (names, scheme, encoding) = (Vec::new(), Scheme::Bio, Encoding::default());
        Self { tokens, tags, id, names, scheme, encoding }
    }
}

/// The export of an annotation tool, with the tool's keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// The unit of `start` and `end`.
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
    /// The container of the records.
    pub container: Container,
    /// Whether to merge neighbouring conversations about one passage into one example, as long as
    /// no query repeats. The official evaluation files have one query per conversation.
    #[serde(default)]
    pub merge: bool,
    /// The encoding of the files.
    #[serde(default, skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

/// The container of the JSON records of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// One array.
    #[default]
    Array,
    /// One record per line.
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
    /// Key of the answer: a list of strings, or a string that contains such a list as JSON.
    pub answer: String,
    /// The encoding of the files.
    #[serde(default, skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

/// GLiNER's files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gliner {
    /// The container of the records.
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
    /// The treatment of a text without an annotation file.
    #[serde(default)]
    pub unannotated: Unannotated,
    /// Reads the relations between the mentions instead of the mentions. The labels of `types` are
    /// then those of relations.
    #[serde(default, skip_serializing_if = "is_false")]
    pub relations: bool,
    /// With `relations`: cuts documents into sentences, joined where a relation crosses a border.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sentences: bool,
    /// A file in the folder with the id of each document: rows `{"id": "…", "file": "x"}`. Without
    /// it, the id is the path of the document in the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<PathBuf>,
    /// The unit of the offsets.
    #[serde(default, skip_serializing_if = "Offsets::is_default")]
    pub offsets: Offsets,
    /// The encoding of the files.
    #[serde(default, skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The files of relations between tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelationJson {
    /// The container of the records.
    #[serde(default)]
    pub container: Container,
    /// The encoding of the files.
    #[serde(default, skip_serializing_if = "Encoding::is_default")]
    pub encoding: Encoding,
}

/// The treatment of a text without an annotation file. `Skip` and `Empty` are counted in the notes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unannotated {
    /// The text is an error: its annotations may have been lost.
    #[default]
    Error,
    /// The text is not a document (such as a `README.txt`) and is skipped.
    Skip,
    /// The text is a document without entities.
    Empty,
}

/// The generated corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demo {
    /// Equal seeds give equal corpora.
    pub seed: u64,
}
