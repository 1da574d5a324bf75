//! The answers of a teacher, on disk: JSON Lines that only grow.
//!
//! In memory are only a hash of each passage's id and the place of its line, 16 bytes an answer. Of
//! 10 million passages, two have equal hashes with a probability of three in a million; the
//! second of them would count as not answered.

use std::borrow::Cow;
use std::fs::TryLockError;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::DistillError;
use crate::teacher::PromptVersion;

/// Their file in the folder of the run.
pub const ANSWERS: &str = "answers.jsonl";
/// The start of every line.
const OPENING: &[u8] = b"{\"passage\":";

/// The answer about a passage, with its provenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerRecord {
    /// The id of the passage.
    pub passage: String,
    /// The model that answered, as exactly as it is known.
    pub model: String,
    /// The prompt.
    pub prompt: PromptVersion,
    /// When the answer came, in seconds since 1970 (UTC).
    pub time: u64,
    /// The answer, as the teacher wrote it.
    pub answer: String,
    /// Why it ended: `stop`, or `length` if it was cut off.
    pub finish_reason: Option<String>,
    /// Tokens of the prompt, if the teacher reports them.
    pub input_tokens: Option<u64>,
    /// Tokens of the answer, if the teacher reports them.
    pub output_tokens: Option<u64>,
}

/// The part of a line that the index needs.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    passage: Cow<'a, str>,
}

/// Where the answers are: the hash of each passage's id and the byte of its line, sorted.
#[derive(Debug)]
pub(crate) struct Index(Vec<(u64, u64)>);

impl Index {
    pub(crate) fn contains(&self, passage: &str) -> bool {
        self.offset(passage).is_some()
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn offset(&self, passage: &str) -> Option<u64> {
        let hash = xxh3_64(passage.as_bytes());
        let first = self.0.partition_point(|(other, _)| *other < hash);
        self.0.get(first).filter(|(other, _)| *other == hash).map(|(_, offset)| *offset)
    }
}

/// Finds the complete lines. Returns their index and their length in bytes.
fn scan(file: &fs_err::File) -> Result<(Index, u64), DistillError> {
    let (mut lines, mut length) = (Vec::new(), 0);
    let mut input = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let wrong = || DistillError::NotAnAnswer { file: file.path().to_owned(), line: number };
        if line.last() != Some(&b'\n') {
            // The start of a line is cut off, but nothing of a file that is not ours.
            let is_ours = line.starts_with(OPENING) || OPENING.starts_with(&line);
            if is_ours {
                break;
            }
            return Err(wrong());
        }
        let head: Head = serde_json::from_slice(&line).map_err(|_| wrong())?;
        lines.push((xxh3_64(head.passage.as_bytes()), length));
        length += line.len() as u64;
    }
    lines.sort_unstable();
    // The first answer about a passage counts.
    lines.dedup_by_key(|(hash, _)| *hash);
    Ok((Index(lines), length))
}

/// Appends answers. No other process can write them at the same time.
#[derive(Debug)]
pub(crate) struct AnswerWriter {
    file: fs_err::File,
    /// Bytes of complete lines.
    length: u64,
}

impl AnswerWriter {
    /// Opens the answers of a folder, or creates them. Also returns those that exist. A line that
    /// was being written is cut off.
    pub(crate) fn open(folder: &Path) -> Result<(Self, Index), DistillError> {
        let path = folder.join(ANSWERS);
        let mut options = fs_err::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path)?;
        match file.file().try_lock() {
            Err(TryLockError::WouldBlock) => return Err(DistillError::AnswersInUse(path)),
            // Some file systems have no locks.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let (index, length) = scan(&file)?;
        file.set_len(length)?;
        let mut writer = Self { file, length };
        writer.file.seek(SeekFrom::Start(length))?;
        Ok((writer, index))
    }

    /// Writes an answer. It is in the file when this returns, whatever happens to the process.
    pub(crate) fn append(&mut self, record: &AnswerRecord) -> Result<(), DistillError> {
        let mut line = serde_json::to_vec(record).map_err(std::io::Error::from)?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            // A full disk leaves a part of the line, after which nothing may be written.
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::Start(self.length))?;
            return Err(error.into());
        }
        self.length += line.len() as u64;
        Ok(())
    }

    /// Waits until the disk has all lines.
    pub(crate) fn sync(&self) -> Result<(), DistillError> {
        Ok(self.file.sync_data()?)
    }
}

/// Reads answers by passage.
pub(crate) struct AnswerReader {
    path: PathBuf,
    file: BufReader<fs_err::File>,
    index: Index,
    line: Vec<u8>,
}

impl AnswerReader {
    /// Opens the answers of a folder. A line that is being written is left out.
    pub(crate) fn open(folder: &Path) -> Result<Self, DistillError> {
        let path = folder.join(ANSWERS);
        let file = fs_err::File::open(&path)?;
        let (index, _) = scan(&file)?;
        Ok(Self { path, file: BufReader::new(file), index, line: Vec::new() })
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// The answer about a passage.
    pub(crate) fn read(&mut self, passage: &str) -> Result<Option<AnswerRecord>, DistillError> {
        let Some(line) = self.line_of(passage)? else { return Ok(None) };
        let record = serde_json::from_slice::<AnswerRecord>(line);
        match record {
            Ok(record) => Ok(Some(record).filter(|record| record.passage == passage)),
            Err(_) => Err(self.not_an_answer(passage)),
        }
    }

    /// The line with the answer about a passage, as it is in the file.
    pub(crate) fn line_of(&mut self, passage: &str) -> Result<Option<&[u8]>, DistillError> {
        let Some(offset) = self.index.offset(passage) else { return Ok(None) };
        // Answers came about in the order of the passages, so the buffer often has the next one.
        let here = self.file.stream_position()?;
        self.file.seek_relative(offset as i64 - here as i64)?;
        self.line.clear();
        self.file.read_until(b'\n', &mut self.line)?;
        Ok(Some(&self.line))
    }

    fn not_an_answer(&self, passage: &str) -> DistillError {
        let offset = self.index.offset(passage).unwrap_or_default();
        let before = self.index.0.iter().filter(|(_, other)| *other < offset).count();
        DistillError::NotAnAnswer { file: self.path.clone(), line: before + 1 }
    }
}
