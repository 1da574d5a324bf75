//! The four modes of SemEval-2013 task 9.1, counted as in nervaluate.
//!
//! | mode | right boundaries, right type | right boundaries, wrong type | overlap, right type | overlap, wrong type |
//! |---|---|---|---|---|
//! | strict | correct | incorrect | incorrect | incorrect |
//! | exact | correct | correct | incorrect | incorrect |
//! | partial | correct | correct | partial (½) | partial (½) |
//! | `ent_type` | correct | incorrect | correct | incorrect |
//!
//! A gold entity without a paired prediction is missed; a prediction without a paired gold entity
//! is spurious. The definition does not say which entities form a pair if several overlap. As in
//! nervaluate, predictions are read from left to right: each is paired with a free gold entity that
//! makes it correct (in `ent_type`, the one with the nearest boundaries), else with the first free
//! one that it overlaps. This module differs in one way: in all modes but `ent_type`, correct pairs
//! are formed first, so a prediction never loses its exact match to an overlapping one before it.
//! Among entities that do not overlap (every BIO tagging), this changes nothing; with nested ones,
//! it makes `strict` the plain span F1.
//!
//! Any shared character (or token) is an overlap. nervaluate requires 1 % of the gold entity, which
//! differs for entities longer than 100 characters (or tokens).

use serde::{Deserialize, Serialize};
use uner_data::Span;

use crate::ratio::{f1, ratio};

/// A gold or predicted entity. Without a span (a string that is not in the passage), it can only be
/// missed or spurious.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mention<'a> {
    /// Its position, in characters or in tokens.
    pub span: Option<Span>,
    /// Its entity type.
    pub entity_type: &'a str,
}

/// The condition for a correct prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Strict,
    Exact,
    Partial,
    EntType,
}

/// The counts of one mode. The order of adding and merging does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ModeCounts {
    /// Correct predictions.
    pub correct: usize,
    /// Wrong predictions that are paired with a gold entity.
    pub incorrect: usize,
    /// Predictions that count half.
    pub partial: usize,
    /// Gold entities that are paired with no prediction.
    pub missed: usize,
    /// Predictions that are paired with no gold entity.
    pub spurious: usize,
}

impl ModeCounts {
    /// Adds the counts of further passages.
    pub fn merge(&mut self, other: Self) {
        self.correct += other.correct;
        self.incorrect += other.incorrect;
        self.partial += other.partial;
        self.missed += other.missed;
        self.spurious += other.spurious;
    }

    /// Precision, recall and F1: `(correct + partial / 2)` over predicted and over gold entities.
    pub fn score(self) -> ModeScore {
        let Self { correct, incorrect, partial, missed, spurious } = self;
        let claimed = correct + incorrect + partial;
        let (possible, actual) = (claimed + missed, claimed + spurious);
        let hits = correct as f64 + 0.5 * partial as f64;
        let (precision, recall) = (ratio(hits, actual as f64), ratio(hits, possible as f64));
        let f1 = f1(precision, recall);
        ModeScore {
            precision,
            recall,
            f1,
            correct,
            incorrect,
            partial,
            missed,
            spurious,
            possible,
            actual,
        }
    }
}

/// The score of one mode, from 0 to 1, with its counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ModeScore {
    /// Hits over predicted entities.
    pub precision: f64,
    /// Hits over gold entities.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Correct predictions.
    pub correct: usize,
    /// Wrong predictions that are paired with a gold entity.
    pub incorrect: usize,
    /// Predictions that count half.
    pub partial: usize,
    /// Gold entities that are paired with no prediction.
    pub missed: usize,
    /// Predictions that are paired with no gold entity.
    pub spurious: usize,
    /// Gold entities.
    pub possible: usize,
    /// Predicted entities.
    pub actual: usize,
}

/// The counts of all modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SemevalCounts {
    /// Right boundaries and right type.
    pub strict: ModeCounts,
    /// Right boundaries.
    pub exact: ModeCounts,
    /// Right boundaries; an overlap counts half.
    pub partial: ModeCounts,
    /// Overlap and right type.
    pub ent_type: ModeCounts,
}

impl SemevalCounts {
    /// The counts of one passage. The order of the entities does not matter.
    pub fn of_passage(gold: &[Mention], predicted: &[Mention]) -> Self {
        let (mut gold, mut predicted) = (gold.to_vec(), predicted.to_vec());
        gold.sort_unstable();
        predicted.sort_unstable();
        let count = |mode| count(mode, &gold, &predicted);
        Self {
            strict: count(Mode::Strict),
            exact: count(Mode::Exact),
            partial: count(Mode::Partial),
            ent_type: count(Mode::EntType),
        }
    }

    /// Adds the counts of further passages.
    pub fn merge(&mut self, other: Self) {
        self.strict.merge(other.strict);
        self.exact.merge(other.exact);
        self.partial.merge(other.partial);
        self.ent_type.merge(other.ent_type);
    }

    /// The scores of all modes.
    pub fn score(self) -> SemevalScores {
        SemevalScores {
            strict: self.strict.score(),
            exact: self.exact.score(),
            partial: self.partial.score(),
            ent_type: self.ent_type.score(),
        }
    }
}

/// The scores of all modes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SemevalScores {
    /// Right boundaries and right type.
    pub strict: ModeScore,
    /// Right boundaries.
    pub exact: ModeScore,
    /// Right boundaries; an overlap counts half.
    pub partial: ModeScore,
    /// Overlap and right type.
    pub ent_type: ModeScore,
}

/// Counts one mode. Both sides are in text order.
fn count(mode: Mode, gold: &[Mention], predicted: &[Mention]) -> ModeCounts {
    let mut free = vec![true; gold.len()];
    let (mut counts, mut wrong) = (ModeCounts::default(), Vec::new());
    for mention in predicted {
        let best = (0..gold.len())
            .filter(|index| free[*index] && is_correct(mode, &gold[*index], mention))
            .min_by_key(|index| distance(&gold[*index], mention));
        if let Some(index) = best {
            free[index] = false;
            counts.correct += 1;
        } else if mode == Mode::EntType {
            claim_overlapping(mode, gold, mention, &mut free, &mut counts);
        } else {
            wrong.push(mention);
        }
    }
    for mention in wrong {
        claim_overlapping(mode, gold, mention, &mut free, &mut counts);
    }
    counts.missed = free.into_iter().filter(|free| *free).count();
    counts
}

/// Pairs an incorrect prediction with the first free gold entity that it overlaps.
fn claim_overlapping(
    mode: Mode,
    gold: &[Mention],
    mention: &Mention,
    free: &mut [bool],
    counts: &mut ModeCounts,
) {
    match (0..gold.len()).find(|index| free[*index] && overlap(&gold[*index], mention)) {
        Some(index) => {
            free[index] = false;
            *(if mode == Mode::Partial { &mut counts.partial } else { &mut counts.incorrect }) += 1;
        }
        None => counts.spurious += 1,
    }
}

fn is_correct(mode: Mode, gold: &Mention, predicted: &Mention) -> bool {
    let same_span = gold.span.is_some() && gold.span == predicted.span;
    let same_type = gold.entity_type == predicted.entity_type;
    match mode {
        Mode::Strict => same_span && same_type,
        Mode::Exact | Mode::Partial => same_span,
        Mode::EntType => same_type && overlap(gold, predicted),
    }
}

/// Whether two entities share a character. An entity with no or an empty span shares none.
fn overlap(a: &Mention, b: &Mention) -> bool {
    matches!((a.span, b.span), (Some(a), Some(b)) if a.start.max(b.start) < a.end.min(b.end))
}

/// The distance between the boundaries of two entities: the sum of both differences.
fn distance(a: &Mention, b: &Mention) -> usize {
    match (a.span, b.span) {
        (Some(a), Some(b)) => a.start.abs_diff(b.start) + a.end.abs_diff(b.end),
        _ => usize::MAX,
    }
}
