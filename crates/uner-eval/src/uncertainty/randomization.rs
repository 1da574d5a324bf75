//! Approximate randomization, a paired test of two systems.
//!
//! If the systems are equally good, it does not matter which of them gave which of the two answers
//! to a passage. So the answers are swapped at random, passage by passage, and the p-value is the
//! probability of a difference at least as large as the observed one.
//!
//! A passage with equal counts changes nothing by being swapped. Of the others, only the step
//! matters: the difference of the two counts, from the smaller to the larger. Passages with the
//! same step form a group of size `n_g`. The first system gets the larger counts of `k_g` of them,
//! and `k_g` is binomial with `n_g` trials and probability ½, independently of the other groups:
//! the number of ones among `n_g` random bits.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::counts::{Sums, paired_passages};
use super::stream::stream;
use super::{Counts, UncertaintyError};

/// With more passages that differ, the number of assignments is near the limit of integers.
const MAX_ENUMERATED_PASSAGES: u64 = 120;

/// The result of a paired test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// The micro F1 of the first system minus that of the second.
    pub difference: f64,
    /// The probability of a difference at least as large, in either direction, if the systems are
    /// equally good; above 0, at most 1.
    pub p_value: f64,
    /// Whether the p-value is that of all assignments. Otherwise it is of random ones.
    pub is_exact: bool,
    /// Number of assignments that were evaluated. An exact test evaluates equal ones once.
    pub rounds: usize,
    /// Number of passages whose counts differ between the systems.
    pub differing: usize,
}

/// Tests the difference of the micro F1 of two systems, with their counts of the same passages in
/// the same order (Noreen 1989; Yeh 2000).
///
/// If at most `rounds` distinct results are possible, all of them are evaluated, and the p-value is
/// the fraction of the assignments with a difference at least as large. Otherwise `rounds` random
/// assignments are drawn, and it is `(count + 1) / (rounds + 1)`, where the observed assignment is
/// the one that is added. Differences are compared as fractions of integers, so ties are exact.
///
/// # Errors
/// There is no passage or no round, the passages of the systems differ, or counts are impossible.
///
/// # Panics
/// If there are more than 2³² entities, predicted by both and gold.
pub fn approximate_randomization(
    a: &[Counts],
    b: &[Counts],
    rounds: usize,
    seed: u64,
) -> Result<Paired, UncertaintyError> {
    let passages = paired_passages(a, b)?;
    if passages.is_empty() {
        return Err(UncertaintyError::NoPassages { dataset: 0 });
    }
    if rounds == 0 {
        return Err(UncertaintyError::Rounds);
    }
    let swaps = Swaps::new(&passages);
    let difference = swaps.systems[0].f1() - swaps.systems[1].f1();
    let differing = swaps.differing();
    let result = |p_value, is_exact, rounds| Paired {
        difference,
        p_value,
        is_exact,
        rounds,
        differing: differing as usize,
    };
    if let Some(outcomes) = swaps.outcomes().filter(|outcomes| *outcomes <= rounds) {
        let extreme = swaps.count_extreme(&swaps.groups, swaps.lowest, 1);
        return Ok(result(extreme as f64 / 2.0_f64.powi(differing as i32), true, outcomes));
    }
    let extreme = (0..rounds)
        .into_par_iter()
        .filter(|round| swaps.is_extreme(swaps.draw(&mut stream(seed, *round))))
        .count();
    Ok(result((extreme + 1) as f64 / (rounds + 1) as f64, false, rounds))
}

/// The change of the sums of a system that gets the larger counts of a passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    /// Never negative.
    twice_hits: u64,
    /// Negative if fewer entities are predicted.
    mentions: i64,
}

impl Step {
    /// `sums` after `count` such steps.
    fn add_to(self, sums: Sums, count: u64) -> Sums {
        Sums {
            twice_hits: sums.twice_hits + count * self.twice_hits,
            mentions: sums.mentions.wrapping_add_signed(count as i64 * self.mentions),
        }
    }
}

/// Passages with the same step.
struct Group {
    step: Step,
    size: u64,
}

/// All assignments of the counts of each passage to two systems.
struct Swaps {
    /// The observed sums of both systems.
    systems: [Sums; 2],
    /// The sums of a system with the smaller counts of every passage.
    lowest: Sums,
    /// The passages whose counts differ.
    groups: Vec<Group>,
}

impl Swaps {
    fn new(passages: &[[Sums; 2]]) -> Self {
        let systems = [0, 1].map(|system| Sums::of_all(passages.iter().map(|both| both[system])));
        let mentions = systems[0].mentions + systems[1].mentions;
        assert!(mentions <= 1 << 32, "{mentions} entities, at most 2^32 can be compared exactly");
        let ordered = passages.iter().map(|&[a, b]| (a.min(b), a.max(b)));
        let lowest = Sums::of_all(ordered.clone().map(|(low, _)| low));
        let step = |(low, high): (Sums, Sums)| Step {
            twice_hits: high.twice_hits - low.twice_hits,
            mentions: high.mentions as i64 - low.mentions as i64,
        };
        let mut steps: Vec<Step> = ordered.filter(|(low, high)| low != high).map(step).collect();
        steps.sort_unstable();
        let groups = steps.chunk_by(PartialEq::eq);
        let groups =
            groups.map(|group| Group { step: group[0], size: group.len() as u64 }).collect();
        Self { systems, lowest, groups }
    }

    /// Number of passages whose counts differ.
    fn differing(&self) -> u64 {
        self.groups.iter().map(|group| group.size).sum()
    }

    /// Number of distinct results of the assignments; `None` if they are too many to enumerate.
    fn outcomes(&self) -> Option<usize> {
        if self.differing() > MAX_ENUMERATED_PASSAGES {
            return None;
        }
        let mut groups = self.groups.iter();
        groups.try_fold(1_usize, |product, group| product.checked_mul(group.size as usize + 1))
    }

    /// Counts the assignments of `groups` with an extreme difference, `weight` times. `sums` are
    /// those of the first system so far.
    fn count_extreme(&self, groups: &[Group], sums: Sums, weight: u128) -> u128 {
        let Some((Group { step, size }, rest)) = groups.split_first() else {
            return if self.is_extreme(sums) { weight } else { 0 };
        };
        // Of `size` passages, `count` can be chosen in so many ways.
        let mut ways = 1;
        let mut extreme = 0;
        for count in 0..=*size {
            extreme += self.count_extreme(rest, step.add_to(sums, count), weight * ways);
            ways = ways * u128::from(size - count) / u128::from(count + 1);
        }
        extreme
    }

    /// The sums of the first system in a random assignment.
    fn draw(&self, rng: &mut ChaCha8Rng) -> Sums {
        self.groups
            .iter()
            .fold(self.lowest, |sums, group| group.step.add_to(sums, heads(group.size, rng)))
    }

    /// Whether an assignment, given by the sums of the first system, has a difference at least as
    /// large as the observed one.
    fn is_extreme(&self, first: Sums) -> bool {
        let [a, b] = self.systems;
        let second = Sums {
            twice_hits: a.twice_hits + b.twice_hits - first.twice_hits,
            mentions: a.mentions + b.mentions - first.mentions,
        };
        let (difference, denominator) = distance(first, second);
        let (observed, observed_denominator) = distance(a, b);
        // Each factor is at most 2⁶², because hits are not above mentions, and these not above 2³².
        difference * observed_denominator >= observed * denominator
    }
}

/// The distance of two F1 as a fraction. Without mentions, F1 is 0.
fn distance(a: Sums, b: Sums) -> (u128, u128) {
    let [(a_hits, a_mentions), (b_hits, b_mentions)] =
        [a, b].map(|sums| (u128::from(sums.twice_hits), u128::from(sums.mentions.max(1))));
    ((a_hits * b_mentions).abs_diff(b_hits * a_mentions), a_mentions * b_mentions)
}

/// Number of heads of `size` fair coins.
fn heads(size: u64, rng: &mut ChaCha8Rng) -> u64 {
    let whole: u32 = (0..size / 64).map(|_| rng.next_u64().count_ones()).sum();
    let rest = rng.next_u64() & ((1 << (size % 64)) - 1);
    u64::from(whole + rest.count_ones())
}

#[cfg(test)]
#[path = "randomization_tests.rs"]
mod tests;
