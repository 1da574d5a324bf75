//! Reading a checkpoint.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use uner_kernels::AdamWState;
use uner_model::adapter::CONFIG_FILE;
use uner_model::{Llama, LlamaConfig, load_adapted};

use super::manifest;
use super::state::State;
use crate::error::TrainError;
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

/// Reads a checkpoint, every file compared with its checksum first.
///
/// # Errors
/// When it is unfinished, damaged or unreadable.
pub fn load(folder: &Path, device: &Device) -> Result<Checkpoint, TrainError> {
    load_onto(folder, None, device)
}

/// [`load`] for a checkpoint of an adapter whose base may have moved to `base`.
///
/// # Errors
/// As [`load`], and when the base is another model than the one that was adapted.
pub fn load_onto(folder: &Path, base: Option<&Path>, device: &Device) -> Result<Checkpoint, TrainError> {
    let (config, model) = load_model_onto(folder, base, device)?;
    let path = folder.join("state.json");
    let state: State = serde_json::from_str(&fs_err::read_to_string(&path)?)
        .map_err(|error| TrainError::at(&path, &error.into()))?;
    let mut optimizer = AdamW::default();
    read_optimizer(&mut optimizer, &folder.join("optimizer.safetensors"), device)?;
    Ok(Checkpoint { config, model, optimizer, state })
}

/// Reads the model of a folder: a checkpoint of ours, verified, any Hugging Face folder, or an adapter as PEFT writes it,
/// with the model that it belongs to.
///
/// # Errors
/// When it is unfinished, damaged or unreadable.
pub fn load_model(folder: &Path, device: &Device) -> Result<(LlamaConfig, Llama), TrainError> {
    load_model_onto(folder, None, device)
}

/// [`load_model`] for an adapter whose base may have moved to `base`.
///
/// # Errors
/// As [`load_model`], and when the base is another model than the one that was adapted.
pub fn load_model_onto(
    folder: &Path,
    base: Option<&Path>,
    device: &Device,
) -> Result<(LlamaConfig, Llama), TrainError> {
    verify(folder)?;
    if folder.join(CONFIG_FILE).exists() {
        return Ok(load_adapted(folder, base, device)?);
    }
    Ok(uner_model::load(folder, device)?)
}

/// Compares every file of a checkpoint of ours with its checksum; another folder has none.
///
/// # Errors
/// When it is unfinished or damaged.
pub fn verify(folder: &Path) -> Result<(), TrainError> {
    if folder.join("state.json").exists() { manifest::verify(folder) } else { Ok(()) }
}

fn read_optimizer(optimizer: &mut AdamW, path: &Path, device: &Device) -> Result<(), TrainError> {
    let bytes = fs_err::read(path)?;
    let damaged = |problem: String| TrainError::Checkpoint { path: path.to_owned(), problem };
    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    let moment = |key: String| -> Result<Tensor<1>, TrainError> {
        let view = file.tensor(&key).map_err(|error| damaged(format!("`{key}`: {error}")))?;
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(view.data());
        let count = values.len();
        Ok(Tensor::from_data(TensorData::new(values, [count]), &device.clone()))
    };
    for key in file.names() {
        if let Some(name) = key.strip_prefix("exp_avg.") {
            let state = AdamWState {
                master: None,
                exp_avg: moment(key.to_owned())?,
                exp_avg_sq: moment(format!("exp_avg_sq.{name}"))?,
            };
            optimizer.states.insert(name.to_owned(), state);
        }
    }
    Ok(())
}
