//! Relations between tokens in JSON.

use std::collections::VecDeque;

use serde::Deserialize;

use super::Collected;
use crate::{
    DataError, Example, Note, Problem, Span,
    format::RelationJson,
    json::Records,
    lines::Input,
    reader::{Context, Reader, join},
    text::Text,
};

/// A document of `SciERC`: sentences of tokens. Entities and relations count the tokens of the
/// document; the last token of an argument is inclusive.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    doc_key: String,
    sentences: Vec<Vec<String>>,
    relations: Vec<Vec<TokenPair>>,
}

/// First and last token of the head, of the tail, and the label.
type TokenPair = (i64, i64, i64, i64, String);

/// A sentence of `SpERT`: a relation has the indices of two entities, an entity the first token and
/// one past the last.
#[derive(Deserialize)]
struct Sentence {
    tokens: Vec<String>,
    entities: Vec<TokenRange>,
    relations: Vec<Pair>,
}

#[derive(Deserialize)]
struct TokenRange {
    start: usize,
    end: usize,
}

#[derive(Deserialize)]
struct Pair {
    #[serde(rename = "type")]
    label: String,
    head: usize,
    tail: usize,
}

/// Reads the documents of `SciERC`; each sentence is an example.
pub(crate) struct ScierReader {
    records: Records,
    sentences: VecDeque<Result<Example, DataError>>,
}

impl ScierReader {
    pub(crate) fn new(format: &RelationJson, input: Input) -> Self {
        let records = Records::new(format.container, input);
        Self { records, sentences: VecDeque::new() }
    }
}

impl Reader for ScierReader {
    fn next(&mut self, context: &mut Context<'_>) -> Option<Result<Example, DataError>> {
        while self.sentences.is_empty() {
            match self.records.next::<Document>(context)? {
                Ok((line, document)) => self.sentences = of_document(&document, line, context),
                Err(error) => return Some(Err(error)),
            }
        }
        self.sentences.pop_front()
    }
}

fn of_document(
    Document { doc_key, sentences, relations }: &Document,
    line: usize,
    context: &mut Context<'_>,
) -> VecDeque<Result<Example, DataError>> {
    if sentences.len() != relations.len() {
        let message = format!(
            "`relations` has {} lists, but `sentences` has {}",
            relations.len(),
            sentences.len()
        );
        return VecDeque::from([Err(context.malformed(line, Problem::Json(message)))]);
    }
    let mut first = 0;
    let sentences = sentences.iter().zip(relations).enumerate();
    let examples = sentences.map(|(number, (tokens, relations))| {
        let ranges = relations.iter().map(|(start, last, other, other_last, label)| {
            let token = |index: i64| usize::try_from(index - first).ok();
            let range = |start: i64, last: i64| Some((token(start)?, token(last)? + 1));
            (label.as_str(), range(*start, *last), range(*other, *other_last))
        });
        let id = if doc_key.is_empty() { String::new() } else { format!("{doc_key}#{number}") };
        let example = example(id, tokens, ranges, line, context);
        first += tokens.len() as i64;
        example
    });
    examples.collect()
}

/// Reads the sentences of `SpERT`.
pub(crate) struct SpertReader {
    records: Records,
}

impl SpertReader {
    pub(crate) fn new(format: &RelationJson, input: Input) -> Self {
        Self { records: Records::new(format.container, input) }
    }
}

impl Reader for SpertReader {
    fn next(&mut self, context: &mut Context<'_>) -> Option<Result<Example, DataError>> {
        let record = self.records.next::<Sentence>(context)?;
        Some(record.and_then(|(line, Sentence { tokens, entities, relations })| {
            let range = |index: usize| entities.get(index).map(|entity| (entity.start, entity.end));
            let ranges = relations
                .iter()
                .map(|pair| (pair.label.as_str(), range(pair.head), range(pair.tail)));
            example(String::new(), &tokens, ranges, line, context)
        }))
    }
}

/// Half-open ranges of tokens.
type Tokens = Option<(usize, usize)>;

fn example<'a>(
    id: String,
    tokens: &[String],
    relations: impl Iterator<Item = (&'a str, Tokens, Tokens)>,
    line: usize,
    context: &mut Context<'_>,
) -> Result<Example, DataError> {
    let (text, spans) = join(tokens.iter().map(String::as_str));
    let whole = Text::new(&text);
    let span = |range: Tokens| {
        let tokens = spans.get(range?.0..range?.1).filter(|tokens| !tokens.is_empty())?;
        Some(Span { start: tokens[0].start, end: tokens[tokens.len() - 1].end })
    };
    let (mut collected, mut problems) = (Collected::default(), Vec::new());
    for (label, head, tail) in relations {
        let (Some(head), Some(tail)) = (span(head), span(tail)) else {
            let message = format!(
                "an argument of relation `{label}` is not a range of the {} tokens",
                tokens.len()
            );
            problems.push(context.malformed(line, Problem::Json(message)));
            continue;
        };
        match context.entity_type(label, 1, line) {
            Ok(None) => {}
            Ok(Some(name)) => {
                if !collected.add(&whole, name, &[head, tail]) {
                    context.note(Note::RepeatedEntity, line);
                }
            }
            Err(error) => problems.push(error),
        }
    }
    let relations = collected.sorted();
    context.unless(problems, || Example::of_relations(id, text.clone(), relations))
}
