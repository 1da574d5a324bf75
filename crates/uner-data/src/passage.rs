//! The entities of one text: each span with a type is one entity, whatever the format and however
//! often the source repeats it.

use std::collections::HashSet;

use crate::{
    DataError, Entity, Note, Problem, Span,
    align::align,
    lines::MOST_BYTES,
    reader::Context,
    text::{Text, is_blank},
};

pub(crate) struct Passage<'a> {
    text: &'a Text<'a>,
    entities: Vec<Entity>,
    /// Span and type of every entity that has a span.
    spans: HashSet<(Span, String)>,
    /// Mention and type of every entity.
    mentions: HashSet<(String, String)>,
    /// Total bytes of the mentions at spans; with nested spans, many times those of the text.
    bytes: u64,
}

impl<'a> Passage<'a> {
    pub(crate) fn new(text: &'a Text<'a>) -> Self {
        Self {
            text,
            entities: Vec::new(),
            spans: HashSet::new(),
            mentions: HashSet::new(),
            bytes: 0,
        }
    }

    pub(crate) fn into_entities(self) -> Vec<Entity> {
        self.entities
    }

    /// Adds the entity at a span inside the text, without the white space at its ends. It is an
    /// error if nothing else is left, or if all mentions together exceed the size of a record.
    pub(crate) fn add(
        &mut self,
        span: Span,
        entity_type: String,
        line: usize,
        context: &mut Context<'_>,
    ) -> Result<(), DataError> {
        let found = self.text.slice(span);
        let mention = found.trim_matches(is_blank);
        if mention.is_empty() {
            let Span { start, end } = span;
            let problem = Problem::SpanBlank { start, end, entity_type, found: found.to_owned() };
            return Err(context.malformed(line, problem));
        }
        self.bytes += mention.len() as u64;
        if self.bytes > MOST_BYTES {
            return Err(context.malformed(line, Problem::Nested));
        }
        if mention.len() < found.len() {
            context.note(Note::BlankEdges, line);
        }
        let left = found.chars().take_while(|&character| is_blank(character)).count();
        let start = span.start + left;
        self.keep(
            mention,
            Some(Span { start, end: start + mention.chars().count() }),
            entity_type,
            line,
            context,
        );
        Ok(())
    }

    /// Adds an answer: mentions of one type, without offsets. The k-th repeat of a mention takes
    /// its k-th occurrence. A mention that is not in the text has no span; a repeat beyond the last
    /// occurrence is dropped and counted.
    pub(crate) fn add_answer(
        &mut self,
        mentions: &[String],
        entity_type: &str,
        line: usize,
        context: &mut Context<'_>,
    ) {
        let mentions: Vec<String> =
            mentions.iter().map(|mention| trimmed(mention, line, context)).collect();
        let spans = align(self.text.as_str(), &mentions);
        for (mention, span) in mentions.iter().zip(spans) {
            self.add_located(mention, span, entity_type.to_owned(), line, context);
        }
    }

    /// Adds a mention at the span that a search of the text found, if any.
    pub(crate) fn add_located(
        &mut self,
        mention: &str,
        span: Option<Span>,
        entity_type: String,
        line: usize,
        context: &mut Context<'_>,
    ) {
        let key = (mention.to_owned(), entity_type);
        if span.is_none() && self.mentions.contains(&key) {
            context.note(Note::RepeatedEntity, line);
            return;
        }
        if span.is_none() {
            context.note(Note::MentionNotInText, line);
        }
        self.keep(mention, span, key.1, line, context);
    }

    fn keep(
        &mut self,
        mention: &str,
        span: Option<Span>,
        entity_type: String,
        line: usize,
        context: &mut Context<'_>,
    ) {
        if span.is_some_and(|span| !self.spans.insert((span, entity_type.clone()))) {
            context.note(Note::RepeatedEntity, line);
            return;
        }
        self.mentions.insert((mention.to_owned(), entity_type.clone()));
        self.entities.push(Entity { text: mention.to_owned(), entity_type, span });
    }
}

/// A mention without the white space at its ends.
pub(crate) fn trimmed(mention: &str, line: usize, context: &mut Context<'_>) -> String {
    let stripped = mention.trim_matches(is_blank);
    if stripped.len() < mention.len() {
        context.note(Note::BlankEdges, line);
    }
    stripped.to_owned()
}
