//! Reads relations between mentions: brat's `R` rows, and the JSON of `SciERC` and of `SpERT`
//! (`CoNLL04`).
//!
//! A relation is known by the texts of its arguments, so a relation that a passage states of the
//! same texts twice is one.

pub(crate) mod brat;
pub(crate) mod json;
mod sentences;

use std::collections::HashSet;

use crate::{Mention, Relation, Span, text::Text};

/// The relations of a passage, each once.
#[derive(Default)]
pub(crate) struct Collected {
    relations: Vec<Relation>,
    seen: HashSet<(String, Vec<String>)>,
}

impl Collected {
    /// Adds a relation between spans of a text; `false` if it is known.
    pub(crate) fn add(&mut self, text: &Text<'_>, relation_type: String, spans: &[Span]) -> bool {
        let mention =
            |span: &Span| Mention { text: text.slice(*span).to_owned(), span: Some(*span) };
        let arguments: Vec<Mention> = spans.iter().map(mention).collect();
        let texts = arguments.iter().map(|argument| argument.text.clone()).collect();
        let is_new = self.seen.insert((relation_type.clone(), texts));
        if is_new {
            self.relations.push(Relation { relation_type, arguments });
        }
        is_new
    }

    /// The relations in the order of their arguments in the text.
    pub(crate) fn sorted(mut self) -> Vec<Relation> {
        self.relations.sort_by_key(|relation| {
            relation.arguments.iter().map(|argument| argument.span).collect::<Vec<_>>()
        });
        self.relations
    }
}
