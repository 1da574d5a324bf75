//! Finds what a format can represent of an example: the example as it is read back. Everything that
//! differs is counted.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    ops::Range,
};

use indexmap::IndexSet;

use super::{ExportFormat, Gaps, Loss, Losses, Tokens, split, tokens::Token};
use crate::{
    Entity, Example, Span,
    align::align,
    predictions::{brat::is_line_break, disjoint::disjoint_spans},
    text::{Text, is_blank},
};

/// The example as the format's reader gives it. `None` if the format cannot represent any of it.
pub(super) fn fit(
    example: &Example,
    format: ExportFormat,
    tokens: Tokens,
    losses: &mut Losses,
) -> Option<Example> {
    let mut fitting = Fitting { id: &example.id, format, losses };
    if example.id.is_empty() {
        fitting.lost(Loss::NoId, "");
    }
    let mut text = example.text.clone();
    let mut entities = fitting.placed(example);
    if format.is_flat() {
        entities = fitting.disjoint(entities);
    }
    if format == ExportFormat::Brat {
        (text, entities) = fitting.unmarked(text, entities);
    }
    if let Some(gaps) = format.gaps(tokens) {
        (text, entities) = fitting.tokenised(&text, entities, tokens, gaps)?;
    }
    let mut ordered = entities.clone();
    fitting.order(&mut ordered);
    let queries = fitting.queries(example, &ordered);
    if format == ExportFormat::Conversations {
        ordered = fitting.found_by_mention(&text, &queries, ordered);
    }
    let is_order_of = |entities: &[Entity]| entities.iter().eq(ordered.iter());
    let asked = example.queries.iter().filter(|query| queries.contains(query));
    if !asked.eq(&queries) || (ordered.len() == entities.len() && !is_order_of(&entities)) {
        fitting.lost(Loss::Order, "");
    }
    Some(Example { id: example.id.clone(), text, entities: ordered, queries })
}

struct Fitting<'a> {
    id: &'a str,
    format: ExportFormat,
    losses: &'a mut Losses,
}

impl Fitting<'_> {
    fn lost(&mut self, loss: Loss, value: &str) {
        self.losses.add(loss, self.id, value);
    }

    /// The entities at correct spans, without white space at their ends, each once.
    fn placed(&mut self, example: &Example) -> Vec<Entity> {
        let text = Text::new(&example.text);
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        for entity in &example.entities {
            let Some(entity) = self.verified(entity, &text) else { continue };
            let mention = entity.span.is_none().then(|| entity.text.clone());
            if seen.insert((entity.span, mention, entity.entity_type.clone())) {
                found.push(entity);
            } else {
                self.lost(Loss::Repeated, &entity.text);
            }
        }
        found
    }

    fn verified(&mut self, entity: &Entity, text: &Text<'_>) -> Option<Entity> {
        let mention = entity.text.trim_matches(is_blank);
        let (start, stated) = match entity.span {
            Some(Span { start, end }) => (Some(start), text.checked(start, end)),
            None => (None, None),
        };
        let loss = match (start, stated) {
            (Some(_), stated) if stated != Some(entity.text.as_str()) => Some(Loss::WrongOffsets),
            (Some(_), _) if mention.is_empty() => Some(Loss::Blank),
            (None, _) if !self.format.has_entities_without_span() => Some(Loss::NoSpan),
            (None, _) if !mention.is_empty() && text.as_str().contains(mention) => {
                Some(Loss::WrongOffsets)
            }
            _ if self.format.needs_types() && entity.entity_type.trim().is_empty() => {
                Some(Loss::EmptyType)
            }
            _ => None,
        };
        if let Some(loss) = loss {
            self.lost(loss, &entity.text);
            return None;
        }
        if mention.len() < entity.text.len() {
            self.lost(Loss::BlankEdges, &entity.text);
        }
        let span = start.map(|start| trimmed(start, &entity.text, is_blank));
        Some(Entity { text: mention.to_owned(), span, ..entity.clone() })
    }

    /// The entities of which no two overlap.
    fn disjoint(&mut self, entities: Vec<Entity>) -> Vec<Entity> {
        let spans: Vec<(Span, f64)> =
            entities.iter().filter_map(|entity| entity.span).map(|span| (span, 0.0)).collect();
        let selected = disjoint_spans(&spans);
        let (chosen, others): (Vec<_>, Vec<_>) =
            entities.into_iter().zip(selected).partition(|(_, is_selected)| *is_selected);
        for (entity, _) in &others {
            self.lost(Loss::Overlap, &entity.text);
        }
        chosen.into_iter().map(|(entity, _)| entity).collect()
    }

    /// A brat document without the byte order mark at its start, and entities whose ends are not
    /// line breaks.
    fn unmarked(&mut self, text: String, entities: Vec<Entity>) -> (String, Vec<Entity>) {
        let marks = text.chars().take_while(|character| *character == '\u{feff}').count();
        let text = if marks == 0 {
            text
        } else {
            self.lost(Loss::Space, "");
            text.chars().skip(marks).collect()
        };
        let mut found = Vec::with_capacity(entities.len());
        for mut entity in entities {
            let Some(span) = entity.span else { continue };
            let is_edge = |character: char| is_line_break(character) || is_blank(character);
            let mention = entity.text.trim_matches(is_edge).to_owned();
            if mention.is_empty() {
                self.lost(Loss::Blank, &entity.text);
                continue;
            }
            if mention.len() < entity.text.len() {
                self.lost(Loss::BlankEdges, &entity.text);
            }
            entity.span = Some(trimmed(span.start - marks, &entity.text, is_edge));
            entity.text = mention;
            found.push(entity);
        }
        (text, self.once(found))
    }

    /// The text and its entities as the tokens give them. `None` if there is no token and the
    /// format cannot represent that.
    fn tokenised(
        &mut self,
        text: &str,
        entities: Vec<Entity>,
        tokens: Tokens,
        gaps: Gaps,
    ) -> Option<(String, Vec<Entity>)> {
        let whole = Text::new(text);
        let spans = entities.iter().filter_map(|entity| entity.span);
        let ranges: Vec<Range<usize>> =
            spans.map(|span| whole.byte(span.start)..whole.byte(span.end)).collect();
        let (tokens, num_cut) = split(text, tokens, gaps, ranges.iter().cloned());
        for _ in 0..num_cut {
            self.lost(Loss::CutToken, "");
        }
        if tokens.is_empty() && self.format == ExportFormat::Conll {
            self.lost(Loss::NoToken, "");
            return None;
        }
        let written = Written::new(text, &tokens, self.format);
        if written.text != text {
            self.lost(Loss::Space, "");
        }
        let mut found = Vec::with_capacity(entities.len());
        for (entity, range) in entities.into_iter().zip(ranges) {
            let first = tokens.partition_point(|(start, token)| start + token.len() <= range.start);
            let end = tokens.partition_point(|(start, _)| *start < range.end);
            let Some(text) = (first < end).then(|| written.mention(first, end)) else {
                self.lost(Loss::Blank, &entity.text);
                continue;
            };
            let mention = text.trim_matches(is_blank);
            if mention.is_empty() {
                self.lost(Loss::Blank, &entity.text);
                continue;
            }
            let is_shorter = self.format == ExportFormat::SpacyTraining && mention != entity.text;
            if mention.len() < text.len() || is_shorter {
                self.lost(Loss::BlankEdges, &entity.text);
            }
            let span = Some(trimmed(written.starts[first], text, is_blank));
            found.push(Entity { text: mention.to_owned(), span, ..entity });
        }
        let found = self.once(found);
        Some((written.text, found))
    }

    /// Every span with a type once: after changes of spans, two may be equal.
    fn once(&mut self, entities: Vec<Entity>) -> Vec<Entity> {
        let mut seen = HashSet::new();
        let (found, repeated): (Vec<_>, Vec<_>) = entities
            .into_iter()
            .partition(|entity| seen.insert((entity.span, entity.entity_type.clone())));
        for entity in &repeated {
            self.lost(Loss::Repeated, &entity.text);
        }
        found
    }

    /// Sorts the entities as the reader gives them.
    fn order(&mut self, entities: &mut Vec<Entity>) {
        match self.format {
            ExportFormat::Conll
            | ExportFormat::SpacyTraining
            | ExportFormat::TokenClassification
            | ExportFormat::Brat => entities
                .sort_by_key(|entity| entity.span.map(|span| (span.start, Reverse(span.end)))),
            // Entities that overlap others are in a group after the others.
            ExportFormat::Spacy => {
                let spans = entities.iter().filter_map(|entity| entity.span);
                let selected = disjoint_spans(&spans.map(|span| (span, 0.0)).collect::<Vec<_>>());
                let (mut first, then): (Vec<_>, Vec<_>) =
                    entities.drain(..).zip(selected).partition(|(_, is_selected)| *is_selected);
                first.extend(then);
                entities.extend(first.into_iter().map(|(entity, _)| entity));
            }
            _ => {}
        }
    }

    /// The queries as they are read back.
    fn queries(&mut self, example: &Example, entities: &[Entity]) -> Vec<String> {
        let types: IndexSet<&String> = entities.iter().map(|entity| &entity.entity_type).collect();
        let mut asked: IndexSet<&String> = IndexSet::new();
        for query in &example.queries {
            if !asked.insert(query) {
                self.lost(Loss::Repeated, query);
            }
        }
        let (first, then) = match self.format {
            ExportFormat::JsonLines | ExportFormat::Conversations => (asked, types),
            ExportFormat::Gliner => (types, asked),
            _ => {
                for absent in asked.iter().filter(|query| !types.contains(*query)) {
                    self.lost(Loss::AbsentType, absent);
                }
                (types, IndexSet::new())
            }
        };
        let queries: IndexSet<&String> = first.into_iter().chain(then).collect();
        queries.into_iter().cloned().collect()
    }

    /// The entities as a reader finds them that knows only the mentions of each query.
    fn found_by_mention(
        &mut self,
        text: &str,
        queries: &[String],
        entities: Vec<Entity>,
    ) -> Vec<Entity> {
        let mut by_type: HashMap<&str, Vec<Entity>> = HashMap::new();
        for entity in entities {
            let query = queries.iter().find(|query| **query == entity.entity_type);
            let query = query.expect("queries have the types of all entities");
            by_type.entry(query).or_default().push(entity);
        }
        let mut found = Vec::new();
        for query in queries {
            let Some(listed) = by_type.remove(query.as_str()) else { continue };
            let mentions: Vec<String> = listed.iter().map(|entity| entity.text.clone()).collect();
            let stated: HashSet<Option<Span>> = listed.iter().map(|entity| entity.span).collect();
            for (mut entity, span) in listed.into_iter().zip(align(text, &mentions)) {
                if span.is_none() && entity.span.is_some() {
                    self.lost(Loss::NoOccurrence, &entity.text);
                    continue;
                }
                if !stated.contains(&span) {
                    self.lost(Loss::OtherOccurrence, &entity.text);
                }
                entity.span = span;
                found.push(entity);
            }
        }
        found
    }
}

/// The span of a text that starts at a character, without the characters at its ends.
fn trimmed(start: usize, text: &str, is_edge: impl Fn(char) -> bool + Copy) -> Span {
    let left = text.chars().take_while(|&character| is_edge(character)).count();
    let start = start + left;
    Span { start, end: start + text.trim_matches(is_edge).chars().count() }
}

/// A text as its tokens give it.
struct Written {
    text: String,
    /// The first character of each token.
    starts: Vec<usize>,
    /// The bytes of each token.
    bytes: Vec<Range<usize>>,
}

impl Written {
    fn new(text: &str, tokens: &[Token<'_>], format: ExportFormat) -> Self {
        let mut written = Self { text: String::new(), starts: Vec::new(), bytes: Vec::new() };
        let (mut characters, mut end) = (0, 0);
        for (start, token) in tokens {
            let gap = match format {
                ExportFormat::SpacyTraining => &text[end..*start],
                _ if end == 0 && written.starts.is_empty() => "",
                _ => " ",
            };
            written.text.push_str(gap);
            characters += gap.chars().count();
            written.starts.push(characters);
            written.bytes.push(written.text.len()..written.text.len() + token.len());
            written.text.push_str(token);
            characters += token.chars().count();
            end = start + token.len();
        }
        if format == ExportFormat::SpacyTraining {
            written.text.push_str(&text[end..]);
        }
        written
    }

    /// The text from a token to the end of the token before another.
    fn mention(&self, first: usize, end: usize) -> &str {
        &self.text[self.bytes[first].start..self.bytes[end - 1].end]
    }
}
