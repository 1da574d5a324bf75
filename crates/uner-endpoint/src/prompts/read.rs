//! Reads answers that have all types at once.

use serde_json::Value;
use uner_prompt::answer::parse_typed_answer;

/// Mentions of several types.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllTypes {
    /// The mentions of each type that was asked for, in the order of the types and of the answer,
    /// with repetitions.
    pub mentions: Vec<Vec<String>>,
    /// Whether the answer had every type once, in the format that was asked for, and nothing else.
    pub well_formed: bool,
}

/// Reads the answer to [`super::all_types`]. Never fails: parts that are not understood are
/// dropped.
///
/// Accepts, besides `person: Ada, Bob | city: None`: one type per line, lists below a type,
/// Markdown, a JSON object with the types as keys, and a JSON list of `[mention, type]` pairs or of
/// objects. Types are compared without case, and `_` and `-` are blanks. Mentions are separated by
/// commas and semicolons, so a mention that contains them is divided, unless it is in quotes or the
/// comma is inside a number. `None` and the like mean no mention. Reasoning before the answer is
/// skipped.
pub fn read_all_types(output: &str, types: &[String]) -> AllTypes {
    let names: Vec<String> = types.iter().map(|name| folded(name)).collect();
    let output = without_reasoning(output).trim();
    let start = output.find(['{', '[', ':']).map(|index| (index, output.as_bytes()[index]));
    let json = match start {
        Some((index, b'{')) => read_object(&output[index..], &names),
        Some((index, b'[')) => read_list(&output[index..], &names),
        _ => fenced(output).and_then(|json| read_object(json, &names)),
    };
    let (mentions, well_formed) = match json {
        Some(mentions) => (mentions, false),
        None => read_lines(output, &names),
    };
    AllTypes { mentions, well_formed }
}

/// An answer without the reasoning that some models write before it, up to `</think>`. Reasoning
/// that does not end leaves nothing.
pub fn without_reasoning(output: &str) -> &str {
    match output.rsplit_once("</think>") {
        Some((_, answer)) => answer,
        None if output.trim_start().starts_with("<think>") => "",
        None => output,
    }
}

/// A type as it is compared: without case, Markdown and marks of a list.
fn folded(name: &str) -> String {
    let is_around = |c: char| c.is_whitespace() || "*#`\"'•-_.".contains(c);
    let words = name.trim_matches(is_around).to_lowercase().replace(['_', '-'], " ");
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The position of a type.
fn position(name: &str, names: &[String]) -> Option<usize> {
    let name = folded(name);
    names.iter().position(|other| *other == name)
}

/// The content of the first fenced block, if it is an object.
fn fenced(output: &str) -> Option<&str> {
    let (_, block) = output.split_once("```")?;
    let json = &block[block.find('{')?..];
    Some(json)
}

/// `{"person": ["Ada"], "city": null}`, perhaps with text behind it.
fn read_object(json: &str, names: &[String]) -> Option<Vec<Vec<String>>> {
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<Value>();
    let Some(Ok(Value::Object(object))) = values.next() else { return None };
    // Some models wrap it: `{"entities": {…}}`.
    let inner = match object.values().next() {
        Some(Value::Object(inner)) if object.len() == 1 => inner.clone(),
        Some(Value::Array(items)) if object.len() == 1 && items.iter().any(Value::is_object) => {
            return Some(of_objects(items, names));
        }
        _ => object,
    };
    let mut mentions = vec![Vec::new(); names.len()];
    for (name, value) in inner {
        let Some(index) = position(&name, names) else { continue };
        match value {
            Value::String(text) => mentions[index].extend(divided(&text)),
            Value::Array(items) => mentions[index].extend(items.iter().filter_map(mention)),
            _ => {}
        }
    }
    Some(mentions)
}

/// `[["Ada", "person"], …]` or `[{"entity": "Ada", "type": "person"}, …]`.
fn read_list(json: &str, names: &[String]) -> Option<Vec<Vec<String>>> {
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<Value>();
    if let Some(Ok(Value::Array(items))) = values.next()
        && items.iter().any(Value::is_object)
    {
        return Some(of_objects(&items, names));
    }
    let pairs = parse_typed_answer(json).entities;
    let is_empty_list = json.trim_end() == "[]";
    if pairs.is_empty() && !is_empty_list {
        return None;
    }
    let mut mentions = vec![Vec::new(); names.len()];
    for (text, name) in pairs {
        if let Some(index) = position(&name, names) {
            mentions[index].push(text);
        }
    }
    Some(mentions)
}

/// Objects with a type and a mention, under the names that models use for them.
fn of_objects(items: &[Value], names: &[String]) -> Vec<Vec<String>> {
    let mut mentions = vec![Vec::new(); names.len()];
    for item in items {
        let any = |keys: &[&str]| keys.iter().find_map(|key| mention(&item[*key]));
        let name = any(&["type", "entity_type", "label", "category"]);
        let text = any(&["entity", "text", "mention", "name", "value", "word"]);
        if let (Some(name), Some(text)) = (name, text)
            && let Some(index) = position(&name, names)
        {
            mentions[index].push(text);
        }
    }
    mentions
}

fn mention(value: &Value) -> Option<String> {
    let text = value.as_str()?.trim();
    (!is_nothing(text)).then(|| text.to_owned())
}

/// `person: Ada, Bob | city: None`, or one type per line, or a list below each type.
fn read_lines(output: &str, names: &[String]) -> (Vec<Vec<String>>, bool) {
    let mut mentions = vec![Vec::new(); names.len()];
    let mut seen = vec![0; names.len()];
    let mut well_formed = !output.contains('\n');
    // The type whose list may go on in the next line.
    let mut open = None;
    let output = output.strip_prefix("Entity:").unwrap_or(output);
    for part in output.split(['\n', '|']).map(str::trim).filter(|part| !part.is_empty()) {
        if let Some((index, values)) = headed(part, names) {
            seen[index] += 1;
            mentions[index].extend(divided(values));
            open = Some(index);
        } else if let (Some(index), Some(item)) = (open, list_item(part)) {
            mentions[index].extend(divided(item));
        } else {
            well_formed = false;
            open = None;
        }
    }
    well_formed &= seen.iter().all(|times| *times == 1);
    (mentions, well_formed)
}

/// The type before the first colon that follows one, and the text after it.
fn headed<'a>(part: &'a str, names: &[String]) -> Option<(usize, &'a str)> {
    let part = part.strip_prefix("Entity:").unwrap_or(part);
    let mut colons = part.match_indices(':').map(|(colon, _)| colon);
    colons.find_map(|colon| {
        let values = part[colon + 1..].trim_matches(|c: char| c.is_whitespace() || c == '*');
        Some((position(strip_number(&part[..colon]), names)?, values))
    })
}

/// The text of a line that starts like an item of a list.
fn list_item(line: &str) -> Option<&str> {
    let bullets = ["- ", "* ", "• "];
    let bullet = bullets.into_iter().find_map(|bullet| line.strip_prefix(bullet));
    bullet.or_else(|| Some(strip_number(line)).filter(|rest| rest.len() < line.len()))
}

/// A text without `1. ` or `1) ` before it.
fn strip_number(text: &str) -> &str {
    let rest = text.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
    let is_numbered = rest.len() < text.trim_start().len();
    let behind = rest.strip_prefix(". ").or_else(|| rest.strip_prefix(") "));
    behind.filter(|_| is_numbered).unwrap_or(text)
}

/// The mentions in `Ada, "Bob, Jr."; Rome`.
fn divided(values: &str) -> Vec<String> {
    let values = values.trim().trim_start_matches('[').trim_end_matches(']');
    let mut mentions = Vec::new();
    let (mut start, mut quoted) = (0, false);
    let bytes = values.as_bytes();
    let is_digit = |index: usize| bytes.get(index).is_some_and(u8::is_ascii_digit);
    for (index, character) in values.char_indices() {
        match character {
            // A quote that never closes is part of a mention.
            '"' => quoted = !quoted && values[index + 1..].contains('"'),
            ',' if index > 0 && is_digit(index - 1) && is_digit(index + 1) => {}
            ',' | ';' if !quoted => {
                mentions.push(&values[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    mentions.push(&values[start..]);
    let mentions = mentions.into_iter().map(bare).filter(|mention| !is_nothing(mention));
    mentions.map(str::to_owned).collect()
}

/// A mention without quotes and Markdown around it.
fn bare(mention: &str) -> &str {
    let mut mention = mention.trim();
    for around in ["**", "\"", "'", "`"] {
        let inside = mention.strip_prefix(around).and_then(|rest| rest.strip_suffix(around));
        mention = inside.unwrap_or(mention).trim();
    }
    mention
}

/// Whether a value means that there is no mention.
fn is_nothing(value: &str) -> bool {
    let value = value.trim_matches(|c: char| c.is_whitespace() || "().".contains(c)).to_lowercase();
    ["", "none", "n/a", "null", "nil", "-", "none found", "none mentioned"].contains(&&*value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str) -> AllTypes {
        let types = ["person", "political party", "city"].map(str::to_owned);
        read_all_types(output, &types)
    }

    /// All forms of the same answer.
    const FORMS: [&str; 12] = [
        "person: Ada, Bob | political party: None | city: Rome",
        "Entity: Person: Ada, Bob | Political party: None | City: Rome",
        "Person: Ada, Bob\nPolitical_Party: None\nCity: Rome",
        "Here are the entities:\n\n- **Person**: Ada, Bob\n- **Political Party:** N/A\n- **City:** Rome",
        "1. person: Ada; Bob\n2. political-party: (none)\n3. city: \"Rome\"",
        "Person:\n- Ada\n- Bob\nCity:\n1. Rome",
        "```json\n{\"person\": [\"Ada\", \"Bob\"], \"political party\": [], \"city\": \"Rome\"}\n```",
        "Sure: ```\n{\"PERSON\": [\"Ada\", \"Bob\"], \"city\": [\"Rome\"]}\n``` Done.",
        "[[\"Ada\", \"person\"], [\"Bob\", \"Person\"], [\"Rome\", \"city\"], [\"x\", \"y\"]]",
        "[{\"entity\": \"Ada\", \"type\": \"person\"}, {\"text\": \"Bob\", \"label\": \"person\"}, \
         {\"name\": \"Rome\", \"category\": \"city\"}]",
        "{\"entities\": {\"person\": [\"Ada\", \"Bob\"], \"city\": [\"Rome\"]}}",
        "<think>person: Eve?</think>\nperson: Ada, Bob | political party: none | city: Rome.x",
    ];

    #[test]
    fn every_form_is_read() {
        for form in FORMS {
            let mentions = read(form).mentions;
            assert_eq!(mentions[0], ["Ada", "Bob"], "{form}");
            assert!(mentions[1].is_empty(), "{form}");
            assert_eq!(mentions[2][0].trim_end_matches(".x"), "Rome", "{form}");
        }
    }

    #[test]
    fn only_the_requested_format_is_well_formed() {
        let found: Vec<usize> = (0..FORMS.len()).filter(|i| read(FORMS[*i]).well_formed).collect();
        assert_eq!(found, [0, 1, 11]);
        assert!(!read("person: Ada | city: Rome").well_formed);
        assert!(
            !read("person: Ada | person: Bob | political party: None | city: None").well_formed
        );
    }

    #[test]
    fn mentions_may_have_colons_and_commas_in_numbers() {
        let mentions = read("person: Star Trek: Voyager, 10,000 Maniacs, \"Bob, Jr.\"").mentions;
        assert_eq!(mentions[0], ["Star Trek: Voyager", "10,000 Maniacs", "Bob, Jr."]);
    }

    #[test]
    fn other_types_and_texts_are_dropped() {
        let answer = read("date: 1990 | person: Ada | I hope this helps!");
        assert_eq!(answer.mentions, [vec!["Ada".to_owned()], vec![], vec![]]);
        assert!(!answer.well_formed);
        for nothing in
            ["", "None", "I cannot help.", "[]", "{}", "[", "{", ":", "|||", "<think>person: x"]
        {
            assert!(read(nothing).mentions.iter().all(Vec::is_empty), "{nothing}");
        }
    }

    #[test]
    fn a_quote_that_never_closes_is_a_character() {
        assert_eq!(read("person: 6\" Bob, Ada").mentions[0], ["6\" Bob", "Ada"]);
        assert_eq!(read("person: \u{201c}Zoë\u{201d}, é:,").mentions[0].len(), 2);
    }
}
