//! How the files of a dataset are written. A reader does what these values say; nothing is guessed from a file.
//! Only two things follow from a name: `.gz` files are decompressed, and a `.zip` in the path of standoff data is
//! opened.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// The format of a dataset's files, tagged by `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Format {
    /// One token a row, its tags in columns.
    Columns(Columns),
    /// InstructUIE: a JSON array of `{"sentence", "entities": [{"name", "type", "pos": [start, end]}]}`.
    Instructuie(Instructuie),
    /// JSON Lines of a text and its spans.
    Jsonl(Jsonl),
    /// The official UniversalNER data: conversations of a passage and one query for each type.
    Conversations(Conversations),
    /// JSON Lines of a passage, one type and the list of its mentions.
    Queries(Queries),
    /// GLiNER: a JSON array of `{"tokenized_text": [token], "ner": [[first, last, label]]}`, `last` inclusive.
    Gliner(Gliner),
    /// brat standoff: `x.txt` with `x.ann`, in a folder or in a folder of a zip file.
    Brat(Brat),
    /// The generated corpus of [`crate::demo`].
    Demo(Demo),
}

/// Token-per-row files. The text of an example is its tokens joined by one space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// What stands between columns: a string, or `whitespace` for any run of blanks.
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
    /// Starts of rows that are left out wherever they stand.
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
}

/// What the official evaluation files lost when they were made from column files. InstructUIE's conversion of
/// CrossNER has the first two, that of CrossNER's politics and of the MIT sets the last. Each loss of an entity is
/// counted in the notes.
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

/// InstructUIE's files have no options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instructuie {}

/// The keys of text-with-spans rows. An entity is an object with the keys below or an array `[start, end, label]`;
/// `start` and `end` are half-open and count characters.
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
}

impl Default for Jsonl {
    fn default() -> Self {
        let [text, entities, start, end, label, id] =
            ["text", "entities", "start", "end", "label", "id"].map(str::to_owned);
        Self { mention: text.clone(), text, entities, start, end, label, id }
    }
}

/// Conversations as in the official data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversations {
    /// How the file holds its records.
    pub container: Container,
    /// Whether neighbouring conversations about one passage are one example with all their queries, as long as no
    /// query repeats: the official evaluation files ask one query a conversation.
    #[serde(default)]
    pub merge: bool,
}

/// How a file holds its JSON records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// One array.
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
}

/// GLiNER's files have no options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gliner {}

/// Standoff files have no options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brat {}

/// The generated corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demo {
    /// Equal seeds give equal corpora.
    pub seed: u64,
}
