//! Which mentions a model may know from training.

use std::collections::HashSet;

use uner_data::Example;

/// The mentions of a training set, lower-cased, whatever their type.
#[derive(Debug, Clone, Default)]
pub struct SeenMentions(HashSet<String>);

impl SeenMentions {
    /// Adds the gold entities of a training example.
    pub fn add(&mut self, example: &Example) {
        self.0.extend(example.entities.iter().map(|entity| entity.text.to_lowercase()));
    }

    /// Whether some training entity reads the same in lower case.
    pub fn contains(&self, mention: &str) -> bool {
        self.0.contains(&mention.to_lowercase())
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
