//! The records of examples that fit their format (see [`super::fit`]).

use serde_json::{Value, json};

use super::{Gaps, Token, Tokens, split};
use crate::{
    Entity, Example,
    predictions::{PredictedEntity, Prediction, conll},
    text::Text,
};

/// The entities with spans, for the writers of predictions.
pub(super) fn prediction(example: &Example) -> Prediction {
    let text = Text::new(&example.text);
    let entity = |entity: &Entity| {
        let span = entity.span?;
        Some(PredictedEntity {
            entity_type: entity.entity_type.clone(),
            text: entity.text.clone(),
            span,
            bytes: text.byte(span.start)..text.byte(span.end),
            probability: None,
        })
    };
    Prediction {
        id: example.id.clone(),
        text: example.text.clone(),
        entities: example.entities.iter().filter_map(entity).collect(),
        problem: None,
    }
}

pub(super) fn json_lines(example: &Example) -> Value {
    let entity = |entity: &Entity| {
        let (start, end) = offsets(entity);
        json!({"type": entity.entity_type, "text": entity.text, "start": start, "end": end})
    };
    json!({
        "id": example.id,
        "text": example.text,
        "entities": list(example, entity),
        "queries": example.queries,
    })
}

pub(super) fn prodigy(example: &Example) -> Value {
    let span = |entity: &Entity| {
        let (start, end) = offsets(entity);
        json!({"start": start, "end": end, "text": entity.text, "label": entity.entity_type})
    };
    let spans = list(example, span);
    json!({"id": example.id, "text": example.text, "spans": spans, "answer": "accept"})
}

pub(super) fn doccano(example: &Example) -> Value {
    let label = |entity: &Entity| {
        let (start, end) = offsets(entity);
        json!([start, end, entity.entity_type])
    };
    json!({"id": example.id, "text": example.text, "label": list(example, label)})
}

pub(super) fn instructuie(example: &Example) -> Value {
    let mention = |entity: &Entity| {
        let pos = entity.span.map_or(json!([]), |span| json!([span.start, span.end]));
        json!({"name": entity.text, "type": entity.entity_type, "pos": pos})
    };
    json!({"id": example.id, "sentence": example.text, "entities": list(example, mention)})
}

pub(super) fn gliner(example: &Example) -> Value {
    let (text, tokens) = (Text::new(&example.text), joined(&example.text));
    let range = |entity: &Entity| {
        let span = entity.span?;
        let (start, end) = (text.byte(span.start), text.byte(span.end));
        let first = tokens.partition_point(|(at, token)| at + token.len() <= start);
        let last = tokens.partition_point(|(at, _)| *at < end) - 1;
        Some(json!([first, last, entity.entity_type]))
    };
    let ner: Vec<Value> = example.entities.iter().filter_map(range).collect();
    let mut record = json!({"id": example.id, "tokenized_text": strings(&tokens), "ner": ner});
    let absent = example.queries.iter().filter(|query| example.mentions(query).next().is_none());
    let absent: Vec<&String> = absent.collect();
    if !absent.is_empty() {
        record["ner_negatives"] = json!(absent);
    }
    record
}

pub(super) fn token_classification(example: &Example) -> Value {
    let (prediction, tokens) = (prediction(example), joined(&example.text));
    let entities: Vec<&PredictedEntity> = prediction.entities.iter().collect();
    let tag = |tag: Option<(&PredictedEntity, bool)>| match tag {
        None => "O".to_owned(),
        Some((entity, true)) => format!("B-{}", entity.entity_type),
        Some((entity, false)) => format!("I-{}", entity.entity_type),
    };
    let tags: Vec<String> = conll::tagged(&tokens, &entities).into_iter().map(tag).collect();
    json!({"id": example.id, "tokens": strings(&tokens), "ner_tags": tags})
}

/// A document of spaCy's training format, with one paragraph of one sentence.
pub(super) fn spacy_training(example: &Example, tokens: Tokens) -> Value {
    let prediction = prediction(example);
    let ranges = prediction.entities.iter().map(|entity| entity.bytes.clone());
    let (words, _) = split(&example.text, tokens, Gaps::Python, ranges);
    let tokens = with_white_space(&example.text, &words);
    let entities: Vec<&PredictedEntity> = prediction.entities.iter().collect();
    let tagged = conll::tagged(&tokens, &entities);
    let mut written = Vec::with_capacity(tokens.len());
    for (at, (start, token)) in tokens.iter().enumerate() {
        let is_last = !matches!(tagged.get(at + 1), Some(Some((_, false))));
        let tag = tagged[at].map_or_else(
            || "O".to_owned(),
            |(entity, is_first)| {
                let prefix = match (is_first, is_last) {
                    (true, true) => 'U',
                    (true, false) => 'B',
                    (false, true) => 'L',
                    (false, false) => 'I',
                };
                format!("{prefix}-{}", entity.entity_type)
            },
        );
        let next = tokens.get(at + 1).map_or(example.text.len(), |(next, _)| *next);
        let space = &example.text[start + token.len()..next];
        written.push(json!({"id": at, "orth": token, "space": space, "ner": tag}));
    }
    let sentence = json!({"tokens": written, "brackets": []});
    json!({"id": example.id, "paragraphs": [{"raw": example.text, "sentences": [sentence]}]})
}

/// The words, and the white space between them that is more than one space: spaCy has a token for
/// it (`spacy.util.get_words_and_spaces`).
fn with_white_space<'a>(text: &'a str, words: &[Token<'a>]) -> Vec<Token<'a>> {
    let mut tokens: Vec<Token<'a>> = Vec::with_capacity(words.len());
    let mut end = 0;
    for (start, word) in words.iter().copied().chain([(text.len(), "")]) {
        let gap = &text[end..start];
        let space = usize::from(end > 0 && gap.starts_with(' '));
        if gap.len() > space {
            tokens.push((end + space, &gap[space..]));
        }
        if !word.is_empty() {
            tokens.push((start, word));
        }
        end = start + word.len();
    }
    tokens
}

/// The rows of `conll`.
pub(super) fn rows(example: &Example, label: &mut dyn FnMut(&str) -> String) -> String {
    let prediction = prediction(example);
    let entities: Vec<&PredictedEntity> = prediction.entities.iter().collect();
    conll::rows(&prediction, &joined(&example.text), &entities, label).0
}

/// The conversation of a text with all its queries.
pub(super) fn conversations(example: &Example) -> String {
    let queries = example.queries.iter().map(String::as_str);
    conversation(&example.id, example, queries)
}

/// The record of a text and some queries, as Python's `json.dumps` writes the official data.
pub(crate) fn conversation<'a>(
    id: &str,
    example: &Example,
    queries: impl Iterator<Item = &'a str>,
) -> String {
    let mut turns = vec![
        ("human", format!("Text: {}", example.text)),
        ("gpt", "I've read this text.".to_owned()),
    ];
    for query in queries {
        let mentions: Vec<String> =
            example.mentions(query).map(|entity| python_string(&entity.text)).collect();
        turns.push(("human", format!("What describes {query} in the text?")));
        turns.push(("gpt", format!("[{}]", mentions.join(", "))));
    }
    let turns = turns.into_iter().map(|(from, value)| {
        format!("{{\"from\": \"{from}\", \"value\": {}}}", python_string(&value))
    });
    let turns = turns.collect::<Vec<String>>().join(", ");
    format!("{{\"id\": {}, \"conversations\": [{turns}]}}", python_string(id))
}

/// A JSON string in ASCII, with the escapes of Python's `json.dumps`.
pub(super) fn python_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            ' '..='~' => json.push(character),
            _ => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    json.extend(format!("\\u{unit:04x}").chars());
                }
            }
        }
    }
    json.push('"');
    json
}

/// The tokens of a text that is tokens joined by one space.
fn joined(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    for token in text.split(' ').filter(|_| !text.is_empty()) {
        tokens.push((start, token));
        start += token.len() + 1;
    }
    tokens
}

fn strings<'a>(tokens: &[Token<'a>]) -> Vec<&'a str> {
    tokens.iter().map(|(_, token)| *token).collect()
}

fn list(example: &Example, record: impl Fn(&Entity) -> Value) -> Vec<Value> {
    example.entities.iter().map(record).collect()
}

fn offsets(entity: &Entity) -> (Option<usize>, Option<usize>) {
    (entity.span.map(|span| span.start), entity.span.map(|span| span.end))
}
