//! Reads column files: one token per row, blank rows between sentences. A sentence with a malformed
//! row yields errors and no example.

mod detect;
pub(crate) mod rows;
pub(crate) mod tags;

use std::collections::VecDeque;

use rows::{Row, Rows, Sentence};
use tags::{Decoded, Mention, Tag};

use crate::{
    DataError, Entity, Example, Note, Span,
    format::{Columns, Defect},
    lines::Input,
    passage::Passage,
    reader::{Context, Reader, join},
    text::{Text, is_blank},
};

pub(crate) struct ColumnReader {
    format: Columns,
    rows: Rows,
    errors: VecDeque<DataError>,
    /// One sentence of look-ahead, to recognise the last one of a file (`Defect::LastSentence`).
    ahead: Option<Sentence>,
}

impl ColumnReader {
    pub(crate) fn new(format: Columns, input: Input) -> Self {
        Self { format, rows: Rows::new(input), errors: VecDeque::new(), ahead: None }
    }

    /// The next sentence, and whether the official conversion loses it as the last one.
    fn sentence(&mut self, context: &mut Context<'_>) -> Option<(Sentence, bool)> {
        let next = self.rows.sentence(&self.format, context);
        if !self.format.defects.contains(&Defect::LastSentence) {
            return Some((next?, false));
        }
        let Some(sentence) = self.ahead.take() else {
            self.ahead = Some(next?);
            return self.sentence(context);
        };
        self.ahead = next;
        Some((sentence, self.ahead.is_none()))
    }

    fn example(
        &mut self,
        sentence: Sentence,
        is_lost: bool,
        context: &mut Context<'_>,
    ) -> Option<Example> {
        self.errors.extend(sentence.errors);
        let (id, rows) = (sentence.id.unwrap_or_default(), sentence.rows);
        let layers = self.layers(&rows, context);
        if !self.errors.is_empty() || rows.is_empty() {
            return None;
        }
        let mentions: usize = layers.iter().map(|layer| layer.mentions.len()).sum();
        if self.format.metadata.contains(&rows[0].token) {
            context.note(Note::MetadataSentence, rows[0].line);
            (0..mentions).for_each(|_| context.note(Note::MetadataEntity, rows[0].line));
            return None;
        }
        if is_lost {
            (0..mentions).for_each(|_| context.note(Note::ConversionDefect, rows[0].line));
            return None;
        }
        let entities = self.entities(&rows, &layers, context);
        let (text, spans) = join(rows.iter().map(|row| row.token.as_str()));
        let entities = locate_entities(&text, &spans, entities, &rows, context);
        self.errors.is_empty().then(|| Example::new(id, text, entities))
    }

    /// Decodes the mentions of every tag column.
    fn layers<'a>(&mut self, rows: &'a [Row], context: &mut Context<'_>) -> Vec<Decoded<'a>> {
        let mut layers = Vec::with_capacity(self.format.tags.len());
        for layer in 0..self.format.tags.len() {
            let mut parsed = Vec::with_capacity(rows.len());
            for row in rows {
                match Tag::parse(&row.tags[layer], self.format.scheme) {
                    Ok(tag) => parsed.push(tag),
                    Err(problem) => self.errors.push_back(context.malformed(row.line, problem)),
                }
            }
            layers.push(tags::decode(&parsed, self.format.scheme, &self.format.defects));
        }
        layers
    }

    /// The mentions of all layers with their natural-language types, sorted by start, outer before
    /// inner.
    fn entities<'a>(
        &mut self,
        rows: &[Row],
        layers: &[Decoded<'a>],
        context: &mut Context<'_>,
    ) -> Vec<(Mention<'a>, String)> {
        let mut found = Vec::new();
        for layer in layers {
            layer
                .inconsistent
                .iter()
                .for_each(|&at| context.note(Note::InconsistentTag, rows[at].line));
            layer
                .defects
                .iter()
                .for_each(|&at| context.note(Note::ConversionDefect, rows[at].line));
            for mention in &layer.mentions {
                match context.entity_type(mention.label, 1, rows[mention.start].line) {
                    Ok(Some(entity_type)) => found.push((*mention, entity_type)),
                    Ok(None) => {}
                    Err(error) => self.errors.push_back(error),
                }
            }
        }
        found.sort_by_key(|(mention, _)| (mention.start, std::cmp::Reverse(mention.end)));
        found
    }
}

/// Converts token ranges to character ranges. Empty and blank tokens at the ends of a mention are
/// not part of it.
fn locate_entities(
    text: &str,
    spans: &[Span],
    mentions: Vec<(Mention<'_>, String)>,
    rows: &[Row],
    context: &mut Context<'_>,
) -> Vec<Entity> {
    let text = Text::new(text);
    let mut passage = Passage::new(&text);
    for (mention, entity_type) in mentions {
        let line = rows[mention.start].line;
        let mut filled =
            (mention.start..mention.end).filter(|&token| !rows[token].token.chars().all(is_blank));
        let Some(first) = filled.next() else {
            context.note(Note::EmptyMention, line);
            continue;
        };
        let last = filled.next_back().unwrap_or(first);
        let span = Span { start: spans[first].start, end: spans[last].end };
        passage.add(span, entity_type, line, context).expect("its tokens are not blank");
    }
    passage.into_entities()
}

impl Reader for ColumnReader {
    fn next(&mut self, context: &mut Context<'_>) -> Option<Result<Example, DataError>> {
        loop {
            if let Some(error) = self.errors.pop_front() {
                return Some(Err(error));
            }
            let (sentence, is_lost) = self.sentence(context)?;
            if let Some(example) = self.example(sentence, is_lost, context) {
                return Some(Ok(example));
            }
        }
    }
}

#[cfg(test)]
mod tests;
