//! Named entity recognition as a conversation: the queries and the gold answers.

use std::collections::HashMap;

use crate::answer::{
    answer, instructuie_answer, parse_answer, parse_instructuie_answer, parse_typed_answer,
    typed_answer,
};
use crate::conversation::{Conversation, Message};
use crate::pattern::fill;
use crate::template::{AskForm, Template};
use uner_data::{Entity, Example};

/// The training conversation of an annotated passage: the passage with its acknowledgement, then
/// every type of `example.queries` in order. An answer lists the mentions of its type in text order
/// and keeps repetitions, as the released data does. Without queries, only the passage exchange is
/// left, and nothing is trained on.
///
/// `dataset_name` replaces the template's `{dataset}` placeholder, if it has one.
pub fn conversation(
    example: &Example,
    template: &Template,
    dataset_name: Option<&str>,
) -> Conversation {
    let listed = list_types(&example.queries);
    let mut messages = opening(&example.text, &listed, template, dataset_name);
    match template.form {
        AskForm::PerType => {
            let mut mentions: HashMap<&str, Vec<&str>> = HashMap::new();
            for entity in in_text_order(example, |_| true) {
                mentions.entry(&entity.entity_type).or_default().push(&entity.text);
            }
            for query in &example.queries {
                let mentions = mentions.get(query.as_str()).map_or(&[][..], Vec::as_slice);
                messages.push(Message::user(question(query, template)));
                messages.push(Message::assistant(answer(mentions, template.answer_characters)));
            }
        }
        AskForm::AllInOne if example.queries.is_empty() => {}
        AskForm::AllInOne => {
            let entities =
                in_text_order(example, |entity| example.queries.contains(&entity.entity_type));
            messages.push(Message::user(question(&listed, template)));
            let pairs = entities.map(|entity| (&*entity.text, &*entity.entity_type));
            messages.push(Message::assistant(typed_answer(pairs, template.answer_characters)));
        }
        AskForm::InstructUie => {
            let entities =
                in_text_order(example, |entity| example.queries.contains(&entity.entity_type));
            let pairs = entities.map(|entity| (&*entity.text, &*entity.entity_type));
            messages.push(Message::assistant(instructuie_answer(pairs)));
        }
    }
    Conversation { messages }
}

/// The conversation with one query about a text. `types` is an entity type or, for the forms that
/// ask for all types at once, their list ([`list_types`]). It ends with the user's turn; encode it
/// with [`crate::encode_prompt`].
pub fn prompt(
    text: &str,
    types: &str,
    template: &Template,
    dataset_name: Option<&str>,
) -> Conversation {
    let mut messages = opening(text, types, template, dataset_name);
    if template.question.is_some() {
        messages.push(Message::user(question(types, template)));
    }
    Conversation { messages }
}

/// Whether a prompt asks for all types of a text, and its answer contains all of them.
pub fn asks_all_types(template: &Template) -> bool {
    match template.form {
        AskForm::PerType => false,
        AskForm::AllInOne | AskForm::InstructUie => true,
    }
}

/// Index ranges of the types in each prompt: one type, or all if the form asks for all at once.
pub fn groups(template: &Template, types: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let size = if asks_all_types(template) { types.max(1) } else { 1 };
    (0..types).step_by(size).map(move |first| first..(first + size).min(types))
}

/// Reads the answer to a prompt for `types`. Returns the mentions of each type, in order, and
/// whether the answer was complete, with no other text. Mentions of other types are dropped.
pub fn read(output: &str, types: &[&str], template: &Template) -> (Vec<Vec<String>>, bool) {
    let typed = match template.form {
        AskForm::PerType => {
            let parsed = parse_answer(output);
            return (vec![parsed.entities], parsed.well_formed);
        }
        AskForm::AllInOne => parse_typed_answer(output),
        AskForm::InstructUie => parse_instructuie_answer(output, types),
    };
    let mentions = |entity_type: &&str| {
        let own = typed.entities.iter().filter(|(_, other)| other == entity_type);
        own.map(|(mention, _)| mention.clone()).collect()
    };
    (types.iter().map(mentions).collect(), typed.well_formed)
}

/// The query for a type (or a list of types). Empty for [`AskForm::InstructUie`], whose passage
/// turn contains the query.
pub fn question(types: &str, template: &Template) -> String {
    template
        .question
        .as_ref()
        .map_or_else(String::new, |pattern| fill(pattern, &[("type", types), ("types", types)]))
}

/// The first user turn.
pub fn passage(
    text: &str,
    listed_types: &str,
    template: &Template,
    dataset_name: Option<&str>,
) -> String {
    match (&template.dataset_passage, dataset_name) {
        (Some(pattern), Some(name)) => {
            fill(pattern, &[("dataset", name), ("types", listed_types), ("passage", text)])
        }
        _ => fill(&template.passage, &[("types", listed_types), ("passage", text)]),
    }
}

/// The list of types in a query for all types at once: `person, date`.
pub fn list_types(types: &[String]) -> String {
    types.join(", ")
}

fn opening(
    text: &str,
    listed_types: &str,
    template: &Template,
    dataset_name: Option<&str>,
) -> Vec<Message> {
    let mut messages = vec![Message::user(passage(text, listed_types, template, dataset_name))];
    messages.extend(template.acknowledgement.as_ref().map(Message::assistant));
    messages
}

/// Entities in the order of their spans; entities without a span last, in their original order.
fn in_text_order(
    example: &Example,
    is_included: impl Fn(&Entity) -> bool,
) -> impl Iterator<Item = &Entity> {
    let mut entities: Vec<&Entity> =
        example.entities.iter().filter(|entity| is_included(entity)).collect();
    entities.sort_by_key(|entity| (entity.span.is_none(), entity.span));
    entities.into_iter()
}
