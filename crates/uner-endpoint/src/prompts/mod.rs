//! Named entity recognition as chat messages, and the way back from answers.

mod read;

use uner_prompt::{Role, Template, mission};

use crate::request::{ChatMessage, ChatRole, Request};

pub use read::{AllTypes, read_all_types, without_reasoning};

/// The prompt of UniversalNER for one entity type, or of any other template: the system line and
/// the turns of [`mission::prompt`] as messages. The endpoint's chat template takes the place of
/// the names `USER` and `ASSISTANT`. `types` is a type, or for templates that ask for all types at
/// once their list ([`mission::list_types`]). Read the answer with [`mission::read`].
pub fn by_template(
    text: &str,
    types: &str,
    template: &Template,
    dataset_name: Option<&str>,
) -> Request {
    let system = template.system_at_inference.as_ref().unwrap_or(&template.system);
    let system = (!system.is_empty()).then(|| ChatMessage::new(ChatRole::System, system));
    let turns = mission::prompt(text, types, template, dataset_name).messages;
    let turns = turns.into_iter().map(|turn| {
        let role = match turn.role {
            Role::User => ChatRole::User,
            Role::Assistant => ChatRole::Assistant,
        };
        ChatMessage::new(role, turn.text)
    });
    Request::new(system.into_iter().chain(turns).collect())
}

/// The prompt for all types at once, one user message. Read the answer with [`read_all_types`].
///
/// The paper of UniversalNER (arXiv 2308.03279, 5.1) measured ChatGPT with the prompt of Ye et al.
/// (arXiv 2303.10420), and does not print it. The wording here is that of figure 7 in the paper of
/// GLiNER (arXiv 2311.08526), which cites it from Ye et al. for the types of CoNLL-2003. Its line
/// breaks are uncertain. The list of other types, and their example values, continue its pattern
/// and are ours.
///
/// # Panics
/// If `types` is empty.
pub fn all_types(text: &str, types: &[String]) -> Request {
    let content = format!(
        "Please identify {} Entity from the given text, output using the format as:\n\n\
         Entity: {}\n\nText: {text}\n\nEntity:",
        in_words(types),
        format_of(types),
    );
    Request::new(vec![ChatMessage::new(ChatRole::User, content)])
}

/// `a`, `a and b`, `a, b, and c`.
fn in_words(types: &[String]) -> String {
    match types {
        [] => panic!("a prompt needs at least one type"),
        [only] => only.clone(),
        [first, second] => format!("{first} and {second}"),
        [first @ .., last] => format!("{}, and {last}", first.join(", ")),
    }
}

/// `a: None | b: Word1, Word2 | c: Word3`: the last two types have example values.
fn format_of(types: &[String]) -> String {
    let value = |index: usize| match types.len() - index {
        1 => "Word3",
        2 => "Word1, Word2",
        _ => "None",
    };
    let parts = types.iter().enumerate().map(|(index, name)| format!("{name}: {}", value(index)));
    parts.collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn one_type_is_asked_as_in_the_released_data() {
        let template = Template::load("official").unwrap();
        let messages = by_template("Tim Cook runs Apple .", "person", &template, None).messages;
        let expected = [
            (
                ChatRole::System,
                "A virtual assistant answers questions from a user based on the provided text.",
            ),
            (ChatRole::User, "Text: Tim Cook runs Apple ."),
            (ChatRole::Assistant, "I've read this text."),
            (ChatRole::User, "What describes person in the text?"),
        ];
        let expected = expected.map(|(role, text)| ChatMessage::new(role, text));
        assert_eq!(messages, expected);
    }

    #[test]
    fn a_template_without_system_line_has_no_system_message() {
        let template = Template::load("instructuie").unwrap();
        let messages = by_template("x", "a, b", &template, None).messages;
        assert_eq!(messages.len(), 1);
        assert!(messages[0].content.contains("a, b"), "{messages:?}");
    }

    #[test]
    fn the_types_of_conll_give_the_printed_prompt() {
        let types = strings(&["Organization", "Person", "Location", "Miscellaneous"]);
        assert_eq!(
            all_types("{text}", &types).messages[0].content,
            "Please identify Organization, Person, Location, and Miscellaneous Entity from the given \
             text, output using the format as:\n\nEntity: Organization: None | Person: None | \
             Location: Word1, Word2 | Miscellaneous: Word3\n\nText: {text}\n\nEntity:"
        );
    }

    #[test]
    fn few_types_are_listed_too() {
        assert_eq!(in_words(&strings(&["a", "b"])), "a and b");
        assert_eq!(format_of(&strings(&["a", "b"])), "a: Word1, Word2 | b: Word3");
        assert_eq!(
            (in_words(&strings(&["a"])), format_of(&strings(&["a"]))),
            ("a".into(), "a: Word3".into())
        );
    }
}
