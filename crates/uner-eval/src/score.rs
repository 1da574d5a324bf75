//! Scores an evaluation run, example by example.

use serde::{Deserialize, Serialize};
use uner_data::{Entity, Example, SeenMentions};

use crate::{
    Calibration, EvalError, Reliability,
    official::{OfficialCounts, get_response},
    scores::{Counts, Query, Scores},
    semeval::{Mention, ModeCounts, ModeScore, SemevalCounts},
};

/// A model's answer to one query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryPrediction {
    /// The entity type of the query, as in the example's queries.
    pub entity_type: String,
    /// The generated text, which the official score parses.
    pub output: String,
    /// The entities that the predictor read from it. Strict and partial scores use only their spans
    /// and the type of the query.
    pub entities: Vec<Entity>,
    /// The probability of each entity, and that there is none; empty and `None` if the predictor
    /// does not know them.
    pub probabilities: Vec<f64>,
    /// See `probabilities`.
    pub empty_probability: Option<f64>,
}

/// Accumulates the scores of one dataset.
#[derive(Debug, Clone)]
pub struct DatasetScorer {
    dataset: String,
    seen: Option<SeenMentions>,
    num_examples: usize,
    counts: Counts,
    entity_calibration: Calibration,
    empty_calibration: Calibration,
    seen_counts: ModeCounts,
    unseen_counts: ModeCounts,
}

impl DatasetScorer {
    /// Starts a dataset. With the mentions of the training data, seen and unseen entities are also
    /// scored separately.
    pub fn new(dataset: impl Into<String>, seen: Option<SeenMentions>) -> Self {
        Self {
            dataset: dataset.into(),
            seen,
            num_examples: 0,
            counts: Counts::default(),
            entity_calibration: Calibration::default(),
            empty_calibration: Calibration::default(),
            seen_counts: ModeCounts::default(),
            unseen_counts: ModeCounts::default(),
        }
    }

    /// Adds an example and the answers to its queries, one per query in the same order. Gold
    /// entities of types without a query are not scored.
    ///
    /// # Errors
    /// The predictions do not match the example's queries.
    pub fn add(
        &mut self,
        example: &Example,
        predictions: &[QueryPrediction],
    ) -> Result<(), EvalError> {
        if !example.queries.iter().eq(predictions.iter().map(|prediction| &prediction.entity_type))
        {
            return Err(EvalError::Queries {
                id: example.id.clone(),
                queries: example.queries.clone(),
                answered: predictions
                    .iter()
                    .map(|prediction| prediction.entity_type.clone())
                    .collect(),
            });
        }
        let queries: Vec<Query> = predictions
            .iter()
            .map(|prediction| {
                let gold = example.entities.iter();
                let gold: Vec<&Entity> =
                    gold.filter(|entity| entity.entity_type == prediction.entity_type).collect();
                self.add_seen(&gold, prediction);
                self.add_probabilities(&gold, prediction);
                Query {
                    entity_type: &prediction.entity_type,
                    official: OfficialCounts::of_query(
                        &gold_answer(&gold),
                        get_response(&prediction.output),
                    ),
                    gold: mentions(gold, prediction),
                    predicted: mentions(&prediction.entities, prediction),
                }
            })
            .collect();
        self.counts.add_passage(&queries);
        self.num_examples += 1;
        Ok(())
    }

    fn add_seen(&mut self, gold: &[&Entity], prediction: &QueryPrediction) {
        let Some(seen) = &self.seen else { return };
        let count = |is_seen: bool| {
            let of_part = |entity: &&Entity| seen.contains(&entity.text) == is_seen;
            let gold = mentions(gold.iter().copied().filter(of_part), prediction);
            let predicted = mentions(prediction.entities.iter().filter(of_part), prediction);
            SemevalCounts::of_passage(&gold, &predicted).strict
        };
        self.seen_counts.merge(count(true));
        self.unseen_counts.merge(count(false));
    }

    fn add_probabilities(&mut self, gold: &[&Entity], prediction: &QueryPrediction) {
        for (entity, &probability) in prediction.entities.iter().zip(&prediction.probabilities) {
            let is_correct =
                entity.span.is_some() && gold.iter().any(|gold| gold.span == entity.span);
            self.entity_calibration.add(probability, is_correct);
        }
        if let Some(probability) = prediction.empty_probability {
            self.empty_calibration.add(probability, gold.is_empty());
        }
    }

    /// The scores of all examples added.
    pub fn finish(self) -> DatasetReport {
        DatasetReport {
            dataset: self.dataset,
            num_examples: self.num_examples,
            is_part: false,
            scores: self.counts.scores(),
            seen_split: self.seen.is_some().then(|| SeenSplit {
                seen: self.seen_counts.score(),
                unseen: self.unseen_counts.score(),
            }),
            entity_reliability: self.entity_calibration.reliability(),
            empty_reliability: self.empty_calibration.reliability(),
        }
    }
}

/// Gold or predicted entities, with the type of the query.
fn mentions<'a>(
    entities: impl IntoIterator<Item = &'a Entity>,
    prediction: &'a QueryPrediction,
) -> Vec<Mention<'a>> {
    let entity_type = &prediction.entity_type;
    entities.into_iter().map(|entity| Mention { span: entity.span, entity_type }).collect()
}

/// The gold answer in the format of the official data: a JSON list of the mentions in order.
fn gold_answer(gold: &[&Entity]) -> String {
    gold.iter().map(|entity| entity.text.as_str()).collect::<serde_json::Value>().to_string()
}

/// The scores of one dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetReport {
    /// The name of the dataset.
    pub dataset: String,
    /// Number of passages.
    pub num_examples: usize,
    /// Whether only a part of the dataset was scored, so that published scores are not comparable.
    #[serde(default)]
    pub is_part: bool,
    /// The scores of all queries.
    #[serde(flatten)]
    pub scores: Scores,
    /// Scores of seen and unseen entities, if the scorer has the mentions of the training data.
    pub seen_split: Option<SeenSplit>,
    /// Probabilities of entities against the share of them that are correct (exact span and type).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity_reliability: Option<Reliability>,
    /// Probabilities that a text has no entity of a type against the share that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_reliability: Option<Reliability>,
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
