//! Reads token classification datasets of Hugging Face, as `Dataset.to_json` writes them: rows of
//! tokens and tags. The tags are strings, or numbers of a list of names (`ClassLabel.names`).

use serde_json::Value;

use super::{Records, distinct::Distinct, plain};
use crate::{
    DataError, Example, Note, Problem, Span,
    columns::tags::{self, Tag},
    format::TokenClassification,
    lines::Input,
    passage::Passage,
    reader::{Context, Reader, join},
    text::{Text, is_blank},
};

pub(crate) struct TokenReader {
    format: TokenClassification,
    records: Records,
}

impl TokenReader {
    pub(crate) fn new(format: TokenClassification, input: Input) -> std::io::Result<Self> {
        Ok(Self { format, records: Records::detect(input)? })
    }
}

impl Reader for TokenReader {
    fn next(&mut self, context: &mut Context<'_>) -> Option<Result<Example, DataError>> {
        Some(self.records.next(context)?.and_then(|(line, Distinct(row))| {
            let malformed = |message| context.malformed(line, Problem::Json(message));
            let tokens = tokens(&row, &self.format.tokens).map_err(malformed)?;
            let tags = tags(&row, &self.format, tokens.len()).map_err(malformed)?;
            let id = row.get(&self.format.id).map_or_else(String::new, plain);
            example(id, &tokens, &tags, &self.format, line, context)
        }))
    }
}

fn list<'a>(row: &'a Value, key: &str) -> Result<&'a [Value], String> {
    let listed = row.get(key).and_then(Value::as_array);
    listed.map(Vec::as_slice).ok_or_else(|| format!("the row has no list `{key}`"))
}

fn tokens<'a>(row: &'a Value, key: &str) -> Result<Vec<&'a str>, String> {
    let string = |value: &'a Value| {
        value.as_str().ok_or_else(|| format!("`{value}` in `{key}` is not a string"))
    };
    list(row, key)?.iter().map(string).collect()
}

/// The tags, which must be as many as the tokens.
fn tags<'a>(
    row: &'a Value,
    format: &'a TokenClassification,
    num_tokens: usize,
) -> Result<Vec<&'a str>, String> {
    let key = &format.tags;
    let listed = list(row, key)?;
    if listed.len() != num_tokens {
        let num_tags = listed.len();
        return Err(format!("the row has {num_tokens} tokens and {num_tags} tags in `{key}`"));
    }
    listed.iter().map(|value| tag(value, format)).collect()
}

fn tag<'a>(value: &'a Value, format: &'a TokenClassification) -> Result<&'a str, String> {
    if let Some(tag) = value.as_str() {
        return Ok(tag);
    }
    let (key, names) = (&format.tags, &format.names);
    let number = value.as_u64().ok_or_else(|| {
        format!("`{value}` in `{key}` is neither a string nor the number of a name")
    })?;
    if names.is_empty() {
        return Err(format!(
            "the tags in `{key}` are numbers; set `names` in the description's `[format]` to the list of their names, \
             such as `names = [\"O\", \"B-PER\", \"I-PER\"]`"
        ));
    }
    let name = usize::try_from(number).ok().and_then(|number| names.get(number));
    name.map(String::as_str).ok_or_else(|| {
        format!("tag `{number}` in `{key}` has no name: `names` has {} names", names.len())
    })
}

fn example(
    id: String,
    tokens: &[&str],
    tags: &[&str],
    format: &TokenClassification,
    line: usize,
    context: &mut Context<'_>,
) -> Result<Example, DataError> {
    let parsed = tags.iter().map(|tag| Tag::parse(tag, format.scheme));
    let parsed = parsed.collect::<Result<Vec<Tag<'_>>, Problem>>();
    let parsed = parsed.map_err(|problem| context.malformed(line, problem))?;
    let found = tags::decode(&parsed, format.scheme, &[]);
    found.inconsistent.iter().for_each(|_| context.note(Note::InconsistentTag, line));
    let (joined, spans) = join(tokens.iter().copied());
    let text = Text::new(&joined);
    let mut passage = Passage::new(&text);
    let mut problems = Vec::new();
    for mention in found.mentions {
        let range = mention.start..mention.end;
        if tokens[range.clone()].iter().all(|token| token.chars().all(is_blank)) {
            context.note(Note::EmptyMention, line);
            continue;
        }
        let span = Span { start: spans[range.start].start, end: spans[range.end - 1].end };
        let added = context.entity_type(mention.label, 1, line).and_then(|entity_type| {
            entity_type.map_or(Ok(()), |entity_type| passage.add(span, entity_type, line, context))
        });
        problems.extend(added.err());
    }
    let entities = passage.into_entities();
    context.unless(problems, || Example::new(id, joined.clone(), entities))
}
