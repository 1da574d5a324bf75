//! Hard absent types: types that are easily mistaken for the types of a passage. Types with a word
//! in common (`musical artist`, `visual artist`) are found in the inventory; types that a first
//! model confuses are read from the report of an evaluation.
//!
//! A share of the absent types is hard, and the rest is drawn as [`add_negatives`] draws it. With
//! the share 0, the draws are those of [`add_negatives`].
//!
//! [`add_negatives`]: super::add_negatives

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use indexmap::IndexMap;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Draw, NegativeConfig, Strategy, heaviest, num_negatives, prepare, sampled};
use crate::{
    DataError, Example,
    inventory::{TypeInventory, fold},
    regular,
    stream::stream,
};

/// Words that say nothing about what a type is.
const FILLERS: [&str; 12] =
    ["of", "the", "a", "an", "and", "or", "in", "for", "to", "other", "name", "type"];
/// Weight of a type with the same last word, relative to one with another word in common.
const SAME_HEAD: f64 = 4.0;

/// How many absent types are hard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HardConfig {
    /// Share of the absent types that are hard, 0 to 1. A passage whose types have too few hard
    /// types gets other absent types instead.
    pub share: f64,
    /// Optional: the report of an evaluation (`report.json`). The types that it lists as confused
    /// are hard, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusions: Option<std::path::PathBuf>,
}

/// Types that a model predicted for mentions of another type: gold type → (predicted type, weight).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Confusions(pub IndexMap<String, Vec<(String, f64)>>);

impl Confusions {
    /// Reads the lists `confusion` of a JSON report, wherever they are in it: objects with `gold`,
    /// `predicted` and `count`. Counts of several datasets add up.
    ///
    /// # Errors
    /// [`DataError::Unusable`] if the file is not JSON or lists no confusion, and
    /// [`DataError::Io`] if it cannot be read.
    pub fn read(report: &Path) -> Result<Self, DataError> {
        let unusable = |message: String| DataError::Unusable { path: report.to_owned(), message };
        let text = regular::read_to_string(report)?;
        let value: Value = serde_json::from_str(&text)
            .map_err(|error| unusable(format!("it is not JSON: {error}")))?;
        let mut found = Self::default();
        found.collect(&value);
        if found.0.is_empty() {
            return Err(unusable(
                "it lists no confusion of types (`gold`, `predicted`, `count` under `confusion`); \
                 name the report of an evaluation"
                    .to_owned(),
            ));
        }
        Ok(found)
    }

    /// Adds a pair of types.
    pub fn add(&mut self, gold: &str, predicted: &str, weight: f64) {
        let others = self.0.entry(gold.to_owned()).or_default();
        match others.iter_mut().find(|(other, _)| other == predicted) {
            Some((_, sum)) => *sum += weight,
            None => others.push((predicted.to_owned(), weight)),
        }
    }

    fn collect(&mut self, value: &Value) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| self.collect(value)),
            Value::Object(fields) => {
                for pair in fields.get("confusion").and_then(Value::as_array).into_iter().flatten()
                {
                    let text = |key: &str| pair.get(key).and_then(Value::as_str);
                    let count = pair.get("count").and_then(Value::as_f64);
                    if let (Some(gold), Some(predicted), Some(count)) =
                        (text("gold"), text("predicted"), count)
                    {
                        self.add(gold, predicted, count);
                    }
                }
                fields.values().for_each(|value| self.collect(value));
            }
            _ => {}
        }
    }
}

/// For each type of an inventory, the types that are hard beside it, with weights.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HardTypes {
    /// By folded type: indices in the inventory and weights, in the order of the inventory.
    neighbours: HashMap<String, Vec<(usize, f64)>>,
}

impl HardTypes {
    /// Types that share words. A type with the same last word (the head of an English noun phrase)
    /// weighs four times as much as one with another word in common.
    pub fn with_shared_words(inventory: &TypeInventory) -> Self {
        let types: Vec<Vec<String>> = inventory.iter().map(|(name, _)| words(name)).collect();
        let mut by_word: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, words) in types.iter().enumerate() {
            for word in words {
                let indices = by_word.entry(word).or_default();
                if indices.last() != Some(&index) {
                    indices.push(index);
                }
            }
        }
        let neighbours_of = |index: usize| {
            let mut found: Vec<usize> = types[index]
                .iter()
                .flat_map(|word| &by_word[word.as_str()])
                .copied()
                .filter(|other| *other != index)
                .collect();
            found.sort_unstable();
            found.dedup();
            let weight = |other: usize| {
                if types[other].last() == types[index].last() { SAME_HEAD } else { 1.0 }
            };
            found.into_iter().map(|other| (other, weight(other))).collect::<Vec<_>>()
        };
        let neighbours = (0..types.len())
            .map(|index| (inventory.folded(index).to_owned(), neighbours_of(index)))
            .filter(|(_, neighbours)| !neighbours.is_empty())
            .collect();
        Self { neighbours }
    }

    /// Types that a model confuses, weighted by their share of the confusions of the gold type.
    /// Types that the inventory lacks are left out.
    pub fn with_confusions(inventory: &TypeInventory, confusions: &Confusions) -> Self {
        let indices: HashMap<&str, usize> =
            (0..inventory.len()).map(|index| (inventory.folded(index), index)).collect();
        let mut found = Self::default();
        for (gold, others) in &confusions.0 {
            let total: f64 = others.iter().map(|(_, weight)| weight).sum();
            let known = others.iter().filter_map(|(other, weight)| {
                let index = *indices.get(&*fold(other))?;
                (*weight > 0.0).then_some((index, weight / total))
            });
            let mut known: Vec<(usize, f64)> = known.collect();
            known.sort_by_key(|(index, _)| *index);
            if !known.is_empty() {
                found.neighbours.entry(fold(gold)).or_default().extend(known);
            }
        }
        found
    }

    /// Adds the neighbours of other hard types. Each type's weights are brought to the sum 1 first,
    /// so that both sources count alike.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let mut joined: HashMap<String, Vec<(usize, f64)>> = HashMap::new();
        let all = self.neighbours.into_iter().chain(other.neighbours);
        for (entity_type, neighbours) in all {
            let total: f64 = neighbours.iter().map(|(_, weight)| weight).sum();
            let scaled = neighbours.into_iter().map(|(index, weight)| (index, weight / total));
            joined.entry(entity_type).or_default().extend(scaled);
        }
        let sorted = joined.into_iter().map(|(entity_type, mut neighbours)| {
            neighbours.sort_by_key(|(index, _)| *index);
            (entity_type, neighbours)
        });
        Self { neighbours: sorted.collect() }
    }

    /// The hard types beside the types of a passage, with their summed weights, in the order of the
    /// inventory.
    fn beside<'a>(&self, present: impl Iterator<Item = &'a str>) -> Vec<(usize, f64)> {
        let folded: HashSet<String> = present.map(fold).collect();
        let mut folded: Vec<String> = folded.into_iter().collect();
        folded.sort_unstable();
        let mut weights: HashMap<usize, f64> = HashMap::new();
        for (index, weight) in
            folded.iter().filter_map(|of_type| self.neighbours.get(of_type)).flatten()
        {
            *weights.entry(*index).or_default() += weight;
        }
        let mut found: Vec<(usize, f64)> = weights.into_iter().collect();
        found.sort_by_key(|(index, _)| *index);
        found
    }
}

/// The words of a type in lower case, the head last: `MusicalArtist`, `musical_artist` and
/// `Musical artists` have the words `musical` and `artist`.
fn words(name: &str) -> Vec<String> {
    let mut split = String::with_capacity(name.len() + 4);
    let mut previous_is_lower = false;
    for character in name.chars() {
        if character.is_uppercase() && previous_is_lower {
            split.push(' ');
        }
        previous_is_lower = character.is_lowercase();
        split.extend(character.to_lowercase());
    }
    split
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty() && !FILLERS.contains(word))
        .map(singular)
        .collect()
}

/// A word without the `s` of the plural.
fn singular(word: &str) -> String {
    let is_plural = word.len() > 3 && word.ends_with('s') && !word.ends_with("ss");
    word[..word.len() - usize::from(is_plural)].to_owned()
}

/// Appends absent types to the queries of an example, as [`super::add_negatives`] does, but a share
/// of them is hard. `closed-world` asks all absent types anyway, and `none` asks none.
///
/// # Panics
/// If the ratio is negative or not finite, or the share is not between 0 and 1.
pub fn add_hard_negatives(
    example: &mut Example,
    inventory: &TypeInventory,
    config: &NegativeConfig,
    (hard, share): (&HardTypes, f64),
    draw: Draw,
) {
    assert!(
        (0.0..=1.0).contains(&share),
        "the share of hard absent types is `{share}`, not 0 to 1"
    );
    let mut rng = stream(*b"negative", draw.seed, draw.epoch, draw.index);
    let (mut excluded, num_given) = prepare(example, config);
    let mut present: Vec<&str> = example.entities.iter().map(|one| &*one.entity_type).collect();
    present.sort_unstable();
    present.dedup();
    let count = num_negatives(present.len(), config.ratio, &mut rng).saturating_sub(num_given);
    let mut indices = Vec::new();
    if matches!(config.strategy, Strategy::Uniform | Strategy::Frequency) && share > 0.0 {
        // A stream of its own keeps the other draws as they are without hard types.
        let mut rng = stream(*b"hardnega", draw.seed, draw.epoch, draw.index);
        let num_hard = (0..count).filter(|_| rng.random_bool(share)).count();
        let beside = hard.beside(present.iter().copied());
        let free =
            beside.into_iter().filter(|(index, _)| !excluded.contains(inventory.folded(*index)));
        indices = heaviest(free, num_hard, &mut rng);
        excluded.extend(indices.iter().map(|&index| inventory.folded(index).to_owned()));
    }
    let rest = count - indices.len();
    indices.extend(sampled(inventory, config.strategy, excluded, rest, &mut rng));
    example.queries.extend(indices.into_iter().map(|index| inventory.name(index).to_owned()));
}

#[cfg(test)]
#[path = "hard_tests.rs"]
mod tests;
