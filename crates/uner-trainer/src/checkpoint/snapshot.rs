//! A copy of a run's state after a step, on the host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use uner_model::LlamaConfig;
use uner_model::adapter::{self, AdapterFiles};
use uner_model::folder::write_manifest;
use uner_model::weights::{self, HostTensor, MAX_SHARD_BYTES};

use super::state::State;
use crate::distributed::Group;
use crate::error::TrainError;
use crate::step::rank_model::RankModel;

/// The content of a checkpoint as plain data. It is taken on the training thread, since only that
/// can read the device, and written on any other. The files are a function of it.
#[derive(Debug)]
pub struct Snapshot {
    config: LlamaConfig,
    weights: Weights,
    optimizer: Vec<(String, HostTensor)>,
    pub(super) state: State,
    extra_files: Vec<PathBuf>,
}

/// The trained weights: all, or an adapter's.
#[derive(Debug)]
enum Weights {
    Whole(Vec<(String, HostTensor)>),
    Adapter(AdapterFiles),
}

impl Snapshot {
    /// Copies the model to the host of rank 0. Every rank has to call. `optimizer` is the result of
    /// [`crate::AdamW::gathered`]. `extra_files` are copied next to the weights when the checkpoint
    /// is written.
    ///
    /// # Errors
    /// When `config.torch_dtype` cannot be written, or another rank has failed.
    pub fn take(
        model: (&RankModel, &Group),
        config: &LlamaConfig,
        optimizer: BTreeMap<String, TensorData>,
        state: State,
        extra_files: &[PathBuf],
    ) -> Result<Self, TrainError> {
        let (model, group) = model;
        Ok(Self {
            config: config.clone(),
            weights: match adapter::files(model.local()) {
                Some(files) => Weights::Adapter(files),
                None => Weights::Whole(whole(model, config, group)?),
            },
            optimizer: optimizer
                .into_iter()
                .map(|(name, values)| (name, HostTensor::new(values)))
                .collect(),
            state,
            extra_files: extra_files.to_vec(),
        })
    }

    /// Writes all files, the manifest last, and syncs them.
    pub(super) fn write(self, folder: &Path) -> Result<(), TrainError> {
        match self.weights {
            Weights::Whole(weights) => {
                weights::write(weights, &self.config, folder, MAX_SHARD_BYTES)?;
            }
            Weights::Adapter(files) => files.write(folder)?,
        }
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

/// Copies all parameters to the host, in the type of their files. Later steps do not change the
/// copy.
fn whole(
    model: &RankModel,
    config: &LlamaConfig,
    group: &Group,
) -> Result<Vec<(String, HostTensor)>, TrainError> {
    let dtype = weights::dtype_of(config, Path::new("config.json"))?;
    let mut parameters = Vec::new();
    model.read(
        |_| true,
        group,
        |name, shape, values| parameters.push((name, HostTensor::of(values, shape, dtype))),
    )?;
    Ok(parameters)
}
