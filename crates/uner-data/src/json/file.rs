//! The JSON records of a file, for readers outside this crate.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{Records, distinct::Distinct};
use crate::{
    DataError, Dataset, Notes,
    format::{Container, Format, Jsonl},
    lines,
    reader::Context,
};

/// A record with its location.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonRecord {
    /// The line where it starts, from 1.
    pub line: usize,
    /// Its number in an array, from 1.
    pub record: Option<usize>,
    /// The record.
    pub value: Value,
}

/// The records of a file: the elements of one JSON array, or one per line. Only one record is in
/// memory. A record that is not JSON, or repeats a key in an object, is an error with its line; the
/// next item continues after it. Files are UTF-8, and may be compressed (`.gz`, `.zst`).
///
/// ```no_run
/// # fn main() -> Result<(), uner_data::DataError> {
/// for record in uner_data::JsonRecords::open("answers.jsonl".as_ref(), None)? {
///     let record = record?;
///     println!("line {}: {}", record.line, record.value);
/// }
/// # Ok(())
/// # }
/// ```
pub struct JsonRecords {
    path: PathBuf,
    records: Records,
    /// The context of a reader is that of a dataset; only its encoding is used.
    dataset: Dataset,
}

impl JsonRecords {
    /// Opens a file. Without a container, a file that starts with an array of objects or of arrays
    /// is one array, and any other has one record per line.
    ///
    /// # Errors
    /// If the file is missing, cannot be read, or is not a regular file.
    pub fn open(path: &Path, container: Option<Container>) -> Result<Self, DataError> {
        let format = Format::Jsonl(Jsonl::default());
        let input = lines::open(path, format.encoding())?;
        let records = match container {
            Some(container) => Records::new(container, input),
            None => Records::detect(input).map_err(|error| lines::named(path, &error))?,
        };
        Ok(Self { path: path.to_owned(), records, dataset: Dataset::of_file(path, format) })
    }
}

impl Iterator for JsonRecords {
    type Item = Result<JsonRecord, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut context = Context {
            dataset: &self.dataset,
            notes: &mut Notes::default(),
            further: &mut VecDeque::new(),
            file: &self.path,
            record: None,
        };
        let found = self.records.next(&mut context)?;
        Some(found.map(|(line, Distinct(value))| JsonRecord {
            line,
            record: context.record,
            value,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str, container: Option<Container>) -> Vec<Result<JsonRecord, String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.json");
        fs_err::write(&path, text).unwrap();
        let records = JsonRecords::open(&path, container).unwrap();
        records.map(|record| record.map_err(|error| error.to_string())).collect()
    }

    #[test]
    fn arrays_and_lines_are_read_with_their_locations() {
        let at = |line, record, value: Value| Ok(JsonRecord { line, record, value });
        let (one, two) = (serde_json::json!({"a": 1}), serde_json::json!(["b"]));
        assert_eq!(
            records("[\n{\"a\": 1},\n[\"b\"]]", None),
            [at(2, Some(1), one.clone()), at(3, Some(2), two.clone())]
        );
        assert_eq!(
            records("\u{feff}{\"a\": 1}\n\n[\"b\"]\n", None),
            [at(1, None, one.clone()), at(3, None, two)]
        );
        let list = serde_json::json!([{"a": 1}]);
        assert_eq!(records("[{\"a\": 1}]\n", Some(Container::Lines)), [at(1, None, list)]);
    }

    #[test]
    fn a_faulty_record_is_named_and_the_next_is_read() {
        let found = records("{\"a\": 1, \"a\": 2}\n{\n{\"a\": 1}\n", None);
        assert!(
            found[0].as_ref().unwrap_err().contains(":1: the key `a` occurs twice"),
            "{found:?}"
        );
        assert!(found[1].as_ref().unwrap_err().contains(":2: "), "{found:?}");
        assert_eq!(found[2].as_ref().unwrap().line, 3);
    }
}
