//! Scores an evaluation run, example by example.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use uner_data::{Entity, Example, SeenMentions};

use crate::{
    EvalError, TypeScores,
    official::{OfficialCounts, OfficialScore, get_response},
    semeval::{Mention, ModeCounts, ModeScore, SemevalCounts, SemevalScores},
};

/// A model's answer to one query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryPrediction {
    /// The entity type of the query, as in the example's queries.
    pub entity_type: String,
    /// The generated text, which the official score parses.
    pub output: String,
    /// The entities that the predictor read from it. Strict and partial scores use only their spans
    /// and the type of the query.
    pub entities: Vec<Entity>,
}

/// Accumulates the scores of one dataset.
#[derive(Debug, Clone)]
pub struct DatasetScorer {
    dataset: String,
    seen: Option<SeenMentions>,
    num_examples: usize,
    official: OfficialCounts,
    semeval: SemevalCounts,
    per_type: IndexMap<String, (OfficialCounts, SemevalCounts)>,
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
            official: OfficialCounts::default(),
            semeval: SemevalCounts::default(),
            per_type: IndexMap::new(),
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
        let (mut all_gold, mut all_predicted) = (Vec::new(), Vec::new());
        for prediction in predictions {
            let gold: Vec<&Entity> = example
                .entities
                .iter()
                .filter(|entity| entity.entity_type == prediction.entity_type)
                .collect();
            self.add_query(&gold, prediction);
            all_gold.extend(mentions(gold, prediction));
            all_predicted.extend(mentions(&prediction.entities, prediction));
        }
        self.semeval.merge(SemevalCounts::of_passage(&all_gold, &all_predicted));
        self.num_examples += 1;
        Ok(())
    }

    fn add_query(&mut self, gold: &[&Entity], prediction: &QueryPrediction) {
        let official =
            OfficialCounts::of_query(&gold_answer(gold), get_response(&prediction.output));
        let count = |keep: &dyn Fn(&Entity) -> bool| {
            let gold = gold.iter().copied().filter(|entity| keep(entity));
            let predicted = prediction.entities.iter().filter(|entity| keep(entity));
            let gold: Vec<Mention> = mentions(gold, prediction).collect();
            let predicted: Vec<Mention> = mentions(predicted, prediction).collect();
            SemevalCounts::of_passage(&gold, &predicted)
        };
        let semeval = count(&|_| true);
        if let Some(seen) = &self.seen {
            self.seen_counts.merge(count(&|entity| seen.contains(&entity.text)).strict);
            self.unseen_counts.merge(count(&|entity| !seen.contains(&entity.text)).strict);
        }
        self.official.merge(official);
        let of_type = self.per_type.entry(prediction.entity_type.clone()).or_default();
        of_type.0.merge(official);
        of_type.1.merge(semeval);
    }

    /// The scores of all examples added.
    pub fn finish(self) -> DatasetReport {
        let SemevalScores { strict, exact, partial, ent_type } = self.semeval.score();
        DatasetReport {
            dataset: self.dataset,
            num_examples: self.num_examples,
            is_part: false,
            official: self.official.score(),
            strict,
            exact,
            partial,
            ent_type,
            seen_split: self.seen.is_some().then(|| SeenSplit {
                seen: self.seen_counts.score(),
                unseen: self.unseen_counts.score(),
            }),
            per_type: self
                .per_type
                .into_iter()
                .map(|(name, (official, semeval))| {
                    (name, TypeScores { official: official.score(), semeval: semeval.score() })
                })
                .collect(),
        }
    }
}

/// Gold or predicted entities, with the type of the query.
fn mentions<'a>(
    entities: impl IntoIterator<Item = &'a Entity>,
    prediction: &'a QueryPrediction,
) -> impl Iterator<Item = Mention<'a>> {
    entities
        .into_iter()
        .map(|entity| Mention { span: entity.span, entity_type: &prediction.entity_type })
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
    /// The score of the released evaluator.
    pub official: OfficialScore,
    /// Exact span and type.
    pub strict: ModeScore,
    /// Exact span.
    pub exact: ModeScore,
    /// Exact span; an overlap counts half.
    pub partial: ModeScore,
    /// Overlapping span and right type.
    pub ent_type: ModeScore,
    /// Scores of seen and unseen entities, if the scorer has the mentions of the training data.
    pub seen_split: Option<SeenSplit>,
    /// The scores of each type, in order of first query.
    pub per_type: IndexMap<String, TypeScores>,
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
