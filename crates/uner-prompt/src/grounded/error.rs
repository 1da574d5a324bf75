//! Prompts whose answers cannot be constrained.

use super::pieces::Pieces;
use crate::template::AskForm;

/// Reasons why the answers to a prompt cannot be constrained.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroundingError {
    /// The vocabulary lacks characters of the form.
    #[error(
        "the tokenizer cannot write an answer such as `{form}`: it has no token for `{missing}`; use a tokenizer with byte fallback"
    )]
    Unwritable {
        /// An answer of this form.
        form: &'static str,
        /// The characters without token.
        missing: String,
    },
    /// No type is asked for, or none that the vocabulary can write.
    #[error(
        "the tokenizer can write none of the types `{types}`; ask for a type that it can write"
    )]
    NoType {
        /// The types.
        types: String,
    },
    /// A type makes `type: mention; type: mention` ambiguous.
    #[error(
        "the entity type `{entity_type}` makes `type: mention; type: mention` ambiguous: {reason}; rename it"
    )]
    AmbiguousType {
        /// The type.
        entity_type: String,
        /// The reason.
        reason: String,
    },
}

impl GroundingError {
    pub(super) fn unwritable(form: AskForm, types: &[&str], pieces: &Pieces) -> Self {
        let (form, needed) = match form {
            AskForm::PerType => (r#"["mention", "mention"]"#, r#"[", ]"#),
            AskForm::AllInOne => (r#"[["mention", "type"]]"#, r#"[", ]"#),
            AskForm::InstructUie => ("type: mention; type: mention", ":; None"),
        };
        let missing: String =
            needed.chars().filter(|character| !pieces.can_write(*character as u8)).collect();
        if missing.is_empty() {
            return Self::NoType { types: types.join("`, `") };
        }
        Self::Unwritable { form, missing }
    }
}

/// Refuses types with which [`parse_instructuie_answer`](crate::parse_instructuie_answer) could
/// not say where a mention ends. Without them, texts of the form `; type: ` never overlap, and none
/// is a prefix of another.
pub(super) fn check_types(types: &[&str]) -> Result<(), GroundingError> {
    for entity_type in types {
        let longer =
            types.iter().find(|other| other.strip_prefix(entity_type).is_some_and(is_continued));
        let reason = if entity_type.contains("; ") {
            "it contains `; `".to_owned()
        } else if entity_type.starts_with(char::is_whitespace) {
            "it starts with a blank".to_owned()
        } else if let Some(longer) = longer {
            format!("`{longer}` starts with it and `: `")
        } else {
            continue;
        };
        let entity_type = (*entity_type).to_owned();
        return Err(GroundingError::AmbiguousType { entity_type, reason });
    }
    Ok(())
}

fn is_continued(rest: &str) -> bool {
    rest.starts_with(": ")
}
