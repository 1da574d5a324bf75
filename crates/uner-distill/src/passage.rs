//! A piece of a document that a teacher annotates.

use serde::{Deserialize, Serialize};
use uner_data::Span;

/// A piece of a document, short enough for the teacher and the student.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// Unique within a corpus: `SUBSET/FILE:LINE:START`, where `LINE` is the line or row of the
    /// document in the file, and `START` the first character in the document.
    pub id: String,
    /// The text, exactly as in the document, without white space at its ends.
    pub text: String,
    /// The subset of the corpus, such as `wikipedia`.
    pub subset: String,
    /// The id of the document: the value of the key that the corpus names, or else `FILE:LINE`.
    pub document: String,
    /// Its characters in the document.
    pub span: Span,
}
