//! Relations of brat standoff: rows `R<n> TAB label Arg1:T<n> Arg2:T<n>`.

use std::collections::HashMap;

use super::{Collected, sentences::passages};
use crate::{DataError, Example, Note, Problem, Span, reader::Context, text::Text};

/// A relation of a document: its type, and the spans of its arguments.
pub(crate) struct Row {
    relation_type: String,
    arguments: [Span; 2],
    line: usize,
}

/// Reads a row; `None` if its label is dropped. `mentions` has the spans of the `T` rows by id.
pub(crate) fn row(
    row: &str,
    mentions: &HashMap<&str, Span>,
    line: usize,
    context: &mut Context<'_>,
) -> Result<Option<Row>, DataError> {
    let malformed = |context: &Context<'_>| {
        Err(context.malformed(line, Problem::RelationRow(row.trim_end().to_owned())))
    };
    let fields = row.split('\t').nth(1).map(|fields| fields.split_whitespace());
    let Some([label, first, second]) = fields.and_then(|fields| {
        let fields: Vec<&str> = fields.collect();
        <[&str; 3]>::try_from(fields).ok()
    }) else {
        return malformed(context);
    };
    let span = |argument: &str| {
        let (_, id) = argument.split_once(':')?;
        mentions.get(id).copied()
    };
    let (Some(first), Some(second)) = (span(first), span(second)) else {
        return malformed(context);
    };
    let relation_type = context.entity_type(label, 1, line)?;
    Ok(relation_type.map(|relation_type| Row { relation_type, arguments: [first, second], line }))
}

/// The examples of a document: one, or one for each passage of sentences.
pub(crate) fn examples(
    id: &str,
    text: &str,
    rows: &[Row],
    by_sentences: bool,
    context: &mut Context<'_>,
) -> Vec<Example> {
    let whole = Text::new(text);
    let extent = |row: &Row| {
        let [first, second] = row.arguments;
        Span { start: first.start.min(second.start), end: first.end.max(second.end) }
    };
    let extents: Vec<Span> = rows.iter().map(extent).collect();
    let ranges = if by_sentences {
        passages(text, &extents)
    } else {
        vec![0..whole.length(crate::format::Offsets::Characters)]
    };
    let mut examples = Vec::new();
    for (number, range) in ranges.into_iter().enumerate() {
        let inside = |extent: &Span| range.start <= extent.start && extent.end <= range.end;
        let own: Vec<(&Row, &Span)> =
            rows.iter().zip(&extents).filter(|(_, extent)| inside(extent)).collect();
        let written = whole.slice(Span { start: range.start, end: range.end });
        if by_sentences && written.trim().is_empty() && own.is_empty() {
            continue;
        }
        let (mut start, mut end) = (range.start, range.end);
        if by_sentences {
            (start, end) = trimmed(written, range.start);
            // A mention may begin or end with white space.
            start = own.iter().map(|(_, extent)| extent.start).fold(start, usize::min);
            end = own.iter().map(|(_, extent)| extent.end).fold(end, usize::max);
        }
        let passage = whole.slice(Span { start, end });
        let text = Text::new(passage);
        let mut collected = Collected::default();
        for (row, _) in own {
            let moved = |span: Span| Span { start: span.start - start, end: span.end - start };
            let spans = row.arguments.map(moved);
            if !collected.add(&text, row.relation_type.clone(), &spans) {
                context.note(Note::RepeatedEntity, row.line);
            }
        }
        let id = if by_sentences { format!("{id}#{number}") } else { id.to_owned() };
        examples.push(Example::of_relations(id, passage.to_owned(), collected.sorted()));
    }
    examples
}

/// The first character of a text without white space at its ends, and one past the last; `start` is
/// the character at which the text starts.
fn trimmed(text: &str, start: usize) -> (usize, usize) {
    let before = text.chars().take_while(|character| character.is_whitespace()).count();
    (start + before, start + before + text.trim().chars().count())
}
