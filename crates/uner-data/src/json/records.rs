//! Reads the JSON records of a file, one at a time, with the line where each starts.

use std::io::{self, BufRead, Cursor, Read};

use serde::de::DeserializeOwned;

use super::python;
use crate::{
    DataError, Problem,
    format::Container,
    lines::{self, Input, Lines},
    reader::Context,
};

/// The problem of a file that should be one array but does not start with `[`.
const ONE_A_LINE: &str = "the file does not start with `[`, so it is not a JSON array; if it has one record per line, \
                          set `container = \"lines\"` in the description's `[format]`";

/// The bytes of one record.
struct Record {
    line: usize,
    /// Bytes before it in that line.
    column: usize,
    /// Its index in the file, from 0.
    index: usize,
    bytes: Vec<u8>,
}

/// The records of an array or of lines.
pub(crate) enum Records {
    Array(Elements),
    Lines { lines: Lines, index: usize },
}

impl Records {
    pub(crate) fn new(container: Container, input: Input) -> Self {
        match container {
            Container::Array => {
                Self::Array(Elements { input, line: 1, column: 0, begun: 0, state: State::Start })
            }
            Container::Lines => Self::Lines { lines: Lines::new(input), index: 0 },
        }
    }

    /// The records of a file, with the container detected from its start. An array of objects or
    /// arrays starts with `[{` or `[[` (an empty one with `[]`); a record on a line never does.
    pub(super) fn detect(mut input: Input) -> io::Result<Self> {
        let mut start = Vec::new();
        let mut seen = (0, 0);
        while seen.0 < 2 && input.by_ref().take(1).read_to_end(&mut start)? == 1 {
            let byte = start[start.len() - 1];
            if !byte.is_ascii_whitespace() {
                seen = (seen.0 + 1, if seen.0 == 0 { byte } else { seen.1 });
            }
        }
        let second = start.last().copied();
        let is_array = seen == (2, b'[') && matches!(second, Some(b'{' | b'[' | b']'));
        let container = if is_array { Container::Array } else { Container::Lines };
        Ok(Self::new(container, Box::new(Cursor::new(start).chain(input))))
    }

    /// The next record and its line. A record that is not a `T` is an error; the next call
    /// continues after it.
    pub(crate) fn next<T: DeserializeOwned>(
        &mut self,
        context: &mut Context<'_>,
    ) -> Option<Result<(usize, T), DataError>> {
        let record = match self {
            Self::Array(elements) => elements.next(context)?,
            Self::Lines { lines, index } => next_line(lines, index, context)?,
        };
        Some(record.and_then(|record| Ok((record.line, record.parse(context)?))))
    }
}

fn next_line(
    lines: &mut Lines,
    index: &mut usize,
    context: &mut Context<'_>,
) -> Option<Result<Record, DataError>> {
    loop {
        match lines.next(context)? {
            Ok((_, line)) if line.trim().is_empty() => {}
            Ok((number, line)) => {
                *index += 1;
                return Some(Ok(Record {
                    line: number,
                    column: 0,
                    index: *index - 1,
                    bytes: line.as_bytes().to_vec(),
                }));
            }
            Err(error) => return Some(Err(error)),
        }
    }
}

impl Record {
    fn parse<T: DeserializeOwned>(&self, context: &Context<'_>) -> Result<T, DataError> {
        let mut lines = self.bytes.split(|byte| *byte == b'\n').zip(self.line..);
        lines.try_for_each(|(line, number)| context.decoded(line, number).map(|_| ()))?;
        let json = std::str::from_utf8(&self.bytes).expect("every line of it is UTF-8");
        let strict = python::strict(json).map_err(|(at, message)| {
            let before = json[..at].bytes().filter(|byte| *byte == b'\n').count();
            context.malformed(self.line + before, Problem::Json(message))
        })?;
        serde_json::from_str(&strict).map_err(|error| self.error(&strict, &error, context))
    }

    /// Replaces serde's position, which is inside the record, by the line and column of the file.
    fn error(&self, json: &str, error: &serde_json::Error, context: &Context<'_>) -> DataError {
        let message = error.to_string();
        let message =
            message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
        let mut message = message.to_owned();
        if error.is_syntax() {
            let written = json.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
            let at = written.floor_char_boundary(error.column().saturating_sub(1));
            let before = if error.line() <= 1 { self.column } else { 0 };
            let excerpt: String = written[at..].chars().take(12).collect();
            message = format!("{message} in column {} (`{excerpt}`)", before + at + 1);
        }
        if error.is_syntax() && json.contains('\r') && !json.contains('\n') {
            message.push_str(
                "; the line contains `\\r`; if the file's lines end with it, convert them: `tr '\\r' '\\n'`",
            );
        } else if self.index == 0 && starts_array(json) {
            message.push_str(
                "; if the file is one array, set `container = \"array\"` in the description's `[format]`",
            );
        }
        context.malformed(self.line + error.line().saturating_sub(1), Problem::Json(message))
    }
}

fn json(problem: &str) -> Problem {
    Problem::Json(problem.to_owned())
}

/// Whether the first line of a file starts one array rather than a record.
fn starts_array(json: &str) -> bool {
    json.strip_prefix('[')
        .is_some_and(|rest| matches!(rest.trim_start().chars().next(), None | Some('{' | '[')))
}

/// The elements of a JSON array. They are separated without parsing, so that a malformed element
/// does not hide the elements after it, and only one element is in memory.
pub(crate) struct Elements {
    input: Input,
    line: usize,
    /// Bytes of the current line read so far.
    column: usize,
    /// Number of records started so far.
    begun: usize,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Start,
    Inside,
    End,
}

impl Elements {
    fn next(&mut self, context: &mut Context<'_>) -> Option<Result<Record, DataError>> {
        let found = self.element();
        context.record = (self.begun > 0).then_some(self.begun);
        if !matches!(found, Ok(Ok(Some(_)))) {
            self.state = State::End;
        }
        match found {
            Ok(Ok(record)) => record.map(Ok),
            Ok(Err(problem)) => Some(Err(context.malformed(self.line, problem))),
            Err(error) => Some(Err(lines::named(context.file, &error))),
        }
    }

    /// The next element. The outer error is an input error, the inner a problem of the content.
    fn element(&mut self) -> io::Result<Result<Option<Record>, Problem>> {
        if self.state == State::End {
            return Ok(Ok(None));
        }
        let first = self.skip_blanks()?;
        if self.state == State::Start {
            if first != Some(b'[') {
                return Ok(Err(json(ONE_A_LINE)));
            }
            self.bump(b'[');
            self.state = State::Inside;
            if self.skip_blanks()? == Some(b']') {
                return self.finish();
            }
        } else {
            match first {
                Some(b']') => return self.finish(),
                Some(b',') => self.bump(b','),
                Some(_) => return Ok(Err(json("expected `,` or `]` after this record"))),
                None => return Ok(Err(json("the file ends after this record, inside its array"))),
            }
            let line = self.line;
            if self.skip_blanks()? == Some(b']') {
                self.line = line;
                return Ok(Err(json("the array has a comma before its `]`; remove the comma")));
            }
        }
        self.collect()
    }

    fn finish(&mut self) -> io::Result<Result<Option<Record>, Problem>> {
        self.bump(b']');
        Ok(match self.skip_blanks()? {
            None => Ok(None),
            Some(_) => Err(json("the file has text after its array")),
        })
    }

    /// Reads the bytes of the element that starts here.
    fn collect(&mut self) -> io::Result<Result<Option<Record>, Problem>> {
        let (line, column) = (self.line, self.column);
        self.begun += 1;
        let mut bytes = Vec::new();
        let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
        loop {
            let Some(byte) = self.peek()? else {
                return Ok(Err(json("the file ends inside a record")));
            };
            if depth == 0 && !in_string && matches!(byte, b',' | b']') {
                break;
            }
            if bytes.len() as u64 == lines::MOST_BYTES {
                return Ok(Err(Problem::Long { what: "record" }));
            }
            bytes.push(byte);
            self.bump(byte);
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                b'{' | b'[' if !in_string => depth += 1,
                b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && matches!(byte, b'}' | b']') && !in_string {
                break;
            }
        }
        Ok(Ok(Some(Record { line, column, index: self.begun - 1, bytes })))
    }

    fn skip_blanks(&mut self) -> std::io::Result<Option<u8>> {
        loop {
            match self.peek()? {
                Some(byte) if byte.is_ascii_whitespace() => self.bump(byte),
                other => return Ok(other),
            }
        }
    }

    fn peek(&mut self) -> std::io::Result<Option<u8>> {
        Ok(self.input.fill_buf()?.first().copied())
    }

    /// Consumes the peeked byte.
    fn bump(&mut self, byte: u8) {
        self.line += usize::from(byte == b'\n');
        self.column = if byte == b'\n' { 0 } else { self.column + 1 };
        self.input.consume(1);
    }
}
