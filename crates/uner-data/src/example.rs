//! One passage with its gold entities: the value that every reader produces.

use indexmap::IndexSet;
use serde::{Deserialize, Serialize};

/// A half-open range of characters (Unicode scalar values, not bytes) of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First character.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
}

impl Span {
    /// The characters of `text` in this span; `None` if it ends before it starts or reaches
    /// outside the text.
    pub fn slice(self, text: &str) -> Option<&str> {
        let length = self.end.checked_sub(self.start)?;
        let start = byte_of(text, self.start)?;
        let end = start + byte_of(&text[start..], length)?;
        Some(&text[start..end])
    }
}

/// The byte at which the character with this index starts; the number of characters maps to the
/// text's end.
fn byte_of(text: &str, character: usize) -> Option<usize> {
    if text.is_ascii() {
        return (character <= text.len()).then_some(character);
    }
    text.char_indices().map(|(byte, _)| byte).chain([text.len()]).nth(character)
}

/// A mention of something in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// The mention as written.
    pub text: String,
    /// Its natural-language type, such as `musical artist`.
    pub entity_type: String,
    /// Its position. `None` only if the source has no correct offsets for the mention (as in
    /// conversation data) and the mention does not occur in the text.
    pub span: Option<Span>,
}

/// An entity that a system found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundEntity {
    /// The entity. The span is `None` if the text has no occurrence left for it.
    #[serde(flatten)]
    pub entity: Entity,
    /// Its probability, if the system knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}

/// A text, its gold entities, and the entity types asked of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Unique within its dataset and split.
    pub id: String,
    /// The passage.
    pub text: String,
    /// Gold mentions, in the order of the source; repeated mentions are kept.
    pub entities: Vec<Entity>,
    /// The entity types asked of the text, in order and without repetition. Readers add the types
    /// that occur, and absent types if the source has them; negative sampling appends absent
    /// types.
    pub queries: Vec<String>,
}

impl Example {
    /// An example whose queries are the types of its entities, in order of first occurrence.
    pub fn new(id: String, text: String, entities: Vec<Entity>) -> Self {
        let types: IndexSet<&String> = entities.iter().map(|entity| &entity.entity_type).collect();
        let queries = types.into_iter().cloned().collect();
        Self { id, text, entities, queries }
    }

    /// The mentions of one entity type, in order: the gold answer to its query.
    pub fn mentions<'a>(&'a self, entity_type: &'a str) -> impl Iterator<Item = &'a Entity> {
        self.entities.iter().filter(move |entity| entity.entity_type == entity_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_count_characters_not_bytes() {
        let text = "Zoë’s café";
        assert_eq!(Span { start: 0, end: 3 }.slice(text), Some("Zoë"));
        assert_eq!(Span { start: 6, end: 10 }.slice(text), Some("café"));
        assert_eq!(Span { start: 10, end: 10 }.slice(text), Some(""));
        assert_eq!(Span { start: 6, end: 11 }.slice(text), None);
        assert_eq!(Span { start: 3, end: 2 }.slice(text), None);
        assert_eq!(Span { start: 1, end: 4 }.slice("abc"), None);
    }
}
