//! An example as an element of Pile-NER's `train.json`.

use uner_data::Example;
use uner_prompt::answer::{Characters, answer};
use uner_prompt::{Role, Template, mission};

/// The template with the strings of the released data.
pub(super) fn template() -> Template {
    Template::load("official").expect("the official template is built in")
}

/// The conversation about an example, byte for byte as Python's `json.dumps` writes it: the
/// passage, then a query for each type that it has.
pub(super) fn json(example: &Example, template: &Template) -> String {
    let messages = mission::conversation(example, template, None).messages;
    let turns: Vec<String> = messages
        .iter()
        .map(|message| {
            let speaker = match message.role {
                Role::User => "human",
                Role::Assistant => "gpt",
            };
            format!("{{\"from\": \"{speaker}\", \"value\": {}}}", string(&message.text))
        })
        .collect();
    format!("{{\"id\": {}, \"conversations\": [{}]}}", string(&example.id), turns.join(", "))
}

/// A string in ASCII: a list of one string, without the brackets.
fn string(text: &str) -> String {
    let list = answer(&[text], Characters::Ascii);
    list[1..list.len() - 1].to_owned()
}
