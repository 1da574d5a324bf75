//! Open relation extraction: a query asks for one relation, and an item is a pair of mentions, head
//! and tail.

use uner_data::{Example, Relation, Span};

use super::{Item, Mission};
use crate::answer::{parse_typed_answer, typed_answer};
use crate::template::Template;

#[derive(Debug)]
pub(super) struct Relations;

impl Mission for Relations {
    fn arity(&self) -> usize {
        2
    }

    /// `[["head", "tail"], …]`. Relations of another number of arguments have no pair.
    fn answer(&self, example: &Example, types: &[String], template: &Template) -> String {
        let of_types = |relation: &&Relation| types.contains(&relation.relation_type);
        let mut relations: Vec<&Relation> = example.relations.iter().filter(of_types).collect();
        relations.sort_by_key(|relation| spans(relation));
        let pairs = relations.iter().filter_map(|relation| match &relation.arguments[..] {
            [head, tail] => Some((&*head.text, &*tail.text)),
            _ => None,
        });
        typed_answer(pairs, template.answer_characters)
    }

    fn read(&self, output: &str, _types: &[&str], _template: &Template) -> (Vec<Vec<Item>>, bool) {
        let parsed = parse_typed_answer(output);
        let pairs = parsed.entities.into_iter().map(|(head, tail)| vec![head, tail]);
        (vec![pairs.collect()], parsed.well_formed)
    }
}

/// The order of relations in an answer: by the positions of their arguments.
fn spans(relation: &Relation) -> Vec<(bool, Option<Span>)> {
    relation.arguments.iter().map(|argument| (argument.span.is_none(), argument.span)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{conversation, read};
    use super::*;
    use uner_data::Mention;

    fn relation(relation_type: &str, pair: [(&str, usize); 2]) -> Relation {
        let arguments = pair.map(|(text, start)| Mention {
            text: text.to_owned(),
            span: Some(Span { start, end: start + text.chars().count() }),
        });
        Relation { relation_type: relation_type.to_owned(), arguments: arguments.into() }
    }

    fn example() -> Example {
        let text = "Zoë\"s drug A raises B and C; B blocks C.";
        let relations = vec![
            relation("effect", [("B", 29), ("C", 38)]),
            relation("mechanism", [("Zoë\"s drug A", 0), ("B", 20)]),
            relation("effect", [("Zoë\"s drug A", 0), ("C", 26)]),
        ];
        Example::of_relations("1".to_owned(), text.to_owned(), relations)
    }

    #[test]
    fn each_relation_is_a_query_with_its_pairs_in_text_order() {
        let template = Template::load("relations").unwrap();
        let mut example = example();
        example.queries.push("advice".to_owned());
        let texts: Vec<String> = conversation(&example, &template, None)
            .messages
            .into_iter()
            .map(|message| message.text)
            .collect();
        assert_eq!(
            texts[2..],
            [
                "Which pairs have the relation effect in the text?",
                r#"[["Zoë\"s drug A", "C"], ["B", "C"]]"#,
                "Which pairs have the relation mechanism in the text?",
                r#"[["Zoë\"s drug A", "B"]]"#,
                "Which pairs have the relation advice in the text?",
                "[]",
            ]
        );
    }

    #[test]
    fn answers_are_read_back() {
        let template = Template::load("relations").unwrap();
        let example = example();
        let answer = Relations.answer(&example, &["effect".to_owned()], &template);
        let expected = [["Zoë\"s drug A", "C"], ["B", "C"]].map(|pair| pair.map(str::to_owned));
        let expected: Vec<Item> = expected.into_iter().map(Vec::from).collect();
        assert_eq!(read(&answer, &["effect"], &template), (vec![expected.clone()], true));
        let cut_off = answer.trim_end_matches("\"]]");
        let (found, well_formed) = read(cut_off, &["effect"], &template);
        assert_eq!((&found[0][..], well_formed), (&expected[..1], false));
        assert_eq!(read("[]", &["effect"], &template), (vec![vec![]], true));
    }
}
