//! What was wrong: entities that were missed, invented, cut at a wrong place or given a wrong type.
//!
//! Of each passage, entities with the same span and type on both sides are correct. Each other
//! prediction, from left to right, is paired with a gold entity that is not correct: one with the
//! same span (a *type* error), else one of the same type that it overlaps (a *boundary* error).
//! Predictions that are left are *spurious*, gold entities that are left are *missed*.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use uner_data::{Entity, Span};

use crate::record::Record;

/// Examples that are kept of each kind: a sample of all.
const KEPT: usize = 40;
/// Characters of the passage on each side of an error.
const AROUND: usize = 100;
/// Pairs of types that are kept, the most frequent ones.
const PAIRS: usize = 60;

/// The kind of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorKind {
    /// A gold entity that no prediction comes near.
    Missed,
    /// A prediction that comes near no gold entity.
    Spurious,
    /// The right type, and some of the right characters.
    Boundary,
    /// The right characters, and another type.
    Type,
}

impl ErrorKind {
    const ALL: [Self; 4] = [Self::Missed, Self::Spurious, Self::Boundary, Self::Type];
}

/// An error with its surroundings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorExample {
    /// Its kind.
    pub kind: ErrorKind,
    /// The id of the passage.
    pub id: String,
    /// The passage around the error, or the start of it for a mention that is not in the passage.
    pub text: String,
    /// The gold entity; its span is in `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gold: Option<Entity>,
    /// The predicted entity; its span is in `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<Entity>,
    /// Its probability, if the system knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}

/// How often a type was predicted for entities of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypePair {
    /// The gold type.
    pub gold: String,
    /// The predicted type.
    pub predicted: String,
    /// Number of spans.
    pub count: usize,
}

/// The errors of a dataset.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    /// Number of errors of each kind.
    pub counts: BTreeMap<ErrorKind, usize>,
    /// A sample of each kind, in the order of the passages.
    pub examples: Vec<ErrorExample>,
    /// Types that were confused, most frequent first.
    pub confusion: Vec<TypePair>,
}

/// Collects the errors of passages.
#[derive(Debug, Clone)]
pub(crate) struct ErrorCounter {
    counts: BTreeMap<ErrorKind, usize>,
    kept: BTreeMap<ErrorKind, Vec<(usize, ErrorExample)>>,
    confusion: BTreeMap<(String, String), usize>,
    random: ChaCha8Rng,
    total: usize,
}

impl Default for ErrorCounter {
    fn default() -> Self {
        Self {
            counts: ErrorKind::ALL.map(|kind| (kind, 0)).into(),
            kept: BTreeMap::new(),
            confusion: BTreeMap::new(),
            random: ChaCha8Rng::seed_from_u64(0),
            total: 0,
        }
    }
}

/// A predicted entity and its probability.
type Predicted<'a> = (&'a Entity, Option<f64>);
type Pair<'a> = (Option<&'a Entity>, Option<Predicted<'a>>);
type IsNear = fn(gold: &Entity, predicted: &Entity) -> bool;

impl ErrorCounter {
    pub(crate) fn add(&mut self, record: &Record) {
        for (kind, (gold, predicted)) in errors(record) {
            if let (ErrorKind::Type, Some(gold), Some((predicted, _))) = (kind, gold, predicted) {
                let pair = (gold.entity_type.clone(), predicted.entity_type.clone());
                *self.confusion.entry(pair).or_default() += 1;
            }
            self.keep(kind, || example(record, kind, (gold, predicted)));
        }
    }

    /// Reservoir sampling (Vitter 1985): every error of a kind is equally likely to be kept.
    fn keep(&mut self, kind: ErrorKind, example: impl FnOnce() -> ErrorExample) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        self.total += 1;
        let kept = self.kept.entry(kind).or_default();
        if kept.len() < KEPT {
            kept.push((self.total, example()));
        } else {
            let place = self.random.random_range(0..*count);
            if place < KEPT {
                kept[place] = (self.total, example());
            }
        }
    }

    pub(crate) fn finish(self) -> Errors {
        let mut examples: Vec<(usize, ErrorExample)> = self.kept.into_values().flatten().collect();
        examples.sort_by_key(|(number, _)| *number);
        let pair = |((gold, predicted), count)| TypePair { gold, predicted, count };
        let mut confusion: Vec<TypePair> = self.confusion.into_iter().map(pair).collect();
        confusion.sort_by_key(|pair| std::cmp::Reverse(pair.count));
        confusion.truncate(PAIRS);
        let examples = examples.into_iter().map(|(_, example)| example).collect();
        Errors { counts: self.counts, examples, confusion }
    }
}

/// The errors of a passage.
fn errors(record: &Record) -> Vec<(ErrorKind, Pair<'_>)> {
    let mut gold: Vec<&Entity> = record.gold.iter().collect();
    let found = record.answers.iter().flat_map(|answer| &answer.entities);
    let mut predicted: Vec<Predicted> =
        found.map(|found| (&found.entity, found.probability)).collect();
    predicted.sort_by_key(|(entity, _)| entity.span.map(|span| (span.start, span.end)));
    predicted.retain(|(entity, _)| {
        let correct = gold.iter().position(|gold| {
            gold.span.is_some()
                && gold.span == entity.span
                && gold.entity_type == entity.entity_type
        });
        correct.map(|index| gold.remove(index)).is_none()
    });
    let mut errors = Vec::new();
    let near: [(ErrorKind, IsNear); 2] = [
        (ErrorKind::Type, |gold, predicted| gold.span.is_some() && gold.span == predicted.span),
        (ErrorKind::Boundary, |gold, predicted| {
            gold.entity_type == predicted.entity_type && overlap(gold.span, predicted.span)
        }),
    ];
    for (kind, is_near) in near {
        predicted.retain(|&(entity, probability)| {
            let index = gold.iter().position(|gold| is_near(gold, entity));
            let paired = index.map(|index| gold.remove(index));
            if let Some(gold) = paired {
                errors.push((kind, (Some(gold), Some((entity, probability)))));
            }
            paired.is_none()
        });
    }
    errors.extend(predicted.into_iter().map(|found| (ErrorKind::Spurious, (None, Some(found)))));
    errors.extend(gold.into_iter().map(|gold| (ErrorKind::Missed, (Some(gold), None))));
    errors
}

fn overlap(a: Option<Span>, b: Option<Span>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if a.start.max(b.start) < a.end.min(b.end))
}

/// An error with the passage around it, and spans in that part.
fn example(record: &Record, kind: ErrorKind, (gold, predicted): Pair<'_>) -> ErrorExample {
    let spans = [gold.and_then(|gold| gold.span), predicted.and_then(|found| found.0.span)];
    let spans = spans.into_iter().flatten();
    let (first, last) = spans
        .fold((usize::MAX, 0), |(first, last), span| (first.min(span.start), last.max(span.end)));
    let start = if first == usize::MAX { 0 } else { first.saturating_sub(AROUND) };
    let count = last.saturating_sub(start) + AROUND;
    let text = record.text.chars().skip(start).take(count).collect();
    let moved = |entity: &Entity| {
        let span =
            entity.span.map(|span| Span { start: span.start - start, end: span.end - start });
        Entity { span, ..entity.clone() }
    };
    ErrorExample {
        kind,
        id: record.id.clone(),
        text,
        gold: gold.map(moved),
        predicted: predicted.map(|(entity, _)| moved(entity)),
        probability: predicted.and_then(|(_, probability)| probability),
    }
}

#[cfg(test)]
mod tests {
    use uner_data::FoundEntity;

    use super::*;
    use crate::Answer;

    fn entity(text: &str, entity_type: &str, start: usize) -> Entity {
        let span = Some(Span { start, end: start + text.chars().count() });
        Entity { text: text.to_owned(), entity_type: entity_type.to_owned(), span }
    }

    fn record(gold: Vec<Entity>, predicted: Vec<Entity>) -> Record {
        let entities =
            predicted.into_iter().map(|entity| FoundEntity { entity, probability: Some(0.5) });
        let answers = vec![Answer::of_entities("any", entities.collect())];
        let text = "Tim Cook of Apple met Zoë in Paris".to_owned();
        let [dataset, split, id] = ["d", "test", "1"].map(str::to_owned);
        Record { dataset, split, id, text, gold, gold_relations: Vec::new(), answers }
    }

    #[test]
    fn every_wrong_entity_has_one_kind() {
        let gold = vec![
            entity("Tim Cook", "person", 0),
            entity("Apple", "organization", 12),
            entity("Zoë", "person", 22),
            entity("Paris", "city", 29),
        ];
        let predicted = vec![
            entity("Cook", "person", 4),
            entity("Apple", "product", 12),
            entity("Zoë", "person", 22),
            entity("met", "event", 18),
            Entity { span: None, ..entity("Rome", "city", 0) },
        ];
        let mut counter = ErrorCounter::default();
        counter.add(&record(gold, predicted));
        let found = counter.finish();
        assert_eq!(found.counts.values().copied().collect::<Vec<_>>(), [1, 2, 1, 1]);
        let pair = TypePair { gold: "organization".into(), predicted: "product".into(), count: 1 };
        assert_eq!(found.confusion, [pair]);
        for example in &found.examples {
            for entity in example.gold.iter().chain(&example.predicted) {
                if let Some(span) = entity.span {
                    assert_eq!(span.slice(&example.text), Some(entity.text.as_str()));
                }
            }
        }
    }

    #[test]
    fn a_sample_is_kept_of_many() {
        let mut counter = ErrorCounter::default();
        for _ in 0..500 {
            counter.add(&record(vec![entity("Paris", "city", 29)], vec![]));
        }
        let found = counter.finish();
        assert_eq!((found.counts[&ErrorKind::Missed], found.examples.len()), (500, KEPT));
    }
}
