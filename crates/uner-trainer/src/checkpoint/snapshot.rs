//! A copy of a run's state after a step, on the host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use uner_model::folder::write_manifest;
use uner_model::weights::{self, HostTensor};

use super::state::State;
use crate::error::TrainError;
use crate::step::weights::Weights;

/// The content of a checkpoint as plain data. It is taken on the training thread, since only that
/// can read the device, and written on any other. The files are a function of it.
#[derive(Debug)]
pub struct Snapshot {
    weights: Weights,
    optimizer: Vec<(String, HostTensor)>,
    pub(super) state: State,
    extra_files: Vec<PathBuf>,
}

impl Snapshot {
    /// Combines the parts of a checkpoint. `optimizer` is the result of
    /// [`crate::AdamW::gathered`]. `extra_files` are copied next to the weights when the checkpoint
    /// is written.
    pub fn take(
        weights: Weights,
        optimizer: BTreeMap<String, TensorData>,
        state: State,
        extra_files: &[PathBuf],
    ) -> Self {
        let on_host = |(name, values)| (name, HostTensor::new(values));
        Self {
            weights,
            optimizer: optimizer.into_iter().map(on_host).collect(),
            state,
            extra_files: extra_files.to_vec(),
        }
    }

    /// Writes all files, the manifest last, and syncs them.
    pub(super) fn write(self, folder: &Path) -> Result<(), TrainError> {
        self.weights.write(folder)?;
        let path = folder.join("optimizer.safetensors");
        weights::write_safetensors(self.optimizer, [], &path)?;
        let state = serde_json::to_string_pretty(&self.state).map_err(std::io::Error::from)?;
        fs_err::write(folder.join("state.json"), state)?;
        for companion in &self.extra_files {
            fs_err::copy(companion, folder.join(companion.file_name().unwrap_or_default()))?;
        }
        Ok(write_manifest(folder)?)
    }
}
