//! The gold entities of benchmarks, to find them among those of training examples.

use indexmap::IndexSet;

use crate::{Example, inventory::fold, seen::folded};

/// The number of a mention, and of it with its type.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntityKey {
    pub(crate) mention: usize,
    pub(crate) typed: usize,
    /// The type as written in the benchmark.
    pub(crate) entity_type: usize,
}

/// Distinct gold entities. Mentions are equal if they are in lower case, types if [`fold`] makes
/// them equal.
#[derive(Debug, Default)]
pub(crate) struct Entities {
    mentions: IndexSet<String>,
    types: IndexSet<String>,
    folded_types: IndexSet<String>,
    /// Mention and folded type.
    typed: IndexSet<(usize, usize)>,
}

impl Entities {
    pub(crate) fn num_mentions(&self) -> usize {
        self.mentions.len()
    }

    pub(crate) fn num_typed(&self) -> usize {
        self.typed.len()
    }

    /// A type as written in the benchmarks.
    pub(crate) fn type_name(&self, entity_type: usize) -> &str {
        &self.types[entity_type]
    }

    /// Adds the gold entities of an example, and returns their keys.
    pub(crate) fn add(&mut self, example: &Example) -> Vec<EntityKey> {
        let keys = example.entities.iter().map(|entity| {
            let mention = self.mentions.insert_full(folded(&entity.text)).0;
            let folded_type = self.folded_types.insert_full(fold(&entity.entity_type)).0;
            EntityKey {
                mention,
                typed: self.typed.insert_full((mention, folded_type)).0,
                entity_type: self.types.insert_full(entity.entity_type.clone()).0,
            }
        });
        keys.collect()
    }

    /// The entities of the benchmarks among those of an example: mentions, and mentions with types.
    pub(crate) fn find(&self, example: &Example) -> (Vec<usize>, Vec<usize>) {
        let (mut mentions, mut typed) = (Vec::new(), Vec::new());
        for entity in &example.entities {
            let Some(mention) = self.mentions.get_index_of(&*folded(&entity.text)) else {
                continue;
            };
            mentions.push(mention);
            let folded_type = self.folded_types.get_index_of(&*fold(&entity.entity_type));
            typed.extend(folded_type.and_then(|own| self.typed.get_index_of(&(mention, own))));
        }
        (mentions, typed)
    }
}
