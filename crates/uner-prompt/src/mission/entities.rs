//! Named entity recognition: an item is a mention.

use uner_data::{Entity, Example};

use super::{Item, Mission};
use crate::answer::{
    answer, instructuie_answer, parse_answer, parse_instructuie_answer, parse_typed_answer,
    typed_answer,
};
use crate::template::{AskForm, Template};

#[derive(Debug)]
pub(super) struct Entities;

impl Mission for Entities {
    fn arity(&self) -> usize {
        1
    }

    fn answer(&self, example: &Example, types: &[String], template: &Template) -> String {
        let entities = in_text_order(example, types);
        let pairs = entities.iter().map(|entity| (&*entity.text, &*entity.entity_type));
        match template.form {
            AskForm::PerType => {
                let mentions: Vec<&str> = entities.iter().map(|entity| &*entity.text).collect();
                answer(&mentions, template.answer_characters)
            }
            AskForm::AllInOne => typed_answer(pairs, template.answer_characters),
            AskForm::InstructUie => instructuie_answer(pairs),
        }
    }

    fn read(&self, output: &str, types: &[&str], template: &Template) -> (Vec<Vec<Item>>, bool) {
        let typed = match template.form {
            AskForm::PerType => {
                let parsed = parse_answer(output);
                let items = parsed.entities.into_iter().map(|mention| vec![mention]);
                return (vec![items.collect()], parsed.well_formed);
            }
            AskForm::AllInOne => parse_typed_answer(output),
            AskForm::InstructUie => parse_instructuie_answer(output, types),
        };
        let items = |entity_type: &&str| {
            let own = typed.entities.iter().filter(|(_, other)| other == entity_type);
            own.map(|(mention, _)| vec![mention.clone()]).collect()
        };
        (types.iter().map(items).collect(), typed.well_formed)
    }
}

/// Entities of some types in the order of their spans; entities without a span last, in their
/// original order.
fn in_text_order<'a>(example: &'a Example, types: &[String]) -> Vec<&'a Entity> {
    let mut entities: Vec<&Entity> =
        example.entities.iter().filter(|entity| types.contains(&entity.entity_type)).collect();
    entities.sort_by_key(|entity| (entity.span.is_none(), entity.span));
    entities
}
