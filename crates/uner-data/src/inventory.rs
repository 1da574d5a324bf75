//! The entity types of a training set with their frequencies. Negative sampling draws from this
//! inventory.

use std::collections::HashMap;

use indexmap::IndexMap;

use crate::Example;

/// Lowercases a type and removes white space, `_` and `-`: `Medical_condition`, `medical condition`
/// and `MedicalCondition` become equal. LLM annotations use all of these spellings.
pub fn fold(entity_type: &str) -> String {
    entity_type
        .chars()
        .filter(|character| !character.is_whitespace() && !matches!(character, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// How often each entity type occurs, as written, in order of first occurrence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypeCounts {
    counts: IndexMap<String, u64>,
}

impl TypeCounts {
    /// Counts the entities and relations of an example by type. A query without one is not counted.
    pub fn add(&mut self, example: &Example) {
        for gold_type in example.gold_types() {
            *self.counts.entry(gold_type.to_owned()).or_default() += 1;
        }
    }

    /// The types with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts.iter().map(|(name, count)| (name.as_str(), *count))
    }
}

/// One type of an inventory, with all its spellings merged.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// The most frequent spelling.
    name: String,
    folded: String,
    /// Number of mentions, at least 1.
    count: u64,
}

/// Distinct entity types by descending frequency.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypeInventory {
    entries: Vec<Entry>,
    /// `cumulative[i]` mentions belong to entries `0..=i`.
    cumulative: Vec<u64>,
}

impl TypeInventory {
    /// Builds the inventory of counted mentions. Spellings that [`fold`] makes equal are one type,
    /// named by the most frequent spelling.
    pub fn new(counts: &TypeCounts) -> Self {
        let mut indices: HashMap<String, usize> = HashMap::new();
        let mut found: Vec<(Entry, u64)> = Vec::new();
        for (name, count) in counts.iter() {
            let folded = fold(name);
            let index = *indices.entry(folded.clone()).or_insert(found.len());
            if index == found.len() {
                found.push((Entry { name: name.to_owned(), folded, count }, count));
                continue;
            }
            let (entry, best) = &mut found[index];
            entry.count += count;
            if count > *best {
                (entry.name, *best) = (name.to_owned(), count);
            }
        }
        Self::sorted(found.into_iter().map(|(entry, _)| entry).collect())
    }

    /// The closed world of a dataset: all types of its description, equally frequent.
    pub fn closed_world(entity_types: &[&str]) -> Self {
        let mut counts = TypeCounts::default();
        for name in entity_types {
            counts.counts.insert((*name).to_owned(), 1);
        }
        Self::new(&counts)
    }

    fn sorted(mut entries: Vec<Entry>) -> Self {
        entries.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
        let cumulative = entries
            .iter()
            .scan(0, |total, entry| {
                *total += entry.count;
                Some(*total)
            })
            .collect();
        Self { entries, cumulative }
    }

    /// Number of distinct types.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the inventory has no types.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The types with their number of mentions, by descending frequency.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.entries.iter().map(|entry| (entry.name.as_str(), entry.count))
    }

    pub(crate) fn name(&self, index: usize) -> &str {
        &self.entries[index].name
    }

    pub(crate) fn folded(&self, index: usize) -> &str {
        &self.entries[index].folded
    }

    pub(crate) fn count(&self, index: usize) -> u64 {
        self.entries[index].count
    }

    /// Number of mentions of all types.
    pub(crate) fn total(&self) -> u64 {
        self.cumulative.last().copied().unwrap_or(0)
    }

    /// Index of the type of a mention; mentions are numbered from 0, in the order of the types.
    pub(crate) fn at_mention(&self, mention: u64) -> usize {
        self.cumulative.partition_point(|&up_to| up_to <= mention)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entity;

    fn counts(types: &[&str]) -> TypeCounts {
        let entities = types
            .iter()
            .map(|name| Entity {
                text: "x".to_owned(),
                entity_type: (*name).to_owned(),
                span: None,
            })
            .collect();
        let mut counts = TypeCounts::default();
        counts.add(&Example::new(String::new(), String::new(), entities));
        counts
    }

    #[test]
    fn spellings_merge_under_the_most_frequent() {
        let inventory = TypeInventory::new(&counts(&[
            "Person",
            "person",
            "PERSON",
            "person",
            "date",
            "Medical_condition",
        ]));
        let found: Vec<(&str, u64)> = inventory.iter().collect();
        assert_eq!(found, [("person", 4), ("Medical_condition", 1), ("date", 1)]);
        assert_eq!(inventory.total(), 6);
        assert_eq!([0, 3, 4, 5].map(|mention| inventory.at_mention(mention)), [0, 0, 1, 2]);
    }
}
