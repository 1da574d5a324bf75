//! JSON Lines, as every file of predictions is.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

use crate::EvalError;

/// The filled lines of a file, parsed, with the error that a complaint about each would be; `expected` describes a
/// line.
pub(crate) fn read<T: DeserializeOwned>(
    path: &Path,
    expected: &'static str,
) -> Result<impl Iterator<Item = Result<(Place, T), EvalError>>, EvalError> {
    let lines = BufReader::new(fs_err::File::open(path)?).lines();
    let path = path.to_owned();
    Ok(lines.enumerate().filter_map(move |(index, line)| {
        let place = Place { path: path.clone(), line: index + 1 };
        match line {
            Ok(line) if line.trim().is_empty() => None,
            Ok(line) => Some(match serde_json::from_str(&line) {
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
