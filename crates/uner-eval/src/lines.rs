//! Reads JSON Lines (the format of all prediction files) as Python does.

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

/// Parses JSON as Python's `json` does: accepts `NaN` and lone surrogates, and of equal keys uses
/// the last.
pub(crate) fn from_python<T: DeserializeOwned>(json: &str) -> Result<T, serde_json::Error> {
    let json = as_python_reads(json);
    // A struct rejects repeated keys. A `Value` keeps the last, but its errors lack a line number.
    serde_json::from_str(&json).or_else(|error| {
        serde_json::from_str::<Value>(&json).and_then(serde_json::from_value).map_err(|_| error)
    })
}

/// Parses the lines of a file that are not blank. Each is returned with its location, for errors.
/// `expected` describes the format of a line.
pub(crate) fn read<T: DeserializeOwned>(
    path: &Path,
    expected: &'static str,
) -> Result<impl Iterator<Item = Result<(LineLocation, T), EvalError>>, EvalError> {
    let lines = BufReader::new(uner_data::regular::open(path)?).lines();
    let path = path.to_owned();
    Ok(lines.enumerate().filter_map(move |(index, line)| {
        let location = LineLocation { path: path.clone(), line: index + 1 };
        match line {
            Ok(line) if line.trim().is_empty() => None,
            Ok(line) => Some(match from_python(line.trim_start_matches(MARK)) {
                Ok(value) => Ok((location, value)),
                Err(error) => Err(location.error(format!("{error}; expected {expected}"))),
            }),
            Err(error) => Some(Err(location.error(error.to_string()))),
        }
    }))
}

/// A line of a file, by its number.
pub(crate) struct LineLocation {
    path: PathBuf,
    line: usize,
}

impl LineLocation {
    /// An error about this line.
    pub(crate) fn error(self, problem: String) -> EvalError {
        EvalError::Line { path: self.path, line: self.line, problem }
    }
}
