//! Documents as the rows of a table.

use std::{
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use csv::{ByteRecord, ReaderBuilder, Terminator};

use super::{Document, DocumentOptions, decoded, line_breaks, malformed, type_list, unreadable};
use crate::{
    DataError, Problem, did_you_mean,
    lines::{Input, MOST_BYTES, named},
};

/// A row with the line where it starts.
struct Row {
    cells: ByteRecord,
    line: usize,
}

/// A file with a line break after its end, which ends the last row if the file does not.
struct Table {
    content: io::Chain<Input, &'static [u8]>,
    /// Whether the reader has seen the end. No row ends there: the row of the line break is
    /// returned before.
    has_ended: bool,
}

impl Read for Table {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(out)?;
        self.has_ended |= count == 0;
        Ok(count)
    }
}

struct Rows {
    reader: csv::Reader<Table>,
    file: Arc<Path>,
    finished: bool,
}

impl Rows {
    fn new(input: Input, file: Arc<Path>, delimiter: u8) -> Self {
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            // With `Terminator::CRLF` the LF belongs to the next row, and lines cannot be counted.
            .terminator(Terminator::Any(b'\n'))
            .from_reader(Table { content: input.chain(b"\n".as_slice()), has_ended: false });
        Self { reader, file, finished: false }
    }

    fn next(&mut self) -> Option<Result<Row, DataError>> {
        loop {
            if self.finished {
                return None;
            }
            match self.read() {
                Ok(Some(row)) if is_blank(&row.cells) => {}
                Ok(row) => return row.map(Ok),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn read(&mut self) -> Result<Option<Row>, DataError> {
        let mut cells = ByteRecord::new();
        let read = self.reader.read_byte_record(&mut cells);
        // An error of the input ends the reading.
        self.finished = !matches!(read, Ok(true));
        if !read.map_err(|error| named(&self.file, &error.into()))? {
            return Ok(None);
        }
        let breaks = line_breaks(cells.as_slice());
        let is_open = self.reader.get_ref().has_ended;
        // The reader stands behind the row. (The position of a record is that of the blank lines
        // before it.)
        let behind = self.reader.position().line() as usize;
        let line = behind.saturating_sub(breaks + usize::from(!is_open));
        if is_open {
            self.finished = true;
            let message = "a cell of this row starts with a quote and does not end; close the quote, or write each quote in the cell twice and the whole cell in quotes";
            return Err(unreadable(&self.file, line, message.to_owned()));
        }
        if cells.as_slice().len() as u64 > MOST_BYTES {
            return Err(malformed(&self.file, line, Problem::Long { what: "record" }));
        }
        Ok(Some(Row { cells: without_carriage_return(&cells), line }))
    }
}

/// Whether a row is a line with only a CR: the reader itself skips those with nothing.
fn is_blank(cells: &ByteRecord) -> bool {
    cells.len() == 1 && cells[0].is_empty()
}

/// Removes the CR of the row's CRLF, which is at the end of the last cell.
fn without_carriage_return(cells: &ByteRecord) -> ByteRecord {
    let last = cells.len().saturating_sub(1);
    cells
        .iter()
        .enumerate()
        .map(|(at, cell)| match cell.strip_suffix(b"\r") {
            Some(rest) if at == last => rest,
            _ => cell,
        })
        .collect()
}

/// The positions of the columns that the options name.
struct Columns {
    text: usize,
    id: Option<usize>,
    types: Option<usize>,
    subset: Option<usize>,
    count: usize,
}

impl Columns {
    fn find(header: &[String], options: &DocumentOptions) -> Result<Self, String> {
        let find = |name: &String| {
            let mut found = (0..header.len()).filter(|at| header[*at].trim() == name);
            match (found.next(), found.next()) {
                (Some(at), None) => Ok(at),
                (Some(_), Some(_)) => {
                    Err(format!("the table has two columns `{name}`; rename one"))
                }
                (None, _) => {
                    let known: Vec<String> =
                        header.iter().map(|name| format!("`{name}`")).collect();
                    let hint = did_you_mean(name, header.iter().map(String::as_str));
                    Err(format!(
                        "the table has no column `{name}`{hint}; its first row names the columns {}",
                        known.join(", ")
                    ))
                }
            }
        };
        Ok(Self {
            text: find(&options.text)?,
            id: options.id.as_ref().map(find).transpose()?,
            types: options.types.as_ref().map(find).transpose()?,
            subset: options.subset.as_ref().map(find).transpose()?,
            count: header.len(),
        })
    }
}

/// Reads the header, and then the rows one at a time.
pub(super) fn rows(
    input: Input,
    file: Arc<Path>,
    delimiter: u8,
    options: &DocumentOptions,
) -> Result<impl Iterator<Item = Result<Document, DataError>> + Send + use<>, DataError> {
    let mut rows = Rows::new(input, file.clone(), delimiter);
    let header = rows.next().transpose()?.unwrap_or(Row { cells: ByteRecord::new(), line: 1 });
    let names = (0..header.cells.len()).map(|at| cell(&header, at, &file));
    let columns = Columns::find(&names.collect::<Result<Vec<String>, _>>()?, options)
        .map_err(|message| unreadable(&file, header.line, message))?;
    let mut number = 0;
    Ok(std::iter::from_fn(move || {
        let row = match rows.next()? {
            Ok(row) => row,
            Err(error) => return Some(Err(error)),
        };
        number += 1;
        Some(document(&row, number, &columns, &file))
    }))
}

fn document(
    row: &Row,
    number: usize,
    columns: &Columns,
    file: &Arc<Path>,
) -> Result<Document, DataError> {
    if row.cells.len() != columns.count {
        let message = format!(
            "the row has {} cells and the first row {}; put cells with separators, quotes or line breaks in double quotes",
            row.cells.len(),
            columns.count
        );
        return Err(unreadable(file, row.line, message));
    }
    let text = cell(row, columns.text, file)?;
    let id = match columns.id {
        Some(column) => cell(row, column, file)?,
        None => number.to_string(),
    };
    let types = match columns.types {
        Some(column) => type_list::of_cell(&cell(row, column, file)?)
            .map_err(|message| unreadable(file, row.line, format!("the types: {message}")))?,
        None => None,
    };
    let subset = columns.subset.map(|column| cell(row, column, file)).transpose()?;
    Ok(Document { id, text, types, subset, file: file.clone(), line: row.line })
}

fn cell(row: &Row, column: usize, file: &Path) -> Result<String, DataError> {
    let before: usize = row.cells.iter().take(column).map(line_breaks).sum();
    decoded(row.cells[column].to_vec(), file, row.line + before)
}
