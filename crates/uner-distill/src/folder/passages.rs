//! Reads a file of passages, one at a time.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::error::DistillError;
use crate::passage::Passage;

/// Names the content of a file of passages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// The number of passages.
    pub count: u64,
    /// A hash of the file, in hexadecimal.
    pub hash: String,
}

/// The passages of a file, in order.
pub(crate) struct Passages {
    path: PathBuf,
    file: BufReader<fs_err::File>,
    line: Vec<u8>,
    /// The number of passages that were read.
    count: u64,
    hash: Xxh3,
}

impl Passages {
    pub(crate) fn open(path: &Path) -> Result<Self, DistillError> {
        let file = BufReader::with_capacity(1 << 16, fs_err::File::open(path)?);
        Ok(Self { path: path.to_owned(), file, line: Vec::new(), count: 0, hash: Xxh3::new() })
    }

    /// Reads a whole file. Checks that it has passages, and that their ids are unique.
    pub(crate) fn fingerprint(path: &Path) -> Result<Fingerprint, DistillError> {
        let mut passages = Self::open(path)?;
        let mut ids = HashSet::new();
        while let Some(passage) = passages.next() {
            let id = passage?.id;
            if !ids.insert(xxh3_64(id.as_bytes())) {
                let (file, line) = (path.to_owned(), passages.count as usize);
                return Err(DistillError::RepeatedPassage { file, line, id });
            }
        }
        if passages.count == 0 {
            return Err(DistillError::NoPassages(path.to_owned()));
        }
        let hash = format!("{:032x}", passages.hash.digest128());
        Ok(Fingerprint { count: passages.count, hash })
    }

    fn read(&mut self) -> Result<Option<Passage>, DistillError> {
        self.line.clear();
        if self.file.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.hash.update(&self.line);
        self.count += 1;
        let passage = serde_json::from_slice(&self.line);
        passage.map(Some).map_err(|error| DistillError::NotAPassage {
            file: self.path.clone(),
            line: self.count as usize,
            problem: error.to_string(),
        })
    }
}

impl Iterator for Passages {
    type Item = Result<Passage, DistillError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
