//! Negative sampling: queries for types that are absent from a passage; the answer is the empty
//! list. LLM annotations contain only types that are present, so a model trained on them alone
//! never learns to answer "none" (UniversalNER §3.2 and table 4: F1 31.5 without, 47.7 uniform,
//! 53.4 by frequency).
//!
//! UniversalNER draws from the types "that do not appear in the passage". Here, these are the types
//! that are neither annotated nor already asked, with spellings folded. UniversalNER does not state
//! how many it draws, so here a ratio sets the number.

pub mod hard;

use std::collections::HashSet;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::{
    Example,
    inventory::{TypeInventory, fold},
    stream::stream,
};

/// How absent types are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// None are drawn.
    None,
    /// Every type of the inventory is equally likely.
    Uniform,
    /// A type is as likely as it is frequent in the inventory.
    #[default]
    Frequency,
    /// All absent types of the inventory, in its order: for supervised data, whose annotators
    /// looked for every label.
    ClosedWorld,
}

/// Which and how many absent types are asked of a passage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NegativeConfig {
    /// How they are drawn.
    #[serde(default)]
    pub strategy: Strategy,
    /// Number of absent types per present type; a fraction is the probability of one more. A
    /// passage without entities counts as one present type and gets at least one absent type, so
    /// that it has a query. Absent types in the data's own queries count. Closed world ignores the
    /// ratio.
    #[serde(default = "one")]
    pub ratio: f64,
    /// Whether absent types in the data's own queries are removed first, so that the strategy alone
    /// decides which are asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drop_asked: bool,
}

impl Default for NegativeConfig {
    fn default() -> Self {
        Self { strategy: Strategy::default(), ratio: one(), drop_asked: false }
    }
}

fn one() -> f64 {
    1.0
}

/// The key of a draw: equal keys give equal draws, whatever was drawn before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// The run's seed.
    pub seed: u64,
    /// The pass over the data. A fixed number gives every epoch the same absent types, as in
    /// UniversalNER's data.
    pub epoch: u64,
    /// The example's index in the data.
    pub index: u64,
}

/// Appends absent types to the queries of an example, without repetition.
///
/// # Panics
/// If the ratio is negative or not finite.
pub fn add_negatives(
    example: &mut Example,
    inventory: &TypeInventory,
    config: &NegativeConfig,
    draw: Draw,
) {
    let mut rng = stream(*b"negative", draw.seed, draw.epoch, draw.index);
    let (excluded, num_given) = prepare(example, config);
    let num_present = present(example).len();
    let count = num_negatives(num_present, config.ratio, &mut rng).saturating_sub(num_given);
    let indices = sampled(inventory, config.strategy, excluded, count, &mut rng);
    example.queries.extend(indices.into_iter().map(|index| inventory.name(index).to_owned()));
}

/// The types of an example's entities.
fn present(example: &Example) -> HashSet<&str> {
    example.entities.iter().map(|entity| entity.entity_type.as_str()).collect()
}

/// Removes absent types that the data asks, if the configuration says so. Returns the types that
/// must not be drawn, and the number of absent types that are asked already.
fn prepare(example: &mut Example, config: &NegativeConfig) -> (HashSet<String>, usize) {
    assert!(
        config.ratio >= 0.0 && config.ratio.is_finite(),
        "the ratio of absent types is `{}`; it must be finite and at least 0",
        config.ratio
    );
    let mut queries = std::mem::take(&mut example.queries);
    let present = present(example);
    if config.drop_asked {
        queries.retain(|query| present.contains(query.as_str()));
    }
    let mut excluded: HashSet<String> = queries.iter().map(|query| fold(query)).collect();
    excluded.extend(present.iter().map(|entity_type| fold(entity_type)));
    let num_given = queries.iter().filter(|query| !present.contains(query.as_str())).count();
    example.queries = queries;
    (excluded, num_given)
}

/// The indices of the absent types that a strategy draws.
fn sampled(
    inventory: &TypeInventory,
    strategy: Strategy,
    excluded: HashSet<String>,
    count: usize,
    rng: &mut impl Rng,
) -> Vec<usize> {
    match strategy {
        Strategy::None => Vec::new(),
        Strategy::Uniform => sample(inventory, Weighting::Uniform, excluded, count, rng),
        Strategy::Frequency => sample(inventory, Weighting::Frequency, excluded, count, rng),
        Strategy::ClosedWorld => (0..inventory.len())
            .filter(|&index| !excluded.contains(inventory.folded(index)))
            .collect(),
    }
}

/// Number of absent types for a number of present types.
fn num_negatives(num_present: usize, ratio: f64, rng: &mut impl Rng) -> usize {
    // The limit exceeds any inventory. It keeps the product finite, which `random_bool` requires.
    let expected = (ratio * num_present.max(1) as f64).min(1e15);
    let rounded = expected.floor() as usize + usize::from(rng.random_bool(expected.fract()));
    if num_present == 0 { rounded.max(1) } else { rounded }
}

#[derive(Clone, Copy)]
enum Weighting {
    Uniform,
    Frequency,
}

/// Draws without replacement. Drawing from the whole inventory and discarding excluded types is
/// fast while few types are excluded. After many failed draws, the rest is drawn from the remaining
/// types, with the same distribution.
fn sample(
    inventory: &TypeInventory,
    weighting: Weighting,
    mut excluded: HashSet<String>,
    count: usize,
    rng: &mut impl Rng,
) -> Vec<usize> {
    // The inventory has no more types to draw, whatever the ratio.
    let count = count.min(inventory.len());
    let mut drawn = Vec::with_capacity(count);
    if inventory.is_empty() {
        return drawn;
    }
    for _ in 0..count.saturating_mul(16) {
        if drawn.len() == count {
            return drawn;
        }
        let index = match weighting {
            Weighting::Uniform => rng.random_range(0..inventory.len()),
            Weighting::Frequency => inventory.at_mention(rng.random_range(0..inventory.total())),
        };
        if excluded.insert(inventory.folded(index).to_owned()) {
            drawn.push(index);
        }
    }
    let remaining = count - drawn.len();
    drawn.extend(sample_remaining(inventory, weighting, &excluded, remaining, rng));
    drawn
}

/// Weighted draws without replacement from the types that are not excluded.
fn sample_remaining(
    inventory: &TypeInventory,
    weighting: Weighting,
    excluded: &HashSet<String>,
    count: usize,
    rng: &mut impl Rng,
) -> Vec<usize> {
    let weight = |index| match weighting {
        Weighting::Uniform => 1.0,
        Weighting::Frequency => inventory.count(index) as f64,
    };
    let remaining = (0..inventory.len())
        .filter(|&index| !excluded.contains(inventory.folded(index)))
        .map(|index| (index, weight(index)));
    heaviest(remaining, count, rng)
}

/// Weighted draws without replacement: the largest keys ln(u) / weight win (Efraimidis and Spirakis
/// 2006).
fn heaviest(
    weighted: impl Iterator<Item = (usize, f64)>,
    count: usize,
    rng: &mut impl Rng,
) -> Vec<usize> {
    let mut keys: Vec<(f64, usize)> = weighted
        .map(|(index, weight)| ((1.0 - rng.random::<f64>()).ln() / weight, index))
        .collect();
    keys.sort_by(|a, b| b.0.total_cmp(&a.0));
    keys.into_iter().take(count).map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests;
