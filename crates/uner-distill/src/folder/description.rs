//! The description of a run, which shards of one run share.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AtomicFile, Fingerprint, Shard};
use crate::error::DistillError;
use crate::teacher::PromptVersion;

/// Its file in the folder of the run.
pub const RUN: &str = "run.json";

/// Everything that decides the answers of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The teacher.
    pub model: String,
    /// Its settings.
    pub settings: Value,
    /// The prompt.
    pub prompt: PromptVersion,
    /// The passages.
    pub passages: Fingerprint,
    /// The part of the passages, if not all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
}

impl Description {
    /// Reads the description of the run in a folder.
    ///
    /// # Errors
    /// [`DistillError::NoRun`] if it is missing or unreadable.
    pub fn read(folder: &Path) -> Result<Self, DistillError> {
        let no_run =
            |problem: String| DistillError::NoRun { folder: folder.to_owned(), file: RUN, problem };
        let path = folder.join(RUN);
        if !path.exists() {
            return Err(no_run("is missing; annotate the passages first".to_owned()));
        }
        let text = fs_err::read_to_string(path)?;
        serde_json::from_str(&text)
            .map_err(|error| no_run(format!("is not a description of a run: {error}")))
    }

    /// Writes the description into a new folder, or checks that the folder has the same run.
    pub(crate) fn claim(&self, folder: &Path) -> Result<(), DistillError> {
        let path = folder.join(RUN);
        if !path.exists() {
            let text = serde_json::to_string_pretty(self).map_err(std::io::Error::from)?;
            return Ok(AtomicFile::write_all_to(&path, (text + "\n").as_bytes())?);
        }
        match Self::read(folder)?.difference(self) {
            None => Ok(()),
            Some((key, found, expected)) => {
                let folder = folder.to_owned();
                Err(DistillError::OtherRun { folder, key, found, expected })
            }
        }
    }

    /// The first key that differs, with both values.
    pub(crate) fn difference(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let shard = |description: &Self| {
            description.shard.map_or_else(|| "all".to_owned(), |shard| shard.to_string())
        };
        let values = |description: &Self| {
            [
                ("model", description.model.clone()),
                ("settings", description.settings.to_string()),
                ("prompt", description.prompt.name().to_owned()),
                ("passages", format!("{:?}", description.passages)),
                ("shard", shard(description)),
            ]
        };
        let pairs = values(self).into_iter().zip(values(other));
        let mut differing = pairs.filter(|((_, one), (_, other))| one != other);
        differing.next().map(|((key, one), (_, other))| (key, one, other))
    }
}
