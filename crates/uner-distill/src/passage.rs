//! A piece of a document that a teacher annotates.

use serde::{Deserialize, Serialize};
use uner_data::Span;

/// A piece of a document, short enough for the teacher and the student.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Unique within a corpus: subset, document and start.
    pub id: String,
    /// The text, exactly as in the document.
    pub text: String,
    /// The subset of the corpus, such as `wikipedia`.
    pub subset: String,
    /// The id of the document.
    pub document: String,
    /// Its characters in the document.
    pub span: Span,
}
