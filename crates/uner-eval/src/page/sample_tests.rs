//! A report whose texts try to break the page.

use uner_data::{Entity, FoundEntity, SeenMentions, Span};

use crate::record::Record;
use crate::report::{Outcome, Report};
use crate::{Answer, DatasetScorer};

/// Ends a script, opens elements, closes attributes, and has a NUL and a right-to-left override.
pub(super) const HOSTILE: &str = "</script><img/src=x onerror=alert(1)><b a=\"'&\0\u{202e}";

pub(super) fn entity(text: &str, entity_type: &str, passage: &str) -> Entity {
    let start = passage.find(text).map(|byte| passage[..byte].chars().count());
    let span = start.map(|start| Span { start, end: start + text.chars().count() });
    Entity { text: text.to_owned(), entity_type: entity_type.to_owned(), span }
}

/// Entities as pairs of type and text.
pub(super) type Pairs<'a> = [(&'a str, &'a str)];

pub(super) fn record(
    id: &str,
    passage: &str,
    types: &[&str],
    gold: &Pairs,
    predicted: &Pairs,
) -> Record {
    let entities = |pairs: &Pairs| -> Vec<Entity> {
        pairs.iter().map(|(entity_type, text)| entity(text, entity_type, passage)).collect()
    };
    let found = entities(predicted);
    let answer = |entity_type: &&str| {
        let own = found.iter().filter(|entity| entity.entity_type == *entity_type);
        let own = own.map(|entity| FoundEntity { entity: entity.clone(), probability: Some(0.85) });
        let answer = Answer::of_entities(entity_type, own.collect());
        Answer { empty_probability: Some(0.3), ..answer }
    };
    Record {
        dataset: "any".to_owned(),
        split: "test".to_owned(),
        id: id.to_owned(),
        text: passage.to_owned(),
        gold: entities(gold),
        gold_relations: Vec::new(),
        answers: types.iter().map(answer).collect(),
    }
}

/// Two scored datasets, the second one in part, and one that is missing.
pub(super) fn report() -> Report {
    let types = ["person", "organization", HOSTILE];
    let passage = "𝒯im 👩‍🚀 Cook of Apple met עברית in Paris.";
    let first = [
        record("a", passage, &types, &[("person", "👩‍🚀 Cook")], &[("person", "Cook")]),
        record("b", passage, &types, &[("organization", "Apple")], &[("person", "Apple")]),
        record("c", passage, &types, &[("person", "עברית")], &[("organization", "Rome")]),
        record(HOSTILE, &format!("on {HOSTILE} off"), &types, &[(HOSTILE, HOSTILE)], &[]),
        record("e", "زار أحمد باريس", &types, &[("person", "أحمد")], &[]),
    ];
    let scored = |dataset: &str, domain: &str, records: &[Record]| {
        let mut scorer = DatasetScorer::new(dataset, domain, Some(SeenMentions::default()));
        for record in records {
            scorer.add(record);
        }
        scorer.finish()
    };
    let mut part = scored(HOSTILE, HOSTILE, &first[1..2]);
    part.is_part = true;
    Report::new(
        HOSTILE,
        vec![
            Outcome::Scored(Box::new(scored("crossner-ai", "general", &first))),
            Outcome::Missing { dataset: "GENIA".to_owned(), reason: HOSTILE.to_owned() },
            Outcome::Scored(Box::new(part)),
        ],
    )
}
