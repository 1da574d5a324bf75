//! One passage with its gold entities: the value every reader produces.

use serde::{Deserialize, Serialize};

/// A half-open range of characters (Unicode scalar values, not bytes) of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First character.
    pub start: usize,
    /// One past the last character.
    pub end: usize,
}

/// A mention of something in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// The mention as written.
    pub text: String,
    /// Its natural-language type, such as `musical artist`.
    pub entity_type: String,
    /// Where it stands. `None` only where a source gives mentions without offsets (conversation data) and the
    /// mention does not occur in the text.
    pub span: Option<Span>,
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
    /// The entity types asked of the text, in order and without repetition. Readers put the types that occur
    /// (and, where the source has them, the absent ones it asks); negative sampling appends absent types.
    pub queries: Vec<String>,
}
