//! Writes annotated examples in the formats of other programs.
//!
//! An [`ExampleWriter`] writes one example after the other. A format may not have a place for
//! everything; whatever is not read back as it was, is counted with its reason ([`Losses`]). The
//! rows that [`crate::predictions`] has, too, are the same. [`crate::convert`] converts whole
//! datasets.

mod description;
mod fit;
mod losses;
mod records;
mod writer;

use std::str::FromStr;

use crate::did_you_mean;

pub use crate::tokens::Tokens;
pub(crate) use crate::tokens::{Gaps, Token, split};
pub use description::{Labels, description};
pub use losses::{Loss, LossAt, LossCount, Losses};
pub(crate) use records::conversation;
pub use writer::{ExampleWriter, Exported, export};

/// A format of annotated examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// A JSON object per line: `{"id", "text", "entities": [{"type", "text", "start", "end"}],
    /// "queries"}`. Represents everything.
    JsonLines,
    /// A token and its BIO tag per row, as [`crate::predictions::PredictionFormat::Conll`].
    Conll,
    /// JSON Lines as of spaCy's `Doc.to_json`, without tokens. Entities that overlap others are in
    /// the group `sc` of `spans`.
    Spacy,
    /// The training format of spaCy 2: one array of documents with tokens and BILUO tags, which
    /// `spacy convert` reads.
    SpacyTraining,
    /// Label Studio's tasks with annotations, as one array.
    LabelStudio,
    /// Prodigy's accepted tasks, for `prodigy db-in`.
    Prodigy,
    /// doccano's JSON Lines for sequence labelling.
    Doccano,
    /// brat standoff: a folder with a `.txt` and an `.ann` for each example, and `documents.jsonl`
    /// with their ids.
    Brat,
    /// GLiNER's training data, as one array.
    Gliner,
    /// InstructUIE's data, as one array.
    Instructuie,
    /// Token classification of Hugging Face: JSON Lines of tokens and BIO tags as strings.
    TokenClassification,
    /// The official UniversalNER data: one array of conversations, each with all queries of a text.
    Conversations,
}

impl ExportFormat {
    const ALL: [Self; 12] = [
        Self::JsonLines,
        Self::Conll,
        Self::Spacy,
        Self::SpacyTraining,
        Self::LabelStudio,
        Self::Prodigy,
        Self::Doccano,
        Self::Brat,
        Self::Gliner,
        Self::Instructuie,
        Self::TokenClassification,
        Self::Conversations,
    ];

    /// All formats.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::JsonLines => "json-lines",
            Self::Conll => "conll",
            Self::Spacy => "spacy",
            Self::SpacyTraining => "spacy-training",
            Self::LabelStudio => "label-studio",
            Self::Prodigy => "prodigy",
            Self::Doccano => "doccano",
            Self::Brat => "brat",
            Self::Gliner => "gliner",
            Self::Instructuie => "instructuie",
            Self::TokenClassification => "token-classification",
            Self::Conversations => "conversations",
        }
    }

    /// The ending of a file's name; empty for a folder.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Brat => "",
            Self::Conll => ".conll",
            _ if self.is_array() => ".json",
            _ => ".jsonl",
        }
    }

    fn is_array(self) -> bool {
        matches!(
            self,
            Self::SpacyTraining
                | Self::LabelStudio
                | Self::Gliner
                | Self::Instructuie
                | Self::Conversations
        )
    }

    /// Whether a token has one entity at most.
    fn is_flat(self) -> bool {
        matches!(self, Self::Conll | Self::SpacyTraining | Self::TokenClassification)
    }

    /// The characters that are in no token, in formats with tokens.
    fn gaps(self, tokens: Tokens) -> Option<Gaps> {
        match self {
            Self::Conll | Self::Gliner | Self::TokenClassification => Some(Gaps::Rows(tokens)),
            Self::SpacyTraining => Some(Gaps::Python),
            _ => None,
        }
    }

    fn has_entities_without_span(self) -> bool {
        matches!(self, Self::JsonLines | Self::Instructuie | Self::Conversations)
    }

    /// Whether a type is part of a tag or the name of a label, so that it cannot be empty.
    fn needs_types(self) -> bool {
        self.is_flat() || self == Self::Brat
    }
}

impl FromStr for ExportFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::all().find(|format| format.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            let hint = did_you_mean(name, names);
            let listed = names.map(|name| format!("`{name}`")).join(", ");
            format!("`{name}` is not a format of annotated data{hint}; the formats are {listed}")
        })
    }
}

#[cfg(test)]
mod tests;
