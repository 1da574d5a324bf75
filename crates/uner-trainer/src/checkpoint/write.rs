//! Writing a checkpoint.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use safetensors::Dtype;
use safetensors::tensor::{View, serialize_to_file};
use uner_model::weights::MAX_SHARD_BYTES;
use uner_model::{Llama, LlamaConfig};

use super::manifest;
use super::state::State;
use crate::error::TrainError;
use crate::optimizer::AdamW;

/// Writes checkpoint `step-NNNNNN` into the folder `run`, which must exist, and points `latest` to it. `companions`
/// are copied in beside the weights. Whatever goes wrong, earlier checkpoints and `latest` stay as they are.
///
/// # Errors
/// When a file cannot be written, such as on a full disk; nothing of the checkpoint is left then.
pub fn save(
    run: &Path,
    model: &Llama,
    config: &LlamaConfig,
    optimizer: &AdamW,
    state: &State,
    companions: &[PathBuf],
) -> Result<PathBuf, TrainError> {
    let name = format!("step-{:06}", state.step);
    let (unfinished, finished) = (run.join(format!("{name}.tmp")), run.join(&name));
    remove_if_there(&unfinished)?;
    fs_err::create_dir(&unfinished)?;
    let written = write_files(&unfinished, model, config, optimizer, state, companions);
    if let Err(error) = written {
        // The first error is the one to tell; what cannot be removed now is removed by the next attempt.
        let _ = fs_err::remove_dir_all(&unfinished);
        return Err(error);
    }
    remove_if_there(&finished)?;
    fs_err::rename(&unfinished, &finished)?;
    let latest = run.join("latest.tmp");
    fs_err::write(&latest, &name)?;
    fs_err::File::open(&latest)?.sync_all()?;
    fs_err::rename(latest, run.join("latest"))?;
    fs_err::File::open(run)?.sync_all()?;
    Ok(finished)
}

/// Removes all but the `keep` newest of a run's checkpoints up to `newest`. Later ones, which are there when a run went
/// on from an earlier checkpoint than its last, are left alone.
///
/// # Errors
/// When a folder cannot be listed or removed.
pub fn prune(newest: &Path, keep: usize) -> Result<(), TrainError> {
    let mut checkpoints: Vec<PathBuf> = Vec::new();
    for entry in fs_err::read_dir(newest.parent().unwrap_or(newest))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.strip_prefix("step-").is_some_and(|step| step.bytes().all(|byte| byte.is_ascii_digit()))
            && path.as_path() <= newest
        {
            checkpoints.push(path);
        }
    }
    checkpoints.sort();
    for old in checkpoints.iter().rev().skip(keep) {
        fs_err::remove_dir_all(old)?;
    }
    Ok(())
}

fn write_files(
    folder: &Path,
    model: &Llama,
    config: &LlamaConfig,
    optimizer: &AdamW,
    state: &State,
    companions: &[PathBuf],
) -> Result<(), TrainError> {
    match uner_model::adapter::files(model) {
        Some(adapter) => adapter.write(folder)?,
        None => uner_model::save(model, config, folder, MAX_SHARD_BYTES)?,
    }
    write_optimizer(optimizer, &folder.join("optimizer.safetensors"))?;
    let state = serde_json::to_string_pretty(state).map_err(std::io::Error::from)?;
    fs_err::write(folder.join("state.json"), state)?;
    for companion in companions {
        fs_err::copy(companion, folder.join(companion.file_name().unwrap_or_default()))?;
    }
    manifest::write(folder)
}

fn write_optimizer(optimizer: &AdamW, path: &Path) -> Result<(), TrainError> {
    let mut tensors = Vec::new();
    for (name, state) in &optimizer.states {
        tensors.push((format!("exp_avg.{name}"), Moment::new(&state.exp_avg)));
        tensors.push((format!("exp_avg_sq.{name}"), Moment::new(&state.exp_avg_sq)));
    }
    serialize_to_file(tensors, None, path)
        .map_err(|error| TrainError::at(path, &std::io::Error::other(error)))
}

fn remove_if_there(folder: &Path) -> Result<(), TrainError> {
    if folder.exists() {
        fs_err::remove_dir_all(folder)?;
    }
    Ok(())
}

/// One moment of one parameter, read from the device when it is written.
struct Moment {
    values: Tensor<1>,
    shape: [usize; 1],
}

impl Moment {
    fn new(values: &Tensor<1>) -> Self {
        Self { values: values.clone(), shape: values.dims() }
    }
}

impl View for Moment {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values: Vec<f32> = self.values.clone().try_into_vec_as().expect("moments are f32");
        Cow::Owned(bytemuck::cast_slice(&values).to_vec())
    }

    fn data_len(&self) -> usize {
        self.shape[0] * size_of::<f32>()
    }
}
