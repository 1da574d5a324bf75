//! Proposes the format of a file with one token per row: its separator, its columns and its scheme.

use std::{collections::BTreeMap, path::Path};

use indexmap::IndexMap;

use super::{Candidate, Misfit};
use crate::{
    DataError,
    encoding::Encoding,
    format::{Columns, Format, Scheme},
    lines::{self, Lines},
    visible,
};

/// Separators, the likeliest first. A space goes before white space in general: it keeps tokens
/// with a tab.
const SEPARATORS: [&str; 6] = ["\t", " ", "whitespace", ",", ";", "|"];
/// Rows that decide on the separator.
const FIRST_ROWS: usize = 2_000;
const DOCUMENT: &str = "-DOCSTART-";
const COMMENT: &str = "# ";
/// Comment rows with the id of a sentence, which `uner` writes.
const ID: &str = "# id = ";
/// Labels of syntactic chunks (Tjong Kim Sang and Buchholz 2000), which are not entities.
const CHUNKS: [&str; 11] =
    ["NP", "VP", "PP", "ADVP", "ADJP", "SBAR", "PRT", "CONJP", "INTJ", "LST", "UCP"];

/// The format of a column file, or the reason why it is not one. The outer error is that of a file
/// that cannot be read.
pub(super) fn candidates(path: &Path) -> Result<Result<Vec<Candidate>, Misfit>, DataError> {
    let rows = first_rows(path)?;
    let mut misfit = Misfit::default();
    for separator in SEPARATORS {
        let Some(width) = width(&rows, separator) else {
            misfit.looked.push(format!("columns ({}): rows differ in length", shown(separator)));
            continue;
        };
        let columns = survey(path, separator, width)?;
        match columns.describe(separator) {
            Ok(candidate) => return Ok(Ok(vec![candidate])),
            Err(reason) => {
                misfit.looked.push(format!("{width} columns ({}): {reason}", shown(separator)));
                misfit.closest.insert(0, "columns");
            }
        }
    }
    misfit.closest.dedup();
    Ok(Err(misfit))
}

fn shown(separator: &str) -> String {
    visible(if separator == " " { "space" } else { separator })
}

fn first_rows(path: &Path) -> Result<Vec<String>, DataError> {
    let mut lines = Lines::new(lines::open(path, Encoding::default())?);
    let mut rows = Vec::new();
    while let (Some(line), true) = (lines.next_bytes(path), rows.len() < FIRST_ROWS) {
        let row = String::from_utf8_lossy(line?.bytes).into_owned();
        if is_token(&row) {
            rows.push(row);
        }
    }
    Ok(rows)
}

/// Whether a row may have a token: it is not blank, a document row or a comment.
fn is_token(row: &str) -> bool {
    !row.trim().is_empty() && !row.starts_with(DOCUMENT) && !row.starts_with(COMMENT)
}

/// The fields of a row. Separators of csv files may stand in quoted fields.
fn fields(row: &str, separator: &str) -> Vec<String> {
    match separator {
        "whitespace" => row.split_ascii_whitespace().map(str::to_owned).collect(),
        "," | ";" | "|" => {
            let mut reader = csv::ReaderBuilder::new()
                .has_headers(false)
                .delimiter(separator.as_bytes()[0])
                .from_reader(row.as_bytes());
            let record = reader.records().next().and_then(Result::ok).unwrap_or_default();
            record.iter().map(str::to_owned).collect()
        }
        _ => row.split(separator).map(str::to_owned).collect(),
    }
}

/// The number of columns that nearly all rows have; `None` if they differ or have one column.
fn width(rows: &[String], separator: &str) -> Option<usize> {
    let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
    for row in rows {
        *widths.entry(fields(row, separator).len()).or_default() += 1;
    }
    let (width, count) = widths.into_iter().max_by_key(|(_, count)| *count)?;
    (width > 1 && count * 100 >= rows.len() * 99).then_some(width)
}

/// The content of a column.
#[derive(Default, Clone)]
pub(super) struct Column {
    num_numbers: usize,
    num_outside: usize,
    /// Tags with a prefix, by prefix.
    prefixes: BTreeMap<char, usize>,
    /// Number of tags of each label. Only the first few hundred are counted.
    labels: IndexMap<String, usize>,
    /// Values that are no tags. Only the first few are kept.
    others: IndexMap<String, usize>,
    num_others: usize,
    /// `B-` after a token outside of entities, and `I-` that no entity of its label precedes.
    begun: usize,
    inside_alone: usize,
    previous: Option<String>,
}

impl Column {
    /// Ends a sentence: the next tag continues no entity.
    pub(super) fn end_sentence(&mut self) {
        self.previous = None;
    }

    fn num_tags(&self) -> usize {
        self.prefixes.values().sum()
    }

    pub(super) fn add(&mut self, value: &str) {
        self.num_numbers += usize::from(value.parse::<u64>().is_ok());
        let tag = value.split_once('-').filter(|(prefix, label)| {
            ["B", "I", "E", "S", "L", "U"].contains(prefix) && !label.is_empty()
        });
        let Some((prefix, label)) = tag else {
            self.previous = None;
            if value == "O" {
                self.num_outside += 1;
                return;
            }
            self.num_others += 1;
            if self.others.len() < 20 || self.others.contains_key(value) {
                *self.others.entry(value.to_owned()).or_default() += 1;
            }
            return;
        };
        *self.prefixes.entry(prefix.chars().next().unwrap_or('B')).or_default() += 1;
        let continues = self.previous.as_deref() == Some(label);
        self.begun += usize::from(prefix == "B" && self.previous.is_none());
        self.inside_alone += usize::from(prefix == "I" && !continues);
        if self.labels.len() < 500 || self.labels.contains_key(label) {
            *self.labels.entry(label.to_owned()).or_default() += 1;
        }
        self.previous = Some(label.to_owned());
    }

    /// Whether it is a column of entity tags: nearly all values (one may be a header) are `O` or a
    /// tag, and the labels are not those of chunks.
    pub(super) fn has_tags(&self) -> bool {
        let sound = self.num_tags() + self.num_outside;
        let chunks: usize = CHUNKS.iter().filter_map(|label| self.labels.get(*label)).sum();
        self.num_tags() > 0 && self.num_others <= 1 + sound / 99 && chunks * 2 < self.num_tags()
    }

    pub(super) fn scheme(&self) -> Scheme {
        let has = |prefix: char| self.prefixes.contains_key(&prefix);
        if has('E') || has('S') {
            Scheme::Iobes
        } else if has('L') || has('U') {
            Scheme::Bilou
        } else if self.inside_alone > self.begun {
            Scheme::Iob1
        } else {
            Scheme::Bio
        }
    }
}

/// The content of all rows of a file with a separator.
struct Survey {
    columns: Vec<Column>,
    num_rows: usize,
    /// Whether the first row has no tag in a column whose other rows have tags.
    first: Vec<String>,
    has_documents: bool,
    has_comments: bool,
    has_ids: bool,
    /// Rows without a token that have columns, with their numbers.
    breaks: IndexMap<String, usize>,
}

fn survey(path: &Path, separator: &str, width: usize) -> Result<Survey, DataError> {
    let mut survey = Survey {
        columns: vec![Column::default(); width],
        num_rows: 0,
        first: Vec::new(),
        has_documents: false,
        has_comments: false,
        has_ids: false,
        breaks: IndexMap::new(),
    };
    let mut lines = Lines::new(lines::open(path, Encoding::default())?);
    while let Some(line) = lines.next_bytes(path) {
        let line = line?;
        survey.add(&String::from_utf8_lossy(line.bytes), separator, width);
    }
    Ok(survey)
}

impl Survey {
    fn add(&mut self, row: &str, separator: &str, width: usize) {
        let found = fields(row, separator);
        if !is_token(row) || found.len() != width {
            self.has_documents |= row.starts_with(DOCUMENT);
            self.has_comments |= row.starts_with(COMMENT) && found.len() != width;
            self.has_ids |= row.starts_with(ID);
            self.columns.iter_mut().for_each(Column::end_sentence);
            return;
        }
        self.num_rows += 1;
        if self.num_rows == 1 {
            self.first.clone_from(&found);
        }
        let is_break = |field: &String| field.is_empty() || field == "O";
        if found.iter().all(is_break) && found.iter().any(String::is_empty) {
            if self.breaks.len() < 5 || self.breaks.contains_key(row) {
                *self.breaks.entry(row.to_owned()).or_default() += 1;
            }
            self.columns.iter_mut().for_each(Column::end_sentence);
            return;
        }
        for (column, value) in self.columns.iter_mut().zip(&found) {
            column.add(value);
        }
    }

    fn describe(&self, separator: &str) -> Result<Candidate, String> {
        let tagged: Vec<usize> =
            (0..self.columns.len()).filter(|&at| self.columns[at].has_tags()).collect();
        let Some(&first_tag) = tagged.first() else { return Err(self.without_tags()) };
        let is_number = |at: usize| self.columns[at].num_numbers * 10 > self.num_rows * 9;
        let token = (0..self.columns.len())
            .find(|at| !tagged.contains(at) && !is_number(*at))
            .ok_or("no column has tokens")?;
        let mut notes = Vec::new();
        let tags = self.layers(&tagged, token, &mut notes);
        let main = tags.first().copied().unwrap_or(first_tag);
        self.note_other_tags(main, &mut notes);
        let quoted = [",", ";", "|"].contains(&separator);
        let header = usize::from(self.first.get(main).is_some_and(|value| {
            self.columns[main].others.get(value) == Some(&1) && value.chars().all(is_of_name)
        }));
        let reason = self.reason(separator, token, &tags);
        let columns = Columns {
            separator: separator.to_owned(),
            token,
            scheme: self.columns[main].scheme(),
            tags,
            quoted,
            header,
            group: None,
            break_rows: self.breaks.keys().cloned().collect(),
            document_rows: rows_with(DOCUMENT, self.has_documents),
            comment_rows: rows_with(COMMENT, self.has_comments),
            id_rows: self.has_ids.then(|| ID.to_owned()),
            metadata: Vec::new(),
            tag_map: IndexMap::new(),
            defects: Vec::new(),
            encoding: Encoding::default(),
        };
        Ok(Candidate { format: Format::Columns(columns), name: "columns", reason, notes })
    }

    /// The columns of tags that are read: neighbouring ones with a label in common are layers of
    /// nested entities; of others, the one nearest to the token is read.
    fn layers(&self, tagged: &[usize], token: usize, notes: &mut Vec<String>) -> Vec<usize> {
        let nearest = *tagged.iter().min_by_key(|at| at.abs_diff(token)).unwrap_or(&token);
        let mut layers = vec![nearest];
        let labels = &self.columns[nearest].labels;
        for &at in tagged.iter().filter(|at| **at > nearest) {
            let shares = self.columns[at].labels.keys().any(|label| labels.contains_key(label));
            if shares && at == layers[layers.len() - 1] + 1 {
                layers.push(at);
            }
        }
        // The deepest layers of a file may be empty; those of its other splits are not.
        let is_empty = |at: usize| self.columns[at].num_outside == self.num_rows;
        while layers.len() > 1 && layers[layers.len() - 1] + 1 < self.columns.len() {
            let next = layers[layers.len() - 1] + 1;
            if !is_empty(next) {
                break;
            }
            layers.push(next);
        }
        for at in tagged.iter().filter(|at| !layers.contains(at)) {
            notes.push(format!(
                "column {at} has tags, too; the tags of column {nearest} are read, the nearest to the \
                 token (set `tags`)"
            ));
        }
        layers
    }

    fn note_other_tags(&self, main: usize, notes: &mut Vec<String>) {
        let is_header = |value: &String| self.first.get(main) == Some(value);
        for (value, count) in
            self.columns[main].others.iter().filter(|(value, _)| !is_header(value))
        {
            notes.push(format!(
                "{count} rows have the tag `{}`, which is not of the scheme (set `tag_map`)",
                visible(value)
            ));
        }
    }

    fn reason(&self, separator: &str, token: usize, tags: &[usize]) -> String {
        let column = &self.columns[tags[0]];
        let labels: Vec<&str> = column.labels.keys().take(5).map(String::as_str).collect();
        format!(
            "{} rows have {} columns ({}), tokens in column {token} and tags in {tags:?}, such as {}",
            self.num_rows,
            self.columns.len(),
            shown(separator),
            visible(&labels.join(", "))
        )
    }

    fn without_tags(&self) -> String {
        let numbers: Vec<usize> = (0..self.columns.len())
            .filter(|&at| {
                let column = &self.columns[at];
                column.num_numbers * 100 >= self.num_rows.saturating_sub(1) * 99
            })
            .collect();
        if numbers.is_empty() {
            return "no column has tags such as `B-PER` and `O`".to_owned();
        }
        format!(
            "no column has tags such as `B-PER` and `O`; if the numbers in column {} are tags, map \
             them (`tag_map = {{ 0 = \"O\", 1 = \"B-PER\" }}`)",
            numbers[0]
        )
    }
}

fn rows_with(start: &str, has: bool) -> Vec<String> {
    if has { vec![start.to_owned()] } else { Vec::new() }
}

fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | ' ')
}
