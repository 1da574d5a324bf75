//! Entity scores of tag sequences, as in seqeval. Its modes differ in how they read malformed
//! sequences. [`Reading::Default`] follows conlleval (a tag that continues nothing starts an
//! entity); the strict readings accept only entities that are well formed in their scheme.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use uner_data::Span;

use crate::ratio::{f1, ratio};
use crate::semeval::Mention;
pub use crate::tag::Tag;

/// The rules for reading a sequence of tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// seqeval's default mode, which follows conlleval.
    Default,
    /// seqeval's `mode="strict", scheme=IOB2`: an entity starts at `B-`.
    StrictIob2,
    /// seqeval's `mode="strict"` with `scheme=IOBES`, or `scheme=BILOU`, which has other letters:
    /// an entity goes from `B-` to `E-`, or is a single `S-`.
    StrictIobes,
}

/// The entities of a sentence, in order. Spans count tokens.
pub fn entities(tags: &[Tag], reading: Reading) -> Vec<Mention<'_>> {
    let spans = match reading {
        Reading::Default => default_spans(tags),
        Reading::StrictIob2 => strict_spans(tags, false),
        Reading::StrictIobes => strict_spans(tags, true),
    };
    let mention = |span: Span| {
        Some(Mention { span: Some(span), entity_type: tags[span.start].entity_type()? })
    };
    spans.into_iter().filter_map(mention).collect()
}

fn default_spans(tags: &[Tag]) -> Vec<Span> {
    let (mut found, mut open) = (Vec::new(), None);
    for (at, tag) in tags.iter().enumerate() {
        let is_open =
            open.is_some_and(|start: usize| tags[start].entity_type() == tag.entity_type());
        if !(is_open && matches!(tag, Tag::Inside(_) | Tag::End(_))) {
            found.extend(open.map(|start| Span { start, end: at }));
            open = tag.entity_type().map(|_| at);
        }
        if matches!(tag, Tag::End(_) | Tag::Single(_)) {
            found.extend(open.take().map(|start| Span { start, end: at + 1 }));
        }
    }
    found.extend(open.map(|start| Span { start, end: tags.len() }));
    found
}

/// With `is_closed`, an entity of several tokens needs an end tag.
fn strict_spans(tags: &[Tag], is_closed: bool) -> Vec<Span> {
    let (mut found, mut start) = (Vec::new(), 0);
    while start < tags.len() {
        let mut end = start + 1;
        match &tags[start] {
            Tag::Begin(entity_type) => {
                let inside =
                    |tag: &Tag| matches!(tag, Tag::Inside(inside) if inside == entity_type);
                end += tags[end..].iter().take_while(|tag| inside(tag)).count();
                let is_ended =
                    matches!(tags.get(end), Some(Tag::End(ended)) if ended == entity_type);
                end += usize::from(is_closed && is_ended);
                if is_ended || !is_closed {
                    found.push(Span { start, end });
                }
            }
            Tag::Single(_) if is_closed => found.push(Span { start, end }),
            _ => {}
        }
        start = end;
    }
    found
}

/// Counts per type; sentences are added one by one.
#[derive(Debug, Clone, Default)]
pub struct SeqevalCounts {
    per_type: BTreeMap<String, TypeCounts>,
}

#[derive(Debug, Clone, Copy, Default)]
struct TypeCounts {
    correct: usize,
    predicted: usize,
    gold: usize,
}

impl SeqevalCounts {
    /// Adds the entities of one sentence.
    pub fn add(&mut self, gold: &[Mention], predicted: &[Mention]) {
        for mention in gold {
            self.of_type(mention).gold += 1;
        }
        for mention in predicted {
            let counts = self.of_type(mention);
            counts.predicted += 1;
            counts.correct += usize::from(gold.contains(mention));
        }
    }

    fn of_type(&mut self, mention: &Mention) -> &mut TypeCounts {
        self.per_type.entry(mention.entity_type.to_owned()).or_default()
    }

    /// seqeval's classification report.
    pub fn score(&self) -> SeqevalScore {
        let mut report: IndexMap<String, SeqevalRow> =
            self.per_type.iter().map(|(name, counts)| (name.clone(), row(*counts))).collect();
        let total = self.per_type.values().fold(TypeCounts::default(), |sum, counts| TypeCounts {
            correct: sum.correct + counts.correct,
            predicted: sum.predicted + counts.predicted,
            gold: sum.gold + counts.gold,
        });
        let micro = row(total);
        let rows: Vec<SeqevalRow> = report.values().copied().collect();
        report.insert("micro avg".to_owned(), micro);
        report.insert("macro avg".to_owned(), mean(&rows, micro.support, |_| 1.0));
        report.insert(
            "weighted avg".to_owned(),
            mean(&rows, micro.support, |row| row.support as f64),
        );
        let SeqevalRow { precision, recall, f1, .. } = micro;
        SeqevalScore { precision, recall, f1, report }
    }
}

fn row(counts: TypeCounts) -> SeqevalRow {
    let correct = counts.correct as f64;
    let precision = ratio(correct, counts.predicted as f64);
    let recall = ratio(correct, counts.gold as f64);
    SeqevalRow { precision, recall, f1: f1(precision, recall), support: counts.gold }
}

fn mean(rows: &[SeqevalRow], support: usize, weight: impl Fn(&SeqevalRow) -> f64) -> SeqevalRow {
    let total: f64 = rows.iter().map(&weight).sum();
    let over = |figure: fn(&SeqevalRow) -> f64| {
        ratio(rows.iter().map(|row| weight(row) * figure(row)).sum(), total)
    };
    SeqevalRow {
        precision: over(|row| row.precision),
        recall: over(|row| row.recall),
        f1: over(|row| row.f1),
        support,
    }
}

/// Micro scores and the classification report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeqevalScore {
    /// Micro precision, from 0 to 1.
    pub precision: f64,
    /// Micro recall.
    pub recall: f64,
    /// Micro F1.
    pub f1: f64,
    /// Types in alphabetical order, then `micro avg`, `macro avg` (mean over types) and
    /// `weighted avg` (mean over types, weighted by the number of gold entities).
    pub report: IndexMap<String, SeqevalRow>,
}

/// One row of the classification report.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeqevalRow {
    /// Correct over predicted.
    pub precision: f64,
    /// Correct over gold.
    pub recall: f64,
    /// Harmonic mean of both; `f1-score` is seqeval's name.
    #[serde(rename = "f1-score")]
    pub f1: f64,
    /// Gold entities.
    pub support: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(tags: &str, reading: Reading) -> Vec<(usize, usize, String)> {
        let tags: Vec<Tag> = tags.split(' ').map(|tag| tag.parse().unwrap()).collect();
        let entities = entities(&tags, reading);
        entities
            .iter()
            .map(|m| (m.span.unwrap().start, m.span.unwrap().end, m.entity_type.to_owned()))
            .collect()
    }

    #[test]
    fn badly_formed_sequences_are_read_in_two_ways() {
        let tags = "I-x I-x I-y B-x I-y O B-z I-z";
        let at = |start, end, entity_type: &str| (start, end, entity_type.to_owned());
        assert_eq!(
            spans(tags, Reading::Default),
            [at(0, 2, "x"), at(2, 3, "y"), at(3, 4, "x"), at(4, 5, "y"), at(6, 8, "z")]
        );
        assert_eq!(spans(tags, Reading::StrictIob2), [at(3, 4, "x"), at(6, 8, "z")]);
    }

    #[test]
    fn the_last_tag_closes_an_entity() {
        let tags = "B-x E-x E-x S-x S-x I-x O B-y I-y O U-z B-z L-z B-x I-x E-y";
        let at = |start, end, entity_type: &str| (start, end, entity_type.to_owned());
        let well_formed =
            [at(0, 2, "x"), at(3, 4, "x"), at(4, 5, "x"), at(10, 11, "z"), at(11, 13, "z")];
        assert_eq!(spans(tags, Reading::StrictIobes), well_formed);
        let badly_formed =
            [at(2, 3, "x"), at(5, 6, "x"), at(7, 9, "y"), at(13, 15, "x"), at(15, 16, "y")];
        let mut all = [&well_formed[..], &badly_formed].concat();
        all.sort_unstable();
        assert_eq!(spans(tags, Reading::Default), all);
    }

    #[test]
    fn tags_of_no_scheme_are_refused() {
        for tag in ["", "B", "B-", "X-x", "o", "Bx", "E-"] {
            assert!(tag.parse::<Tag>().is_err(), "{tag}");
        }
        assert_eq!("B-x-y".parse(), Ok(Tag::Begin("x-y".to_owned())));
    }
}
