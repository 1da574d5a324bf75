//! Examples as a span head reads them: the passage twice, and the tokens of each type's entities.

use std::fmt;
use std::ops::Range;

use indexmap::IndexMap;
use uner_data::{Example, Span};
use uner_prompt::{PromptError, Tokenizer, TwiceEncoder, TwiceRead};
use uner_trainer::data::sequence::{AskedType, SpanSequence};

/// An example that a span head trains on.
#[derive(Debug)]
pub(super) struct SpanExample {
    pub(super) ids: Vec<u32>,
    pub(super) spans: SpanSequence,
    pub(super) lost: Lost,
}

/// Entities that tags cannot represent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// They begin or end within a token; the whole token is tagged.
    cut_tokens: usize,
    /// They overlap another of their type, or have no position; they are left out.
    overlapping: usize,
}

impl Lost {
    pub(super) fn add(&mut self, other: Self) {
        self.cut_tokens += other.cut_tokens;
        self.overlapping += other.overlapping;
    }
}

impl fmt::Display for Lost {
    /// A line for each kind that occurs.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, problem) in [
            (self.cut_tokens, "begin or end within a token; the whole token is tagged"),
            (
                self.overlapping,
                "overlap another of their type or have no position, and are left out",
            ),
        ] {
            if count > 0 {
                writeln!(out, "{count} entities {problem}")?;
            }
        }
        Ok(())
    }
}

/// Encodes an example with all types of its queries.
pub(super) fn encode(
    example: &Example,
    encoder: &TwiceEncoder,
    tokenizer: &Tokenizer,
) -> Result<SpanExample, PromptError> {
    let read = encoder.passage(&example.text, tokenizer)?;
    let mut lost = Lost::default();
    // Two names of the same tokens are one type.
    let mut types: IndexMap<Vec<u32>, Vec<Range<usize>>> = IndexMap::new();
    for name in &example.queries {
        let entities = types.entry(encoder.entity_type(name, tokenizer)?).or_default();
        let spans = example.mentions(name).map(|entity| entity.span);
        entities.extend(tokens(spans, &read, &mut lost));
    }
    let types = types.into_iter().map(|(ids, entities)| AskedType { ids, entities }).collect();
    let TwiceRead { ids, second, .. } = read;
    Ok(SpanExample { ids, spans: SpanSequence { second, types }, lost })
}

/// The tokens of the entities of one type: of two that overlap, the first, or the longer if both
/// begin together.
fn tokens(
    spans: impl Iterator<Item = Option<Span>>,
    read: &TwiceRead,
    lost: &mut Lost,
) -> Vec<Range<usize>> {
    let mut found: Vec<(Range<usize>, bool)> = Vec::new();
    for span in spans {
        match span.and_then(|span| read.tokens_of(span)) {
            Some(tokens) => found.push(tokens),
            None => lost.overlapping += 1,
        }
    }
    found.sort_by_key(|(tokens, _)| (tokens.start, std::cmp::Reverse(tokens.end)));
    let mut kept: Vec<Range<usize>> = Vec::with_capacity(found.len());
    for (tokens, exact) in found {
        if kept.last().is_some_and(|last| tokens.start < last.end) {
            lost.overlapping += 1;
            continue;
        }
        lost.cut_tokens += usize::from(!exact);
        kept.push(tokens);
    }
    kept
}

#[cfg(test)]
mod tests {
    use uner_data::Entity;

    use super::*;

    #[test]
    fn entities_that_tags_cannot_represent_are_counted() {
        let tokenizer = Tokenizer::train(["Rome Oslo today"; 20].into_iter(), 320).unwrap();
        let text = "Rome Oslo today";
        let entity = |range: Option<(usize, usize)>, entity_type: &str| Entity {
            text: String::new(),
            entity_type: entity_type.to_owned(),
            span: range.map(|(start, end)| Span { start, end }),
        };
        let entities = vec![
            entity(Some((5, 9)), "city"),
            entity(Some((0, 9)), "city"),
            entity(Some((0, 4)), "capital"),
            entity(Some((10, 12)), "date"),
            entity(None, "date"),
        ];
        let mut example = Example::new("x".to_owned(), text.to_owned(), entities);
        example.queries.push("river".to_owned());
        let encoder = TwiceEncoder::new(&tokenizer).unwrap();
        let SpanExample { ids, spans, lost } = encode(&example, &encoder, &tokenizer).unwrap();
        assert_eq!(lost, Lost { cut_tokens: 1, overlapping: 2 });
        assert_eq!(lost.to_string().lines().count(), 2);
        assert_eq!(ids.len() - spans.second, 3, "one token a word");
        let entities: Vec<_> = spans.types.iter().map(|asked| asked.entities.clone()).collect();
        assert_eq!(entities, [vec![0..2], vec![0..1], vec![2..3], vec![]]);
        let river = tokenizer.encode_segment("river").unwrap();
        assert_eq!(spans.types[3].ids[1..], river);
    }
}
