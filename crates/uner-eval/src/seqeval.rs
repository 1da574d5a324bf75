//! Entity scores of tag sequences in the two readings of seqeval, which decide what a badly formed BIO sequence
//! means: [`Reading::Default`] follows conlleval (an `I-` that continues nothing starts an entity), and
//! [`Reading::StrictIob2`] starts entities at `B-` only.

use std::{collections::BTreeMap, str::FromStr};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use uner_data::Span;

use crate::{
    ratio::{f1, ratio},
    semeval::Mention,
};

/// How a sequence of tags is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// seqeval's default mode, that of conlleval.
    Default,
    /// seqeval's `mode="strict", scheme=IOB2`.
    StrictIob2,
}

/// One BIO tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tag {
    /// `O`
    Outside,
    /// `B-type`
    Begin(String),
    /// `I-type`
    Inside(String),
}

impl FromStr for Tag {
    type Err = String;

    fn from_str(tag: &str) -> Result<Self, Self::Err> {
        match tag.split_once('-') {
            _ if tag == "O" => Ok(Self::Outside),
            Some(("B", entity_type)) if !entity_type.is_empty() => Ok(Self::Begin(entity_type.to_owned())),
            Some(("I", entity_type)) if !entity_type.is_empty() => Ok(Self::Inside(entity_type.to_owned())),
            _ => Err(format!("`{tag}` is not a BIO tag: write `O`, `B-type` or `I-type`")),
        }
    }
}

/// The entities of a sentence, in order; spans count tokens.
pub fn entities(tags: &[Tag], reading: Reading) -> Vec<Mention<'_>> {
    let mut found = Vec::new();
    let mut start = 0;
    while start < tags.len() {
        let ((Tag::Begin(entity_type), _) | (Tag::Inside(entity_type), Reading::Default)) =
            (&tags[start], reading)
        else {
            start += 1;
            continue;
        };
        let continues = |tag: &Tag| matches!(tag, Tag::Inside(inside) if inside == entity_type);
        let end = start + 1 + tags[start + 1..].iter().take_while(|tag| continues(tag)).count();
        found.push(Mention { span: Some(Span { start, end }), entity_type });
        start = end;
    }
    found
}

/// Counts per type; add sentence by sentence.
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
        report.insert("weighted avg".to_owned(), mean(&rows, micro.support, |row| row.support as f64));
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
    let over =
        |figure: fn(&SeqevalRow) -> f64| ratio(rows.iter().map(|row| weight(row) * figure(row)).sum(), total);
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
    /// Types in alphabetical order, then `micro avg`, `macro avg` (mean over types) and `weighted avg` (mean
    /// weighted with the number of gold entities).
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
    fn tags_that_are_not_bio_are_refused() {
        for tag in ["", "B", "B-", "E-x", "o", "Bx"] {
            assert!(tag.parse::<Tag>().is_err(), "{tag}");
        }
        assert_eq!("B-x-y".parse(), Ok(Tag::Begin("x-y".to_owned())));
    }
}
