//! Reading a checkpoint.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use safetensors::SafeTensors;
use uner_model::{Llama, LlamaConfig};

use super::manifest;
use super::state::State;
use crate::error::TrainError;
use crate::group::Group;
use crate::optimizer::AdamW;

/// A checkpoint in memory.
#[derive(Debug)]
pub struct Checkpoint {
    /// The model's dimensions.
    pub config: LlamaConfig,
    /// Its weights.
    pub model: Llama,
    /// The moments.
    pub optimizer: AdamW,
    /// Where the run stood.
    pub state: State,
}

/// The newest checkpoint of a run, if it has one.
///
/// # Errors
/// When `latest` cannot be read, or names a folder that is not there.
pub fn latest(run: &Path) -> Result<Option<PathBuf>, TrainError> {
    let pointer = run.join("latest");
    if !pointer.exists() {
        return Ok(None);
    }
    let checkpoint = run.join(fs_err::read_to_string(&pointer)?.trim());
    if !checkpoint.is_dir() {
        return Err(TrainError::Checkpoint {
            path: checkpoint,
            problem: "`latest` names it, but it is not there; name another with `--resume PATH`".to_owned(),
        });
    }
    Ok(Some(checkpoint))
}

/// Reads a checkpoint, every file compared with its checksum first; of the optimizer this rank's shares.
///
/// # Errors
/// When it is unfinished, damaged or unreadable.
pub fn load(folder: &Path, group: &Group, device: &Device) -> Result<Checkpoint, TrainError> {
    let (config, model) = load_model(folder, device)?;
    let path = folder.join("state.json");
    let state: State = serde_json::from_str(&fs_err::read_to_string(&path)?)
        .map_err(|error| TrainError::at(&path, &error.into()))?;
    let optimizer = read_optimizer(&folder.join("optimizer.safetensors"), group, device)?;
    Ok(Checkpoint { config, model, optimizer, state })
}

/// Reads the model of a folder: a checkpoint of ours, verified, or any Hugging Face folder.
///
/// # Errors
/// When it is unfinished, damaged or unreadable.
pub fn load_model(folder: &Path, device: &Device) -> Result<(LlamaConfig, Llama), TrainError> {
    if folder.join("state.json").exists() {
        manifest::verify(folder)?;
    }
    Ok(uner_model::load(folder, device)?)
}

fn read_optimizer(path: &Path, group: &Group, device: &Device) -> Result<AdamW, TrainError> {
    let bytes = fs_err::read(path)?;
    let damaged = |problem: String| TrainError::Checkpoint { path: path.to_owned(), problem };
    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    let tensors =
        file.iter().map(|(name, view)| (name.to_owned(), bytemuck::pod_collect_to_vec(view.data())));
    AdamW::restore(tensors.collect(), group, device).map_err(damaged)
}
