//! Reads a whole split and lists everything that is wrong with it.

use std::{collections::HashSet, path::Path};

use crate::{DataError, Dataset, Notes, read, stats::fingerprint};

/// What a whole reading found.
#[derive(Debug, Default)]
pub struct Validation {
    /// Examples that can be read.
    pub num_examples: usize,
    /// Their mentions.
    pub num_entities: usize,
    /// Every problem in the order of the files, with file and line. Training refuses a split that has one.
    pub problems: Vec<DataError>,
    /// What was read, but not exactly.
    pub notes: Notes,
}

/// Validates a split.
///
/// # Errors
/// Only what keeps reading from starting, as in [`read`].
pub fn validate(dataset: &Dataset, split: &str, root: &Path) -> Result<Validation, DataError> {
    let mut examples = read(dataset, split, root)?;
    let mut found = Validation::default();
    let mut ids = HashSet::new();
    for item in examples.by_ref() {
        match item {
            Ok(example) => {
                found.num_examples += 1;
                found.num_entities += example.entities.len();
                if !ids.insert(fingerprint(&example.id)) {
                    found.problems.push(DataError::RepeatedId {
                        dataset: dataset.name.clone(),
                        split: split.to_owned(),
                        id: example.id,
                    });
                }
            }
            Err(error) => found.problems.push(error),
        }
    }
    found.notes = examples.notes().clone();
    Ok(found)
}
