//! Mixes several datasets into one. A cap keeps a large dataset from dominating; a weight repeats
//! or thins a dataset. InstructUIE takes the first 10,000 examples, UniversalNER's supervised
//! models a random 10,000.

use std::path::Path;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::{DataError, Dataset, DatasetRef, Example, Examples, Notes, read, stream::stream};

/// Largest allowed number of copies of an example: a larger one is probably a mistake.
const LARGEST_WEIGHT: f64 = 10_000.0;

/// One dataset of a mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// A built-in name, the path of a description, or a description.
    pub dataset: DatasetRef,
    /// Its split.
    pub split: String,
    /// Largest number of examples taken from it; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<usize>,
    /// Which examples the cap keeps.
    #[serde(default)]
    pub take: Take,
    /// Mean number of copies of each example: 2 returns each twice, 0.5 a random half of them, 1.5
    /// each once and a random half twice.
    #[serde(default = "one")]
    pub weight: f64,
    /// Whether to add absent types to its queries; `false` for a dataset that has its own.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub negatives: bool,
}

fn yes() -> bool {
    true
}

fn is_yes(answer: &bool) -> bool {
    *answer
}

fn one() -> f64 {
    1.0
}

/// Which examples a cap keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Take {
    /// The first in file order, as InstructUIE does (and calls "random"). None is kept in memory.
    #[default]
    First,
    /// A seeded random choice, in file order. Reads the whole split first and keeps `cap` examples
    /// in memory.
    Random,
}

/// Opens all members of a mixture. They are read one after the other, since training shuffles by
/// (seed, epoch).
///
/// # Errors
/// As [`DatasetRef::resolve`] and [`read`]; [`DataError::Invalid`] for a weight that is not a
/// positive number or a cap of 0.
pub fn mix(members: &[Member], root: &Path, seed: u64) -> Result<Mixture, DataError> {
    let parts = members
        .iter()
        .enumerate()
        .map(|(index, member)| Part::open(member, root, seed, index as u64))
        .collect::<Result<Vec<Part>, DataError>>()?;
    Ok(Mixture { parts, current: 0 })
}

/// The examples of a mixture, each with the index of its member. Ids are `dataset/id`, and
/// `dataset/id#2` for the second copy of an example. Errors are those of [`Examples`], but only
/// from the part of each split that its cap needs to read.
pub struct Mixture {
    parts: Vec<Part>,
    current: usize,
}

impl Mixture {
    /// The datasets, in the order of the members.
    pub fn datasets(&self) -> impl Iterator<Item = &Dataset> {
        self.parts.iter().map(|part| &part.dataset)
    }

    /// Notes on inexact representations in everything read so far, over all members.
    pub fn notes(&self) -> Notes {
        let mut notes = Notes::default();
        self.parts.iter().for_each(|part| notes.merge(part.examples.notes()));
        notes
    }
}

impl Iterator for Mixture {
    type Item = Result<(usize, Example), DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(part) = self.parts.get_mut(self.current) {
            if let Some(item) = part.next() {
                return Some(item.map(|example| (self.current, example)));
            }
            self.current += 1;
        }
        None
    }
}

struct Part {
    dataset: Dataset,
    examples: Examples,
    cap: usize,
    take: Take,
    weight: f64,
    seed: u64,
    /// The member's index in the mixture, which keys the random streams.
    member: u64,
    /// Examples taken so far.
    taken: usize,
    /// The items that a random cap keeps, in reverse order; `None` before the split is read.
    chosen: Option<Vec<Result<Example, DataError>>>,
    /// The current example, its copies returned so far, and its copies in total.
    copied: Option<(Example, usize, usize)>,
}

impl Part {
    fn open(member: &Member, root: &Path, seed: u64, index: u64) -> Result<Self, DataError> {
        let dataset = member.dataset.resolve()?;
        let invalid =
            |message: String| Err(DataError::Invalid { dataset: dataset.name.clone(), message });
        if !(member.weight > 0.0 && member.weight <= LARGEST_WEIGHT) {
            return invalid(format!(
                "its weight in the mixture is `{}`; it must be more than 0 and at most {LARGEST_WEIGHT}",
                member.weight
            ));
        }
        if member.cap == Some(0) {
            return invalid(
                "its cap in the mixture is 0; leave the dataset out instead".to_owned(),
            );
        }
        Ok(Self {
            examples: read(&dataset, &member.split, root)?,
            dataset,
            cap: member.cap.unwrap_or(usize::MAX),
            take: member.take,
            weight: member.weight,
            seed,
            member: index,
            taken: 0,
            chosen: None,
            copied: None,
        })
    }

    fn next(&mut self) -> Option<Result<Example, DataError>> {
        loop {
            if let Some(copy) = self.copy() {
                return Some(Ok(copy));
            }
            match self.source()? {
                Ok(mut example) => {
                    example.id = format!("{}/{}", self.dataset.name, example.id);
                    let copies = self.copies(self.taken as u64 - 1);
                    self.copied = Some((example, 0, copies));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The next copy of the current example.
    fn copy(&mut self) -> Option<Example> {
        let (example, given, copies) = self.copied.as_mut()?;
        if given == copies {
            return None;
        }
        *given += 1;
        let mut copy = example.clone();
        if *given > 1 {
            copy.id = format!("{}#{given}", copy.id);
        }
        Some(copy)
    }

    /// Number of copies of the example with this index.
    fn copies(&self, index: u64) -> usize {
        let mut rng = stream(*b"mixweigh", self.seed, self.member, index);
        self.weight.floor() as usize + usize::from(rng.random_bool(self.weight.fract()))
    }

    /// The next example that the cap keeps, or an error of the split.
    fn source(&mut self) -> Option<Result<Example, DataError>> {
        let item = match self.take {
            Take::Random if self.cap < usize::MAX => {
                if self.chosen.is_none() {
                    self.chosen = Some(self.reservoir());
                }
                self.chosen.as_mut()?.pop()?
            }
            _ if self.taken == self.cap => return None,
            _ => self.examples.next()?,
        };
        self.taken += usize::from(item.is_ok());
        Some(item)
    }

    /// Chooses `cap` examples of the whole split uniformly (Vitter's algorithm R). Returns them in
    /// reverse order, then all errors of the split.
    fn reservoir(&mut self) -> Vec<Result<Example, DataError>> {
        let mut rng = stream(*b"mixtake ", self.seed, self.member, 0);
        let mut chosen: Vec<(usize, Example)> = Vec::new();
        let mut errors = Vec::new();
        let mut seen = 0;
        for item in self.examples.by_ref() {
            match item {
                Ok(example) if chosen.len() < self.cap => chosen.push((seen, example)),
                Ok(example) => {
                    let slot = rng.random_range(0..=seen);
                    if slot < self.cap {
                        chosen[slot] = (seen, example);
                    }
                }
                Err(error) => {
                    errors.push(Err(error));
                    continue;
                }
            }
            seen += 1;
        }
        chosen.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
        chosen.into_iter().map(|(_, example)| Ok(example)).chain(errors.into_iter().rev()).collect()
    }
}

#[cfg(test)]
mod tests;
