//! Writing and reading of answers.
//!
//! Answers are written as Python's `json.dumps` writes a list (separators `, `). Characters beyond
//! ASCII are written as they are in the passage, or as `\uXXXX`, as in the released data. The
//! reader accepts both, and is lenient: a model's output may contain other words, be quoted as in
//! Python, or be cut off. (The official parser is strict; it belongs to scoring.)

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// The result of reading an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParsedAnswer {
    /// The mentions, in order, with repetitions.
    pub entities: Vec<String>,
    /// Whether the output was one JSON list of strings and nothing else.
    pub well_formed: bool,
}

/// Encoding of characters beyond ASCII in an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Characters {
    /// Unchanged: `Zoë`, as `json.dumps(…, ensure_ascii=False)` writes it.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// As UTF-16 code units in lower-case hexadecimal: `Zo\u00eb`, as `json.dumps` does.
    Ascii,
}

impl Characters {
    /// Whether this is the default.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The JSON list of mentions: `["Tim Cook", "Zoë"]`, byte for byte the output of `json.dumps`.
pub fn answer(mentions: &[impl AsRef<str>], characters: Characters) -> String {
    list(mentions.iter().map(|mention| json_string(mention.as_ref(), characters)))
}

/// The answer of the all-in-one form: a JSON list of `["mention", "type"]` pairs.
pub fn typed_answer<'a>(
    entities: impl Iterator<Item = (&'a str, &'a str)>,
    characters: Characters,
) -> String {
    let string = |text| json_string(text, characters);
    list(
        entities.map(|(mention, entity_type)| {
            format!("[{}, {}]", string(mention), string(entity_type))
        }),
    )
}

/// The answer of the InstructUIE form: `type: mention; type: mention`, or `None`. (The original
/// puts a space before it; here [`render`](crate::render) does.)
pub fn instructuie_answer<'a>(entities: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<String> =
        entities.map(|(mention, entity_type)| format!("{entity_type}: {mention}")).collect();
    if pairs.is_empty() { "None".to_owned() } else { pairs.join("; ") }
}

/// Reads the mentions of a generated answer. Never fails: unreadable parts are dropped, and
/// `well_formed` is false if anything was unusual. `parse_answer(&answer(x, …))` returns `x` for
/// every list of strings.
///
/// Accepts text around the list, single quotes, bare words, quotes inside a mention, and a missing
/// end (the last, possibly incomplete mention is dropped). If the answer starts with a quoted
/// mention, the brackets may be missing: some small vocabularies have no token for them.
pub fn parse_answer(output: &str) -> ParsedAnswer {
    let Some(start) = output.find('[') else {
        let text = output.trim_start();
        let entities = if text.starts_with('"') { lenient_items(text) } else { Vec::new() };
        return ParsedAnswer { entities, well_formed: false };
    };
    let mut values =
        serde_json::Deserializer::from_str(&output[start..]).into_iter::<Vec<String>>();
    if let Some(Ok(entities)) = values.next() {
        let rest = &output[start + values.byte_offset()..];
        let well_formed = output[..start].trim().is_empty() && rest.trim().is_empty();
        return ParsedAnswer { entities, well_formed };
    }
    ParsedAnswer { entities: lenient_items(&output[start + 1..]), well_formed: false }
}

/// The result of reading an answer with all types.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParsedTypedAnswer {
    /// Mentions and their types, in order, with repetitions.
    pub entities: Vec<(String, String)>,
    /// Whether the output was exactly as [`typed_answer`] or [`instructuie_answer`] writes it.
    pub well_formed: bool,
}

/// Reads the pairs of an answer of the all-in-one form, as leniently as [`parse_answer`]. If it is
/// not JSON, every pair of items in brackets counts; a pair that is cut off is dropped.
/// `parse_typed_answer(&typed_answer(x, …))` returns `x`.
pub fn parse_typed_answer(output: &str) -> ParsedTypedAnswer {
    let Some(start) = output.find('[') else { return ParsedTypedAnswer::default() };
    let mut values =
        serde_json::Deserializer::from_str(&output[start..]).into_iter::<Vec<(String, String)>>();
    if let Some(Ok(entities)) = values.next() {
        let rest = &output[start + values.byte_offset()..];
        let well_formed = output[..start].trim().is_empty() && rest.trim().is_empty();
        return ParsedTypedAnswer { entities, well_formed };
    }
    let mut entities = Vec::new();
    let mut rest = output[start + 1..].trim_start_matches(is_space_or_comma);
    while let Some(inside) = rest.strip_prefix('[') {
        let (items, after) = lenient_list(inside);
        if let [mention, entity_type] = &items[..] {
            entities.push((mention.clone(), entity_type.clone()));
        }
        rest = after.trim_start_matches(is_space_or_comma);
    }
    ParsedTypedAnswer { entities, well_formed: false }
}

/// Reads the pairs of an answer of the InstructUIE form to a query for `types`. A pair ends at a
/// `; ` that one of the types follows, so mentions may contain semicolons and colons. Text that
/// does not start with one of the types is dropped.
/// `parse_instructuie_answer(&instructuie_answer(x), types)` returns `x` if no mention contains
/// such an end.
pub fn parse_instructuie_answer(output: &str, types: &[&str]) -> ParsedTypedAnswer {
    let output = output.trim();
    if output.is_empty() || output == "None" {
        return ParsedTypedAnswer { entities: Vec::new(), well_formed: output == "None" };
    }
    // If several types match, the longest counts.
    let mut types = types.to_vec();
    types.sort_by_key(|entity_type| std::cmp::Reverse(entity_type.len()));
    let of_type = |text: &str| -> Option<(&str, usize)> {
        let is_prefix = |entity_type: &&&str| {
            text.strip_prefix(**entity_type).is_some_and(|rest| rest.starts_with(": "))
        };
        types.iter().find(is_prefix).map(|entity_type| (*entity_type, entity_type.len() + 2))
    };
    let mut entities = Vec::new();
    let (mut well_formed, mut rest) = (true, output);
    while !rest.is_empty() {
        let borders = rest.match_indices("; ").map(|(index, _)| index);
        let end = borders
            .into_iter()
            .find(|index| of_type(&rest[index + 2..]).is_some())
            .unwrap_or(rest.len());
        match of_type(rest) {
            Some((entity_type, start)) if start < end => {
                entities.push((rest[start..end].to_owned(), entity_type.to_owned()));
            }
            _ => well_formed = false,
        }
        rest = rest.get(end + 2..).unwrap_or_default();
    }
    ParsedTypedAnswer { entities, well_formed }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// Python's `json.dumps` of a string.
pub(crate) fn json_string(text: &str, characters: Characters) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for character in text.chars() {
        push_character(&mut json, character, characters);
    }
    json.push('"');
    json
}

/// Writes a character as `json.dumps` writes it inside a string.
pub(crate) fn push_character(json: &mut String, character: char, characters: Characters) {
    match character {
        '"' => json.push_str("\\\""),
        '\\' => json.push_str("\\\\"),
        '\n' => json.push_str("\\n"),
        '\r' => json.push_str("\\r"),
        '\t' => json.push_str("\\t"),
        '\u{8}' => json.push_str("\\b"),
        '\u{c}' => json.push_str("\\f"),
        ' '..='~' => json.push(character),
        '\u{7f}'.. if characters == Characters::Utf8 => json.push(character),
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(json, "\\u{unit:04x}").expect("writing to a string does not fail");
            }
        }
    }
}

/// The items of a list that is not JSON. `text` starts after the opening bracket; the list ends at
/// the closing bracket or at the end of the text.
fn lenient_items(text: &str) -> Vec<String> {
    lenient_list(text).0
}

/// As [`lenient_items`]; also returns the text after the closing bracket.
fn lenient_list(text: &str) -> (Vec<String>, &str) {
    let mut items = Vec::new();
    let mut rest = text.trim_start_matches(is_between);
    while let Some(first) = rest.chars().next() {
        let (item, after) = match first {
            ']' => return (items, &rest[1..]),
            '"' | '\'' => quoted_item(rest, first),
            _ => bare_item(rest),
        };
        items.extend(item.filter(|item| !item.is_empty()));
        rest = after.trim_start_matches(is_between);
    }
    (items, "")
}

fn is_space_or_comma(character: char) -> bool {
    character.is_whitespace() || character == ','
}

fn is_between(character: char) -> bool {
    character.is_whitespace() || matches!(character, ',' | '[')
}

/// A quoted item. It ends at the first unescaped quote before a comma, a bracket or the end of the
/// text. `None` if it never ends.
fn quoted_item(text: &str, quote: char) -> (Option<String>, &str) {
    let mut escaped = false;
    for (index, character) in text.char_indices().skip(1) {
        if character == quote && !escaped {
            let after = &text[index + 1..];
            if after.trim_start().chars().next().is_none_or(|next| matches!(next, ',' | ']')) {
                return (Some(unescape(&text[1..index])), after);
            }
        }
        escaped = character == '\\' && !escaped;
    }
    (None, "")
}

/// An unquoted item: up to the next comma or bracket. `None` if the text ends first.
fn bare_item(text: &str) -> (Option<String>, &str) {
    match text.find([',', ']']) {
        Some(end) => (Some(text[..end].trim().to_owned()), &text[end..]),
        None => (None, ""),
    }
}

/// Resolves the escapes of JSON and Python; a text with an invalid escape stays as written.
fn unescape(text: &str) -> String {
    let json = format!("\"{}\"", escape_bare_quotes(text));
    serde_json::from_str(&json).unwrap_or_else(|_| text.to_owned())
}

/// Fixes the quotes of a leniently read string so that JSON accepts it: `\'` → `'`, bare `"` →
/// `\"`.
fn escape_bare_quotes(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => escaped.push_str("\\\""),
            '\\' => match characters.next() {
                Some('\'') => escaped.push('\''),
                Some(next) => escaped.extend(['\\', next]),
                None => escaped.push_str("\\\\"),
            },
            _ => escaped.push(character),
        }
    }
    escaped
}
