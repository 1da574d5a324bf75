//! Answers on disk, so that none is paid for twice.
//!
//! A journal is JSON Lines. It only grows: a line is written in one piece as soon as an answer is
//! complete, before anyone sees the answer. A killed run leaves complete lines and at most the
//! start of one, which is cut off when the journal is opened. In memory are only the keys and the
//! places of their lines. Disk space for an answer is set aside before its request is sent.

use std::collections::HashMap;
use std::fs::TryLockError;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::{Answer, Tokens};
use crate::config::Endpoint;
use crate::error::EndpointError;
use crate::request::Key;

/// Bytes that are set aside for each answer in flight: more than nearly all take.
const ANSWER: u64 = 64 << 10;
/// Answers that are set aside beyond those in flight, so that this is rarely done.
const AHEAD: u64 = 16;

/// The start of every line.
const OPENING: &[u8] = b"{\"key\":\"";

/// A line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The key of the request, in hexadecimal.
    key: String,
    url: String,
    model: String,
    /// Seconds since 1970 (UTC).
    time: u64,
    latency_ms: u64,
    /// The tokens that count for budgets: the endpoint's, or an estimate if it reports none.
    input_tokens: u64,
    output_tokens: u64,
    /// The response as the endpoint sent it.
    response: Value,
}

/// The part of a line that is read when a journal is opened.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    key: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    url: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    model: std::borrow::Cow<'a, str>,
    input_tokens: u64,
    output_tokens: u64,
}

impl Entry {
    pub(crate) fn new(
        endpoint: &Endpoint,
        key: Key,
        answer: &Answer,
        tokens: Tokens,
        response: Value,
    ) -> Self {
        Self {
            key: key.to_string(),
            url: endpoint.base().to_owned(),
            model: endpoint.model.clone(),
            time: answer.time,
            latency_ms: u64::try_from(answer.latency.as_millis()).unwrap_or(u64::MAX),
            input_tokens: tokens.input,
            output_tokens: tokens.output,
            response,
        }
    }
}

/// An open journal. No other process can open it.
#[derive(Debug)]
pub(crate) struct Journal {
    file: fs_err::File,
    /// Bytes of complete lines.
    length: u64,
    /// Bytes that the file has on the disk.
    allocated: u64,
    /// The byte at which the line of each answer starts.
    lines: HashMap<Key, u64>,
}

impl Journal {
    /// Opens a journal, or creates it. Also returns the tokens of all answers that the endpoint's
    /// model has in it.
    pub(crate) fn open(path: &Path, endpoint: &Endpoint) -> Result<(Self, Tokens), EndpointError> {
        let mut options = fs_err::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(EndpointError::JournalInUse(path.to_owned()));
            }
            // Some file systems have no locks.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let (lines, length, tokens) = scan(&file, endpoint)?;
        file.set_len(length)?;
        Ok((Self { file, length, allocated: length, lines }, tokens))
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn contains(&self, key: Key) -> bool {
        self.lines.contains_key(&key)
    }

    /// Reads the answer to a request.
    pub(crate) fn read(&mut self, key: Key) -> Result<Option<Answer>, EndpointError> {
        let Some(start) = self.lines.get(&key).copied() else { return Ok(None) };
        self.file.seek(SeekFrom::Start(start))?;
        let mut line = Vec::new();
        BufReader::new(&self.file).read_until(b'\n', &mut line)?;
        let read = serde_json::from_slice::<Entry>(&line).ok().and_then(|entry| {
            let latency = Duration::from_millis(entry.latency_ms);
            let answer = Answer::read(&entry.response).ok()?;
            Some(Answer { time: entry.time, latency, cached: true, ..answer })
        });
        read.map(Some).ok_or_else(|| self.not_ours(start))
    }

    /// The error of a line that was damaged after the journal was opened, or that has no answer.
    fn not_ours(&self, start: u64) -> EndpointError {
        let before = self.lines.values().filter(|other| **other < start).count();
        EndpointError::NotAJournal { file: self.file.path().to_owned(), line: before + 1 }
    }

    /// Sets disk space aside for as many answers as are in flight, so that a full disk ends a run
    /// before they are paid for. File systems that cannot do that are taken to have space.
    pub(crate) fn make_room(&mut self, answers: usize) -> Result<(), EndpointError> {
        let needed = self.length + answers as u64 * ANSWER;
        if needed > self.allocated {
            let wanted = needed + AHEAD * ANSWER;
            allocate(&self.file, self.length, wanted - self.length)?;
            self.allocated = wanted;
        }
        Ok(())
    }

    /// Writes an answer. It is in the file when this returns, whatever happens to the process.
    pub(crate) fn append(&mut self, key: Key, entry: &Entry) -> Result<(), EndpointError> {
        let mut line = serde_json::to_vec(entry).map_err(std::io::Error::from)?;
        line.push(b'\n');
        self.file.seek(SeekFrom::Start(self.length))?;
        if let Err(error) = self.file.write_all(&line) {
            // A full disk leaves a part of the line, after which nothing may be written.
            self.file.set_len(self.length)?;
            return Err(error.into());
        }
        self.lines.insert(key, self.length);
        self.length += line.len() as u64;
        Ok(())
    }

    /// Waits until the disk has all lines.
    pub(crate) fn sync(&self) -> Result<(), EndpointError> {
        Ok(self.file.sync_data()?)
    }
}

impl Drop for Journal {
    /// Returns the space that was set aside.
    fn drop(&mut self) {
        // At worst it is returned when the journal is opened again.
        let _ = self.file.set_len(self.length);
    }
}

/// Allocates disk space behind the end of a file, whose length stays.
#[cfg(target_os = "linux")]
fn allocate(file: &fs_err::File, start: u64, bytes: u64) -> std::io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(file, FallocateFlags::KEEP_SIZE, start, bytes) {
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => {
            let error = std::io::Error::from(error);
            let path = file.path().display();
            let message = format!("`{path}` has no room for the answers in flight: {error}");
            Err(std::io::Error::new(error.kind(), message))
        }
        _ => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn allocate(_: &fs_err::File, _: u64, _: u64) -> std::io::Result<()> {
    Ok(())
}

type Scanned = (HashMap<Key, u64>, u64, Tokens);

/// Finds the complete lines and their length in bytes.
fn scan(file: &fs_err::File, endpoint: &Endpoint) -> Result<Scanned, EndpointError> {
    let (mut lines, mut length, mut tokens) = (HashMap::new(), 0, Tokens::default());
    let mut input = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let wrong = || EndpointError::NotAJournal { file: file.path().to_owned(), line: number };
        if line.last() != Some(&b'\n') {
            // The start of a line is cut off, but nothing of a file that is not ours.
            let is_ours = line.starts_with(OPENING) || OPENING.starts_with(&line);
            return if is_ours { Ok((lines, length, tokens)) } else { Err(wrong()) };
        }
        let head: Head = serde_json::from_slice(&line).map_err(|_| wrong())?;
        let key = Key::parse(&head.key).ok_or_else(wrong)?;
        if head.url == endpoint.base() && head.model == endpoint.model {
            tokens.input += head.input_tokens;
            tokens.output += head.output_tokens;
        }
        lines.insert(key, length);
        length += line.len() as u64;
    }
    Ok((lines, length, tokens))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::request::{Prepared, Request};

    fn endpoint() -> Endpoint {
        Endpoint::new("http://h/v1", "m")
    }

    fn key(seed: u32) -> Key {
        let extra = [("seed".to_owned(), json!(seed))].into_iter().collect();
        Prepared::new(&endpoint(), &Request { messages: Vec::new(), extra }).key
    }

    fn entry(key: Key, text: &str) -> Entry {
        let response = json!({"choices": [{"message": {"content": text}}]});
        let latency = Duration::from_millis(9);
        let answer = Answer { time: 7, latency, ..Answer::read(&response).unwrap() };
        Entry::new(&endpoint(), key, &answer, Tokens { input: 3, output: 1 }, response)
    }

    fn open(path: &Path) -> (Journal, Tokens) {
        Journal::open(path, &endpoint()).unwrap()
    }

    #[test]
    fn answers_survive_and_torn_lines_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.jsonl");
        let (mut journal, _) = open(&path);
        journal.append(key(1), &entry(key(1), "a\nb")).unwrap();
        journal.append(key(2), &entry(key(2), "é")).unwrap();
        drop(journal);
        let whole = fs_err::read(&path).unwrap();
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for cut in first..whole.len() {
            fs_err::write(&path, &whole[..cut]).unwrap();
            let (mut journal, tokens) = open(&path);
            assert_eq!(tokens, Tokens { input: 3, output: 1 });
            assert_eq!(fs_err::metadata(&path).unwrap().len(), first as u64);
            assert!(!journal.contains(key(2)));
            let answer = journal.read(key(1)).unwrap().unwrap();
            assert_eq!((&*answer.text, answer.cached, answer.time), ("a\nb", true, 7));
            assert_eq!(answer.latency, Duration::from_millis(9));
        }
        let (mut journal, _) = open(&path);
        journal.append(key(2), &entry(key(2), "é")).unwrap();
        assert_eq!(journal.read(key(2)).unwrap().unwrap().text, "é");
        drop(journal);
        assert_eq!(fs_err::read(&path).unwrap(), whole);
        let other = Journal::open(&path, &Endpoint::new("http://h/v1", "other")).unwrap();
        assert_eq!(other.1, Tokens::default());
    }

    #[test]
    fn other_files_are_refused_and_left_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        for text in ["my notes", "my notes\n", "{}\n", "{\"key\":\"12\"}\n"] {
            fs_err::write(&path, text).unwrap();
            let error = Journal::open(&path, &endpoint()).unwrap_err().to_string();
            assert!(error.contains("notes.txt:1: this is not a line"), "{error}");
            assert_eq!(fs_err::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_journal_has_one_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.jsonl");
        let (journal, _) = open(&path);
        let error = Journal::open(&path, &endpoint()).unwrap_err();
        assert!(matches!(error, EndpointError::JournalInUse(_)), "{error}");
        drop(journal);
        open(&path);
    }
}
