//! Systems that answer queries: models, endpoints, files of predictions.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use uner_data::{Example, FoundEntity, FoundRelation};

use crate::{EvalError, relations};

/// Examples whose queries a system answers.
#[derive(Debug, Clone, Copy)]
pub struct Questions<'a> {
    /// The name of the dataset, for prompts that have it.
    pub dataset: &'a str,
    /// The examples, with their queries. A system must not look at their entities.
    pub examples: &'a [Example],
}

/// Receives the number of queries that are answered; `Break` cancels.
pub type OnAnswered<'a> = dyn FnMut(usize) -> ControlFlow<()> + 'a;

/// A system that answers queries: which mentions of a text have a type.
pub trait System {
    /// Its name in reports.
    fn name(&self) -> String;

    /// Whether it keeps its answers, so that only queries without one cost anything when they are
    /// asked again. A resumed evaluation then asks again from the first of these on.
    fn keeps_answers(&self) -> bool {
        false
    }

    /// Number of examples that it is asked at a time. A killed evaluation asks these again.
    fn examples_at_once(&self) -> usize {
        64
    }

    /// Answers every query of every example: for each example one answer per query, in order. A
    /// query that cannot be answered has an [`Answer`] with the problem and ends nothing.
    ///
    /// # Errors
    /// [`EvalError::Stopped`] when `answered` cancels; [`EvalError::System`] when the system fails.
    fn answer(
        &mut self,
        questions: Questions,
        answered: &mut OnAnswered,
    ) -> Result<Vec<Vec<Answer>>, EvalError>;
}

/// A system's answer to one query.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The entity type of the query.
    #[serde(rename = "type")]
    pub entity_type: String,
    /// As the system wrote it; empty if it does not write text, or did not answer.
    pub raw: String,
    /// The mentions as a JSON list, the format of the released evaluator, if `raw` is another text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
    /// The mentions in the answer, with their spans.
    pub entities: Vec<FoundEntity>,
    /// The relations in the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relations: Vec<FoundRelation>,
    /// The probability that the text has no entity of the type, if the system knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_probability: Option<f64>,
    /// Whether `raw` is incomplete or has another format than was asked for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub malformed: bool,
    /// Why the query was not answered. It counts as answered by `[]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Answer {
    /// An answer of a system that finds spans and writes no text.
    pub fn of_entities(entity_type: &str, entities: Vec<FoundEntity>) -> Self {
        let mentions = entities.iter().map(|found| found.entity.text.as_str());
        let list = mentions.collect::<serde_json::Value>().to_string();
        Self { entity_type: entity_type.to_owned(), list: Some(list), entities, ..Self::default() }
    }

    /// An answer with relations. The released evaluator compares lists of strings, so its list has
    /// the arguments of each joined by ` | `.
    pub fn of_relations(relation_type: &str, relations: Vec<FoundRelation>) -> Self {
        let list = relations::list(relations.iter().map(|found| &found.relation));
        let entity_type = relation_type.to_owned();
        Self { entity_type, list: Some(list), relations, ..Self::default() }
    }

    /// The place of an answer that a system could not give.
    pub fn missing(entity_type: &str, problem: String) -> Self {
        Self {
            entity_type: entity_type.to_owned(),
            list: Some("[]".to_owned()),
            problem: Some(problem),
            ..Self::default()
        }
    }

    /// The text that the released evaluator reads.
    pub fn list(&self) -> &str {
        self.list.as_deref().unwrap_or(&self.raw)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
