//! Groups lines into the rows of one sentence.

use super::tags::Tag;
use crate::{
    DataError, Note, Problem,
    format::Columns,
    lines::{Input, Lines},
    reader::Context,
};

/// A token and its tags, with the tag map applied.
pub(super) struct Row {
    pub(super) line: usize,
    pub(super) token: String,
    pub(super) tags: Vec<String>,
    group: Option<String>,
}

/// The rows up to a break, and the errors of the unreadable ones.
#[derive(Default)]
pub(super) struct Sentence {
    /// Its id, if a row before it has one.
    pub(super) id: Option<String>,
    pub(super) rows: Vec<Row>,
    pub(super) errors: Vec<DataError>,
}

impl Sentence {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.errors.is_empty()
    }
}

pub(super) struct Rows {
    lines: Lines,
    /// Number of columns of the first valid row; every later row must have as many.
    width: Option<usize>,
    /// The first row of the next group.
    carried: Option<Row>,
    /// The id of the next sentence.
    next_id: Option<String>,
}

impl Rows {
    pub(super) fn new(input: Input) -> Self {
        Self { lines: Lines::new(input), width: None, carried: None, next_id: None }
    }

    /// The next sentence that has rows or errors.
    pub(super) fn sentence(
        &mut self,
        format: &Columns,
        context: &mut Context<'_>,
    ) -> Option<Sentence> {
        let mut sentence = Sentence {
            id: self.next_id.take(),
            rows: self.carried.take().into_iter().collect(),
            ..Sentence::default()
        };
        while let Some(line) = self.lines.next(context) {
            let (number, line) = match line {
                Ok(line) => line,
                Err(error) => {
                    sentence.errors.push(error);
                    continue;
                }
            };
            if number <= format.header {
                continue;
            }
            let id = format.id_rows.as_deref().and_then(|start| id(line, start));
            if let Some(id) = id.filter(|_| !is_token(line, format, self.width)) {
                if sentence.is_empty() {
                    sentence.id = Some(id);
                    continue;
                }
                self.next_id = Some(id);
                return Some(sentence);
            }
            if starts_with_any(line, &format.comment_rows) {
                if !is_token(line, format, self.width) {
                    continue;
                }
                context.note(Note::TaggedComment, number);
            }
            let is_document = starts_with_any(line, &format.document_rows);
            let is_entity = is_document && is_entity(line, format, self.width);
            if is_entity {
                context.note(Note::TaggedComment, number);
            }
            if is_break(line, format) || (is_document && !is_entity) {
                if sentence.is_empty() {
                    sentence.id = None;
                    continue;
                }
                return Some(sentence);
            }
            match row(line, number, format, &mut self.width) {
                Ok(row) if sentence.rows.last().is_some_and(|last| last.group != row.group) => {
                    self.carried = Some(row);
                    return Some(sentence);
                }
                Ok(row) => sentence.rows.push(row),
                Err(problem) => sentence.errors.push(context.malformed(number, problem)),
            }
        }
        (!sentence.is_empty()).then_some(sentence)
    }
}

fn starts_with_any(line: &str, starts: &[String]) -> bool {
    starts.iter().any(|start| line.starts_with(start.as_str()))
}

/// The id in a comment row: as it is, or as a JSON string.
pub(crate) fn id(row: &str, start: &str) -> Option<String> {
    let value = row.strip_prefix(start)?;
    let quoted = value.starts_with('"').then(|| serde_json::from_str(value).ok());
    Some(quoted.flatten().unwrap_or_else(|| value.to_owned()))
}

fn is_break(line: &str, format: &Columns) -> bool {
    line.trim().is_empty() || format.break_rows.iter().any(|row| row == line)
}

/// Whether a row that starts like a document row belongs to an entity. A real document row has the
/// tag `O`, or none.
fn is_entity(line: &str, format: &Columns, mut width: Option<usize>) -> bool {
    let is_of_entity =
        |tag: &String| Tag::parse(tag, format.scheme).is_ok_and(|tag| tag != Tag::Outside);
    row(line, 0, format, &mut width).is_ok_and(|row| row.tags.iter().any(is_of_entity))
}

/// Whether a row that starts like a comment is a token, such as a hashtag: it has as many columns
/// as the others, and tags of the scheme.
fn is_token(line: &str, format: &Columns, mut width: Option<usize>) -> bool {
    row(line, 0, format, &mut width)
        .is_ok_and(|row| row.tags.iter().all(|tag| Tag::parse(tag, format.scheme).is_ok()))
}

fn row(
    line: &str,
    number: usize,
    format: &Columns,
    width: &mut Option<usize>,
) -> Result<Row, Problem> {
    if line.contains('\r') {
        return Err(Problem::LineEnds { doubled: line.ends_with('\r'), row: shortened(line) });
    }
    let mut fields = fields(line, format);
    let needed = format
        .tags
        .iter()
        .chain([&format.token])
        .chain(&format.group)
        .max()
        .map_or(0, |last| last.saturating_add(1));
    let expected = width.unwrap_or(needed);
    if fields.len() < needed || width.is_some_and(|width| width != fields.len()) {
        return Err(Problem::Columns { expected, found: fields.len(), row: shortened(line) });
    }
    *width = Some(fields.len());
    let tags = format
        .tags
        .iter()
        .map(|&column| format.tag_map.get(&fields[column]).unwrap_or(&fields[column]).clone())
        .collect();
    let group = format.group.map(|column| fields[column].clone());
    Ok(Row { line: number, token: std::mem::take(&mut fields[format.token]), tags, group })
}

fn shortened(line: &str) -> String {
    line.chars().take(60).collect()
}

fn fields(line: &str, format: &Columns) -> Vec<String> {
    if format.quoted {
        return quoted(line, format.separator.as_bytes()[0]);
    }
    if format.separator == "whitespace" {
        return line.split_ascii_whitespace().map(str::to_owned).collect();
    }
    line.split(format.separator.as_str()).map(str::to_owned).collect()
}

/// Splits one csv record. A quoted field cannot span rows: an unclosed quote takes the rest of its
/// row.
fn quoted(line: &str, separator: u8) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .delimiter(separator)
        .buffer_capacity(line.len().max(1))
        .from_reader(line.as_bytes());
    let record = reader.records().next().and_then(Result::ok).unwrap_or_default();
    record.iter().map(str::to_owned).collect()
}
