//! Scores an evaluation run, example by example.

use serde::{Deserialize, Serialize};
use uner_data::{Entity, SeenMentions};

use crate::{
    Answer, Calibration, Reliability,
    errors::{ErrorCounter, Errors},
    half_credit::{HalfCreditCounts, HalfCreditScore},
    official::get_response,
    passages::{Intervals, PassageCounts},
    rates::Rates,
    record::Record,
    scores::{Counts, Scores, gold_list, mentions, predicted, queries},
    semeval::{ModeCounts, ModeScore, SemevalCounts},
};

/// Accumulates the scores of one dataset.
#[derive(Debug, Clone)]
pub struct DatasetScorer {
    dataset: String,
    domain: String,
    seen: Option<SeenMentions>,
    num_examples: usize,
    counts: Counts,
    half_credit: HalfCreditCounts,
    rates: Rates,
    errors: ErrorCounter,
    passages: PassageCounts,
    entity_calibration: Calibration,
    empty_calibration: Calibration,
    seen_counts: ModeCounts,
    unseen_counts: ModeCounts,
}

impl DatasetScorer {
    /// Starts a dataset. With the mentions of the training data, seen and unseen entities are also
    /// scored separately.
    pub fn new(dataset: &str, domain: &str, seen: Option<SeenMentions>) -> Self {
        Self {
            dataset: dataset.to_owned(),
            domain: domain.to_owned(),
            seen,
            num_examples: 0,
            counts: Counts::default(),
            half_credit: HalfCreditCounts::default(),
            rates: Rates::default(),
            errors: ErrorCounter::default(),
            passages: PassageCounts::default(),
            entity_calibration: Calibration::default(),
            empty_calibration: Calibration::default(),
            seen_counts: ModeCounts::default(),
            unseen_counts: ModeCounts::default(),
        }
    }

    /// Adds the answers to an example's queries.
    pub fn add(&mut self, record: &Record) {
        for answer in &record.answers {
            let gold: Vec<&Entity> = record.gold_of(&answer.entity_type).collect();
            self.add_seen(&gold, answer);
            self.add_probabilities(&gold, answer);
            let response = get_response(answer.list());
            let gold = gold_list(record, &answer.entity_type);
            self.half_credit.merge(HalfCreditCounts::of_query(&gold, response));
        }
        let queries = queries(record);
        self.passages.add(&queries);
        self.counts.add_passage(&queries);
        self.rates.add(record);
        self.errors.add(record);
        self.num_examples += 1;
    }

    fn add_seen(&mut self, gold: &[&Entity], answer: &Answer) {
        let Some(seen) = &self.seen else { return };
        let count = |is_seen: bool| {
            let of_part = |entity: &&Entity| seen.contains(&entity.text) == is_seen;
            let gold = mentions(gold.iter().copied().filter(of_part), answer);
            let predicted = mentions(predicted(answer).filter(of_part), answer);
            SemevalCounts::of_passage(&gold, &predicted).strict
        };
        self.seen_counts.merge(count(true));
        self.unseen_counts.merge(count(false));
    }

    fn add_probabilities(&mut self, gold: &[&Entity], answer: &Answer) {
        for found in &answer.entities {
            let Some(probability) = found.probability else { continue };
            let span = found.entity.span;
            let is_correct = span.is_some() && gold.iter().any(|gold| gold.span == span);
            self.entity_calibration.add(probability, is_correct);
        }
        if let Some(probability) = answer.empty_probability {
            self.empty_calibration.add(probability, gold.is_empty());
        }
    }

    /// The scores of all examples added.
    pub fn finish(self) -> DatasetReport {
        DatasetReport {
            dataset: self.dataset,
            domain: self.domain,
            num_examples: self.num_examples,
            is_part: false,
            scores: self.counts.scores(),
            half_credit: self.half_credit.score(),
            rates: self.rates,
            intervals: self.passages.intervals(),
            seen_split: self.seen.is_some().then(|| SeenSplit {
                seen: self.seen_counts.score(),
                unseen: self.unseen_counts.score(),
            }),
            entity_reliability: self.entity_calibration.reliability(),
            empty_reliability: self.empty_calibration.reliability(),
            errors: self.errors.finish(),
        }
    }
}

/// The scores of one dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetReport {
    /// The name of the dataset.
    pub dataset: String,
    /// Its group on the benchmark.
    #[serde(default)]
    pub domain: String,
    /// Number of passages.
    pub num_examples: usize,
    /// Whether only a part of the dataset was scored, so that published scores are not comparable.
    #[serde(default)]
    pub is_part: bool,
    /// The scores of all queries.
    #[serde(flatten)]
    pub scores: Scores,
    /// The partial score of the paper.
    pub half_credit: HalfCreditScore,
    /// How often answers have a flaw.
    pub rates: Rates,
    /// How uncertain F1 is; `None` without a passage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intervals: Option<Intervals>,
    /// Scores of seen and unseen entities, if the scorer has the mentions of the training data.
    pub seen_split: Option<SeenSplit>,
    /// Probabilities of entities against the share of them that are correct (exact span and type).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity_reliability: Option<Reliability>,
    /// Probabilities that a text has no entity of a type against the share that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_reliability: Option<Reliability>,
    /// What was wrong, counted, with examples.
    pub errors: Errors,
}

/// Strict scores of two disjoint parts of all gold and predicted entities. The text of an entity,
/// gold or predicted, decides its part: it is *seen* if an entity of the training data, of any
/// type, has the same text in lower case. A false positive therefore counts against the part of its
/// own text. The correct, gold and predicted counts of both parts add up to those of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeenSplit {
    /// Entities whose text occurs as an entity in training.
    pub seen: ModeScore,
    /// All other entities.
    pub unseen: ModeScore,
}

#[cfg(test)]
#[path = "score_tests.rs"]
mod tests;
