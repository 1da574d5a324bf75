//! Reads a whole split and lists all its problems.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use crate::{DataError, Dataset, Notes, error::Kind, read, stats::fingerprint, warnings::Warnings};

/// The result of [`validate`].
#[derive(Debug, Default)]
pub struct Validation {
    /// Number of readable examples.
    pub num_examples: usize,
    /// Number of their mentions.
    pub num_entities: usize,
    /// The first problems of each kind in file order, with file and line. Training refuses a split
    /// with a problem.
    pub problems: Vec<DataError>,
    /// Problems that are not listed: the first message of their kind, and their number.
    pub more: Vec<(String, usize)>,
    /// Data that was read, but not exactly.
    pub notes: Notes,
    /// Data that was read, but is probably wrong.
    pub warnings: Warnings,
}

/// Largest number of listed problems of one kind; the others are only counted.
const SHOWN: usize = 20;

impl Validation {
    /// Number of all problems.
    pub fn num_problems(&self) -> usize {
        self.problems.len() + self.more.iter().map(|(_, count)| count).sum::<usize>()
    }
}

/// The problems found so far, by kind.
#[derive(Default)]
pub(crate) struct Kinds(HashMap<Kind, (String, usize)>);

impl Kinds {
    /// Lists a problem, or only counts it if enough of its kind are listed.
    pub(crate) fn add(&mut self, error: DataError, problems: &mut Vec<DataError>) {
        let (_, count) = self.0.entry(error.kind()).or_insert_with(|| (error.to_string(), 0));
        *count += 1;
        if *count <= SHOWN {
            problems.push(error);
        }
    }

    /// The first message of each kind with unlisted problems, and the number of these.
    pub(crate) fn more(self) -> Vec<(String, usize)> {
        let mut more: Vec<(String, usize)> =
            self.0.into_values().filter(|(_, count)| *count > SHOWN).collect();
        more.sort();
        more.into_iter().map(|(first, count)| (first, count - SHOWN)).collect()
    }
}

/// Validates a split.
///
/// # Errors
/// Only errors that keep reading from starting, as in [`read`].
pub fn validate(dataset: &Dataset, split: &str, root: &Path) -> Result<Validation, DataError> {
    let mut examples = read(dataset, split, root)?;
    let mut found = Validation::default();
    let mut kinds = Kinds::default();
    let mut ids = HashSet::new();
    for item in examples.by_ref() {
        match item {
            Ok(example) => {
                found.num_examples += 1;
                found.num_entities += example.entities.len();
                found.warnings.observe(&example);
                if !ids.insert(fingerprint(&example.id)) {
                    let (dataset, split) = (dataset.name.clone(), split.to_owned());
                    kinds.add(
                        DataError::RepeatedId { dataset, split, id: example.id },
                        &mut found.problems,
                    );
                }
            }
            Err(error) => kinds.add(error, &mut found.problems),
        }
    }
    found.warnings.finish();
    found.more = kinds.more();
    found.notes = examples.notes().clone();
    Ok(found)
}
