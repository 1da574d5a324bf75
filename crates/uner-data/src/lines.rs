//! Reads the numbered lines of a text file, one at a time.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

pub(crate) use crate::decode::Input;
use crate::{DataError, Note, Problem, encoding::Encoding, reader::Context, regular};

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Largest size of a line or JSON record in bytes. A book has about a million.
pub(crate) const MOST_BYTES: u64 = 64 << 20;

/// Opens a file, and decompresses it if its name ends in `.gz` or `.zst`.
pub(crate) fn open(file: &Path, encoding: Encoding) -> Result<Input, DataError> {
    if file.extension().is_some_and(|extension| extension == "spacy") {
        let problem = Problem::Compressed {
            format: "spaCy (`DocBin`)",
            advice: "write its documents as JSON: `doc.to_json()` for each",
        };
        return Err(DataError::Malformed { file: file.to_owned(), line: 1, record: None, problem });
    }
    let raw = BufReader::with_capacity(1 << 16, regular::open(file)?);
    let plain = decompressed(file, raw).map_err(|error| named(file, &error))?;
    let decoded = encoding.decode(plain).map_err(|error| named(file, &error))?;
    decoded.map_err(|problem| DataError::Malformed {
        file: file.to_owned(),
        line: 1,
        record: None,
        problem,
    })
}

/// Decompresses a file by the end of its name. Both formats may be several streams in sequence, as
/// parallel compressors and `cat` write them.
fn decompressed(file: &Path, raw: BufReader<fs_err::File>) -> std::io::Result<Input> {
    Ok(match file.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(raw))),
        Some("zst") => {
            Box::new(BufReader::with_capacity(1 << 16, zstd::Decoder::with_buffer(raw)?))
        }
        _ => Box::new(raw),
    })
}

/// The lines of an input without their ends (LF or CRLF).
pub(crate) struct Lines {
    input: Input,
    buffer: Vec<u8>,
    number: usize,
    finished: bool,
}

/// A line without its end.
pub(crate) struct Line<'a> {
    /// Its number, from 1.
    pub(crate) number: usize,
    pub(crate) bytes: &'a [u8],
    /// Whether a byte order mark stood before `bytes`.
    pub(crate) has_mark: bool,
}

impl Lines {
    pub(crate) fn new(input: Input) -> Self {
        Self { input, buffer: Vec::new(), number: 0, finished: false }
    }

    /// The next line with its number, from 1. A line that is not UTF-8 is an error, and the next
    /// call continues after it. An input error or a line that is too long ends the reading.
    ///
    /// A byte order mark at the start of a line is skipped and counted: it shows that files with
    /// such marks were joined.
    pub(crate) fn next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Option<Result<(usize, &str), DataError>> {
        let Line { number, bytes, has_mark } = match self.next_bytes(context.file)? {
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        if has_mark {
            context.note(Note::ByteOrderMark, number);
        }
        Some(context.decoded(bytes, number).map(|line| (number, line)))
    }

    /// The bytes of the next line of `file`. An input error or a line that is too long ends the
    /// reading.
    pub(crate) fn next_bytes(&mut self, file: &Path) -> Option<Result<Line<'_>, DataError>> {
        if self.finished {
            return None;
        }
        self.buffer.clear();
        match self.input.by_ref().take(MOST_BYTES).read_until(b'\n', &mut self.buffer) {
            Ok(0) => {
                self.finished = true;
                return None;
            }
            Ok(_) => {}
            Err(error) => {
                self.finished = true;
                return Some(Err(named(file, &error)));
            }
        }
        self.number += 1;
        if self.buffer.len() as u64 == MOST_BYTES && self.buffer.last() != Some(&b'\n') {
            self.finished = true;
            let problem = Problem::Long { what: "line" };
            let (file, line) = (file.to_owned(), self.number);
            return Some(Err(DataError::Malformed { file, line, record: None, problem }));
        }
        let mut bytes = self.buffer.as_slice();
        bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let unmarked = bytes.strip_prefix(BYTE_ORDER_MARK);
        let has_mark = unmarked.is_some();
        Some(Ok(Line { number: self.number, bytes: unmarked.unwrap_or(bytes), has_mark }))
    }
}

/// Adds the file's name to an input error: errors of decompression lack it.
pub(crate) fn named(file: &Path, error: &std::io::Error) -> DataError {
    DataError::Io(std::io::Error::new(
        error.kind(),
        format!("cannot read `{}`: {error}", file.display()),
    ))
}
