//! A part of a run, for another process or machine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::DistillError;

/// The passages whose position, from 0, leaves the remainder `index` when divided by `count`.
/// Written as `0/4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Shard {
    index: u64,
    count: u64,
}

impl Shard {
    /// Its number, from 0.
    pub fn index(self) -> u64 {
        self.index
    }

    /// The number of shards.
    pub fn count(self) -> u64 {
        self.count
    }

    /// Whether it has the passage at a position.
    pub fn contains(self, position: u64) -> bool {
        position % self.count == self.index
    }
}

impl FromStr for Shard {
    type Err = DistillError;

    fn from_str(text: &str) -> Result<Self, DistillError> {
        let numbers = text.split_once('/').and_then(|(index, count)| {
            Some(Self { index: index.parse().ok()?, count: count.parse().ok()? })
        });
        numbers
            .filter(|shard| shard.index < shard.count)
            .ok_or_else(|| DistillError::Shard(text.to_owned()))
    }
}

impl TryFrom<String> for Shard {
    type Error = DistillError;

    fn try_from(text: String) -> Result<Self, DistillError> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.index, self.count)
    }
}
