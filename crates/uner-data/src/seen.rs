//! Mentions that a model may have seen in training.

use std::collections::HashSet;

use crate::Example;

/// The form in which mentions are compared.
pub(crate) fn folded(mention: &str) -> String {
    mention.to_lowercase()
}

/// The mentions of a training set in lower case, regardless of type.
#[derive(Debug, Clone, Default)]
pub struct SeenMentions(HashSet<String>);

impl SeenMentions {
    /// Adds the gold entities of a training example.
    pub fn add(&mut self, example: &Example) {
        self.0.extend(example.entities.iter().map(|entity| folded(&entity.text)));
    }

    /// Whether a training entity has the same text in lower case.
    pub fn contains(&self, mention: &str) -> bool {
        self.0.contains(&folded(mention))
    }
}

impl<'a> FromIterator<&'a Example> for SeenMentions {
    fn from_iter<I: IntoIterator<Item = &'a Example>>(examples: I) -> Self {
        let mut seen = Self::default();
        for example in examples {
            seen.add(example);
        }
        seen
    }
}
