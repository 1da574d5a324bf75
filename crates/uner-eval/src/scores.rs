//! The scores that a file of outputs and an evaluation run have in common: the official one and the
//! SemEval-2013 modes, of all queries and of each entity type.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use uner_data::Entity;

use crate::Answer;
use crate::official::{OfficialCounts, OfficialScore, get_response};
use crate::record::Record;
use crate::relations::{self, Numbers};
use crate::semeval::{Mention, SemevalCounts, SemevalScores};

/// The scores of a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The score of the released evaluator.
    pub official: OfficialScore,
    /// The SemEval-2013 modes.
    #[serde(flatten)]
    pub semeval: SemevalScores,
    /// The scores of each entity type, in order of first query.
    pub per_type: IndexMap<String, TypeScores>,
}

/// The scores of one entity type.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TypeScores {
    /// The score of the released evaluator.
    pub official: OfficialScore,
    /// The SemEval-2013 modes.
    #[serde(flatten)]
    pub semeval: SemevalScores,
}

/// One query, with the spans of its gold and its predicted entities.
pub(crate) struct Query<'a> {
    pub(crate) entity_type: &'a str,
    pub(crate) official: OfficialCounts,
    pub(crate) gold: Vec<Mention<'a>>,
    pub(crate) predicted: Vec<Mention<'a>>,
}

/// The queries of a record, with the counts of the official score.
pub(crate) fn queries(record: &Record) -> Vec<Query<'_>> {
    let mut queries = Vec::with_capacity(record.answers.len());
    let mut numbers = Numbers::default();
    for answer in &record.answers {
        let entity_type = &answer.entity_type;
        let gold_list = gold_list(record, entity_type);
        let mut gold = mentions(record.gold_of(entity_type), answer);
        gold.extend(numbers.mentions(record.gold_relations_of(entity_type), entity_type));
        let mut predicted = mentions(predicted(answer), answer);
        let relations = answer.relations.iter().map(|found| &found.relation);
        predicted.extend(numbers.mentions(relations, entity_type));
        let official = OfficialCounts::of_query(&gold_list, get_response(answer.list()));
        queries.push(Query { entity_type, official, gold, predicted });
    }
    queries
}

pub(crate) fn predicted(answer: &Answer) -> impl Iterator<Item = &Entity> {
    answer.entities.iter().map(|found| &found.entity)
}

/// Gold or predicted entities, with the type of the query.
pub(crate) fn mentions<'a>(
    entities: impl IntoIterator<Item = &'a Entity>,
    answer: &'a Answer,
) -> Vec<Mention<'a>> {
    let entity_type = &answer.entity_type;
    entities.into_iter().map(|entity| Mention { span: entity.span, entity_type }).collect()
}

/// The gold answer in the format of the official data: a JSON list of the mentions in order. A
/// relation is one string, as in [`Answer::of_relations`].
pub(crate) fn gold_list(record: &Record, entity_type: &str) -> String {
    if !record.gold_relations.is_empty() {
        return relations::list(record.gold_relations_of(entity_type));
    }
    let mentions = record.gold_of(entity_type).map(|entity| entity.text.as_str());
    mentions.collect::<serde_json::Value>().to_string()
}

#[derive(Debug, Clone, Copy, Default)]
struct TypeCounts {
    official: OfficialCounts,
    semeval: SemevalCounts,
}

impl TypeCounts {
    fn scores(self) -> TypeScores {
        TypeScores { official: self.official.score(), semeval: self.semeval.score() }
    }
}

/// The counts behind [`Scores`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    overall: TypeCounts,
    per_type: IndexMap<String, TypeCounts>,
}

impl Counts {
    /// Adds the queries of one passage. They are counted together, so that `exact`, `partial` and
    /// `ent_type` see entities found under a wrong type.
    pub(crate) fn add_passage(&mut self, queries: &[Query]) {
        for Query { entity_type, official, gold, predicted } in queries {
            let of_type = self.per_type.entry((*entity_type).to_owned()).or_default();
            of_type.official.merge(*official);
            of_type.semeval.merge(SemevalCounts::of_passage(gold, predicted));
            self.overall.official.merge(*official);
        }
        let gold: Vec<Mention> = queries.iter().flat_map(|query| &query.gold).copied().collect();
        let predicted: Vec<Mention> =
            queries.iter().flat_map(|query| &query.predicted).copied().collect();
        let counts = SemevalCounts::of_passage(&gold, &predicted);
        self.overall.semeval.merge(counts);
    }

    pub(crate) fn scores(self) -> Scores {
        let TypeScores { official, semeval } = self.overall.scores();
        let per_type = self.per_type.into_iter().map(|(name, counts)| (name, counts.scores()));
        Scores { official, semeval, per_type: per_type.collect() }
    }
}
