//! Documents as the rows of a Parquet file.
//!
//! Only the columns that the options name are read, a page of each at a time.

use std::{collections::VecDeque, fs::File, path::Path, sync::Arc};

use parquet::{
    basic::Type,
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::{ByteArray, DataType},
    errors::ParquetError,
    file::{reader::FileReader, serialized_reader::SerializedFileReader},
    schema::types::SchemaDescriptor,
};

use super::{Document, DocumentOptions, type_list, unreadable};
use crate::{DataError, did_you_mean, regular};

/// Rows that are read in one piece.
const BATCH: usize = 64;

/// The rows of a file as documents.
///
/// # Errors
/// If the file is not Parquet or lacks a column.
pub(super) fn rows(
    path: &Path,
    file: Arc<Path>,
    options: &DocumentOptions,
) -> Result<impl Iterator<Item = Result<Document, DataError>> + Send + use<>, DataError> {
    let unusable = |message: String| DataError::Unusable { path: path.to_owned(), message };
    if path.extension().is_none_or(|extension| extension == "gz" || extension == "zst") {
        let message = "Parquet is read from a file that is not compressed as a whole: its pages \
                       are; name such a file";
        return Err(unusable(message.to_owned()));
    }
    let (on_disk, _) = regular::open(path)?.into_parts();
    let reader = SerializedFileReader::new(on_disk)
        .map_err(|error| unusable(format!("it is not a Parquet file that can be read: {error}")))?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let columns = Columns::find(&schema, options).map_err(unusable)?;
    let mut rows = Rows {
        reader,
        file,
        columns,
        group: 0,
        open: Vec::new(),
        left: 0,
        number: 0,
        batch: VecDeque::new(),
        finished: false,
    };
    Ok(std::iter::from_fn(move || rows.next()))
}

/// A column of the file that is read.
struct Column {
    index: usize,
    name: String,
    /// The definition level of a value that is not null.
    defined: i16,
}

/// The columns that the options name.
struct Columns {
    text: Column,
    id: Option<Column>,
    types: Option<Column>,
    subset: Option<Column>,
}

impl Columns {
    fn find(schema: &SchemaDescriptor, options: &DocumentOptions) -> Result<Self, String> {
        let find = |name: &String| column(schema, name, &[Type::BYTE_ARRAY], "text");
        let id = |name: &String| {
            let kinds = [Type::BYTE_ARRAY, Type::INT32, Type::INT64];
            column(schema, name, &kinds, "text or whole numbers")
        };
        Ok(Self {
            text: find(&options.text)?,
            id: options.id.as_ref().map(id).transpose()?,
            types: options.types.as_ref().map(find).transpose()?,
            subset: options.subset.as_ref().map(find).transpose()?,
        })
    }

    /// All of them, the text first.
    fn all(&self) -> impl Iterator<Item = &Column> {
        let others = [&self.id, &self.types, &self.subset];
        std::iter::once(&self.text).chain(others.into_iter().flatten())
    }
}

fn column(
    schema: &SchemaDescriptor,
    name: &str,
    kinds: &[Type],
    expected: &str,
) -> Result<Column, String> {
    let paths: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
    let Some(index) = paths.iter().position(|path| path == name) else {
        let hint = did_you_mean(name, paths.iter().map(String::as_str));
        let known: Vec<String> = paths.iter().map(|path| format!("`{path}`")).collect();
        return Err(format!(
            "the file has no column `{name}`{hint}; its columns are {}",
            known.join(", ")
        ));
    };
    let found = schema.column(index);
    if found.max_rep_level() > 0 || !kinds.contains(&found.physical_type()) {
        return Err(format!("the column `{name}` does not have {expected}; name another column"));
    }
    Ok(Column { index, name: name.to_owned(), defined: found.max_def_level() })
}

struct Rows {
    reader: SerializedFileReader<File>,
    file: Arc<Path>,
    columns: Columns,
    /// The next group of rows.
    group: usize,
    /// The readers of the columns in the current group, in the order of [`Columns::all`].
    open: Vec<ColumnReader>,
    /// Rows of the current group that are not read yet.
    left: usize,
    /// Number of rows that were returned.
    number: usize,
    batch: VecDeque<Row>,
    finished: bool,
}

/// The cells of a row, in the order of [`Columns::all`]; `None` is null.
type Row = Vec<Option<Cell>>;

enum Cell {
    Bytes(ByteArray),
    Number(i64),
}

impl Rows {
    fn next(&mut self) -> Option<Result<Document, DataError>> {
        while self.batch.is_empty() && !self.finished {
            if let Err(error) = self.refill() {
                self.finished = true;
                let message = format!("row group {}: {error}", self.group);
                return Some(Err(DataError::Unusable { path: self.file.to_path_buf(), message }));
            }
        }
        let row = self.batch.pop_front()?;
        self.number += 1;
        Some(
            document(row, self.number, &self.columns, &self.file)
                .map_err(|message| unreadable(&self.file, self.number, message)),
        )
    }

    /// Reads the next rows of the group, or opens the next group.
    fn refill(&mut self) -> Result<(), ParquetError> {
        if self.left == 0 {
            self.finished = self.group == self.reader.num_row_groups();
            if !self.finished {
                let group = self.reader.get_row_group(self.group)?;
                self.left = group.metadata().num_rows() as usize;
                let readers =
                    self.columns.all().map(|column| group.get_column_reader(column.index));
                self.open = readers.collect::<Result<_, _>>()?;
                self.group += 1;
            }
            return Ok(());
        }
        let count = self.left.min(BATCH);
        let mut rows: Vec<Row> = (0..count).map(|_| Vec::with_capacity(self.open.len())).collect();
        for (reader, column) in self.open.iter_mut().zip(self.columns.all()) {
            let cells = cells(reader, column.defined, count)?;
            if cells.len() != count {
                let message = format!("the column `{}` has too few rows", column.name);
                return Err(ParquetError::General(message));
            }
            rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
        }
        self.left -= count;
        self.batch.extend(rows);
        Ok(())
    }
}

/// The next cells of a column.
fn cells(
    reader: &mut ColumnReader,
    defined: i16,
    count: usize,
) -> Result<Vec<Option<Cell>>, ParquetError> {
    let mut levels = Vec::new();
    let values: Vec<Cell> = match reader {
        ColumnReader::ByteArrayColumnReader(reader) => {
            values(reader, count, &mut levels)?.into_iter().map(Cell::Bytes).collect()
        }
        ColumnReader::Int32ColumnReader(reader) => {
            let numbers = values(reader, count, &mut levels)?;
            numbers.into_iter().map(|number| Cell::Number(i64::from(number))).collect()
        }
        ColumnReader::Int64ColumnReader(reader) => {
            values(reader, count, &mut levels)?.into_iter().map(Cell::Number).collect()
        }
        _ => unreachable!("`column` refuses columns of other types"),
    };
    if defined == 0 {
        return Ok(values.into_iter().map(Some).collect());
    }
    let mut values = values.into_iter();
    let cell = |level: &i16| if *level == defined { values.next() } else { None };
    Ok(levels.iter().map(cell).collect())
}

/// The next values of a column that are not null, and the definition level of each cell.
fn values<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    count: usize,
    levels: &mut Vec<i16>,
) -> Result<Vec<T::T>, ParquetError> {
    let mut values = Vec::new();
    reader.read_records(count, Some(levels), None, &mut values)?;
    Ok(values)
}

fn document(
    row: Row,
    number: usize,
    columns: &Columns,
    file: &Arc<Path>,
) -> Result<Document, String> {
    let mut cells = row.into_iter();
    let mut next = |column: &Column| string(cells.next().flatten(), &column.name);
    let text = required(next(&columns.text)?, &columns.text)?;
    let id = match &columns.id {
        Some(column) => required(next(column)?, column)?,
        None => number.to_string(),
    };
    let types = match &columns.types {
        Some(column) => type_list::of_cell(&next(column)?.unwrap_or_default())
            .map_err(|message| format!("the types `{}`: {message}", column.name))?,
        None => None,
    };
    let subset = match &columns.subset {
        Some(column) => Some(required(next(column)?, column)?),
        None => None,
    };
    Ok(Document { id, text, types, subset, file: file.clone(), line: number })
}

fn required(value: Option<String>, column: &Column) -> Result<String, String> {
    value.ok_or_else(|| format!("the value of `{}` is null", column.name))
}

fn string(cell: Option<Cell>, name: &str) -> Result<Option<String>, String> {
    match cell {
        None => Ok(None),
        Some(Cell::Number(number)) => Ok(Some(number.to_string())),
        Some(Cell::Bytes(bytes)) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(format!("the value of `{name}` is not UTF-8")),
        },
    }
}

#[cfg(test)]
mod tests;
