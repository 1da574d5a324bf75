//! Predicted entities, and the files that they are written to.
//!
//! [`PredictionWriter`] appends one document after the other, so that a run that was stopped can
//! resume its output. [`PredictionFormat`] says what each format can represent. The crate's readers
//! read every format back (`docs/predictions.md` has their descriptions).

pub(crate) mod brat;
pub(crate) mod conll;
pub(crate) mod disjoint;
mod json_lines;
pub(crate) mod label_studio;
mod scan;
pub(crate) mod spacy;
mod writer;

use std::{cmp::Reverse, ops::Range, str::FromStr};

use crate::{Span, did_you_mean, format::Offsets, text::Text};

pub use scan::Written;
pub use writer::PredictionWriter;

/// An entity that a model found in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictedEntity {
    /// Its natural-language type, as asked.
    pub entity_type: String,
    /// The mention as written in the text.
    pub text: String,
    /// Its position in characters.
    pub span: Span,
    /// Its position in bytes of UTF-8.
    pub bytes: Range<usize>,
    /// The model's probability of it, 0 to 1, if the model gives one.
    pub probability: Option<f64>,
}

impl PredictedEntity {
    /// The entity at a range of bytes. `None` if the range is outside the text or cuts a character.
    ///
    /// ```
    /// use uner_data::{Span, predictions::PredictedEntity};
    /// let entity = PredictedEntity::at("Zoë saw Rome", 9..13, "city", Some(0.9)).unwrap();
    /// assert_eq!((entity.text.as_str(), entity.span), ("Rome", Span { start: 8, end: 12 }));
    /// ```
    pub fn at(
        text: &str,
        bytes: Range<usize>,
        entity_type: &str,
        probability: Option<f64>,
    ) -> Option<Self> {
        let mention = text.get(bytes.clone())?;
        let (start, end) = (bytes.start as i64, bytes.end as i64);
        let span = Text::new(text).span(start, end, Offsets::Bytes)?;
        let (entity_type, text) = (entity_type.to_owned(), mention.to_owned());
        Some(Self { entity_type, text, span, bytes, probability })
    }

    /// The order of entities in a prediction: by start, outer before inner, by type.
    fn order(&self) -> (usize, Reverse<usize>, &str) {
        (self.span.start, Reverse(self.span.end), &self.entity_type)
    }
}

/// Sorts entities by start, outer before inner, by type.
pub(crate) fn sort(entities: &mut [PredictedEntity]) {
    entities.sort_by(|a, b| a.order().cmp(&b.order()));
}

/// The entities of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The id of the document.
    pub id: String,
    /// Its text.
    pub text: String,
    /// The entities, sorted by start, outer before inner. Their positions are in `text`.
    pub entities: Vec<PredictedEntity>,
    /// The reason why the document could not be answered, or not completely.
    pub problem: Option<String>,
}

impl Prediction {
    /// A prediction without a problem, with its entities sorted.
    pub fn new(id: String, text: String, mut entities: Vec<PredictedEntity>) -> Self {
        sort(&mut entities);
        Self { id, text, entities, problem: None }
    }
}

/// The format of a file of predictions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionFormat {
    /// A JSON object per document and line: `{"id", "text", "entities": [{"type", "text", "start",
    /// "end", "start_byte", "end_byte", "probability"}]}`, and `problem` if there is one. `start`
    /// and `end` count characters. Represents everything.
    JsonLines,
    /// A token and its BIO tag per row, separated by a tab. A document starts with the comment
    /// `# id = …` and ends with a blank row. Tokens are the words and punctuation marks of Unicode
    /// (UAX #29), also cut at the ends of entities; white space is lost. White space in types
    /// becomes `_`. Of overlapping entities only one is written.
    Conll,
    /// JSON Lines of `{"id", "text", "ents": [{"start", "end", "label"}]}`, as spaCy's
    /// `Doc.to_json` without tokens. spaCy allows no overlaps in `ents`; the entities that overlap
    /// those are in `{"spans": {"sc": […]}}`. Probabilities are lost.
    SpacyJson,
    /// Label Studio's tasks with predictions, as one JSON array. Offsets count characters (code
    /// points), as the tool's `findOnPosition` reads them and its `charsToCodePoints` writes them.
    LabelStudio,
    /// brat standoff: a folder with a `.txt` and an `.ann` for each document, and
    /// `documents.jsonl`, which maps names of files to ids. White space in types becomes `_`. A
    /// mention with line breaks is written in fragments.
    Brat,
}

impl PredictionFormat {
    const NAMES: [(&'static str, Self); 5] = [
        ("json-lines", Self::JsonLines),
        ("conll", Self::Conll),
        ("spacy", Self::SpacyJson),
        ("label-studio", Self::LabelStudio),
        ("brat", Self::Brat),
    ];
}

impl FromStr for PredictionFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, format)| *format).ok_or_else(|| {
            let known = Self::NAMES.map(|(known, _)| known);
            let hint = did_you_mean(name, known);
            let listed = known.map(|name| format!("`{name}`")).join(", ");
            format!("`{name}` is not a format of predictions{hint}; the formats are {listed}")
        })
    }
}

/// A type as a label that may not contain white space.
pub(crate) fn label(entity_type: &str) -> String {
    let joined = |character: char| character.is_whitespace() || character.is_control();
    entity_type.replace(joined, "_")
}

/// A row of JSON.
pub(crate) fn json(row: &impl serde::Serialize) -> String {
    serde_json::to_string(row).expect("rows have string keys and finite or null numbers")
}

#[cfg(test)]
mod tests;
