//! Relations as the scores see them: each is known by the texts of its arguments, and an answer
//! that repeats one has it once. So strict F1 is micro F1 of exact tuples, and so are the other
//! modes, because two relations never overlap.

use std::collections::HashSet;

use indexmap::IndexSet;
use uner_data::{Relation, Span};

use crate::semeval::Mention;

/// Numbers the relations of a passage.
#[derive(Default)]
pub(crate) struct Numbers<'a> {
    known: IndexSet<Vec<&'a str>>,
}

impl<'a> Numbers<'a> {
    /// The distinct relations of an answer, equal ones at equal positions.
    pub(crate) fn mentions(
        &mut self,
        relations: impl IntoIterator<Item = &'a Relation>,
        relation_type: &'a str,
    ) -> Vec<Mention<'a>> {
        let mut seen = HashSet::new();
        let numbers = relations.into_iter().map(|relation| {
            let (number, _) = self.known.insert_full(relation.texts());
            number
        });
        let position = |number: usize| Span { start: 2 * number, end: 2 * number + 1 };
        numbers
            .filter(|number| seen.insert(*number))
            .map(|number| Mention { span: Some(position(number)), entity_type: relation_type })
            .collect()
    }
}

/// A JSON list of strings, the arguments of each relation joined by ` | `.
pub(crate) fn list<'a>(relations: impl Iterator<Item = &'a Relation>) -> String {
    let joined = relations.map(|relation| relation.texts().join(" | "));
    joined.collect::<serde_json::Value>().to_string()
}

#[cfg(test)]
mod tests {
    use uner_data::{Example, FoundRelation, align};

    use crate::record::Record;
    use crate::{Answer, DatasetScorer};

    use super::*;

    const TEXT: &str = "Mu raises Nu; Mu blocks Xi.";

    fn relations(relation_type: &str, pairs: &[[&str; 2]]) -> Vec<Relation> {
        let located =
            |pair: &[&str; 2]| align::relation(TEXT, relation_type, pair.map(str::to_owned).into());
        pairs.iter().map(located).collect()
    }

    fn answer(relation_type: &str, pairs: &[[&str; 2]]) -> Answer {
        let found = relations(relation_type, pairs).into_iter();
        let found = found.map(|relation| FoundRelation { relation, probability: None });
        Answer::of_relations(relation_type, found.collect())
    }

    #[test]
    fn relations_are_compared_by_the_texts_of_their_arguments() {
        let mut gold = relations("effect", &[["Mu", "Nu"], ["Mu", "Xi"]]);
        gold.extend(relations("advice", &[["Nu", "Xi"]]));
        let mut example = Example::of_relations("1".to_owned(), TEXT.to_owned(), gold);
        example.queries.push("mechanism".to_owned());
        let answers = vec![
            // The order matters, a repetition does not.
            answer("effect", &[["Mu", "Nu"], ["Xi", "Mu"], ["Mu", "Nu"]]),
            answer("advice", &[]),
            answer("mechanism", &[["Mu", "Pi"]]),
        ];
        let record = Record::new(("d", "test"), example, answers).unwrap();
        let mut scorer = DatasetScorer::new("d", "", None);
        scorer.add(&record);
        let report = scorer.finish();
        let strict = report.scores.semeval.strict;
        assert_eq!((strict.correct, strict.actual, strict.possible), (1, 3, 3));
        assert_eq!(report.scores.official.n_correct, 1);
        assert_eq!((report.rates.mentions, report.rates.hallucinated), (4, 1));
        assert_eq!(report.rates.duplicates, 1);
        let read: Record = serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
        assert_eq!(read, record);
    }
}
