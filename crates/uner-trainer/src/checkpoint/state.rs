//! The state of a run besides its weights and moments, needed to resume it.

use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uner_model::weights::open_regular;

use crate::config::PrecisionConfig;
use crate::error::TrainError;
use crate::state::{BestTracker, RunId};
use crate::step::guards::GuardState;

/// Version of the checkpoint layout.
pub const FORMAT_VERSION: u32 = 3;

/// The run that wrote a checkpoint; `None` if that cannot be read, or was written before runs had
/// ids.
pub(super) fn run_of(checkpoint: &Path) -> Option<RunId> {
    #[derive(Deserialize)]
    struct Named {
        run: Option<RunId>,
    }
    let text = fs_err::read(checkpoint.join("state.json")).ok()?;
    serde_json::from_slice::<Named>(&text).ok()?.run
}

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// The run that wrote it.
    #[serde(default)]
    pub run: Option<RunId>,
    /// Steps done. The order of the data is a function of (seed, step), so this is also the cursor.
    pub step: u64,
    /// Seed of the run.
    pub seed: u64,
    /// CRC-32 of the encoded training data: template, tokenizer, negatives and texts all count.
    pub data_fingerprint: u32,
    /// The best evaluation so far.
    #[serde(default)]
    pub best_tracker: BestTracker,
    /// State of the guards.
    #[serde(default)]
    pub guard: GuardState,
    /// How moments and parameters are stored.
    pub precision: PrecisionConfig,
}

impl State {
    /// Reads a `state.json`.
    ///
    /// # Errors
    /// When it has another format version, or is damaged.
    pub(super) fn read(path: &Path) -> Result<Self, TrainError> {
        #[derive(Deserialize)]
        struct Versioned {
            format_version: u32,
        }
        let mut text = Vec::new();
        open_regular(path)?.read_to_end(&mut text)?;
        let damaged = |error: serde_json::Error| TrainError::at(path, &error.into());
        let Versioned { format_version } = serde_json::from_slice(&text).map_err(damaged)?;
        if format_version != FORMAT_VERSION {
            return Err(TrainError::Checkpoint {
                path: path.parent().unwrap_or(path).to_owned(),
                problem: format!(
                    "it has the format version {format_version}, and this program reads \
                     {FORMAT_VERSION}; resume with the program that wrote it, or start a new run \
                     from these weights"
                ),
            });
        }
        serde_json::from_slice(&text).map_err(damaged)
    }

    /// Refuses to resume from `self`, which was read from `path`, as `wanted`, if the data or its
    /// order differs, or the storage of moments and parameters. `uner-plan` compares the plans of
    /// the two runs.
    ///
    /// # Errors
    /// Names the difference and both values.
    pub fn check_resumable(&self, wanted: &State, path: &Path) -> Result<(), TrainError> {
        let refuse =
            |problem: String| Err(TrainError::Checkpoint { path: path.to_owned(), problem });
        if self.data_fingerprint != wanted.data_fingerprint {
            return refuse(format!(
                "the training data has changed since (fingerprint {:08x}, now {:08x}); restore the \
                 data, template and tokenizer, or start a new run from these weights",
                self.data_fingerprint, wanted.data_fingerprint
            ));
        }
        if self.seed != wanted.seed {
            let (then, now) = (self.seed, wanted.seed);
            return refuse(format!("the seed was {then} and is now {now}; set it back"));
        }
        if self.precision != wanted.precision {
            let [then, now] = [self, wanted].map(|state| {
                let PrecisionConfig { moments, rounding } = state.precision;
                format!("moments {moments} with rounding {rounding}")
            });
            return refuse(format!("the run had {then}, and now has {now}; set them back"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_of_the_format_is_named_before_anything_is_missed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        fs_err::write(&path, "{\"format_version\": 1}").unwrap();
        let error = State::read(&path).unwrap_err().to_string();
        assert!(error.contains("format version 1") && error.contains("reads 3"), "{error}");
        fs_err::write(&path, "{\"format_version\": 3}").unwrap();
        let error = State::read(&path).unwrap_err().to_string();
        assert!(error.contains("missing field"), "{error}");
    }
}
