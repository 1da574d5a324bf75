//! The counts of one passage, and the two sums that F1 depends on.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::UncertaintyError;

/// The counts of one passage and one system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Predictions that are right.
    pub correct: u32,
    /// Predictions that count half.
    pub partial: u32,
    /// Predicted entities.
    pub predicted: u32,
    /// Gold entities.
    pub gold: u32,
}

/// The micro F1 of passages, `2 · (correct + partial / 2) / (predicted + gold)` of the sums, from 0
/// to 1. It is 0 without predicted and gold entities.
pub fn micro_f1(counts: &[Counts]) -> f64 {
    Sums::of_all(counts.iter().map(|counts| Sums::of(*counts))).f1()
}

/// The numerator and the denominator of F1, which add over passages. Halves are doubled, so they
/// are integers: equal passages can be grouped, and scores compared without rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Sums {
    /// `2 · correct + partial`.
    pub(super) twice_hits: u64,
    /// `predicted + gold`.
    pub(super) mentions: u64,
}

impl Sums {
    pub(super) fn of(counts: Counts) -> Self {
        let Counts { correct, partial, predicted, gold } = counts;
        Self {
            twice_hits: 2 * u64::from(correct) + u64::from(partial),
            mentions: u64::from(predicted) + u64::from(gold),
        }
    }

    pub(super) fn of_all(passages: impl Iterator<Item = Self>) -> Self {
        passages.fold(Self::default(), |mut sums, passage| {
            sums += passage;
            sums
        })
    }

    /// The sums of `count` equal passages.
    pub(super) fn times(self, count: u64) -> Self {
        Self { twice_hits: count * self.twice_hits, mentions: count * self.mentions }
    }

    pub(super) fn f1(self) -> f64 {
        if self.mentions > 0 { self.twice_hits as f64 / self.mentions as f64 } else { 0.0 }
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.twice_hits += other.twice_hits;
        self.mentions += other.mentions;
    }
}

/// The passages of one system.
pub(super) fn passages(counts: &[Counts]) -> Result<Vec<[Sums; 1]>, UncertaintyError> {
    check(counts)?;
    Ok(counts.iter().map(|counts| [Sums::of(*counts)]).collect())
}

/// The passages of two systems, which must be the same: equal in number, and in gold entities.
pub(super) fn paired_passages(
    a: &[Counts],
    b: &[Counts],
) -> Result<Vec<[Sums; 2]>, UncertaintyError> {
    if a.len() != b.len() {
        return Err(UncertaintyError::Lengths { a: a.len(), b: b.len() });
    }
    check(a)?;
    check(b)?;
    if let Some(passage) = (0..a.len()).find(|&passage| a[passage].gold != b[passage].gold) {
        let [a, b] = [a, b].map(|counts| counts[passage].gold);
        return Err(UncertaintyError::Gold { passage, a, b });
    }
    Ok(a.iter().zip(b).map(|(a, b)| [Sums::of(*a), Sums::of(*b)]).collect())
}

fn check(counts: &[Counts]) -> Result<(), UncertaintyError> {
    let is_impossible = |counts: &Counts| {
        let paired = u64::from(counts.correct) + u64::from(counts.partial);
        paired > u64::from(counts.predicted.min(counts.gold))
    };
    match counts.iter().position(is_impossible) {
        Some(passage) => Err(UncertaintyError::Counts { passage, counts: counts[passage] }),
        None => Ok(()),
    }
}
