//! How often answers have a flaw, whatever their score.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use uner_data::FoundRelation;

use crate::Answer;
use crate::record::Record;

/// Counts over the queries of a dataset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Queries.
    pub queries: usize,
    /// Queries without an answer, such as a prompt that does not fit the model.
    pub unanswered: usize,
    /// Answers that are incomplete or have another format than was asked for.
    pub malformed: usize,
    /// Mentions, or relations, in the answers.
    pub mentions: usize,
    /// Mentions that do not occur in the text, and relations of such mentions.
    pub hallucinated: usize,
    /// Mentions that an answer repeats more often than the text has them, and repeated relations.
    pub duplicates: usize,
}

impl Rates {
    /// Adds the answers of a record.
    pub(crate) fn add(&mut self, record: &Record) {
        for answer in &record.answers {
            self.queries += 1;
            self.unanswered += usize::from(answer.problem.is_some());
            self.malformed += usize::from(answer.malformed);
            self.mentions += answer.entities.len();
            let mut placed = HashSet::new();
            for found in &answer.entities {
                let text = found.entity.text.as_str();
                if found.entity.span.is_some() {
                    placed.insert(text);
                } else if placed.contains(text) {
                    self.duplicates += 1;
                } else {
                    self.hallucinated += 1;
                }
            }
            self.add_relations(answer);
        }
    }

    fn add_relations(&mut self, answer: &Answer) {
        self.mentions += answer.relations.len();
        let mut seen = HashSet::new();
        for FoundRelation { relation, .. } in &answer.relations {
            if !seen.insert(relation.texts()) {
                self.duplicates += 1;
            } else if relation.arguments.iter().any(|argument| argument.span.is_none()) {
                self.hallucinated += 1;
            }
        }
    }
}
