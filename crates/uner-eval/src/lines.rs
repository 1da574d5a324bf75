//! JSON Lines, as every file of predictions is, read as Python reads them.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::Value;
use uner_data::as_python_reads;

use crate::EvalError;

/// The byte order mark that some editors write at the start of a file.
pub(crate) const MARK: char = '\u{feff}';

/// JSON as Python's `json` reads it: with `NaN`, with lone surrogates, and of equal keys with the
/// last.
pub(crate) fn from_python<T: DeserializeOwned>(json: &str) -> Result<T, serde_json::Error> {
    let json = as_python_reads(json);
    // A struct refuses equal keys; a `Value` takes the last, but then no error has a place.
    serde_json::from_str(&json).or_else(|error| {
        serde_json::from_str::<Value>(&json).and_then(serde_json::from_value).map_err(|_| error)
    })
}

/// The filled lines of a file, parsed, with the error that a complaint about each would be;
/// `expected` describes a line.
pub(crate) fn read<T: DeserializeOwned>(
    path: &Path,
    expected: &'static str,
) -> Result<impl Iterator<Item = Result<(Place, T), EvalError>>, EvalError> {
    let lines = BufReader::new(uner_data::regular::open(path)?).lines();
    let path = path.to_owned();
    Ok(lines.enumerate().filter_map(move |(index, line)| {
        let place = Place { path: path.clone(), line: index + 1 };
        match line {
            Ok(line) if line.trim().is_empty() => None,
            Ok(line) => Some(match from_python(line.trim_start_matches(MARK)) {
                Ok(value) => Ok((place, value)),
                Err(error) => Err(place.error(format!("{error}; expected {expected}"))),
            }),
            Err(error) => Some(Err(place.error(error.to_string()))),
        }
    }))
}

/// A line of a file.
pub(crate) struct Place {
    path: PathBuf,
    line: usize,
}

impl Place {
    /// A complaint about this line.
    pub(crate) fn error(self, problem: String) -> EvalError {
        EvalError::Line { path: self.path, line: self.line, problem }
    }
}
