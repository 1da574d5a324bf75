//! Reading a checkpoint.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use uner_kernels::AdamWState;
use uner_model::{Llama, LlamaConfig};

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

/// Reads a checkpoint, every file compared with its checksum first.
///
/// # Errors
/// When it is unfinished, damaged or unreadable.
pub fn load(folder: &Path, device: &Device) -> Result<Checkpoint, TrainError> {
    let (config, model) = load_model(folder, device)?;
    let path = folder.join("state.json");
    let state: State = serde_json::from_str(&fs_err::read_to_string(&path)?)
        .map_err(|error| TrainError::at(&path, &error.into()))?;
    let mut optimizer = AdamW::default();
    read_optimizer(&mut optimizer, &folder.join("optimizer.safetensors"), device)?;
    Ok(Checkpoint { config, model, optimizer, state })
}

/// Compares what goes with the model of a checkpoint with its checksums, for those who read it before the model.
///
/// # Errors
/// When the checkpoint is unfinished or such a file is damaged.
pub fn verify_companions(folder: &Path) -> Result<(), TrainError> {
    manifest::verify(folder, |file| !file.ends_with(".safetensors"))
}

/// Reads the model of a folder: a checkpoint of ours, verified, or any Hugging Face folder.
///
/// # Errors
/// When it is unfinished, damaged or unreadable.
pub fn load_model(folder: &Path, device: &Device) -> Result<(LlamaConfig, Llama), TrainError> {
    if ["state.json", "manifest.json"].iter().any(|file| folder.join(file).exists()) {
        manifest::verify(folder, |_| true)?;
    }
    Ok(uner_model::load(folder, device)?)
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
