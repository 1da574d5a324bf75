//! Selects one annotator per text, for exports that have one record per annotation.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use serde_json::{Map, Value};

use super::plain;

/// The annotator of the first record of each text. The key is a hash of the text's identity, to
/// save memory on large exports.
#[derive(Default)]
pub(super) struct Annotators(HashMap<u64, String>);

impl Annotators {
    /// Whether an earlier record of this text names another annotator. The annotator is the value
    /// of the first of `keys` that the record has (the id of an annotation, annotator or session).
    pub(super) fn is_of_another(
        &mut self,
        text: impl Hash,
        record: &Map<String, Value>,
        keys: [&str; 2],
    ) -> bool {
        let Some(annotator) = keys.iter().find_map(|key| record.get(*key)) else { return false };
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let annotator = plain(annotator);
        *self.0.entry(hasher.finish()).or_insert_with(|| annotator.clone()) != annotator
    }
}
