//! Reads a whole split and lists everything that is wrong with it.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use crate::{DataError, Dataset, Notes, error::Kind, read, stats::fingerprint, warnings::Warnings};

/// What a whole reading found.
#[derive(Debug, Default)]
pub struct Validation {
    /// Examples that can be read.
    pub num_examples: usize,
    /// Their mentions.
    pub num_entities: usize,
    /// The first problems of each kind in the order of the files, with file and line. Training
    /// refuses a split that has one.
    pub problems: Vec<DataError>,
    /// How many more there are of a kind: the first of it, and a number.
    pub more: Vec<(String, usize)>,
    /// What was read, but not exactly.
    pub notes: Notes,
    /// What was read and is probably a slip.
    pub warnings: Warnings,
}

/// Problems of one kind that are kept; of the others there is a number.
const SHOWN: usize = 20;

impl Validation {
    /// Problems in all.
    pub fn num_problems(&self) -> usize {
        self.problems.len() + self.more.iter().map(|(_, count)| count).sum::<usize>()
    }
}

/// The problems found so far, by kind.
#[derive(Default)]
struct Kinds(HashMap<Kind, (String, usize)>);

impl Kinds {
    /// Keeps a problem, or counts it where there are enough of its kind.
    fn add(&mut self, error: DataError, problems: &mut Vec<DataError>) {
        let (_, count) = self.0.entry(error.kind()).or_insert_with(|| (error.to_string(), 0));
        *count += 1;
        if *count <= SHOWN {
            problems.push(error);
        }
    }

    /// The first of each kind that there are more of, with their number.
    fn more(self) -> Vec<(String, usize)> {
        let mut more: Vec<(String, usize)> =
            self.0.into_values().filter(|(_, count)| *count > SHOWN).collect();
        more.sort();
        more.into_iter().map(|(first, count)| (first, count - SHOWN)).collect()
    }
}

/// Validates a split.
///
/// # Errors
/// Only what keeps reading from starting, as in [`read`].
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
                found.warnings.look(&example);
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
