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

/// A mention without a type: an argument of a relation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mention {
    /// The mention as written.
    pub text: String,
    /// Its position; `None` if a system wrote it and the text does not have it.
    pub span: Option<Span>,
}

/// Mentions that stand in a relation, in the order of its arguments: a head and a tail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// Its natural-language name, such as `mechanism`.
    pub relation_type: String,
    /// The mentions.
    pub arguments: Vec<Mention>,
}

impl Relation {
    /// The texts of the arguments, by which relations are compared.
    pub fn texts(&self) -> Vec<&str> {
        self.arguments.iter().map(|argument| argument.text.as_str()).collect()
    }
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

/// A relation that a system found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundRelation {
    /// The relation. The span of an argument is `None` if the text does not have it.
    #[serde(flatten)]
    pub relation: Relation,
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
    /// Gold relations, in the order of the source, if the dataset is one of relations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relations: Vec<Relation>,
    /// The types of entities or relations asked of the text, in order and without repetition.
    /// Readers add the types that occur, and absent types if the source has them; negative sampling
    /// appends absent types.
    pub queries: Vec<String>,
}

impl Example {
    /// An example whose queries are the types of its entities, in order of first occurrence.
    pub fn new(id: String, text: String, entities: Vec<Entity>) -> Self {
        let types: IndexSet<&String> = entities.iter().map(|entity| &entity.entity_type).collect();
        let queries = types.into_iter().cloned().collect();
        Self { id, text, entities, relations: Vec::new(), queries }
    }

    /// An example whose queries are the types of its relations, in order of first occurrence.
    pub fn of_relations(id: String, text: String, relations: Vec<Relation>) -> Self {
        let types: IndexSet<&String> =
            relations.iter().map(|relation| &relation.relation_type).collect();
        let queries = types.into_iter().cloned().collect();
        Self { id, text, entities: Vec::new(), relations, queries }
    }

    /// The type of each gold entity and relation, in order and with repetitions.
    pub fn gold_types(&self) -> impl Iterator<Item = &str> {
        let entities = self.entities.iter().map(|entity| entity.entity_type.as_str());
        entities.chain(self.relations.iter().map(|relation| relation.relation_type.as_str()))
    }

    /// The same, to change them.
    pub fn gold_types_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let entities = self.entities.iter_mut().map(|entity| &mut entity.entity_type);
        entities.chain(self.relations.iter_mut().map(|relation| &mut relation.relation_type))
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
