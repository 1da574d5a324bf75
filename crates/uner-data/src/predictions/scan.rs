//! Finds the complete documents of an output that was cut off anywhere.

use std::{
    io::{BufRead, Seek, SeekFrom},
    path::Path,
};

use serde::{Deserialize, de::IgnoredAny};

use super::{PredictionFormat, conll};
use crate::{DataError, Problem, lines::named};

/// The documents that an output contains.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Their number: writing continues with document `num_documents` of the input, from 0.
    pub num_documents: usize,
    /// The id of the last one, to check that the input is still the same.
    pub last_id: Option<String>,
}

/// The first row of an array, and its last.
pub(super) const OPENING: &str = "[\n";
pub(super) const CLOSING: &str = "]\n";

/// The documents of an output and the length of the part with them, in bytes. The rest is a torn
/// document, or the end of an array.
pub(super) fn scan(
    file: &fs_err::File,
    path: &Path,
    format: PredictionFormat,
) -> Result<(Written, u64), DataError> {
    let mut scan = Scan {
        format,
        written: Written::default(),
        line: 0,
        end: 0,
        length: 0,
        open: None,
        is_closed: false,
    };
    let mut input = std::io::BufReader::new(file);
    input.seek(SeekFrom::Start(0))?;
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).map_err(|error| named(path, &error))? == 0 {
            return Ok((scan.written, scan.length));
        }
        scan.line += 1;
        scan.end += line.len() as u64;
        if !scan.is_ours(&line) {
            return Err(DataError::Malformed {
                file: path.to_owned(),
                line: scan.line,
                record: None,
                problem: Problem::Document(
                    "the line was not written in this format, so the file is not resumed; choose the format with which \
                     it was written, or another output"
                        .to_owned(),
                ),
            });
        }
    }
}

struct Scan {
    format: PredictionFormat,
    written: Written,
    /// Number of lines read.
    line: usize,
    /// Number of bytes read.
    end: u64,
    /// Number of bytes up to the end of the last complete document.
    length: u64,
    /// The id of the document whose rows are being read.
    open: Option<String>,
    /// Whether the array has ended.
    is_closed: bool,
}

impl Scan {
    /// Takes a line with its end. Whether this format may have it here.
    fn is_ours(&mut self, line: &[u8]) -> bool {
        let Some(complete) = line.strip_suffix(b"\n") else { return self.may_be_torn(line) };
        let Ok(row) = std::str::from_utf8(complete) else { return false };
        match self.format {
            PredictionFormat::Conll => self.conll(row),
            PredictionFormat::LabelStudio => self.task(row),
            PredictionFormat::JsonLines | PredictionFormat::SpacyJson | PredictionFormat::Brat => {
                self.object(row)
            }
        }
    }

    /// Whether the last line, which has no end, can be the start of a row. Otherwise the file is
    /// another one, and nothing of it may be cut off.
    fn may_be_torn(&self, line: &[u8]) -> bool {
        let start = match self.format {
            PredictionFormat::Conll if self.open.is_some() => return true,
            PredictionFormat::Conll => conll::ID,
            PredictionFormat::LabelStudio if self.line == 1 => OPENING,
            PredictionFormat::LabelStudio if self.is_closed => return false,
            PredictionFormat::LabelStudio if line == b"]" => return true,
            PredictionFormat::LabelStudio if self.written.num_documents == 0 => {
                "{\"data\":{\"id\":"
            }
            PredictionFormat::LabelStudio => ",{\"data\":{\"id\":",
            PredictionFormat::JsonLines | PredictionFormat::SpacyJson | PredictionFormat::Brat => {
                "{\"id\":"
            }
        };
        line.starts_with(start.as_bytes()) || start.as_bytes().starts_with(line)
    }

    fn object(&mut self, row: &str) -> bool {
        #[derive(Deserialize)]
        struct Row {
            id: String,
            entities: Option<IgnoredAny>,
            ents: Option<IgnoredAny>,
            file: Option<IgnoredAny>,
        }
        let Ok(row) = serde_json::from_str::<Row>(row) else { return false };
        self.complete(row.id);
        match self.format {
            PredictionFormat::JsonLines => row.entities.is_some(),
            PredictionFormat::SpacyJson => row.ents.is_some(),
            _ => row.file.is_some(),
        }
    }

    fn conll(&mut self, row: &str) -> bool {
        match (self.open.take(), row) {
            (Some(id), "") => self.complete(id),
            (None, _) => self.open = conll::id(row),
            (open, _) => self.open = open,
        }
        row.is_empty() == self.open.is_none()
    }

    fn task(&mut self, row: &str) -> bool {
        #[derive(Deserialize)]
        struct Task {
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            id: String,
        }
        if self.is_closed {
            return false;
        }
        if self.line == 1 {
            self.length = self.end;
            return row == OPENING.trim_end();
        }
        if row == CLOSING.trim_end() {
            self.is_closed = true;
            return true;
        }
        let row = if self.written.num_documents == 0 { Some(row) } else { row.strip_prefix(',') };
        let task = row.and_then(|row| serde_json::from_str::<Task>(row).ok());
        task.map(|task| self.complete(task.data.id)).is_some()
    }

    fn complete(&mut self, id: String) {
        self.written.num_documents += 1;
        self.written.last_id = Some(id);
        self.length = self.end;
    }
}
