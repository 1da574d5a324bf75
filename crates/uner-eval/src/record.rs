//! The answers of a system, with the gold entities they are scored against: a line for each
//! example. Every score can be computed from the lines again.

use std::fs::TryLockError;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uner_data::{Entity, Example, Relation};

use crate::{Answer, EvalError};

/// The answers to the queries of one example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The dataset.
    pub dataset: String,
    /// Its split.
    pub split: String,
    /// The example's id.
    pub id: String,
    /// The passage.
    pub text: String,
    /// The gold entities of the types that were asked.
    pub gold: Vec<Entity>,
    /// The gold relations of the types that were asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gold_relations: Vec<Relation>,
    /// One for each query.
    pub answers: Vec<Answer>,
}

impl Record {
    /// The record of an example.
    ///
    /// # Errors
    /// When the answers do not match the example's queries.
    pub fn new(
        (dataset, split): (&str, &str),
        example: Example,
        answers: Vec<Answer>,
    ) -> Result<Self, EvalError> {
        let Example { id, text, entities, relations, queries } = example;
        if !queries.iter().eq(answers.iter().map(|answer| &answer.entity_type)) {
            let answered = answers.into_iter().map(|answer| answer.entity_type).collect();
            return Err(EvalError::Queries { id, queries, answered });
        }
        let gold = entities.into_iter().filter(|entity| queries.contains(&entity.entity_type));
        let gold_relations =
            relations.into_iter().filter(|relation| queries.contains(&relation.relation_type));
        let (gold, gold_relations) = (gold.collect(), gold_relations.collect());
        let (dataset, split) = (dataset.to_owned(), split.to_owned());
        Ok(Self { dataset, split, id, text, gold, gold_relations, answers })
    }

    /// Number of queries without an answer.
    pub fn unanswered(&self) -> usize {
        self.answers.iter().filter(|answer| answer.problem.is_some()).count()
    }

    /// The gold relations of a type, in their order.
    pub fn gold_relations_of<'a>(
        &'a self,
        relation_type: &'a str,
    ) -> impl Iterator<Item = &'a Relation> {
        self.gold_relations.iter().filter(move |relation| relation.relation_type == relation_type)
    }

    /// The gold entities of a type, in their order.
    pub fn gold_of<'a>(&'a self, entity_type: &'a str) -> impl Iterator<Item = &'a Entity> {
        self.gold.iter().filter(move |entity| entity.entity_type == entity_type)
    }
}

/// A file of records that grows by a line for each example. Another process cannot write to it.
#[derive(Debug)]
pub struct RecordFile {
    file: fs_err::File,
    path: PathBuf,
}

impl RecordFile {
    /// Starts a file, or overwrites one.
    ///
    /// # Errors
    /// When it cannot be written, or another process writes to it.
    pub fn create(path: &Path) -> Result<Self, EvalError> {
        let mut options = fs_err::OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(path)?;
        lock(&file, path)?;
        file.set_len(0)?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Continues a file after its last complete line, whose records are passed to `each` first.
    /// With `again`, it is cut off before the first record with a query that has no answer. A
    /// missing file is created.
    ///
    /// # Errors
    /// When a complete line is not a record, `each` fails, or another process writes to the file.
    pub fn resume(
        path: &Path,
        again: bool,
        mut each: impl FnMut(Record) -> Result<(), EvalError>,
    ) -> Result<Self, EvalError> {
        let mut options = fs_err::OpenOptions::new();
        let mut file = options.create(true).truncate(false).read(true).write(true).open(path)?;
        lock(&file, path)?;
        let (mut complete, mut number) = (0, 0);
        let mut lines = BufReader::new(&file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = lines.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                break;
            }
            number += 1;
            let record = parsed(&line, path, number)?;
            if again && record.unanswered() > 0 {
                break;
            }
            each(record)?;
            complete += length as u64;
        }
        file.set_len(complete)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Appends a record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, record: &Record) -> Result<(), EvalError> {
        let mut line = serde_json::to_vec(record).map_err(std::io::Error::from)?;
        line.push(b'\n');
        Ok(self.file.write_all(&line)?)
    }

    /// Waits until the disk has everything.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> Result<(), EvalError> {
        Ok(self.file.sync_all()?)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The records of a file.
///
/// # Errors
/// When the file cannot be read; an item when a line is not a record, with the line.
pub fn records(
    path: &Path,
) -> Result<impl Iterator<Item = Result<Record, EvalError>> + use<>, EvalError> {
    let lines = BufReader::new(uner_data::regular::open(path)?).split(b'\n');
    let path = path.to_owned();
    Ok(lines.enumerate().filter_map(move |(index, line)| match line {
        Ok(line) if line.is_empty() => None,
        Ok(line) => Some(parsed(&line, &path, index + 1)),
        Err(error) => Some(Err(error.into())),
    }))
}

fn parsed(line: &[u8], path: &Path, number: usize) -> Result<Record, EvalError> {
    serde_json::from_slice(line).map_err(|error| EvalError::Line {
        path: path.to_owned(),
        line: number,
        problem: format!("{error}; expected a line of an evaluation's predictions"),
    })
}

fn lock(file: &fs_err::File, path: &Path) -> Result<(), EvalError> {
    match file.file().try_lock() {
        Err(TryLockError::WouldBlock) => Err(EvalError::InUse(path.to_owned())),
        // Some file systems have no locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}
