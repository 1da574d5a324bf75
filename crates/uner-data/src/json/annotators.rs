//! Whose annotation of a text is read, where a tool writes one record for each annotation.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use serde_json::{Map, Value};

use super::plain;

/// The annotator whose record of a text came first, by a hash of what identifies the text: an
/// export may be large.
#[derive(Default)]
pub(super) struct Annotators(HashMap<u64, String>);

impl Annotators {
    /// Whether a text was read before from another annotation, annotator or session: whichever of
    /// `keys` the record has says which.
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
