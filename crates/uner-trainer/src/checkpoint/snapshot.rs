//! A copy of a run's state after a step, on the host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use uner_model::LlamaConfig;
use uner_model::adapter::{self, AdapterFiles};
use uner_model::bert::{self, BertConfig};
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
    weights: Weights,
    optimizer: Vec<(String, HostTensor)>,
    pub(super) state: State,
    extra_files: Vec<PathBuf>,
}

/// A copy of the trained weights on the host.
#[derive(Debug)]
pub enum Weights {
    /// All weights of a language model, by checkpoint name.
    Whole(Vec<(String, HostTensor)>, Box<LlamaConfig>),
    /// Those of an adapter.
    Adapter(AdapterFiles),
    /// Those of a token classifier, by checkpoint name.
    Classifier(Vec<(String, HostTensor)>, Box<BertConfig>),
}

impl Weights {
    /// Copies the weights of a language model to the host of rank 0. Every rank has to call.
    ///
    /// # Errors
    /// When `config.torch_dtype` cannot be written, or another rank has failed.
    pub fn of_language_model(
        model: &RankModel,
        config: &LlamaConfig,
        group: &Group,
    ) -> Result<Self, TrainError> {
        Ok(match adapter::files(model.local()) {
            Some(files) => Self::Adapter(files),
            None => Self::Whole(whole(model, config, group)?, Box::new(config.clone())),
        })
    }

    fn write(self, folder: &Path) -> Result<(), TrainError> {
        match self {
            Self::Whole(weights, config) => {
                weights::write(weights, &config, folder, MAX_SHARD_BYTES)?;
            }
            Self::Adapter(files) => files.write(folder)?,
            Self::Classifier(weights, config) => bert::write(weights, &config, folder)?,
        }
        Ok(())
    }
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
