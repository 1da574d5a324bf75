//! Missions: what is asked of a passage, and how it is answered. Entities are one, relations
//! another; a template names its own.
//!
//! A mission turns the gold of an example into an answer, and an answer into items. Everything
//! around it is the same for all: turns of a conversation, tokens, loss mask, negative sampling
//! (by the types of an example's gold), packing, decoding, and the comparison of items in an
//! evaluation. To add one, write its module, name it in [`MissionName`], and add
//! it to [`of`].

mod entities;
mod relations;

use std::fmt::Debug;
use std::ops::Range;

use uner_data::Example;

use crate::conversation::{Conversation, Message};
use crate::pattern::fill;
use crate::template::{AskForm, MissionName, Template};

/// The mentions of one answer item, in the order of its arguments: one of an entity; head and tail
/// of a relation.
pub type Item = Vec<String>;

/// What queries ask for, and what their answers list.
pub trait Mission: Debug + Sync {
    /// Mentions of an item.
    fn arity(&self) -> usize;

    /// The gold answer of an example to a query for `types`: one type, or all if the form asks for
    /// all at once. Items are in text order, and repetitions are kept.
    fn answer(&self, example: &Example, types: &[String], template: &Template) -> String;

    /// Reads the answer to a query for `types`. Returns the items of each type, in order, and
    /// whether the answer was complete, with no other text. Items of other types are dropped.
    fn read(&self, output: &str, types: &[&str], template: &Template) -> (Vec<Vec<Item>>, bool);
}

/// The mission of a template.
pub fn of(template: &Template) -> &'static dyn Mission {
    match template.mission {
        MissionName::Entities => &entities::Entities,
        MissionName::Relations => &relations::Relations,
    }
}

/// The training conversation of an annotated passage: the passage with its acknowledgement, then
/// every type of `example.queries` in order. An answer lists the items of its type in text order
/// and keeps repetitions, as the released data does. Without queries, only the passage exchange is
/// left, and nothing is trained on.
///
/// `dataset_name` replaces the template's `{dataset}` placeholder, if it has one.
pub fn conversation(
    example: &Example,
    template: &Template,
    dataset_name: Option<&str>,
) -> Conversation {
    let Example { text, queries, .. } = example;
    let mut messages = opening(text, &list_types(queries), template, dataset_name);
    let answer =
        |types: &[String]| Message::assistant(of(template).answer(example, types, template));
    if template.question.is_none() {
        messages.push(answer(queries));
        return Conversation { messages };
    }
    for group in groups(template, queries.len()) {
        let types = &queries[group];
        messages.push(Message::user(question(&list_types(types), template)));
        messages.push(answer(types));
    }
    Conversation { messages }
}

/// The conversation with one query about a text. `types` is a type or, for the forms that ask for
/// all types at once, their list ([`list_types`]). It ends with the user's turn; encode it with
/// [`crate::encode_prompt`].
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

/// Reads the answer to a prompt for `types`: see [`Mission::read`].
pub fn read(output: &str, types: &[&str], template: &Template) -> (Vec<Vec<Item>>, bool) {
    of(template).read(output, types, template)
}

/// Whether a prompt asks for all types of a text, and its answer contains all of them.
pub fn asks_all_types(template: &Template) -> bool {
    match template.form {
        AskForm::PerType => false,
        AskForm::AllInOne | AskForm::InstructUie => true,
    }
}

/// Index ranges of the types in each prompt: one type, or all if the form asks for all at once.
pub fn groups(template: &Template, types: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    let size = if asks_all_types(template) { types.max(1) } else { 1 };
    (0..types).step_by(size).map(move |first| first..(first + size).min(types))
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
