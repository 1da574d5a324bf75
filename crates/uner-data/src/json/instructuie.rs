//! Reads InstructUIE's files. `pos` is not always the position of `name` (some published files have
//! placeholders there), so the reader checks it. If it is wrong, the reader searches the text for
//! the mention.

use std::collections::{HashMap, HashSet, VecDeque};

use serde::Deserialize;
use serde_json::Value;

use super::{Records, plain};
use crate::{
    DataError, Example, Note, Span,
    align::occurrences,
    format::{Instructuie, Offsets},
    lines::Input,
    passage::{Passage, trimmed},
    reader::{Context, Reader},
    text::Text,
};

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    id: Option<Value>,
    sentence: String,
    entities: Vec<Mention>,
}

#[derive(Deserialize)]
struct Mention {
    name: String,
    #[serde(rename = "type")]
    label: String,
    #[serde(default)]
    pos: Vec<i64>,
}

pub(crate) struct InstructuieReader {
    records: Records,
    offsets: Offsets,
}

impl InstructuieReader {
    pub(crate) fn new(format: &Instructuie, input: Input) -> Self {
        Self { records: Records::new(format.container, input), offsets: format.offsets }
    }
}

impl Reader for InstructuieReader {
    fn next(&mut self, context: &mut Context<'_>) -> Option<Result<Example, DataError>> {
        let item = self.records.next(context)?;
        Some(item.and_then(|(line, item)| example(&item, self.offsets, line, context)))
    }
}

fn example(
    item: &Item,
    offsets: Offsets,
    line: usize,
    context: &mut Context<'_>,
) -> Result<Example, DataError> {
    let text = Text::new(&item.sentence);
    let stated: Vec<Option<(Span, Offsets)>> =
        item.entities.iter().map(|mention| stated(mention, &text, offsets)).collect();
    let mut finder =
        SpanFinder::new(&item.sentence, stated.iter().flatten().map(|(span, _)| *span));
    let mut passage = Passage::new(&text);
    let mut problems = Vec::new();
    for (mention, stated) in item.entities.iter().zip(stated) {
        let entity_type = match context.entity_type(&mention.label, 1, line) {
            Ok(Some(entity_type)) => entity_type,
            Ok(None) => continue,
            Err(error) => {
                problems.push(error);
                continue;
            }
        };
        if let Some((span, unit)) = stated {
            if unit != offsets {
                context.note(Note::OtherOffsets(unit), line);
            }
            problems.extend(passage.add(span, entity_type, line, context).err());
            continue;
        }
        let name = trimmed(&mention.name, line, context);
        let found = finder.next(&name);
        if found.is_some() {
            context.note(Note::WrongPosition, line);
        }
        passage.add_located(&name, found, entity_type, line, context);
    }
    let id = item.id.as_ref().map_or_else(String::new, plain);
    context.unless(problems, || Example::new(id, item.sentence.clone(), passage.into_entities()))
}

/// The span of `pos` and its unit, if `pos` gives the mention; the description's unit goes first.
fn stated(mention: &Mention, text: &Text<'_>, offsets: Offsets) -> Option<(Span, Offsets)> {
    let [start, end] = mention.pos[..] else { return None };
    let mut units = std::iter::once(offsets).chain(Offsets::ALL);
    units.find_map(|unit| {
        let span = text.span(start, end, unit)?;
        (!mention.name.is_empty() && text.slice(span) == mention.name).then_some((span, unit))
    })
}

/// Finds spans for mentions without a correct position. Repeats of a mention take its occurrences
/// in order, those at a correct stated position last. The last occurrence is used repeatedly.
struct SpanFinder<'a> {
    text: &'a str,
    taken: HashSet<Span>,
    unused: HashMap<String, VecDeque<Span>>,
}

impl<'a> SpanFinder<'a> {
    fn new(text: &'a str, taken: impl Iterator<Item = Span>) -> Self {
        Self { text, taken: taken.collect(), unused: HashMap::new() }
    }

    fn next(&mut self, mention: &str) -> Option<Span> {
        let unused = self.unused.entry(mention.to_owned()).or_insert_with(|| {
            let (taken, free): (VecDeque<Span>, VecDeque<Span>) = occurrences(self.text, mention)
                .into_iter()
                .partition(|span| self.taken.contains(span));
            free.into_iter().chain(taken).collect()
        });
        if unused.len() > 1 { unused.pop_front() } else { unused.front().copied() }
    }
}
